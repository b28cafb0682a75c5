"""`millrace query`: ask the tables in SQL."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.pipeline import DATA, DataOption, settings
from cli.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    with Tables(settings(data)) as tables:
        columns, rows = tables.answer(sql)
    show(columns, rows, style=style)


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
