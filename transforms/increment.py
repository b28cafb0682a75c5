"""The increment of a curated table: what the SQL makes of changed rows, merged by primary key.

It takes SQL that makes at most one row of each row it reads, and gives it that row's key, under the
same names. So a row that was changed and of which nothing is made is known by its key, be it that
it was deleted or that the SQL leaves it out now; its curated row is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

from transforms.curated_sql import curated_types
from transforms.delta import delete_clause, insert_clause, merge_rows, update_clause
from transforms.digest import row_digest
from transforms.errors import RunFailed
from transforms.storage import stage_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Curated
    from transforms.manifest import CuratedManifest, Input

_INSERTED, _UPDATED, _DELETED, _SAME = "inserted", "updated", "deleted", "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Increment:
    """The rows to be changed, and how many of each kind there are."""

    session: SparkSession = field(repr=False)
    manifest: CuratedManifest = field(repr=False)
    staged: DataFrame = field(repr=False)
    inserted: int
    updated: int
    deleted: int

    @property
    def rows(self) -> int:
        """How many rows the table does not have yet as they are here."""
        return self.inserted + self.updated + self.deleted

    @property
    def inserts(self) -> int:
        """How many of them it does not have at all."""
        return self.inserted

    def merge(self) -> None:
        """Merge them; raise `Overtaken` when somebody else was quicker."""
        curated = self.manifest.curated
        gone = f"s._effect = '{_DELETED}'"
        merge_rows(
            self.session,
            self.manifest.table_url,
            self.staged.where(fn.col("_effect") != _SAME),
            on=_same_key(curated),
            clauses=(
                delete_clause(when=gone),
                update_clause(curated.columns),
                insert_clause(curated.columns, when=f"not {gone}"),
            ),
        )


def only_input(manifest: CuratedManifest) -> Input:
    """Return the dataset that an incremental table is made of; `RunFailed` if it cannot be."""
    curated = manifest.curated
    if len(manifest.inputs) != 1 or manifest.inputs[0].kind != "clean":
        names = ", ".join(table.name for table in manifest.inputs)
        raise RunFailed(
            f"curated table {curated.name!r} cannot be incremental: it has to read one dataset and "
            f"nothing else, not {names}; without incremental it is written as a whole"
        )
    return manifest.inputs[0]


def check_increment(rows: DataFrame, changed: DataFrame, curated: Curated) -> None:
    """Raise `RunFailed` when rows do not come, one each at most, from rows with the same key."""
    key = list(curated.primary_key)
    missing = [name for name in key if name not in changed.columns]
    if missing:
        raise RunFailed(
            f"curated table {curated.name!r} cannot be incremental: the dataset it reads has no "
            f"column {missing[0]!r}, so nobody knows which row comes from which"
        )
    made = rows.groupBy(*key).agg(fn.count("*").alias("_made"))
    strange = made.alias("s").join(
        changed.select(*key).distinct().alias("t"), fn.expr(_same_key(curated)), "left_anti"
    )
    many = made.where("_made > 1").limit(1)
    for frame, complaint in ((many, "two rows have"), (strange.limit(1), "no changed row has")):
        found = frame.select(*key).collect()
        if found:
            raise RunFailed(
                f"curated table {curated.name!r} cannot be incremental: {complaint} the key "
                f"{found[0].asDict()}, but one row comes from one row with the same key"
            )


def find_increment(
    session: SparkSession,
    manifest: CuratedManifest,
    rows: DataFrame,
    changed: DataFrame,
    url: str,
) -> Increment:
    """Find what the rows change in the table, and which of its rows are gone; MERGE reads them."""
    curated = manifest.curated
    types = curated_types(curated)
    table = session.read.format("delta").load(manifest.table_url)
    digest = row_digest(list(types))
    keys = changed.select(*curated.primary_key).distinct().alias("k")
    made = rows.withColumn("_digest", digest).alias("s")
    there = table.withColumn("_digest", digest)
    there = there.select(*curated.primary_key, "_digest").alias("t")
    of_made, of_there = (_same_key(curated, left="k", right=right) for right in "st")
    effect = (
        fn.when(fn.col("s._digest").isNull() & fn.col("t._digest").isNull(), _SAME)
        .when(fn.col("s._digest").isNull(), _DELETED)
        .when(fn.col("t._digest").isNull(), _INSERTED)
        .when(fn.col("s._digest") == fn.col("t._digest"), _SAME)
        .otherwise(_UPDATED)
    )
    columns = [
        fn.col(f"{'k' if name in curated.primary_key else 's'}.{name}").alias(name)
        for name in types
    ]
    joined = keys.join(made, fn.expr(of_made), "left").join(there, fn.expr(of_there), "left")
    found = joined.select(*columns, effect.alias("_effect"))
    staged = stage_rows(session, found, url, {**types, "_effect": "string"})
    kinds = (_INSERTED, _UPDATED, _DELETED)
    counts = [fn.count_if(fn.col("_effect") == kind).alias(kind) for kind in kinds]
    [row] = staged.agg(*counts).collect()
    return Increment(session=session, manifest=manifest, staged=staged, **row.asDict())


def _same_key(curated: Curated, *, left: str = "s", right: str = "t") -> str:
    return " and ".join(f"{left}.`{name}` <=> {right}.`{name}`" for name in curated.primary_key)
