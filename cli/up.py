"""`millrace up` and `millrace demo`: the whole pipeline on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from cli.pipeline import DATA, DataOption, opened, settings
from cli.query import Format, show
from cli.status import picture
from cli.tables import Tables
from cli.wait import look
from local.stack import Ports, Stack, running
from shared.domain import document as documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from shared.wiring import App

PORTS = 7070  # So that the function app listens on 7071, where Core Tools put it.
DEMO_LIMIT_S = 120
_PAUSE_S = 0.4
QUESTION = """\
SELECT kind, count(*) AS quakes, max(magnitude) AS strongest, max(updated) AS newest
FROM earthquakes GROUP BY kind ORDER BY quakes DESC"""

PipelineOption = Annotated[Path, typer.Option("--pipeline", help="The document.")]
PortsOption = Annotated[int, typer.Option("--ports", help="First of seven ports to listen on.")]
SecondsOption = Annotated[
    float, typer.Option(help="How long the sample source takes to publish its week.")
]

console = Console()


def up(
    *,
    pipeline: PipelineOption = Path("pipeline.json"),
    data: DataOption = DATA,
    ports: PortsOption = PORTS,
    source_seconds: SecondsOption = 60,
) -> None:
    """Start the whole pipeline here and keep it running until Ctrl-C."""
    asyncio.run(_up(_stack(pipeline, data, ports, source_seconds)))


def demo(
    *,
    pipeline: PipelineOption = Path("pipeline.json"),
    data: DataOption = DATA,
    ports: PortsOption = PORTS,
    source_seconds: SecondsOption = 4,
) -> None:
    """Start the pipeline, watch a recorded week of earthquakes become a table, ask it in SQL."""
    asyncio.run(_demo(_stack(pipeline, data, ports, source_seconds)))


def _stack(pipeline: Path, data: Path, ports: int, source_seconds: float) -> Stack:
    documents.load(pipeline)
    return Stack(
        pipeline=pipeline.resolve(),
        data=data.resolve(),
        ports=Ports(base=ports),
        source_seconds=source_seconds,
        say=lambda line: console.print(f"[dim]{line}[/dim]", highlight=False),
    )


async def _up(stack: Stack) -> None:
    with _told() as told:
        async with running(stack):
            console.print(f"the pipeline is up; its logs are in {stack.data / 'logs'}")
            console.print("look: millrace status · ask: millrace query 'SELECT …' · stop: Ctrl-C")
            await told.wait()
            console.print("stopping")
    console.print("stopped; `make up` goes on from here")


async def _demo(stack: Stack) -> None:
    with _told() as told:
        async with running(stack):
            work = asyncio.create_task(_show_work(stack))
            stop = asyncio.create_task(told.wait())
            await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                raise typer.Exit(130)
            stop.cancel()
            work.result()
            console.print("[dim]stopping[/dim]")
    console.print(
        "next: `make up` keeps it running; then .venv/bin/millrace status, "
        ".venv/bin/millrace query 'SELECT …'\n"
        "      pipeline.json describes it all; function_app.py is the map of the code"
    )


async def _show_work(stack: Stack) -> None:
    """Draw the arrows until everything is caught up, then ask the table."""
    with Tables(settings(stack.data)) as tables:
        async with opened(stack.data) as app, asyncio.timeout(DEMO_LIMIT_S):
            await (_draw if console.is_terminal else _tell)(app, tables)
        console.print(f"\n[bold]SQL[/bold] over the table\n{QUESTION}")
        show(*await asyncio.to_thread(tables.answer, QUESTION), style=Format.TABLE)


async def _draw(app: App, tables: Tables) -> None:
    """On a terminal: one table that changes."""
    with Live(console=console, refresh_per_second=8) as live:
        left = ["starting"]
        while left:
            left, frame = await _look(app, tables)
            state = Text(left[0] if left else "everything is caught up", style="dim")
            live.update(Group(frame, state))
            await asyncio.sleep(_PAUSE_S if left else 0)


async def _tell(app: App, tables: Tables) -> None:
    """Elsewhere: what is pending, a line each time it changes, and the table at the end."""
    left, told = ["starting"], ""
    while left:
        left, frame = await _look(app, tables)
        if left and left[0] != told:
            console.print(f"  {left[0]}", highlight=False)
            told = left[0]
        await asyncio.sleep(_PAUSE_S if left else 0)
    console.print(Group(frame, "everything is caught up"), highlight=False)


async def _look(app: App, tables: Tables) -> tuple[list[str], Table]:
    """What is pending, and the picture of where everything is."""
    left, found = await look(app)
    return left, picture(found, await asyncio.to_thread(tables.count))


@contextlib.contextmanager
def _told() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C or SIGTERM sets."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
