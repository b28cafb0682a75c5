"""The digest: what tells whether rows, or whole tables, hold the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as fn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame


class Content(NamedTuple):
    """What a table holds, whatever the order of its rows: equal contents are equal tables."""

    rows: int
    digests: int


def row_digest(names: Sequence[str]) -> Expression:
    """Return a digest of some columns; one that is NULL might as well not be there.

    `xxhash64` passes over NULL, so it is told which columns the values are of.
    """
    given = fn.concat_ws(",", *(fn.when(fn.col(name).isNotNull(), name) for name in names))
    return fn.xxhash64(given, *(fn.col(name) for name in names))


def content_of(table: DataFrame) -> Content:
    """Read the table and sum it up; columns are taken by name, in whatever order they stand."""
    digest = row_digest(sorted(table.columns)).cast("decimal(38,0)")
    [row] = table.agg(fn.count("*").alias("rows"), fn.sum(digest).alias("digests")).collect()
    return Content(rows=row["rows"], digests=int(row["digests"] or 0))
