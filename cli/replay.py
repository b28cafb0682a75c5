"""`millrace replay`: rebuild tables from raw."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from cli.pipeline import DATA, DataOption, opened
from shared.domain.errors import Misconfigured
from shared.flow.replay_raw import replay_raw

if TYPE_CHECKING:
    from pathlib import Path

    from shared.flow.replay_raw import ReplayPlanned


def replay(
    material: Annotated[str, typer.Option(help="The material whose datasets are rebuilt.")],
    start: Annotated[str, typer.Option("--from", help="From this hour on (ISO 8601, UTC).")] = "",
    end: Annotated[str, typer.Option("--to", help="Up to and with this hour.")] = "",
    data: DataOption = DATA,
) -> None:
    """Run the transforms again over raw blobs of a time, without the source and the hub.

    Newer rows are never overwritten by older events, so any range may be replayed at any time.
    """
    for planned in asyncio.run(_replay(data, material, start, end)):
        typer.echo(
            f"{planned.dataset}: run {planned.run} reads {planned.events:,} events in "
            f"{planned.blobs:,} blobs again; follow it with millrace wait"
        )


async def _replay(data: Path, material: str, start: str, end: str) -> list[ReplayPlanned]:
    async with opened(data) as app:
        app.document.hub(material)
        now = app.clock.now()
        return [
            await replay_raw(
                dataset,
                app.document,
                start=_moment(start, otherwise=datetime.min.replace(tzinfo=UTC)),
                end=_moment(end, otherwise=now + timedelta(hours=1)),
                raw=app.raw,
                ledger=app.ledger,
                files=app.files,
                clock=app.clock,
            )
            for dataset in app.document.fed_by(material)
        ]


def _moment(text: str, *, otherwise: datetime) -> datetime:
    if not text:
        return otherwise
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Misconfigured("--from/--to", f"{text!r} is no ISO 8601 date or time") from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
