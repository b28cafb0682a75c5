"""The history of a dataset: every version of a row, and from when to when it was the row.

A version begins when the source says so, by an incremental field that is a time, and otherwise when
the hub took it; never later than the version after it. It ends where the next begins. What makes a
table right under any order of runs is that nothing is thrown away: a version that repeats the one
before it (`_repeated`) and a deletion (`_deleted`) are rows too, which last no time at all. A run
adds its versions and works out anew, of the keys it is about, what their coming changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as fn

from transforms.clean_table import clean_types, dataset_types
from transforms.delta import insert_clause, merge_rows, update_clause
from transforms.digest import row_digest
from transforms.errors import RunFailed
from transforms.newest import PLACE, order_of, versions
from transforms.pruning import are_in, values_of
from transforms.storage import stage_rows

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Dataset
    from transforms.manifest import Manifest

#: What follows from the versions around one. Everything else in a row never changes.
_DERIVED = {
    "validFrom": "timestamp",
    "validTo": "timestamp",
    "isCurrent": "boolean",
    "_repeated": "boolean",
}
_CONTENT, _BEGINS, _KNOWN = "_content", "_begins", "_known"
_SAME_PLACE = " and ".join(f"s.`{name}` = t.`{name}`" for name in PLACE)


def history_types(dataset: Dataset) -> dict[str, str]:
    """Return the history's columns: the table's, when a version was valid, and its digest."""
    taken = {name.lower() for name in _DERIVED}
    for name in dataset.columns:
        if name.lower() in taken:
            raise RunFailed(f"column {name!r} is one that a history has for itself; rename it")
    return clean_types(dataset) | _DERIVED | {_CONTENT: "bigint"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsChanged:
    """The versions that are new or end differently now, and how many there are."""

    session: SparkSession = field(repr=False)
    manifest: Manifest = field(repr=False)
    staged: DataFrame = field(repr=False)
    rows: int
    inserts: int

    def merge(self) -> None:
        """Merge them; raise `Overtaken` when somebody else was quicker."""
        dataset = self.manifest.dataset
        on = _SAME_PLACE
        if dataset.partition_field:  # A version stays in the folder it is in.
            folders = values_of(self.staged, dataset.partition_field)
            on += are_in(f"t.`{dataset.partition_field}`", folders)
        merge_rows(
            self.session,
            self.manifest.history_url,
            self.staged.drop(_KNOWN),
            on=on,
            clauses=(update_clause(_DERIVED), insert_clause(history_types(dataset))),
        )


def find_versions_changed(
    session: SparkSession, manifest: Manifest, records: DataFrame, url: str
) -> VersionsChanged:
    """Find what the run's versions add to the history and change in it; MERGE reads them again."""
    dataset = manifest.dataset
    types = history_types(dataset)
    table = session.read.format("delta").load(manifest.history_url)
    found = versions(records, order_of(dataset)).withColumn("_run", fn.lit(manifest.run))
    if manifest.repeats_itself:
        found = found.dropDuplicates([*PLACE])
    new = _narrow(found.withColumn(_CONTENT, _digest_of(dataset)), dataset)
    known = _narrow_known(table, new, dataset)
    around = _derive(known.unionByName(new.join(known, [*PLACE], "left_anti")), dataset)
    is_other = [~fn.col(name).eqNullSafe(fn.col(f"_was_{name}")) for name in _DERIVED]
    changed = around.where(reduce(or_, is_other, ~fn.col(_KNOWN)))
    wide = _widen(changed, found, dataset)
    staged = stage_rows(session, wide, url, types | {_KNOWN: "boolean"})
    [row] = staged.agg(
        fn.count("*").alias("rows"), fn.count_if(~fn.col(_KNOWN)).alias("inserts")
    ).collect()
    return VersionsChanged(session=session, manifest=manifest, staged=staged, **row.asDict())


def _digest_of(dataset: Dataset) -> Expression:
    """What two versions have in common of which the later one repeats the earlier."""
    return row_digest([*dataset_types(dataset), "_deleted"])


def _narrow(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """Return of the run's versions what the rest is worked out from: wide rows are dear to sort."""
    return rows.select(
        *_narrow_names(dataset),
        *(fn.lit(None).cast(kind).alias(f"_was_{name}") for name, kind in _DERIVED.items()),
        fn.expr("false").alias(_KNOWN),
    )


def _narrow_known(table: DataFrame, new: DataFrame, dataset: Dataset) -> DataFrame:
    """Return the same of those versions in the history that are of the keys of the run's."""
    keys = new.select(*order_of(dataset).key).distinct()
    read = table.select(*_narrow_names(dataset), *_DERIVED).alias("t")
    same_key = fn.expr(order_of(dataset).same_key)
    found = keys.alias("s").join(read, same_key).select("t.*")
    return found.select(
        *_narrow_names(dataset),
        *(fn.col(name).alias(f"_was_{name}") for name in _DERIVED),
        fn.expr("true").alias(_KNOWN),
    )


def _narrow_names(dataset: Dataset) -> list[str]:
    folder = [dataset.partition_field] if dataset.partition_field else []
    return list(dict.fromkeys((*order_of(dataset).columns, "_deleted", _CONTENT, *folder)))


def _widen(changed: DataFrame, found: DataFrame, dataset: Dataset) -> DataFrame:
    """Give the new versions the columns they are to have; what is in the history has its own."""
    names = _narrow_names(dataset)
    wide = [name for name in clean_types(dataset) if name not in names]
    same_place = " and ".join(f"s.`{name}` = r.`{name}`" for name in PLACE)
    same_place += f" and not s.{_KNOWN}"
    return (
        changed.alias("s")
        .join(found.alias("r"), fn.expr(same_place), "left")
        .select(
            *(fn.col(f"s.`{name}`") for name in (*names, *_DERIVED, _KNOWN)),
            *(fn.col(f"r.`{name}`") for name in wide),
        )
    )


def _derive(rows: DataFrame, dataset: Dataset) -> DataFrame:
    """Work out of all versions of some keys when each was valid."""
    oldest_first = order_of(dataset).window(winner_first=False)
    to_the_end = oldest_first.rowsBetween(Window.currentRow, Window.unboundedFollowing)
    after = oldest_first.rowsBetween(1, Window.unboundedFollowing)
    begun = (
        rows.withColumn("_before", fn.lag(_CONTENT).over(oldest_first))
        .withColumn(_BEGINS, fn.min(_begins(dataset)).over(to_the_end))
        .withColumn("_repeated", fn.col("_before").eqNullSafe(fn.col(_CONTENT)))
    )
    # The beginnings never go back from version to version, so the next is the least to come.
    begins_next = fn.min(fn.when(~fn.col("_repeated"), fn.col(_BEGINS))).over(after)
    is_valid = ~fn.col("_repeated") & ~fn.col("_deleted")
    return (
        begun.withColumn("_next", begins_next)
        .withColumn("validFrom", fn.col(_BEGINS))
        .withColumn("validTo", fn.when(is_valid, fn.col("_next")).otherwise(fn.col(_BEGINS)))
        .withColumn("isCurrent", is_valid & fn.col("_next").isNull())
    )


def _begins(dataset: Dataset) -> Expression:
    """When a version begins, were it the only one."""
    name = dataset.incremental_field
    if dataset.ingestion == "full" or name is None:
        return fn.col("_enqueued_at")
    if dataset.columns[name].kind not in ("timestamp", "date"):
        return fn.col("_enqueued_at")
    return fn.coalesce(fn.col(name).cast("timestamp"), fn.col("_enqueued_at"))
