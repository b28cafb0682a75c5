"""The curated table: what SQL makes of other tables, at the versions that the manifest names.

The SQL sees the rows that are not deleted, without the columns that say where a row came from, but
for `_enqueued_at`. Made again of the same versions, a table is the same. A table is written as a
whole, unless it is declared incremental: then the SQL sees only the rows that the named runs
changed, and what it makes of them is merged.
"""

from __future__ import annotations

import itertools
import json
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as fn

from transforms.curated_inputs import read_histories, read_input, seen
from transforms.curated_sql import curated_rows, curated_types, read_sql
from transforms.delta import (
    PROPERTIES,
    check_table,
    merge_until_settled,
    prepare_table,
    table_types,
)
from transforms.digest import content_of
from transforms.errors import RunFailed
from transforms.increment import check_increment, find_increment, only_input
from transforms.lineage import commit_note, lineage_of
from transforms.result import CuratedWritten
from transforms.storage import read_whole, stage_rows, write_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from transforms.manifest import CuratedManifest


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeTable:
    """The whole of a table as it is to be; no rows to change when it is so already."""

    manifest: CuratedManifest = field(repr=False)
    staged: DataFrame = field(repr=False)
    rows: int
    inserts: int = 0

    def merge(self) -> None:
        """Put it in the place of what there is."""
        writer = self.staged.write.format("delta").mode("overwrite").options(**PROPERTIES)
        writer = writer.option("overwriteSchema", "true")
        writer.option("userMetadata", commit_note(self.manifest)).save(self.manifest.table_url)


def write_curated(session: SparkSession, manifest: CuratedManifest) -> CuratedWritten:
    """Bring the curated table to where its inputs are; write and return the result.

    Raise `RunFailed` when the SQL does not give what is declared. It may be repeated, and killed
    anywhere: the table is replaced in one commit, or merged in one.
    """
    curated = manifest.curated
    if table_types(session, manifest.table_url) is None:
        types = curated_types(curated)
        prepare_table(session, manifest.table_url, types, note=commit_note(manifest))
    made_with = _made_with(manifest)
    staging_url = manifest.staging_url(secrets.token_hex(4))
    if curated.incremental and read_whole(session, manifest.made_with_url) == f"{made_with}\n":
        written = _write_increment(session, manifest, staging_url)
    else:
        # In between, nobody may take the table for one that was made with this SQL, or another.
        _note(session, manifest, "being written")
        written = _write_whole(session, manifest, staging_url)
        _note(session, manifest, made_with)
    write_line(session, manifest.result_url, written.to_json())
    return written


def _note(session: SparkSession, manifest: CuratedManifest, text: str) -> None:
    if manifest.curated.incremental:
        write_line(session, manifest.made_with_url, text)


def _made_with(manifest: CuratedManifest) -> str:
    """What an increment must have in common with the table: the SQL and what is declared."""
    parts = (manifest.curated, *manifest.views)
    texts = [read_sql(part) + part.model_dump_json() for part in parts]
    return sha256(json.dumps(texts).encode()).hexdigest()


def _write_whole(
    session: SparkSession, manifest: CuratedManifest, staging_url: str
) -> CuratedWritten:
    curated = manifest.curated
    text = "".join(map(read_sql, (curated, *manifest.views)))
    tables = {table.table: read_input(session, manifest, table) for table in manifest.inputs}
    tables |= read_histories(session, manifest, text=text)
    tables = {name: seen(table) for name, table in tables.items()}
    staged = _stage(session, manifest, tables, f"{staging_url}/rows")
    content = content_of(staged)

    def find() -> WholeTable:
        there = session.read.format("delta").load(manifest.table_url)
        same_types = table_types(session, manifest.table_url) == curated_types(curated)
        same = same_types and content_of(there) == content
        return WholeTable(manifest=manifest, staged=staged, rows=0 if same else content.rows + 1)

    merge_until_settled(session, manifest.table_url, find)
    return _written(session, manifest, rows=content.rows)


def _write_increment(
    session: SparkSession, manifest: CuratedManifest, staging_url: str
) -> CuratedWritten:
    source = only_input(manifest)
    table = read_input(session, manifest, source)
    changed = table.where(fn.col("_run").isin(*source.runs))
    staged = _stage(session, manifest, {source.table: seen(changed)}, f"{staging_url}/rows")
    check_increment(staged, changed, manifest.curated)
    urls = (f"{staging_url}/increment-{number}" for number in itertools.count())
    increment = merge_until_settled(
        session,
        manifest.table_url,
        lambda: find_increment(session, manifest, staged, changed, next(urls)),
    )
    return _written(
        session,
        manifest,
        rows=staged.count(),
        inserted=increment.inserted,
        updated=increment.updated,
        deleted=increment.deleted,
    )


def _written(
    session: SparkSession, manifest: CuratedManifest, *, rows: int, **counts: int
) -> CuratedWritten:
    return CuratedWritten(
        run=manifest.run,
        table=manifest.curated.name,
        rows=rows,
        table_version=check_table(session, manifest.table_url),
        lineage=lineage_of(manifest),
        **counts,
    )


def _stage(
    session: SparkSession, manifest: CuratedManifest, tables: dict[str, DataFrame], url: str
) -> DataFrame:
    """Run the SQL once: what is not written out is computed again by each use."""
    rows = curated_rows(session, manifest.curated, tables, views=manifest.views)
    try:
        return stage_rows(session, rows, url, curated_types(manifest.curated))
    except PySparkException as error:
        reason = str(error).strip().partition("\n")[0]
        versions = ", ".join(f"{each.name} at version {each.version}" for each in manifest.inputs)
        raise RunFailed(
            f"the SQL of curated table {manifest.curated.name!r} over {versions} fails: {reason}"
        ) from error
