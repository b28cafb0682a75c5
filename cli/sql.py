"""`millrace sql`: what a SQL engine or a notebook has to be told to see the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.notebook import notebook
from cli.pipeline import DATA, DataOption, settings
from cli.tables import CURATED, Tables, extension
from shared.domain import document as documents

sql = typer.Typer(help="What an engine has to be told to see the tables.", no_args_is_help=True)


@sql.command()
def synapse(
    *,
    pipeline: Annotated[Path, typer.Option("--pipeline", help="The document.")] = Path(
        "pipeline.json"
    ),
    environment: Annotated[
        str | None, typer.Option(help="Whose database; the document's own by default.")
    ] = None,
    lake_url: Annotated[
        str | None,
        typer.Option(help="https://<account>.dfs.core.windows.net; by default sqlcmd is told it."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Write a file for each script instead of printing them.")
    ] = None,
) -> None:
    """Print the scripts that make Synapse serverless SQL serve the tables, in their order."""
    from cli import synapse_sql  # noqa: PLC0415 -- Translating SQL is slow to load.
    from cli.sql_views import views_of  # noqa: PLC0415

    document = documents.load(pipeline)
    scripts = synapse_sql.scripts(
        views_of(document, curated_folder=CURATED),
        database=synapse_sql.database_name(document, environment or document.environment),
        lake_url=(lake_url or synapse_sql.LAKE_URL).rstrip("/"),
    )
    for name, text in scripts.items():
        if folder is None:
            typer.echo(text)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
            typer.echo(folder / name)


@sql.command()
def local(*, data: DataOption = DATA) -> None:
    """Print Python that opens the tables of the running local stack, for a notebook."""
    found = settings(data)
    with Tables(found) as tables:
        text = notebook(
            found.lake,
            extensions={name: extension(name) for name in ("azure", "delta")},
            definitions=tables.definitions(),
            written=tables.written(),
        )
    typer.echo(text, nl=False)
