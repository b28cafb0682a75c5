"""`millrace audit`: whether every event of the hub is in raw exactly once."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cli.pipeline import DATA, DataOption, JsonOption, opened
from shared.adapters.raw_folder import RawFolder
from shared.flow.audit_raw import RawAudited, audit_raw

if TYPE_CHECKING:
    from shared.flow.audit_raw import PartitionAudited
    from shared.ports import RawFiles


def audit(
    material: Annotated[str, typer.Argument(help="Only this material.")] = "",
    *,
    files: Annotated[
        Path | None, typer.Option(help="Audit a copied folder of the container raw instead.")
    ] = None,
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Walk the chains of raw blobs: every sequence number once, none missing, none changed."""
    found = asyncio.run(_audit(material, files, data))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=1))
    else:
        for partition in found.partitions:
            typer.echo(_sentence(partition))
        for finding in found.findings:
            typer.echo(f"{finding.blob}: {finding.problem}")
        if not found.findings:
            typer.echo("every sequence number is there once, none is missing, nothing was changed")
    if found.findings:
        raise typer.Exit(1)


def _sentence(partition: PartitionAudited) -> str:
    return (
        f"{partition.material}/{partition.partition}: {partition.events:,} events "
        f"up to {partition.sequence_last:,} in {partition.blobs:,} blobs"
    )


async def _audit(material: str, folder: Path | None, data: Path) -> RawAudited:
    if folder is not None:
        return await _with_progress(material, RawFolder(folder))
    async with opened(data) as app:
        return await _with_progress(material, app.raw_files)


async def _with_progress(material: str, files: RawFiles) -> RawAudited:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading raw blobs", total=None)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return await audit_raw(material, files=files, tell=tell)
