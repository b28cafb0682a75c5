"""DuckDB views: the views of this machine, with the columns and types that Synapse shows.

A table that no run has written yet is an empty view with its columns, and a column that a table
does not have yet is NULL, so that a question can be written before the first record has come.
"""

# ruff: noqa: S608 -- All of it is SQL; the names in it come from a document that checks them.
from __future__ import annotations

from typing import TYPE_CHECKING

from cli.sql_views import REFUSED_COLUMNS, RUN_COLUMNS
from shared.domain.sql_types import sql_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cli.sql_views import DeltaView, RefusedView

_RUN_FILES = "az://state/runs/*/*.json"
#: A row when there is a note of any run.
ANY_RUN = f"SELECT 1 FROM glob('{_RUN_FILES}') LIMIT 1"


def address(view: DeltaView | RefusedView) -> str:
    """Where the view's Delta table is, as readers in Python and DuckDB find it."""
    return f"az://{view.container}/{view.folder}"


def describe(view: DeltaView | RefusedView) -> str:
    """Ask for the columns that the view's table has."""
    return f"DESCRIBE SELECT * FROM {_scan(view)}"


def delta_select(view: DeltaView, found: Mapping[str, str]) -> str:
    """The rows that no mark hides; `found` are the columns and types that the table has."""
    columns = [_typed(name, kind, found) for name, kind in view.columns.items()]
    if not found:
        return _empty(columns)
    kept = " AND ".join(f'"{mark}" IS NOT TRUE' for mark in view.marks if mark in found)
    return f"SELECT {', '.join(columns)} FROM {_scan(view)} WHERE {kept or 'true'}"


def refused_select(view: RefusedView, found: Mapping[str, str]) -> str:
    """Every refused record of a dataset, its bytes also as text if they are text."""
    columns = [_typed(name, kind, found) for name, kind in REFUSED_COLUMNS.items()]
    text = "TRY(decode(body))" if "body" in found else "CAST(NULL AS VARCHAR)"
    shown = [f"'{view.dataset}' AS dataset", *columns, f'{text} AS "record"']
    if not found:
        return _empty(shown)
    return f"SELECT {', '.join(shown)} FROM {_scan(view)}"


def all_refused_select(names: Iterable[str]) -> str:
    """The refused records of all datasets, given the names of their views."""
    views = [f"SELECT * FROM {name}" for name in names]
    columns = [_typed(name, kind, {}) for name, kind in REFUSED_COLUMNS.items()]
    nothing = _empty(["'' AS dataset", *columns, 'CAST(NULL AS VARCHAR) AS "record"'])
    return " UNION ALL ".join(views) or nothing


def runs_select(*, found: bool) -> str:
    """Every run as the function app noted it; `found` says whether there is a note at all."""
    columns = []
    for name, (path, kind) in RUN_COLUMNS.items():
        value = path.removeprefix("$.") if found else "NULL"
        if found and name == "dataset":  # A condition on it then reads one folder only.
            value = "split_part(filename, '/', -2)"
        columns.append(f'CAST({value} AS {sql_type(kind).duckdb}) AS "{name}"')
    if not found:
        return _empty(columns)
    types = f"{{{', '.join(_noted_columns())}}}"
    notes = f"read_json('{_RUN_FILES}', columns = {types}, filename = true)"
    return f"SELECT {', '.join(columns)} FROM {notes}"


def _scan(view: DeltaView | RefusedView) -> str:
    return f"delta_scan('{address(view)}')"


def _noted_columns() -> list[str]:
    """The run's JSON as DuckDB's columns: what it counted is a struct of its own."""
    plain: dict[str, str] = {}
    counts: dict[str, str] = {}
    for path, kind in RUN_COLUMNS.values():
        outer, _, inner = path.removeprefix("$.").rpartition(".")
        (counts if outer else plain)[inner] = sql_type(kind).duckdb
    struct = ", ".join(f'"{name}" {kind}' for name, kind in counts.items())
    return [
        *(f"'{name}': '{kind}'" for name, kind in plain.items()),
        f"'counts': 'STRUCT({struct})'",
    ]


def _typed(name: str, kind: str, found: Mapping[str, str]) -> str:
    """A column in the type that Synapse shows it in; NULL when the table does not have it."""
    wanted = sql_type(kind).duckdb
    if found.get(name) == wanted:
        return f'"{name}"'  # Without a cast, so that conditions on it skip files.
    value = f'"{name}"' if name in found else "NULL"
    return f'CAST({value} AS {wanted}) AS "{name}"'


def _empty(columns: Iterable[str]) -> str:
    return f"SELECT {', '.join(columns)} WHERE false"
