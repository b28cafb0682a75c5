"""`millrace query`: ask the tables in SQL."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.pipeline import DATA, DataOption, settings
from shared.domain import document as documents
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from shared.settings import Settings


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def query(
    sql: Annotated[str, typer.Argument(help="SQL; each dataset is a view of its name.")],
    *,
    style: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    data: DataOption = DATA,
) -> None:
    """Run SQL over the Delta tables."""
    columns, rows = answer(sql, settings(data))
    show(columns, rows, style=style)


def answer(sql: str, found: Settings) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows; raise `Misconfigured` with the engine's first line when it refuses."""
    import duckdb  # noqa: PLC0415 -- A third of a second, needed by this command only.

    with _connection(found) as connection:
        try:
            result = connection.execute(sql)
            columns = [column[0] for column in result.description or []]
            return columns, result.fetchall()
        except duckdb.Error as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise Misconfigured("query", f"failed: {' '.join(lines[:2])}") from error


def show(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, style: Format) -> None:
    """Print an answer."""
    if style is Format.JSON:
        content = [dict(zip(columns, row, strict=True)) for row in rows]
        typer.echo(json.dumps(content, indent=1, default=str, ensure_ascii=False))
    elif style is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        table = Table(header_style="dim")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        Console().print(table)


def _connection(found: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory database with a view over each Delta table that exists."""
    import duckdb  # noqa: PLC0415

    if not found.lake:
        raise Misconfigured("LAKE", "is not a connection string; query Synapse instead")
    parts = dict(part.split("=", 1) for part in found.lake.split(";") if "=" in part)
    if "127.0.0.1" in parts.get("BlobEndpoint", ""):
        # The Delta reader finds Azurite by these two, and by nothing else.
        os.environ["AZURE_STORAGE_USE_EMULATOR"] = "true"  # noqa: TID251 -- Read by the engine.
        emulator = parts["BlobEndpoint"].rpartition("/")[0]
        os.environ["AZURITE_BLOB_STORAGE_URL"] = emulator  # noqa: TID251 -- The same.
    connection = duckdb.connect()
    for extension in ("delta", "azure"):
        connection.execute(f"LOAD '{_extension(extension)}'")
    connection.execute("SET TimeZone = 'UTC'")
    secret = found.lake.replace("'", "''")
    connection.execute(f"CREATE SECRET (TYPE azure, CONNECTION_STRING '{secret}')")
    for dataset in documents.load(found.pipeline_file).datasets:
        _view(connection, dataset)
    return connection


def _view(connection: duckdb.DuckDBPyConnection, dataset: documents.Dataset) -> None:
    import duckdb  # noqa: PLC0415

    columns = ", ".join(f'"{column}"' for column in dataset.columns)
    place = f"az://clean/{dataset.name}"
    try:
        connection.execute(
            f"CREATE VIEW \"{dataset.table}\" AS SELECT {columns} FROM delta_scan('{place}')"  # noqa: S608 -- Names are checked by the document.
        )
    except duckdb.IOException:
        return  # No run has made the table yet; SQL that names it says so.


def _extension(name: str) -> Path:
    """Path of an extension that a PyPI package carries, so that nothing is downloaded."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    places = found.submodule_search_locations if found else None
    assert places, "requirements-dev.txt installs it"
    return next(Path(places[0]).rglob(f"{name}.duckdb_extension"))
