"""`millrace poll`: poll a source now."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.pipeline import DATA, DataOption, JsonOption, opened
from shared import telemetry
from shared.flow.source_to_hub import poll_source

if TYPE_CHECKING:
    from pathlib import Path

    from shared.flow.source_to_hub import SourcePolled


def poll(
    source: Annotated[str, typer.Argument(help="Name of the source in pipeline.json.")],
    *,
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Poll a source now, as its timer would, and say what was sent."""
    report = asyncio.run(_poll(data, source))
    telemetry.emit(report)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(report)))
    elif not report.changed:
        typer.echo(f"{source} has nothing new")
    else:
        typer.echo(
            f"{source}: sent {report.records_sent:,} of {report.records_seen:,} records "
            f"in {report.events_sent:,} events"
        )


async def _poll(data: Path, name: str) -> SourcePolled:
    async with opened(data) as app:
        source = app.document.source(name)
        return await poll_source(
            source,
            app.document.hub(source.publishes),
            reader=app.source,
            hub=app.hub,
            cursors=app.cursors,
            quarantine=app.quarantine,
            clock=app.clock,
        )
