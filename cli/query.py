"""`millrace query`: ask the tables in SQL."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.answer_file import check_target, write_answer
from cli.pipeline import DATA, DataOption, settings
from cli.tables import Tables
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STANDARD_INPUT = "-"


class Format(StrEnum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def query(
    sql: Annotated[str | None, typer.Argument(help="SQL; - reads it from standard input.")] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="File with the SQL; - for standard input.")
    ] = None,
    style: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write: .csv, .parquet or .json.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    data: DataOption = DATA,
) -> None:
    """Ask the tables in SQL; each is a view of its name. It only reads."""
    question = _question(sql, file)
    if output is not None:
        check_target(output, force=force)
    with Tables(settings(data)) as tables:
        if output is not None:
            count = write_answer(tables, question, output)
            typer.echo(f"{count:,} rows are in {output}")
        elif style is Format.TABLE:
            show(*tables.answer(question), style=style)
        else:
            columns, batches = tables.ask(question)
            _stream(columns, (row for rows in batches for row in rows), style=style)


def show(columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, style: Format) -> None:
    """Print an answer."""
    if style is not Format.TABLE:
        _stream(columns, rows, style=style)
        return
    table = Table(header_style="dim")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    Console().print(table)


def _stream(columns: Sequence[str], rows: Iterable[tuple[Any, ...]], *, style: Format) -> None:
    """Print rows as they come, for a program to read."""
    if style is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows(rows)
        return
    between = "[\n"
    for row in rows:
        content = dict(zip(columns, row, strict=True))
        sys.stdout.write(between + json.dumps(content, default=str, ensure_ascii=False))
        between = ",\n"
    sys.stdout.write("[]\n" if between == "[\n" else "\n]\n")


def _question(sql: str | None, file: Path | None) -> str:
    """The SQL: the argument, a file's content, or what standard input holds."""
    if (sql is None) == (file is None):
        raise typer.BadParameter("give the SQL, or --file with a file that holds it")
    if _STANDARD_INPUT in (sql, str(file)):
        return sys.stdin.read()
    if file is None:
        return str(sql)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured("--file", f"{file} cannot be read: {error}") from error
