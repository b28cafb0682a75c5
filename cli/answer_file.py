"""Answer files: an answer written as CSV, Parquet or JSON, whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from cli.tables import Tables

#: File ending to what DuckDB is told of the format.
FORMATS = {
    ".csv": "FORMAT csv, HEADER",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".json": "FORMAT json, ARRAY",
}


def check_target(path: Path, *, force: bool) -> None:
    """Raise `Misconfigured` when the file cannot or must not be written."""
    if path.suffix not in FORMATS:
        raise Misconfigured("--output", f"{path}: the ending has to be one of {', '.join(FORMATS)}")
    if path.is_dir() or not path.parent.is_dir():
        raise Misconfigured("--output", f"{path}: a file in a folder that is there is wanted")
    if path.exists() and not force:
        raise Misconfigured("--output", f"{path} is already there; --force replaces it")


def write_answer(tables: Tables, sql: str, path: Path) -> int:
    """Write the answer as it comes and return its rows; what was at `path` stays until the end."""
    question = tables.relation(sql)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    tables.show_progress(shown=sys.stdout.isatty())
    try:
        count = tables.write(question, part, FORMATS[path.suffix])
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count
