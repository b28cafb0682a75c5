"""The SQL of a curated table or view: where it is, what it sees, and what it must give."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from shared.domain.sql_types import sql_type
from transforms.errors import RunFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Curated


#: Also in the wheel: package data of `transforms`.
FOLDER = resources.files("transforms") / "curated"


def read_sql(curated: Curated) -> str:
    """Return the SQL of a curated table or view; raise `RunFailed` when there is none."""
    path = FOLDER / f"{curated.name}.sql"
    if not path.is_file():
        raise RunFailed(f"there is no transforms/curated/{curated.name}.sql in the transform")
    return path.read_text(encoding="utf-8").strip().rstrip(";")


def curated_types(curated: Curated) -> dict[str, str]:
    """Return the declared columns as Spark names their types."""
    return {name: sql_type(kind).spark for name, kind in curated.columns.items()}


def curated_rows(
    session: SparkSession,
    curated: Curated,
    tables: Mapping[str, DataFrame],
    *,
    views: Sequence[Curated] = (),
) -> DataFrame:
    """Run the SQL over tables, named as SQL names them; return exactly the declared columns.

    Raise `RunFailed` when the SQL is wrong or gives something else.
    """
    for name, table in tables.items():
        table.createOrReplaceTempView(name)
    for view in views:
        _run(session, view).createOrReplaceTempView(view.table)
    rows = _run(session, curated)
    types = curated_types(curated)
    found = {column.name: column.dataType.simpleString() for column in rows.schema}
    problems = [f"{name!r} is missing" for name in types if name not in found]
    problems += [f"{name!r} is not declared" for name in found if name not in types]
    problems += [
        f"{name!r} is {found[name]}, not {kind}"
        for name, kind in types.items()
        if found.get(name, kind) != kind
    ]
    if len(rows.columns) > len(found):
        problems.append("two columns have one name")
    if problems:
        raise RunFailed(
            f"the SQL of curated table {curated.name!r} does not give what pipeline.json declares: "
            f"column {'; column '.join(problems)}"
        )
    return rows.select(*types)


def _run(session: SparkSession, curated: Curated) -> DataFrame:
    try:
        rows = session.sql(read_sql(curated))
        rows.schema  # noqa: B018 -- Only now the engine looks at the statement.
    except PySparkException as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunFailed(f"transforms/curated/{curated.name}.sql is wrong: {reason}") from error
    return rows
