"""What a curated run reads: tables and histories, as the SQL is to see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as fn

from transforms.delta import table_types, table_version
from transforms.errors import RunFailed
from transforms.manifest import HISTORY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from transforms.manifest import CuratedManifest, Input

#: Rows that are in a table only so that it comes out right whatever the order of runs.
_UNSEEN = ("_deleted", "_repeated")
_SEEN = "_enqueued_at"


def read_input(session: SparkSession, manifest: CuratedManifest, table: Input) -> DataFrame:
    """Return a table at the version that the manifest names; `RunFailed` when it is gone."""
    url = manifest.input_url(table)
    return _at_version(session, url, table.version)


def read_histories(
    session: SparkSession, manifest: CuratedManifest, *, text: str
) -> dict[str, DataFrame]:
    """Return the histories that the SQL's text names, as they are now: no manifest names those."""
    found = {}
    for table in manifest.inputs:
        url = manifest.input_url(table) + HISTORY
        if table.table + HISTORY in text and table_types(session, url) is not None:
            found[table.table + HISTORY] = _at_version(session, url, table_version(session, url))
    return found


def seen(table: DataFrame) -> DataFrame:
    """Return a table as the SQL sees it: rows that are valid, columns that people know."""
    for name in set(_UNSEEN) & set(table.columns):
        table = table.where(fn.expr(f"not coalesce({name}, false)"))
    return table.select(
        *(name for name in table.columns if name == _SEEN or not name.startswith("_"))
    )


def _at_version(session: SparkSession, url: str, version: int) -> DataFrame:
    try:
        table = session.read.format("delta").option("versionAsOf", version).load(url)
        table.schema  # noqa: B018 -- Only now the engine looks for the version.
    except PySparkException as error:
        raise RunFailed(
            f"version {version} of the table at {url} is gone, or never was: {error}"
        ) from error
    return table
