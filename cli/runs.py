"""`millrace runs`: look at runs, try one again, cancel one."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.pipeline import DATA, DataOption, JsonOption, opened
from cli.run_text import csv_of, lines_of, rows_of
from shared import telemetry
from shared.domain.run_text import SELECTIONS, summary
from shared.flow.operate_runs import CANCELLING, QUEUED, cancel_run, retry_run
from shared.flow.read_runs import list_runs, show_run

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from pathlib import Path

    from shared.domain.run import Run, RunState
    from shared.flow.operate_runs import RunOperated
    from shared.flow.read_runs import RunShown

runs = typer.Typer(help="Look at runs, try one again, cancel one.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The run's id, as list shows it.")]
StateName = Literal[
    "all", "open", "planned", "launched", "running", "succeeded", "failed", "cancelled"
]


@runs.command("list")
def list_all(
    *,
    dataset: Annotated[str, typer.Option(help="Only runs of this table.")] = "",
    state: Annotated[StateName, typer.Option(help="Only runs in this state.")] = "all",
    limit: Annotated[int, typer.Option(min=1, help="So many at most, the newest.")] = 20,
    style: Annotated[
        Literal["table", "json", "csv"], typer.Option("--format", help="How to print them.")
    ] = "table",
    data: DataOption = DATA,
) -> None:
    """List runs, the newest first."""
    found, now = asyncio.run(_list(data, dataset, SELECTIONS[state]))
    chosen = found[:limit]
    if style == "json":
        typer.echo(json.dumps([summary(run, now=now) for run in chosen], indent=1))
        return
    if style == "csv":
        typer.echo(csv_of(chosen, now=now), nl=False)
        return
    for line in rows_of(chosen, now=now):
        typer.echo(line)
    if len(found) > limit:
        typer.echo(f"… and {len(found) - limit:,} older: --limit shows them")
    if not found:
        typer.echo("no runs yet" if state == "all" else f"no run is {state}")


@runs.command()
def show(run_id: IdArgument, *, data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show everything about one run, and what is to be done next."""
    shown, now = asyncio.run(_show(data, run_id))
    if as_json:
        typer.echo(json.dumps(shown.described(now=now), indent=1, ensure_ascii=False))
        return
    for line in lines_of(shown, now=now):
        typer.echo(line)


@runs.command()
def retry(run_id: IdArgument, *, data: DataOption = DATA) -> None:
    """Try a failed or cancelled run again, with the same blobs; harmless when repeated."""
    report = asyncio.run(_retry(data, run_id))
    telemetry.emit(report)
    if report.state == QUEUED:
        typer.echo(f"{report.run} is tried again when the open run of {report.dataset} has ended")
    else:
        typer.echo(f"{report.run} is {report.state}; follow it with millrace wait")


@runs.command()
def cancel(run_id: IdArgument, *, data: DataOption = DATA) -> None:
    """Cancel an open run; what it covers is kept, and retry brings it in."""
    report = asyncio.run(_cancel(data, run_id))
    telemetry.emit(report)
    if report.state == CANCELLING:
        typer.echo(f"{report.run} is being cancelled; millrace runs show {report.run} tells")
    else:
        typer.echo(f"{report.run} is {report.state}")


async def _list(
    data: Path, dataset: str, states: Collection[RunState]
) -> tuple[list[Run], datetime]:
    async with opened(data) as app:
        tables = [app.document.table(dataset)] if dataset else app.document.tables
        return await list_runs(tables, states=states, ledger=app.ledger), app.clock.now()


async def _show(data: Path, run_id: str) -> tuple[RunShown, datetime]:
    async with opened(data) as app:
        now = app.clock.now()
        shown = await show_run(run_id, app.document, ledger=app.ledger, files=app.files, now=now)
        return shown, now


async def _retry(data: Path, run_id: str) -> RunOperated:
    async with opened(data) as app:
        tables = app.document.tables
        return await retry_run(run_id, datasets=tables, ledger=app.ledger, clock=app.clock)


async def _cancel(data: Path, run_id: str) -> RunOperated:
    async with opened(data) as app:
        return await cancel_run(
            run_id,
            datasets=app.document.tables,
            ledger=app.ledger,
            jobs=app.jobs,
            clock=app.clock,
        )
