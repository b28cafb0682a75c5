"""`millrace validate`: check the document. `millrace schema`: print what it may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.domain import document as documents


def validate(
    pipeline: Annotated[Path, typer.Argument(help="The document.")] = Path("pipeline.json"),
) -> None:
    """Check a pipeline.json; every problem is a line with its path and what was probably meant."""
    document = documents.load(pipeline)
    parts = {
        "source": len(document.sources),
        "hub": len(document.eventhubs),
        "dataset": len(document.datasets),
        "curated table": len(document.curated),
    }
    counted = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in parts.items())
    typer.echo(f"{pipeline} is valid: {counted}")


def schema() -> None:
    """Print the JSON Schema of pipeline.json, as committed in pipeline.schema.json."""
    typer.echo(documents.json_schema(), nl=False)
