"""`millrace poll`: poll a source now."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.pipeline import DATA, DataOption, JsonOption, opened
from shared import telemetry
from shared.adapters.memory import MemoryHub, MemoryQuarantine
from shared.adapters.memory_source import ReadOnlyCursors
from shared.domain.errors import BadRecord, Misconfigured
from shared.domain.poll import wish_of
from shared.flow.source_to_hub import poll_source

if TYPE_CHECKING:
    from pathlib import Path

    from shared.domain.poll import SourcePolled

_SHOWN = 5
_SHOWN_CHARACTERS = 200


def poll(
    source: Annotated[str, typer.Argument(help="Name of the source in pipeline.json.")],
    *,
    since: Annotated[
        str, typer.Option("--from", help="Read from this value of the cursor field on.")
    ] = "",
    until: Annotated[str, typer.Option("--to", help="Read up to this value.")] = "",
    full: Annotated[bool, typer.Option("--full", help="Read and send everything again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; change nothing.")
    ] = False,
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Poll a source now, as its timer would, and say what was sent."""
    hub = MemoryHub() if dry_run else None
    report = asyncio.run(_poll(data, source, since=since, until=until, full=full, dry_hub=hub))
    if not dry_run:
        telemetry.emit(report)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
        return
    if hub:
        _show(hub)
    typer.echo(_said(report, dry_run=dry_run))


def _said(report: SourcePolled, *, dry_run: bool) -> str:
    if report.progress.resting_until:
        return f"{report.source} wants to be left alone until {report.progress.resting_until}"
    if not report.changed:
        return f"{report.source} has nothing new"
    did = "would send" if dry_run else "sent"
    gone = f", {report.records_deleted:,} of them deletions" if report.records_deleted else ""
    rest = "; time was up, the next poll goes on" if report.unfinished else ""
    return (
        f"{report.source}: {did} {report.records_sent + report.records_deleted:,} of "
        f"{report.records_seen:,} records{gone} in {report.events_sent:,} events{rest}"
    )


def _show(hub: MemoryHub) -> None:
    """The first records that would be sent."""
    lines = [
        line.decode(errors="replace")
        for events in hub.sent.values()
        for event in events
        for line in event.body.split(b"\n")
    ]
    for line in lines[:_SHOWN]:
        cut = line[:_SHOWN_CHARACTERS]
        typer.echo(cut + ("…" if len(cut) < len(line) else ""))
    if len(lines) > _SHOWN:
        typer.echo(f"… and {len(lines) - _SHOWN:,} more")


async def _poll(
    data: Path, name: str, *, since: str, until: str, full: bool, dry_hub: MemoryHub | None
) -> SourcePolled:
    async with opened(data) as app:
        source = app.document.source(name)
        try:
            return await poll_source(
                source,
                app.document,
                reader=app.source,
                hub=dry_hub or app.hub,
                cursors=ReadOnlyCursors(app.cursors) if dry_hub else app.cursors,
                quarantine=MemoryQuarantine() if dry_hub else app.quarantine,
                clock=app.clock,
                wish=wish_of(source, since=since, until=until, full=full),
            )
        except BadRecord as error:
            raise Misconfigured(f"source {name}", f"gives no page: {error}") from error
