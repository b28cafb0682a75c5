"""Delta tables: created so that Synapse can read them, widened, merged into, and checked after."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import functions as fn

from transforms.errors import RunFailed
from transforms.storage import list_files, read_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pyspark.sql import DataFrame, SparkSession

#: How large a file is to be: a MERGE that changes one old row writes its whole file again.
FILE_BYTES = 64 * 1024 * 1024
#: What a table is told when it is created. Only Databricks hears the file size; Sail ends a file at
#: 100 MB. No codec: Databricks has Zstandard by default, Sail writes Snappy whatever one asks for.
PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.targetFileSize": str(FILE_BYTES),
}
_ATTEMPTS = 6
_OVERTAKEN = re.compile(
    r"Failed to commit transaction|DELTA_CONCURRENT|Concurrent\w+Exception|DELTA_METADATA_CHANGED"
)


class Overtaken(Exception):
    """Somebody else committed to the table while a statement ran: nothing of it was written."""


class Change(Protocol):
    """What is to be merged into a table, as found out from one version of it."""

    @property
    def rows(self) -> int:
        """How many rows of the table it inserts, updates or deletes."""

    @property
    def inserts(self) -> int:
        """How many of them it inserts."""

    def merge(self) -> None:
        """Merge it; raise `Overtaken` when somebody else was quicker."""


def table_types(session: SparkSession, url: str) -> dict[str, str] | None:
    """Return the type of each column of the table; `None` when there is no table."""
    try:
        schema = session.read.format("delta").load(url).schema
    except AnalysisException:
        return None
    return {column.name: column.dataType.simpleString() for column in schema}


def prepare_table(
    session: SparkSession,
    url: str,
    types: Mapping[str, str],
    *,
    partition_field: str | None = None,
    note: str = "",
) -> None:
    """Create the table, or add the columns it lacks; the commit, if there is one, bears the note.

    Raise `RunFailed` when a column has another type: Sail would write NULL in its place.
    """
    existing = table_types(session, url)
    if existing is None:
        try:
            _append_nothing(session, url, types, partition_field=partition_field, note=note)
        except PySparkException:
            existing = table_types(session, url)
            if existing is None:
                raise
        else:
            return
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
        _append_nothing(session, url, types, partition_field=partition_field, note=note)


def _append_nothing(
    session: SparkSession,
    url: str,
    types: Mapping[str, str],
    *,
    partition_field: str | None,
    note: str,
) -> None:
    # Sail hands a table back with its partition column last, so that is where it is put.
    names = sorted(types, key=lambda name: name == partition_field)
    columns = [fn.lit(None).cast(types[name]).alias(name) for name in names]
    writer = session.range(0).select(*columns).write.format("delta").mode("append")
    writer = writer.option("mergeSchema", "true").option("userMetadata", note).options(**PROPERTIES)
    (writer.partitionBy(partition_field) if partition_field else writer).save(url)


def merge_until_settled[C: Change](
    session: SparkSession, url: str, find_change: Callable[[], C]
) -> C:
    """Find out what to change in the table as it is, merge it, and return what was merged.

    When somebody else commits between the two, it is found out anew: a change is only right for
    the version it was found out from. Nothing to change makes no commit.
    """
    merged = None
    for _ in range(_ATTEMPTS):
        version = table_version(session, url)
        change = find_change()
        if change.rows == 0:
            return merged or change
        if table_version(session, url) != version:
            continue
        try:
            change.merge()
        except Overtaken:
            continue
        merged = merged or change
        if table_version(session, url) == version + 1:
            _check_merged(session, url, change, version=version + 1)
            return merged
    raise RunFailed(f"somebody else writes to the table at {url} all the time; is a run forgotten?")


def _check_merged(session: SparkSession, url: str, change: Change, *, version: int) -> None:
    """Raise `RunFailed` when a MERGE, as its commit says, did not do what it was to."""
    commit = f"{url}/_delta_log/{version:020d}.json"
    for line in read_lines(session, [commit], containing='"commitInfo"'):
        info = json.loads(line).get("commitInfo") or {}
        metrics = info.get("operationMetrics")
        if info.get("operation") != "MERGE" or not metrics:
            continue
        inserted, updated, deleted = (
            int(metrics.get(f"numTargetRows{what}", 0))
            for what in ("Inserted", "Updated", "Deleted")
        )
        changes = change.rows - change.inserts
        if (inserted, updated + deleted) != (change.inserts, changes):
            raise RunFailed(
                f"the MERGE into the table at {url} inserted {inserted} rows instead of "
                f"{change.inserts} and changed {updated + deleted} instead of {changes}; restore "
                f"version {version - 1}, and tell who maintains the transform"
            )


def merge_rows(
    session: SparkSession, url: str, rows: DataFrame, *, on: str, clauses: Iterable[str]
) -> None:
    """Merge source `s` into target `t`; raise `Overtaken` when somebody else was quicker."""
    rows.createOrReplaceTempView("merge_source")
    statement = f"merge into delta.`{url}` t using merge_source s on {on} {' '.join(clauses)}"
    try:
        session.sql(statement).collect()
    except PySparkException as error:
        if _OVERTAKEN.search(str(error)):
            raise Overtaken from error
        raise


def update_clause(names: Iterable[str], *, when: str = "true") -> str:
    """Return the clause of a MERGE that updates these columns of the rows that are there.

    Names come from the document, which allows letters, digits and underscores only.
    """
    updates = ", ".join(f"t.`{name}` = s.`{name}`" for name in names)
    return f"when matched and ({when}) then update set {updates}"


def insert_clause(names: Iterable[str], *, when: str = "true") -> str:
    """Return the clause of a MERGE that inserts the rows that are not there."""
    named = list(names)
    columns, values = (", ".join(f"{mark}`{name}`" for name in named) for mark in ("", "s."))
    insert = f"insert ({columns}) values ({values})"  # noqa: S608 -- Names as in `update_clause`.
    return f"when not matched and ({when}) then {insert}"


def delete_clause(*, when: str) -> str:
    """Return the clause of a MERGE that deletes rows that are there."""
    return f"when matched and ({when}) then delete"


def table_version(session: SparkSession, url: str) -> int:
    """Return the table's version."""
    commits, _ = _log(session, url)
    return max(map(_version, commits))


def check_table(session: SparkSession, url: str) -> int:
    """Return the table's version; fail when its log demands more than reader version 1.

    Synapse cannot read what is beyond it: deletion vectors, column mapping and the like.
    """
    commits, checkpoints = _log(session, url)
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


def _log(session: SparkSession, url: str) -> tuple[list[str], list[str]]:
    """Return the commits and the checkpoints of a table."""
    files = list_files(session, f"{url}/_delta_log")
    commits = [file for file in files if file.endswith(".json")]
    assert commits, f"the Delta table at {url} has no log"
    return commits, [file for file in files if _is_checkpoint(file)]


def _is_checkpoint(log_file: str) -> bool:
    return ".checkpoint." in log_file and log_file.endswith(".parquet")


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
