"""The clean table of a dataset: one row a key, or one a record where there is no key.

What wins of the run's versions is compared with the table's, and only what beats it is merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

from transforms.columns import spark_type
from transforms.delta import insert_clause, merge_rows, update_clause
from transforms.newest import newest_rows, order_of
from transforms.pruning import are_in, values_of
from transforms.storage import stage_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Dataset
    from transforms.manifest import Manifest

_INSERTED, _UPDATED, _DELETED, _OLDER = "inserted", "updated", "deleted", "older"
_WAS_IN, _IS_NEW = "_was_in", "_is_new"


def dataset_types(dataset: Dataset) -> dict[str, str]:
    """Return the columns that hold what a source said."""
    columns = {name: spark_type(column) for name, column in dataset.columns.items()}
    return columns | ({"_rest": "string"} if dataset.keep_rest else {})


def clean_types(dataset: Dataset) -> dict[str, str]:
    """Return the table's columns: the dataset's in its order, then those that say where from."""
    event = {"_event_id": "string"} if dataset.ingestion == "append" else {}
    origin = {
        "_sequence": "bigint",
        "_line": "int",
        "_partition": "string",
        "_enqueued_at": "timestamp",
        "_run": "string",
        "_deleted": "boolean",
    }
    return dataset_types(dataset) | event | origin


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsChanged:
    """The run's rows, what becomes of each, and how many of each kind there are."""

    session: SparkSession = field(repr=False)
    manifest: Manifest = field(repr=False)
    staged: DataFrame = field(repr=False)
    inserted: int
    updated: int
    deleted: int
    older: int
    inserts: int

    @property
    def rows(self) -> int:
        """How many rows the table does not have yet as they are here."""
        return self.inserted + self.updated + self.deleted

    @property
    def keys(self) -> int:
        """How many rows of the table the run is about."""
        return self.rows + self.older

    def merge(self) -> None:
        """Merge them; raise `Overtaken` when somebody else was quicker."""
        dataset = self.manifest.dataset
        order, types = order_of(dataset), clean_types(dataset)
        changes = self.staged.where(fn.col("_effect") != _OLDER)
        on = order.same_key
        if dataset.partition_field:
            folders = values_of(changes, dataset.partition_field, _WAS_IN)
            on += are_in(f"t.`{dataset.partition_field}`", folders)
        merge_rows(
            self.session,
            self.manifest.table_url,
            changes.select(*types),
            on=on,
            clauses=self._clauses(order.is_newer),
        )

    def _clauses(self, is_newer: str) -> list[str]:
        """The clauses that are needed: without one of them, a MERGE costs far less."""
        types = clean_types(self.manifest.dataset)
        clauses = []
        if self.rows > self.inserts:
            clauses.append(update_clause(types, when=is_newer))
        if self.inserts:
            clauses.append(insert_clause(types))
        return clauses


def find_rows_changed(
    session: SparkSession, manifest: Manifest, records: DataFrame, url: str
) -> RowsChanged:
    """Find the run's version of each row and its effect on the table; MERGE reads them again."""
    dataset = manifest.dataset
    order, types = order_of(dataset), clean_types(dataset)
    newest = newest_rows(records, dataset, places_differ=not manifest.repeats_itself)
    winners = newest.withColumn("_run", fn.lit(manifest.run)).alias("s")
    present = _present(session, manifest, records).alias("t")
    effect = (
        fn.when(fn.col("t._sequence").isNotNull() & ~fn.expr(order.is_newer), _OLDER)
        .when(fn.col("s._deleted"), _DELETED)
        .when(fn.col("t._sequence").isNull(), _INSERTED)
        .otherwise(_UPDATED)
    )
    folder = dataset.partition_field
    marks = {"_effect": "string", _IS_NEW: "boolean"}
    was_in = {_WAS_IN: types[folder]} if folder else {}
    found = winners.join(present, fn.expr(order.same_key), "left").select(
        *(fn.col(f"s.{name}") for name in types),
        effect.alias("_effect"),
        fn.col("t._sequence").isNull().alias(_IS_NEW),
        *(fn.col(f"t.{folder}").alias(name) for name in was_in),
    )
    staged = stage_rows(session, found, url, {**types, **marks, **was_in})
    kinds = (_INSERTED, _UPDATED, _DELETED, _OLDER)
    counts = [fn.count_if(fn.col("_effect") == kind).alias(kind) for kind in kinds]
    [row] = staged.agg(*counts, fn.count_if(fn.col(_IS_NEW)).alias("inserts")).collect()
    return RowsChanged(session=session, manifest=manifest, staged=staged, **row.asDict())


def _present(session: SparkSession, manifest: Manifest, records: DataFrame) -> DataFrame:
    """Return what decides of the table's rows; of an append table, of the run's folders only.

    Copies of an event are equal, so they are in one folder. A row that has a key may be in any.
    """
    dataset = manifest.dataset
    folder = dataset.partition_field
    table = session.read.format("delta").load(manifest.table_url)
    if folder and dataset.ingestion == "append":
        table = table.where(f"true{are_in(folder, values_of(records, folder))}")
    names = dict.fromkeys((*order_of(dataset).columns, *([folder] if folder else [])))
    return table.select(*names)
