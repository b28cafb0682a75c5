"""`millrace status`: where everything is."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table

from cli.pipeline import DATA, DataOption, JsonOption, opened, settings
from cli.tables import Tables
from shared.flow.pipeline_status import PipelineStatus, read_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.wiring import App


def status(*, data: DataOption = DATA, as_json: JsonOption = False) -> None:
    """Show every arrow: what was sent, landed, run and merged, and what is pending."""
    found = asyncio.run(_read(data))
    with Tables(settings(data)) as tables:
        rows = tables.count()
    if as_json:
        content = dataclasses.asdict(found) | {"rows": rows, "pending": found.pending()}
        typer.echo(json.dumps(content, indent=2, default=str))
    else:
        Console().print(picture(found, rows))
        for line in found.pending() or ["everything is caught up"]:
            typer.echo(line)


async def read(app: App) -> PipelineStatus:
    """The status, through an app's ports."""
    return await read_status(
        app.document,
        hub=app.hub,
        cursors=app.cursors,
        raw=app.raw,
        attempts=app.attempts,
        quarantine=app.quarantine,
        ledger=app.ledger,
    )


def picture(found: PipelineStatus, rows: Mapping[str, int]) -> Table:
    """One line an arrow."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("arrow", "of", "done", "state"):
        table.add_column(heading, justify="right" if heading == "done" else "left")
    for source in found.sources:
        sent = f"in {source.events_sent:,} events"
        table.add_row("source → hub", source.name, f"{source.records_sent:,} records", sent)
    for hub in found.hubs:
        state = f"{hub.lag:,} waiting" if hub.lag > 0 else "caught up"
        if hub.quarantined:
            state += f", {hub.quarantined:,} in quarantine"
        if hub.losses:
            state += f", {hub.losses:,} gaps lost to retention"
        table.add_row("hub → raw", hub.material, f"{hub.landed:,} events", state)
    for dataset in found.datasets:
        runs = f"{dataset.succeeded:,} runs"
        what = "inputs changed" if dataset.curated else "blobs wait for a run"
        state = dataset.open or (what if dataset.waiting else "caught up")
        if dataset.failed:
            state += f", {dataset.failed:,} failed"
        table.add_row("table → run" if dataset.curated else "raw → run", dataset.name, runs, state)
        bad = dataset.records_quarantined
        kept = f"{bad:,} records in quarantine" if bad else "no bad records"
        table.add_row("run → table", dataset.table, f"{rows.get(dataset.name, 0):,} rows", kept)
    return table


async def _read(data: DataOption) -> PipelineStatus:
    async with opened(data) as app:
        return await read(app)
