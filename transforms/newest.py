"""Newest: which of several versions of a row wins, whatever order they arrive in.

A style of ingestion has one total order of versions, so that the table is the same after any order
of runs. Versions are compared by

- incremental: the incremental field (none is the oldest), then the place in the hub;
- full: the place in the hub alone. What a source shows in its snapshots, deletions among it, has
  no other order: a row may come back with an older incremental field, and a deletion has none;
- append: the place in the hub, and the first copy of a line of an event wins. Copies are equal.

The place in the hub is the enqueued time, then sequence number and line. Two partitions may agree
even on those, so the partition decides last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as fn

from transforms.clean import GOOD

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame
    from pyspark.sql.window import WindowSpec

    from shared.domain.dataset import Dataset

#: Where a record is in the hub.
PLACE = ("_enqueued_at", "_sequence", "_line", "_partition")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What names a row, what its versions are compared by, and which end of the order wins."""

    key: tuple[str, ...]
    ranking: tuple[str, ...]
    last_wins: bool = True
    follows_deletions: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that decide whether a version changes the table."""
        return tuple(dict.fromkeys((*self.key, *self.ranking)))

    @property
    def same_key(self) -> str:
        """The SQL condition that source `s` and target `t` are versions of one row."""
        return " and ".join(f"s.`{name}` <=> t.`{name}`" for name in self.key)

    @property
    def is_newer(self) -> str:
        """The SQL condition that source `s` beats target `t`: true or false, never NULL."""
        winner, loser = ("s", "t") if self.last_wins else ("t", "s")
        condition = "false"
        for name in reversed(self.ranking):
            ours, theirs = f"{winner}.`{name}`", f"{loser}.`{name}`"
            later = f"{ours} > {theirs} or ({ours} is not null and {theirs} is null)"
            condition = f"{later} or ({ours} <=> {theirs} and ({condition}))"
        return f"coalesce({condition}, false)"

    def window(self, *, winner_first: bool) -> WindowSpec:
        """A window over the versions of one row."""
        descending = self.last_wins == winner_first
        ordered = [_ranked(name, descending=descending) for name in self.ranking]
        return Window.partitionBy(*self.key).orderBy(*ordered)


def order_of(dataset: Dataset) -> Order:
    """Return the order that the dataset's style of ingestion has."""
    if dataset.ingestion == "append":
        return Order(key=("_event_id", "_line"), ranking=PLACE, last_wins=False)
    if dataset.ingestion == "full":
        return Order(key=dataset.primary_key, ranking=PLACE, follows_deletions=True)
    field = dataset.incremental_field
    return Order(key=dataset.primary_key, ranking=PLACE if field is None else (field, *PLACE))


def versions(records: DataFrame, order: Order) -> DataFrame:
    """Return the records that are versions of a row: the good ones, deletions if they count."""
    good = fn.col("_reason") == GOOD
    return records.where(good if order.follows_deletions else good & ~fn.col("_deleted"))


def newest_rows(records: DataFrame, dataset: Dataset, *, places_differ: bool = False) -> DataFrame:
    """Return the version that wins of each row.

    Where no two records have one place, only the columns that decide are sorted, and the winners
    are found again by their place: wide rows are dear to sort.
    """
    order = order_of(dataset)
    candidates = versions(records, order)
    if not places_differ:
        return _winners(candidates, order)
    places = _winners(candidates.select(*order.columns), order).select(*PLACE).alias("w")
    same_place = " and ".join(f"r.`{name}` = w.`{name}`" for name in PLACE)
    # In this order: Sail keeps the left side of a join in memory, and the places are narrow.
    found = places.join(candidates.alias("r"), fn.expr(same_place))
    return found.select(*(fn.col(f"r.`{name}`").alias(name) for name in candidates.columns))


def _winners(candidates: DataFrame, order: Order) -> DataFrame:
    # A window, not `max_by` of a struct: that takes ten times the time and memory on Sail.
    ranked = candidates.withColumn("_rank", fn.row_number().over(order.window(winner_first=True)))
    return ranked.where(fn.col("_rank") == 1).drop("_rank")


def _ranked(name: str, *, descending: bool) -> Expression:
    column = fn.col(name)
    return column.desc_nulls_last() if descending else column.asc_nulls_first()
