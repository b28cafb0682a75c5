"""How a curated table's SQL is tested by itself: small tables in, rows out.

    rows = run_curated(session, document, "earthquakes-daily", earthquakes=[{"magnitude": 4.6}])

The tables have the types that `pipeline.json` declares; what a row leaves out is NULL. What comes
back are dictionaries, in whatever order the SQL leaves them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.dataset import Curated, Dataset
from shared.domain.manifest import views_of
from shared.domain.sql_types import sql_type
from transforms.curated_sql import curated_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import SparkSession

    from shared.domain.document import Document

type Row = dict[str, Any]


def run_curated(
    session: SparkSession, document: Document, name: str, **tables: Sequence[Mapping[str, Any]]
) -> list[Row]:
    """Run the SQL of a curated table over these rows of the tables it reads, by their SQL names."""
    curated = document.table(name)
    assert isinstance(curated, Curated), f"{name} is a dataset"
    frames = {}
    for table, rows in tables.items():
        [declared] = [part for part in document.tables if part.table == table]
        types = _types(declared)
        values = [tuple(row.get(column) for column in types) for row in rows]
        schema = ", ".join(f"`{column}` {kind}" for column, kind in types.items())
        frames[table] = session.createDataFrame(values, schema)
    found = curated_rows(session, curated, frames, views=views_of(curated, document))
    return [row.asDict() for row in found.collect()]


def _types(table: Dataset | Curated) -> dict[str, str]:
    if isinstance(table, Curated):
        return {name: sql_type(kind).spark for name, kind in table.columns.items()}
    types = {name: sql_type(column.type).spark for name, column in table.columns.items()}
    return types | {"_enqueued_at": "timestamp"}
