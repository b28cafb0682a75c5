"""raw → table: what one clean run does.

It may be repeated, and killed anywhere: staged rows are only ever this attempt's, quarantined
records replace those of the same run, and a version is merged only if the table does not have it,
or something that beats it, already. That holds for each of the two tables by itself, so a run that
was killed between them is made good by its repetition.
"""

from __future__ import annotations

import itertools
import secrets
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as fn

from transforms.clean import BLANK, GOOD, clean_records, clean_schema, read_events
from transforms.clean_table import clean_types, find_rows_changed
from transforms.delta import check_table, merge_until_settled, prepare_table
from transforms.drift import find_drift, look_every
from transforms.errors import RunFailed
from transforms.history import find_versions_changed, history_types
from transforms.lineage import commit_note, lineage_of
from transforms.newest import order_of, versions
from transforms.quarantine import blobs_frame, in_blob, quarantine_records
from transforms.result import TableWritten
from transforms.storage import STAGING, write_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from transforms.clean_table import RowsChanged
    from transforms.manifest import Manifest


class _Counted(NamedTuple):
    """What the staged records say; `keys` is how many rows the versions should become."""

    events: int
    records: int
    quarantined: int
    ignored: int
    versions: int
    keys: int


def write_table(session: SparkSession, manifest: Manifest) -> TableWritten:
    """Bring the run's records into its table; write and return the result.

    Raise `RunFailed`, before anything is merged, when the blobs or the table are not what they
    must be.
    """
    dataset = manifest.dataset
    _prepare_tables(session, manifest)
    # Random on purpose: a forgotten attempt that still runs must not touch this one's rows. The
    # function app's housekeeping deletes old staging folders; Spark cannot delete.
    staging_url = manifest.staging_url(secrets.token_hex(4))
    records = _stage_records(session, manifest, f"{staging_url}/records")
    counted = _count(records, manifest)
    if counted.events != manifest.events:
        _complain_of_blobs(session, records, manifest)

    quarantine_records(session, records, manifest, count=counted.quarantined)
    history_version = _write_history(session, manifest, records, staging_url)
    changed = _write_rows(session, manifest, records, staging_url, keys=counted.keys)
    written = TableWritten(
        run=manifest.run,
        dataset=dataset.name,
        events=counted.events,
        bytes=manifest.size_bytes,
        records=counted.records,
        duplicates=counted.versions - counted.keys,
        older=changed.older,
        inserted=changed.inserted,
        updated=changed.updated,
        deleted=changed.deleted,
        ignored=counted.ignored,
        quarantined=counted.quarantined,
        table_version=check_table(session, manifest.table_url),
        history_version=history_version,
        lineage=lineage_of(manifest),
        drift=find_drift(records, dataset, sampled=look_every(manifest)),
    )
    write_line(session, manifest.result_url, written.to_json())
    return written


def _prepare_tables(session: SparkSession, manifest: Manifest) -> None:
    """Create or widen the table, and its history if it has one."""
    dataset = manifest.dataset
    types = {manifest.table_url: clean_types(dataset)}
    if dataset.history:
        types[manifest.history_url] = history_types(dataset)
    for url, columns in types.items():
        prepare_table(
            session,
            url,
            columns,
            partition_field=dataset.partition_field,
            note=commit_note(manifest),
        )


def _stage_records(session: SparkSession, manifest: Manifest, url: str) -> DataFrame:
    """Parse every record once: what is not written out is computed again by each use."""
    events = read_events(session, manifest)
    records = clean_records(events, manifest.dataset, look_every=look_every(manifest))
    records.write.options(**STAGING).parquet(url)
    return session.read.schema(clean_schema(manifest.dataset)).parquet(url)


def _write_history(
    session: SparkSession, manifest: Manifest, records: DataFrame, staging_url: str
) -> int | None:
    """Bring every version into the history, if the dataset keeps one; return its Delta version."""
    if not manifest.dataset.history:
        return None
    urls = (f"{staging_url}/history-{number}" for number in itertools.count())
    merge_until_settled(
        session,
        manifest.history_url,
        lambda: find_versions_changed(session, manifest, records, next(urls)),
    )
    return check_table(session, manifest.history_url)


def _write_rows(
    session: SparkSession, manifest: Manifest, records: DataFrame, staging_url: str, *, keys: int
) -> RowsChanged:
    """Bring the version that wins of each row into the table."""
    urls = (f"{staging_url}/newest-{number}" for number in itertools.count())

    def find() -> RowsChanged:
        changed = find_rows_changed(session, manifest, records, next(urls))
        assert changed.keys == keys, (
            f"{keys} keys became {changed.keys} rows: is one twice in the table?"
        )
        return changed

    return merge_until_settled(session, manifest.table_url, find)


def _count(records: DataFrame, manifest: Manifest) -> _Counted:
    """Count the staged records; the keys apart from what chooses among their versions."""
    order = order_of(manifest.dataset)
    reason = fn.col("_reason")
    good = reason == GOOD
    of_records = records.agg(
        fn.count_if(fn.col("_line") == 1).alias("events"),
        fn.count_if(reason != BLANK).alias("records"),
        fn.count_if(~reason.isin(GOOD, BLANK)).alias("quarantined"),
        fn.count_if(good & fn.col("_deleted") & ~fn.lit(order.follows_deletions)).alias("ignored"),
    )
    keys = versions(records, order).groupBy(*order.key).agg(fn.count("*").alias("_versions"))
    of_keys = keys.agg(
        fn.coalesce(fn.sum("_versions"), fn.lit(0)).alias("versions"), fn.count("*").alias("keys")
    )
    [row] = of_records.crossJoin(of_keys).collect()
    return _Counted(**row.asDict())


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
