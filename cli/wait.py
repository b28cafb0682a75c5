"""`millrace wait`: return when every arrow is idle and caught up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from cli.pipeline import DATA, DataOption, opened
from cli.status import read
from shared.adapters.memory import MemoryHub, MemoryQuarantine
from shared.adapters.memory_source import ReadOnlyCursors
from shared.domain.errors import MillraceError
from shared.flow.source_to_hub import poll_source

if TYPE_CHECKING:
    from shared.domain.source import Source
    from shared.flow.pipeline_status import PipelineStatus
    from shared.wiring import App

_PAUSE_S = 0.3


def wait(
    *,
    timeout: Annotated[float, typer.Option(help="Give up after so many seconds.")] = 300,
    data: DataOption = DATA,
) -> None:
    """Wait until nothing is left to poll, land, run or merge; exit 1 at the time limit."""
    left = asyncio.run(_wait(data, timeout_s=timeout))
    for line in left:
        typer.echo(f"still pending: {line}", err=True)
    if left:
        raise typer.Exit(1)
    typer.echo("everything is caught up")


async def look(app: App) -> tuple[list[str], PipelineStatus]:
    """What is left to do, and where everything is.

    The source comes first, and what it still has is asked of the source itself: whatever moves on
    meanwhile is seen where it arrives.
    """
    try:
        unread = [await _unread(app, source) for source in app.document.sources]
    except MillraceError as error:
        unread = [str(error)]
    found = await read(app)
    return [line for line in unread if line] + found.pending(), found


async def _wait(data: DataOption, *, timeout_s: float) -> list[str]:
    left = ["nothing was looked at yet"]
    try:
        async with asyncio.timeout(timeout_s), opened(data) as app:
            while left:
                try:
                    left, _ = await look(app)
                except MillraceError as error:
                    left = [str(error)]
                if left:
                    await asyncio.sleep(_PAUSE_S)
    except TimeoutError:
        return left
    return left


async def _unread(app: App, source: Source) -> str:
    """Poll without sending, to learn what a poll would send now."""
    report = await poll_source(
        source,
        app.document,
        reader=app.source,
        hub=MemoryHub(),
        cursors=ReadOnlyCursors(app.cursors),
        quarantine=MemoryQuarantine(),
        clock=app.clock,
    )
    unread = report.records_sent + report.records_deleted
    return f"source {source.name}: {unread} records not polled yet" if unread else ""
