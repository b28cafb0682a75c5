"""Maintenance: small files are compacted, files that no version needs any more are deleted.

On Databricks by SQL, anywhere else by `deltalake`, as Sail does neither. What a table holds is read
before and after: compaction must not change it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from transforms.delta import FILE_BYTES, check_table, table_types, table_version
from transforms.digest import content_of
from transforms.errors import RunFailed
from transforms.lineage import commit_note, lineage_of
from transforms.result import TablesMaintained
from transforms.session import emulator_options, on_databricks
from transforms.storage import write_line

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable
    from pyspark.sql import SparkSession

    from transforms.manifest import MaintenanceManifest


class _Maintained(NamedTuple):
    """What became of one table."""

    version: int
    files_before: int
    files_after: int
    files_deleted: int


def maintain_tables(session: SparkSession, manifest: MaintenanceManifest) -> TablesMaintained:
    """Compact and vacuum each table that there is; write and return the result.

    It may be repeated, and killed anywhere: what is compacted already is left alone. Raise
    `RunFailed` when a table does not read the same afterwards.
    """
    urls = {
        name: url
        for name, url in manifest.table_urls().items()
        if table_types(session, url) is not None
    }
    if not urls:
        raise RunFailed(f"none of the tables of {manifest.run} is there")
    done = {name: _maintain(session, manifest, url) for name, url in urls.items()}
    written = TablesMaintained(
        run=manifest.run,
        files_before=sum(each.files_before for each in done.values()),
        files_after=sum(each.files_after for each in done.values()),
        files_deleted=sum(each.files_deleted for each in done.values()),
        table_version=next(iter(done.values())).version,
        tables={name: each._asdict() for name, each in done.items()},
        lineage=lineage_of(manifest),
    )
    write_line(session, manifest.result_url, written.to_json())
    return written


def _maintain(session: SparkSession, manifest: MaintenanceManifest, url: str) -> _Maintained:
    keeper: _Keeper = _Databricks(session, url) if on_databricks() else _Deltalake(url)
    before, files_before = table_version(session, url), keeper.count_files()
    note = commit_note(manifest)
    keeper.compact(note=note)
    _check_same(session, url, before=before, after=check_table(session, url))
    files_after = keeper.count_files()
    deleted = keeper.vacuum(retain_hours=manifest.retain_hours, note=note)
    return _Maintained(
        version=check_table(session, url),
        files_before=files_before,
        files_after=files_after,
        files_deleted=deleted,
    )


def _check_same(session: SparkSession, url: str, *, before: int, after: int) -> None:
    if before == after:
        return
    was, is_now = (
        content_of(session.read.format("delta").option("versionAsOf", version).load(url))
        for version in (before, after)
    )
    if was != is_now:
        raise RunFailed(
            f"the table at {url} does not hold the same after compaction: {was.rows} rows at "
            f"version {before}, {is_now.rows} at version {after}; restore version {before}"
        )


class _Keeper(Protocol):
    """What keeps one table in order; notes go into its commits where the engine takes them."""

    def count_files(self) -> int:
        """How many files the newest version is made of."""

    def compact(self, *, note: str) -> None:
        """Make few files of many, in one commit; none when they are few already."""

    def vacuum(self, *, retain_hours: int, note: str) -> int:
        """Delete the files that no version of so many hours needs; say how many."""


class _Databricks:
    """By SQL."""

    def __init__(self, session: SparkSession, url: str) -> None:
        self._session, self._url = session, url

    def count_files(self) -> int:
        return len(self._session.read.format("delta").load(self._url).inputFiles())

    def compact(self, *, note: str) -> None:
        del note  # OPTIMIZE takes none.
        self._session.sql(f"optimize delta.`{self._url}`").collect()

    def vacuum(self, *, retain_hours: int, note: str) -> int:
        del note
        vacuum = f"vacuum delta.`{self._url}` retain {retain_hours} hours"
        found = self._session.sql(f"{vacuum} dry run").collect()
        self._session.sql(vacuum).collect()
        return len(found)  # A dry run names a thousand at most.


class _Deltalake:
    """By delta-rs, which is not installed on Databricks and so is loaded only here."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _table(self) -> DeltaTable:
        from deltalake import DeltaTable  # noqa: PLC0415 -- See the class.

        return DeltaTable(self._url, storage_options=emulator_options())

    def count_files(self) -> int:
        return len(self._table().file_uris())

    def compact(self, *, note: str) -> None:
        from deltalake import WriterProperties  # noqa: PLC0415 -- See the class.

        self._table().optimize.compact(
            target_size=FILE_BYTES,
            writer_properties=WriterProperties(compression="ZSTD", compression_level=3),
            commit_properties=_noted(note),
        )

    def vacuum(self, *, retain_hours: int, note: str) -> int:
        table = self._table()
        found = self._there(table.vacuum(retain_hours, enforce_retention_duration=False, full=True))
        if found:  # A vacuum is two commits, even one that deletes nothing.
            table.vacuum(
                retain_hours,
                dry_run=False,
                enforce_retention_duration=False,
                full=True,
                commit_properties=_noted(note),
            )
            table = self._table()
        table.create_checkpoint()
        table.cleanup_metadata()
        return found

    def _there(self, files: list[str]) -> int:
        """How many of these are there: a dry run names what was deleted long ago, too."""
        from deltalake.fs import DeltaStorageHandler  # noqa: PLC0415 -- See the class.

        storage = DeltaStorageHandler(self._url, emulator_options())
        return sum(info.size is not None for info in storage.get_file_info(files))


def _noted(note: str) -> CommitProperties:
    from deltalake import CommitProperties  # noqa: PLC0415 -- As `_Deltalake` says.

    return CommitProperties(custom_metadata={"userMetadata": note})
