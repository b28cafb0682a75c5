"""The pipeline a command talks to: the stack on this machine, or the one the environment names."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from local.stack import settings_of
from shared import wiring
from shared.domain import document as documents
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.wiring import App

DATA = Path(".millrace")
DataOption = Annotated[
    Path, typer.Option("--data", help="Where the local stack keeps its state.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def settings(data: Path) -> Settings:
    """Settings of the stack over `data`; with `LAKE…` in the environment, those instead."""
    environment = dict(os.environ)  # noqa: TID251 -- A command is a process of its own.
    if not environment.get("LAKE") and not environment.get("LAKE__blobServiceUri"):
        environment |= settings_of(data)
    return Settings.read(environment)


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[App]:
    """The pipeline's ports."""
    found = settings(data)
    document = documents.load(found.pipeline_file)
    async with wiring.connected(found, document) as app:
        yield app
