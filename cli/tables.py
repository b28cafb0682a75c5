"""The tables on this machine: DuckDB over the Delta tables of the lake.

Nothing is loaded or read before a question needs it: the extensions are half a second, and only
the views that a question names are made.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cli.duckdb_views import (
    ANY_RUN,
    address,
    all_refused_select,
    delta_select,
    describe,
    refused_select,
    runs_select,
)
from cli.sql_problems import explained
from cli.sql_text import asks_for_the_catalog, check_it_asks, words
from cli.sql_views import (
    DELETED,
    OPERATIONS,
    REFUSED,
    REFUSED_COLUMNS,
    RUN_COLUMNS,
    RUNS,
    CuratedView,
    DeltaView,
    columns_in_spark,
    views_of,
)
from shared.domain import document as documents
from shared.domain.errors import Misconfigured
from shared.domain.run import has_runs
from shared.settings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from cli.sql_text import Word
    from cli.sql_views import RefusedView
    from shared.settings import Settings

#: Where the SQL of curated tables and views is.
CURATED = ROOT / "transforms" / "curated"
#: What the readers say of a table, a folder or a container that is not there (yet).
_ROWS_AT_ONCE = 1_000
_ABSENT = ("No files in log segment", "ContainerNotFound")


class Tables:
    """An in-memory database that reads the lake; raises `Misconfigured` when it cannot."""

    def __init__(self, found: Settings, *, curated_folder: Path = CURATED) -> None:
        """Nothing is read before it is asked for."""
        import duckdb  # noqa: PLC0415 -- A third of a second that most commands can do without.

        if not found.lake:
            raise Misconfigured("LAKE", "is not a connection string; query Synapse instead")
        document = documents.load(found.pipeline_file)
        self._duckdb = duckdb
        self._refused = duckdb.Error
        self._datasets = document.datasets
        self._written = [part for part in document.tables if has_runs(part)]
        self._lake = found.lake
        self._views = views_of(document, curated_folder=curated_folder)
        #: Tables and views with their columns; a curated view's are known once it is made.
        self._columns: dict[str, Mapping[str, str]] = {
            view.name: view.columns if isinstance(view, DeltaView) else {}
            for view in self._views.tables
        } | {
            RUNS: {name: kind for name, (_, kind) in RUN_COLUMNS.items()},
            REFUSED: {"dataset": "string", **REFUSED_COLUMNS, "record": "string"},
        }
        # A name in a question is a table, never a variable of this program.
        self._connection = duckdb.connect(config={"python_enable_replacements": False})
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(f"CREATE SCHEMA {OPERATIONS}")
        self._connection.execute(f"SET search_path = 'main,{OPERATIONS}'")
        self._is_loaded = False

    def __enter__(self) -> Self:
        """Keep the database open for several questions."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._connection.close()

    def answer(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a question; each table is a view of its name."""
        columns, batches = self.ask(sql)
        return columns, [row for rows in batches for row in rows]

    def ask(self, sql: str) -> tuple[list[str], Iterator[list[tuple[Any, ...]]]]:
        """Columns of a question, and its rows as they come; it has to be one that only reads."""
        with self._explaining(sql) as said:
            self._prepare(sql, said)
            found = self._connection.execute(sql)
        return [column[0] for column in found.description], self._rows(found, sql)

    def relation(self, sql: str) -> DuckDBPyRelation:
        """The question itself, not yet answered; it has to be one that only reads."""
        with self._explaining(sql) as said:
            self._prepare(sql, said)
            return self._connection.sql(sql)

    def write(self, question: DuckDBPyRelation, path: Path, options: str) -> int:
        """Write an answer into a file as it comes; return how many rows it has."""
        question.create_view("the answer")
        columns = self._connection.execute('DESCRIBE "the answer"').fetchall()
        names = [f'"{row[0].replace(chr(34), chr(34) * 2)}"' for row in columns]
        texts = [  # JSON has no exact numbers with a point.
            f"CAST({name} AS VARCHAR) AS {name}"
            for name, row in zip(names, columns, strict=True)
            if "json" in options and row[1].startswith("DECIMAL")
        ]
        replaced = f"REPLACE ({', '.join(texts)})" if texts else ""
        target = str(path).replace("'", "''")
        sql = f"COPY (SELECT * {replaced} FROM \"the answer\") TO '{target}' ({options})"  # noqa: S608 -- It was checked.
        with self._explaining(""):
            [(count,)] = self._connection.execute(sql).fetchall()
        return int(count)

    def show_progress(self, *, shown: bool) -> None:
        """Draw a bar while a long question is answered."""
        self._connection.execute(f"SET enable_progress_bar = {str(shown).lower()}")

    def count(self) -> dict[str, int]:
        """Rows that each table shows; 0 for one that no run has made yet."""
        self._make({part.table.lower() for part in self._written})
        counts = {}
        for part in self._written:
            found = self._ask(f'SELECT count(*) FROM main."{part.table}"')  # noqa: S608 -- The document checks names.
            counts[part.name] = found[0][0] if found else 0
        return counts

    def definitions(self) -> list[str]:
        """Statements that make the same views of tables in a database of somebody else's."""
        self._make({view.name.lower() for view in self._views.tables})
        sql = (
            "SELECT view_name, sql FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal"
        )
        made = dict(self._ask(sql))
        return [made[view.name] for view in self._views.tables]

    def written(self) -> dict[str, bool]:
        """Address of each table that is there, and whether it marks deleted rows."""
        views = [view for view in self._views.tables if isinstance(view, DeltaView)]
        found = {address(view): self._found(view) for view in views}
        return {place: DELETED in columns for place, columns in found.items() if columns}

    def _rows(self, found: DuckDBPyConnection, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with self._explaining(sql):
            while rows := found.fetchmany(_ROWS_AT_ONCE):
                yield rows

    @contextmanager
    def _explaining(self, sql: str) -> Iterator[list[Word]]:
        """Say what is wrong with a question in a person's words; give the words of it."""
        said = words(sql, self._duckdb)
        try:
            yield said
        except self._refused as error:
            texts = {word.text for word in said}
            asked = [name for name in self._columns if name.lower() in texts]
            raise explained(error, sql, said=said, views=self._columns, asked=asked) from error

    def _prepare(self, sql: str, said: list[Word]) -> None:
        """Make the views that a question names, once it is known to be one."""
        check_it_asks(self._duckdb.extract_statements(sql), sql, self._duckdb)
        texts = {word.text for word in said}
        if asks_for_the_catalog(said):
            texts = {view.name.lower() for view in self._views.tables} | {RUNS, REFUSED}
        self._make(texts)

    def _make(self, names: set[str]) -> None:
        """Make the views of these names anew, and those they read: tables change meanwhile."""
        wanted = set(names)
        for view in reversed(self._views.tables):
            if isinstance(view, CuratedView) and view.name.lower() in wanted:
                wanted |= {name.lower() for name in view.reads}
        for view in self._views.tables:
            if view.name.lower() in wanted:
                self._create(f'main."{view.name}"', self._select(view))
        if RUNS in wanted:
            found = bool(self._ask(ANY_RUN))
            self._create(f"{OPERATIONS}.{RUNS}", runs_select(found=found))
        every = {view.name.lower() for view in self._views.refused} if REFUSED in wanted else set()
        for refused in self._views.refused:
            if refused.name.lower() in wanted | every:
                select = refused_select(refused, self._found(refused))
                self._create(f'{OPERATIONS}."{refused.name}"', select)
        if every:
            names_of_all = [f'{OPERATIONS}."{view.name}"' for view in self._views.refused]
            self._create(f"{OPERATIONS}.{REFUSED}", all_refused_select(names_of_all))

    def _select(self, view: DeltaView | CuratedView) -> str:
        if isinstance(view, DeltaView):
            return delta_select(view, self._found(view))
        from cli.curated_dialect import translate  # noqa: PLC0415 -- Slow, and most have none.

        known = {
            other.name: columns_in_spark(other)
            if isinstance(other, DeltaView)
            else self._columns[other.name]
            for other in self._views.tables
        }
        translated = translate(view, known=known, dialect="duckdb", schema="main")
        self._columns[view.name] = translated.columns
        return translated.sql

    def _create(self, name: str, select: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")

    def _found(self, view: DeltaView | RefusedView) -> dict[str, str]:
        """Columns of the view's table and their types; none while it is not there."""
        return {row[0]: row[1] for row in self._ask(describe(view))}

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows, or none while the table is not there."""
        self._load()
        try:
            return self._connection.execute(sql).fetchall()
        except self._refused as error:
            if any(text in str(error) for text in _ABSENT):
                return []
            raise explained(error, "", said=(), views={}, asked=()) from error

    def _load(self) -> None:
        """Load what reads the lake, once."""
        if self._is_loaded:
            return
        _tell_emulator(self._lake)
        for name in ("azure", "delta"):
            self._connection.execute(f"LOAD '{extension(name)}'")
        secret = self._lake.replace("'", "''")
        self._connection.execute(f"CREATE SECRET (TYPE azure, CONNECTION_STRING '{secret}')")
        self._is_loaded = True


def _tell_emulator(connection_string: str) -> None:
    """The Delta reader finds Azurite by two variables of the environment, and by nothing else."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    endpoint = parts.get("BlobEndpoint", "")
    if "127.0.0.1" in endpoint:
        os.environ["AZURE_STORAGE_USE_EMULATOR"] = "true"  # noqa: TID251 -- See above.
        os.environ["AZURITE_BLOB_STORAGE_URL"] = endpoint.rpartition("/")[0]  # noqa: TID251


def extension(name: str) -> Path:
    """Path of an extension that a PyPI package carries, so that nothing is downloaded."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    places = found.submodule_search_locations if found else None
    assert places, "requirements-dev.txt installs it"
    return next(Path(places[0]).rglob(f"{name}.duckdb_extension"))
