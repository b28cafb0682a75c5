"""Quarantined records: each with its reasons, where it came from and the bytes it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as fn

from shared.domain.raw_blob import partition_of
from transforms.clean import BLANK, GOOD
from transforms.delta import check_table, prepare_table, table_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from transforms.manifest import Manifest

#: How a blob's name tells when its hub was made: `shared.domain.raw_blob.hub_life`.
_HUB_FORMAT = "yyyyMMdd'T'HHmmss"
_TYPES = {
    "run_id": "string",
    "reason": "string",
    "blob": "string",
    "partition": "string",
    "sequence_number": "bigint",
    "line": "int",
    "enqueued_time": "timestamp",
    "body": "binary",
}


def blobs_frame(session: SparkSession, manifest: Manifest) -> DataFrame:
    """Return the manifest's blobs: an event is in one whose range holds its number."""
    rows = [
        (
            blob.name,
            blob.partition,
            partition_of(blob.name).hub,
            blob.sequence_first,
            blob.sequence_last,
            blob.events,
        )
        for blob in manifest.blobs
    ]
    schema = (
        "_blob string, _blob_partition string, _blob_hub string, _blob_first bigint, "
        "_blob_last bigint, _blob_events bigint"
    )
    return session.createDataFrame(rows, schema)


def in_blob() -> str:
    """Return the SQL condition that a row's event is in a blob of `blobs_frame`."""
    return "_partition = _blob_partition and _sequence between _blob_first and _blob_last"


def quarantine_records(
    session: SparkSession, records: DataFrame, manifest: Manifest, *, count: int
) -> None:
    """Replace what the run quarantined before by the records that are bad now: `count` of them."""
    url = manifest.quarantine_url
    if count == 0 and not _holds_rows_of(session, url, manifest.run):
        return
    prepare_table(session, url, _TYPES)
    bad = records.where(~fn.col("_reason").isin(GOOD, BLANK))
    rows = _located(bad, blobs_frame(session, manifest)).select(
        fn.lit(manifest.run).alias("run_id"),
        fn.col("_reason").alias("reason"),
        fn.col("_blob").alias("blob"),
        fn.col("_partition").alias("partition"),
        fn.col("_sequence").alias("sequence_number"),
        fn.col("_line").alias("line"),
        fn.col("_enqueued_at").alias("enqueued_time"),
        fn.col("_body").alias("body"),
    )
    this_run = f"run_id = '{manifest.run}'"
    writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", this_run)
    writer.save(url)
    check_table(session, url)
    found = _rows_of(session, url, manifest.run).count()
    # What two blobs hold is counted twice and kept once.
    assert found == count or manifest.repeats_itself, (
        f"{count} records are refused, {found} are in quarantine"
    )


def _located(bad: DataFrame, blobs: DataFrame) -> DataFrame:
    """Return each refused record once, with the one blob that is named for it.

    Two writers of a partition may land an event twice, in blobs whose ranges overlap. And a hub
    that was made again counts from 0 again: an event is of the last hub that was made before it.
    """
    was_there = fn.col("_blob_hub") <= fn.date_format("_enqueued_at", _HUB_FORMAT)
    # Sail can order a window by columns only.
    found = bad.join(blobs, fn.expr(in_blob()), "left").withColumn("_was_there", was_there)
    of_record = Window.partitionBy("_partition", "_sequence", "_line", "_enqueued_at").orderBy(
        fn.col("_was_there").desc_nulls_last(), fn.col("_blob_hub").desc_nulls_last(), "_blob"
    )
    return found.withColumn("_rank", fn.row_number().over(of_record)).where("_rank = 1")


def _holds_rows_of(session: SparkSession, url: str, run: str) -> bool:
    """Say whether an earlier attempt, perhaps of an older wheel, quarantined records."""
    if table_types(session, url) is None:
        return False
    return bool(_rows_of(session, url, run).limit(1).collect())


def _rows_of(session: SparkSession, url: str, run: str) -> DataFrame:
    return session.read.format("delta").load(url).where(fn.col("run_id") == run)
