"""Files and folders, read and written through Spark: it holds the only credentials a run has.

Spark raises when a path is absent, Sail finds nothing: both are "absent" here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException
from pyspark.sql import functions as fn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession


#: Staged rows are read once or twice and forgotten: Zstandard would take longer to write them, and
#: so do dictionaries, which Sail and Spark call by different names.
STAGING = {
    "compression": "snappy",
    "dictionary_enabled": "false",
    "parquet.enable.dictionary": "false",
}


def stage_rows(
    session: SparkSession, rows: DataFrame, url: str, types: Mapping[str, str]
) -> DataFrame:
    """Write rows out and return them as read back: what is not written is computed by each use."""
    rows.select(*types).write.options(**STAGING).parquet(url)
    schema = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    return session.read.schema(schema).parquet(url)


def read_whole(session: SparkSession, url: str) -> str | None:
    """Return a text file's content; `None` when it is absent."""
    try:
        rows = session.read.text(url, wholetext=True).collect()
    except AnalysisException:
        return None
    return str(rows[0]["value"]) if rows else None


def list_files(session: SparkSession, folder_url: str) -> list[str]:
    """Return the URLs of a folder's files, without reading one; none when it is absent."""
    try:
        return session.read.text(folder_url).inputFiles()
    except AnalysisException:
        return []


def read_lines(session: SparkSession, urls: list[str], *, containing: str) -> list[str]:
    """Return those lines of some text files that contain a text."""
    rows = session.read.text(urls).where(fn.col("value").contains(containing)).collect()
    return [str(row["value"]) for row in rows]


def write_line(session: SparkSession, url: str, line: str) -> None:
    """Write one line as the only part file of a folder, whatever was there before."""
    frame = session.sql("select :line as value", args={"line": line})
    frame.coalesce(1).write.mode("overwrite").text(url)
