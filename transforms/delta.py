"""Delta tables: created so that Synapse can read them, widened, and checked after every write."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyspark.errors import AnalysisException
from pyspark.sql import functions as fn

from transforms.errors import RunFailed
from transforms.storage import list_files, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame, SparkSession


def table_types(session: SparkSession, url: str) -> dict[str, str] | None:
    """Return the type of each column of the table; `None` when there is no table."""
    try:
        schema = session.read.format("delta").load(url).schema
    except AnalysisException:
        return None
    return {column.name: column.dataType.simpleString() for column in schema}


def prepare_table(
    session: SparkSession, url: str, types: Mapping[str, str], *, partition_field: str | None = None
) -> bool:
    """Create the table, or add the columns it lacks; say whether it was there before.

    Raise `RunFailed` when a column has another type: Sail would write NULL in its place.
    """
    existing = table_types(session, url)
    if existing is None:
        _append_nothing(session, url, types, partition_field=partition_field)
        return False
    changed = [name for name in types if existing.get(name, types[name]) != types[name]]
    if changed:
        raise RunFailed(
            f"the table at {url} cannot take the new type of "
            + ", ".join(
                f"column {name!r}: {existing[name]} is now {types[name]}" for name in changed
            )
            + "; name the column differently, or rebuild the table from raw"
        )
    if any(name not in existing for name in types):
        _append_nothing(session, url, types, partition_field=partition_field)
    return True


def _append_nothing(
    session: SparkSession, url: str, types: Mapping[str, str], *, partition_field: str | None
) -> None:
    # Sail hands a table back with its partition column last, so that is where it is put.
    names = sorted(types, key=lambda name: name == partition_field)
    columns = [fn.lit(None).cast(types[name]).alias(name) for name in names]
    writer = (
        session.range(0)
        .select(*columns)
        .write.format("delta")
        .mode("append")
        .option("mergeSchema", "true")
        .option("delta.enableDeletionVectors", "false")
    )
    (writer.partitionBy(partition_field) if partition_field else writer).save(url)


def merge_rows(
    session: SparkSession, url: str, rows: DataFrame, *, same_key: str, is_newer: str
) -> None:
    """Merge source `s` into target `t`: insert what is missing, update what is older."""
    rows.createOrReplaceTempView("merge_source")
    updates = ", ".join(f"t.`{name}` = s.`{name}`" for name in rows.columns)
    names = ", ".join(f"`{name}`" for name in rows.columns)
    values = ", ".join(f"s.`{name}`" for name in rows.columns)
    statement = (
        # The names come from the document, which allows letters, digits and underscores only.
        f"merge into delta.`{url}` t using merge_source s on {same_key} "  # noqa: S608 -- as above.
        f"when matched and ({is_newer}) then update set {updates} "
        f"when not matched then insert ({names}) values ({values})"
    )
    session.sql(statement).collect()


def check_table(session: SparkSession, url: str) -> int:
    """Return the table's version; fail when its log demands more than reader version 1.

    Synapse cannot read what is beyond it: deletion vectors, column mapping and the like.
    """
    files = list_files(session, f"{url}/_delta_log")
    commits = [file for file in files if file.endswith(".json")]
    assert commits, f"the Delta table at {url} has no log"
    checkpoints = [file for file in files if ".checkpoint." in file and file.endswith(".parquet")]
    base = max(map(_version, checkpoints), default=0)
    protocols = list(_protocols_in(session, [file for file in commits if _version(file) >= base]))
    if checkpoints:
        parts = [file for file in checkpoints if _version(file) == base]
        protocols += _protocols_of_checkpoint(session, parts)
    assert protocols, f"the log of the Delta table at {url} names no protocol"
    for protocol in protocols:
        if protocol["minReaderVersion"] != 1 or protocol.get("readerFeatures"):
            raise RunFailed(f"Synapse cannot read the table at {url}: its protocol is {protocol}")
    return max(map(_version, commits))


def _version(log_file: str) -> int:
    return int(log_file.rpartition("/")[2].partition(".")[0])


def _protocols_in(session: SparkSession, commits: list[str]) -> Iterator[dict[str, Any]]:
    for line in read_lines(session, commits, containing='"protocol"'):
        protocol = json.loads(line).get("protocol")  # A commitInfo may quote the word, too.
        if protocol is not None:
            yield protocol


def _protocols_of_checkpoint(session: SparkSession, parts: list[str]) -> list[dict[str, Any]]:
    # Reader features exist from reader version 3 on, so the version says it all. The filter is on
    # the whole: Sail takes a field that the file calls "required" for one that is always there.
    reader = session.read.schema("protocol struct<minReaderVersion: int>")
    rows = reader.parquet(*parts).where("protocol is not null").collect()
    return [row["protocol"].asDict() for row in rows]
