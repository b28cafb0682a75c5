"""raw → table: what one run does.

It may be repeated, and killed anywhere: staged rows are only ever this attempt's, quarantined
records replace those of the same run, and a row is merged only if it is newer than the table's.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as fn

from transforms.clean import BLANK, GOOD, clean_records, clean_schema, read_events
from transforms.columns import spark_type
from transforms.delta import check_table, merge_rows, prepare_table
from transforms.errors import RunFailed
from transforms.manifest import read_manifest
from transforms.newest import columns_compared, is_newer, newest_rows, same_key
from transforms.quarantine import blobs_frame, in_blob, quarantine_records
from transforms.result import TableWritten
from transforms.storage import write_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from shared.domain.dataset import Dataset
    from transforms.manifest import Manifest

_INSERTED, _UPDATED, _OLDER = "inserted", "updated", "older"


class _Counted(NamedTuple):
    """What the staged rows say; `keys` is how many rows the good records should have become."""

    events: int
    records: int
    quarantined: int
    keys: int
    inserted: int
    updated: int
    older: int


def write_table(session: SparkSession, *, run: str, manifest_url: str) -> TableWritten:
    """Bring the run's records into its table; write and return the result.

    Raise `RunFailed`, before anything is merged, when the manifest, the blobs or the table are not
    what they must be.
    """
    manifest = read_manifest(session, manifest_url, run=run)
    dataset = manifest.dataset
    types = _table_types(dataset)
    existed = prepare_table(
        session, manifest.table_url, types, partition_field=dataset.partition_field
    )
    # Random on purpose: a forgotten attempt that still runs must not touch this one's rows. The
    # function app's housekeeping deletes old staging folders; Spark cannot delete.
    staging_url = manifest.staging_url(secrets.token_hex(4))
    records = _stage_records(session, manifest, f"{staging_url}/records")
    newest = _stage_newest(session, manifest, records, f"{staging_url}/newest", existed=existed)
    counted = _count(records, newest, dataset)
    if counted.events != manifest.events:
        _complain_of_blobs(session, records, manifest)

    quarantine_records(session, records, manifest, count=counted.quarantined)
    if counted.inserted or counted.updated:
        changes = newest.where(fn.col("_effect") != _OLDER).select(*types)
        merge_rows(
            session,
            manifest.table_url,
            changes,
            same_key=same_key(dataset),
            is_newer=is_newer(dataset),
        )
    written = TableWritten(
        run=run,
        dataset=dataset.name,
        events=counted.events,
        records=counted.records,
        duplicates=counted.records - counted.quarantined - counted.keys,
        older=counted.older,
        inserted=counted.inserted,
        updated=counted.updated,
        quarantined=counted.quarantined,
        table_version=check_table(session, manifest.table_url),
    )
    write_line(session, manifest.result_url, written.to_json())
    return written


def _table_types(dataset: Dataset) -> dict[str, str]:
    """Return the table's columns: the dataset's in its order, then those that say where from."""
    columns = {name: spark_type(column) for name, column in dataset.columns.items()}
    return columns | {
        "_sequence": "bigint",
        "_line": "int",
        "_partition": "string",
        "_enqueued_at": "timestamp",
        "_run": "string",
    }


def _stage_records(session: SparkSession, manifest: Manifest, url: str) -> DataFrame:
    """Parse every record once: what is not written out is computed again by each use."""
    records = clean_records(read_events(session, manifest), manifest.dataset)
    records.write.parquet(url)
    return session.read.schema(clean_schema(manifest.dataset)).parquet(url)


def _stage_newest(
    session: SparkSession, manifest: Manifest, records: DataFrame, url: str, *, existed: bool
) -> DataFrame:
    """Find the newest row of each key, and its effect on the table; MERGE reads them repeatedly."""
    dataset = manifest.dataset
    types = _table_types(dataset)
    newest = newest_rows(records, dataset).withColumn("_run", fn.lit(manifest.run)).alias("s")
    effect = fn.lit(_INSERTED)
    if existed:
        table = session.read.format("delta").load(manifest.table_url)
        present = table.select(*columns_compared(dataset)).alias("t")
        newest = newest.join(present, fn.expr(same_key(dataset)), "left")
        effect = (
            fn.when(fn.col("t._sequence").isNull(), _INSERTED)
            .when(fn.expr(is_newer(dataset)), _UPDATED)
            .otherwise(_OLDER)
        )
    columns = [fn.col(f"s.{name}") for name in types]
    newest.select(*columns, effect.alias("_effect")).write.parquet(url)
    schema = ", ".join((*(f"`{name}` {kind}" for name, kind in types.items()), "_effect string"))
    return session.read.schema(schema).parquet(url)


def _count(records: DataFrame, newest: DataFrame, dataset: Dataset) -> _Counted:
    """Count both staged frames at once; the keys once more, apart from what chose the newest."""
    reason, effect = fn.col("_reason"), fn.col("_effect")
    of_records = records.agg(
        fn.count_if(fn.col("_line") == 1).alias("events"),
        fn.count_if(reason != BLANK).alias("records"),
        fn.count_if(~reason.isin(GOOD, BLANK)).alias("quarantined"),
    )
    of_newest = newest.agg(
        fn.count_if(effect == _INSERTED).alias("inserted"),
        fn.count_if(effect == _UPDATED).alias("updated"),
        fn.count_if(effect == _OLDER).alias("older"),
    )
    keys = records.where(reason == GOOD).select(*dataset.primary_key).distinct()
    of_keys = keys.agg(fn.count("*").alias("keys"))
    [row] = of_records.crossJoin(of_newest).crossJoin(of_keys).collect()
    counted = _Counted(**row.asDict())
    rows = counted.inserted + counted.updated + counted.older
    assert rows == counted.keys, (
        f"{counted.keys} keys became {rows} rows: is one twice in the table?"
    )
    return counted


def _complain_of_blobs(session: SparkSession, records: DataFrame, manifest: Manifest) -> None:
    """Raise `RunFailed` with the names of the blobs that do not hold the events they should."""
    events = records.where(fn.col("_line") == 1).select("_partition", "_sequence")
    blobs = blobs_frame(session, manifest)
    found = (
        blobs.join(events, fn.expr(in_blob()), "left")
        .groupBy("_blob", "_blob_events")
        .agg(fn.count("_sequence").alias("_found"))
        .where("_found <> _blob_events")
        .orderBy("_blob")
        .collect()
    )
    named = [f"{row['_blob']} ({row['_found']} of {row['_blob_events']} events)" for row in found]
    raise RunFailed(
        f"raw blobs are missing or not what the manifest says: {', '.join(named) or 'none'}"
    )
