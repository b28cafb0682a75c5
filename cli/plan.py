"""`millrace plan`: what would exist for a document, and what a month of it would cost."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli import cost
from cli.pipeline import JsonOption
from cli.synapse_sql import database_name
from shared.domain import document as documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.domain.document import Document, EventHub

ROOT = Path(__file__).parents[1]
SELDOM = "PT15M"
RUNBOOKS = ROOT / "docs" / "runbooks"
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
SHARED = (
    ("resource group", "rg-{prefix}"),
    ("identity of the function app", "id-…"),
    ("function app", "func-…, Flex Consumption"),
    ("Event Hubs namespace", "evhns-…"),
    ("lake", "lake…: raw, clean, curated, quarantine, state"),
    ("storage of the functions host", "host…"),
    ("key vault", "kv-…"),
    ("Databricks workspace", "dbw-…"),
    ("Synapse workspace, serverless", "syn…"),
    ("logs and insights", "log-…, appi-…"),
    ("Event Grid topic of the lake", "evgt-…"),
    ("workbook, budget, action group", "{prefix}"),
)


def plan(
    pipeline: Annotated[Path, typer.Argument(help="The document.")] = Path("pipeline.json"),
    *,
    environment: Annotated[
        str | None, typer.Option(help="Whose copy; the document's own environment by default.")
    ] = None,
    size: Annotated[cost.Size, typer.Option(help="Size of the environment.")] = cost.Size.DEV,
    as_json: JsonOption = False,
) -> None:
    """Show what would exist for a pipeline.json, and an estimate of its monthly cost."""
    document = documents.load(pipeline)
    parts = resources(document, environment or document.environment)
    lines = cost.estimate(document, size=size)
    savings = without(document, size=size)
    if as_json:
        content = {
            "resources": [{"kind": kind, "name": name} for kind, name in parts],
            "cost": [asdict(line) | {"monthly": round(line.monthly, 2)} for line in lines],
            "monthly": round(cost.total(lines), 2),
            "without": {what: round(price, 2) for what, price in savings.items()},
        }
        typer.echo(json.dumps(content, indent=2))
        return
    console = Console()
    console.print(_resources_table(parts))
    console.print()
    console.print(_cost_table(lines))
    typer.echo()
    for sentence in sentences(document, size=size, monthly=cost.total(lines), savings=savings):
        typer.echo(sentence)


def sentences(
    document: Document, *, size: cost.Size, monthly: float, savings: Mapping[str, float]
) -> Iterator[str]:
    """What the cost rests on, what it would be otherwise, and what to look at before deploying."""
    prices = cost.Prices()
    yield f"size {size}; prices: {prices.region}, {prices.currency}, {prices.date}. {prices.note}"
    for hub in document.eventhubs:
        records = f"{hub.expected_records_per_day:,} records a day of {hub.record_bytes:,} bytes"
        yield f"reckoned with {records} in {hub.material}"
    for what, price in savings.items():
        yield f"without {what} it would be {price:,.0f} {prices.currency} a month"
    rarely = cost.total(cost.estimate(seldom(document), size=size))
    yield f"with runEvery {SELDOM} for every dataset it would be {rarely:,.0f}"
    budget = document.alerts.monthly_budget
    if monthly > budget:
        yield f"this is more than alerts.monthlyBudget, {budget:,}: its alert will fire"
    if not document.alerts.emails:
        yield "alerts.emails is empty: nobody is told of an alert"


def resources(document: Document, environment: str) -> list[tuple[str, str]]:
    """Kind and name of everything; `…` stands for the token that Azure derives."""
    prefix = f"{document.name}-{environment}"
    parts = [(kind, name.format(prefix=prefix)) for kind, name in SHARED]
    parts += [
        (
            "hub",
            f"{hub.material}: {hub.partitions} partitions, kept for {_spoken(_retention(hub))}",
        )
        for hub in document.eventhubs
    ]
    parts += [
        ("source", f"{source.name}: {source.schedule} → {source.publishes}")
        for source in document.sources
    ]
    parts += [("secret", name.replace("_", "-")) for name in _settings(document)]
    parts += [("job", f"{prefix}-{job.name}, {job.cluster}") for job in document.databricks.jobs]
    parts += [("SQL database", database_name(document, environment))]
    parts += _tables(document)
    return [*parts, *(("alert", each) for each in alerts(document))]


def _tables(document: Document) -> list[tuple[str, str]]:
    parts = []
    for dataset in document.datasets:
        parts.append(("table", f"clean/{dataset.name}, view {dataset.table}"))
        if dataset.history:
            parts.append(("table", f"clean/{dataset.name}_history, view {dataset.table}_history"))
    parts += [
        ("table", f"curated/{curated.name}, view {curated.table}")
        if curated.kind == "table"
        else ("view", curated.table)
        for curated in document.curated
    ]
    return parts


def alerts(document: Document) -> list[str]:
    """Each alert by the name of its runbook, with the limit where the document sets one."""
    says = document.alerts
    fresh = ", ".join(
        f"{dataset.name} {_spoken(dataset.freshness or says.freshness)}"
        for dataset in document.datasets
    )
    limits = {
        "budget": f"{says.monthly_budget:,} a month",
        "consumer-lag": f"{says.lag_events:,} events in a partition",
        "freshness": fresh,
        "runs-late": _spoken(says.run_late_after),
        "silence": _spoken(says.silent_after),
    }
    names = sorted(page.stem for page in RUNBOOKS.glob("*.md") if page.stem != "README")
    return [f"{name}: {limits[name]}" if limits.get(name) else name for name in names]


def _spoken(period: timedelta) -> str:
    """A period in the largest unit that tells it whole."""
    total = round(period.total_seconds())
    size, unit = next(each for each in UNITS if total % each[0] == 0)
    return f"{total // size} {unit}{'' if total == size else 's'}"


def _retention(hub: EventHub) -> timedelta:
    """Whole hours, at most seven days of them: infra/bicep/main.bicep."""
    hours = math.ceil(hub.expires_after / timedelta(hours=1))
    return timedelta(hours=min(hours, 168))


def _settings(document: Document) -> list[str]:
    """The settings that sources use: each is a secret of the vault."""
    text = "".join(source.model_dump_json() for source in document.sources)
    return list(dict.fromkeys(documents.settings_named(text)))


def without(document: Document, *, size: cost.Size) -> dict[str, float]:
    """What a month would cost without what Millrace does to save."""
    return {
        "packing records into events": cost.total(cost.estimate(document, size=size, packed=False)),
        "one run for many blobs": cost.total(cost.estimate(document, size=size, coalesced=False)),
    }


def seldom(document: Document) -> Document:
    """The document with a run of each dataset every quarter of an hour."""
    period = timedelta(minutes=15)
    datasets = tuple(
        dataset.model_copy(update={"run_every": max(dataset.run_every or period, period)})
        for dataset in document.datasets
    )
    return document.model_copy(update={"datasets": datasets})


def _resources_table(parts: list[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("what would exist")
    table.add_column("name")
    for kind, name in parts:
        table.add_row(kind, name)
    return table


def _cost_table(lines: list[cost.CostLine]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True)
    table.add_column("part", footer="a month")
    table.add_column("of what")
    table.add_column("units", justify="right")
    table.add_column("cost", justify="right", footer=f"{cost.total(lines):,.2f}")
    for line in lines:
        table.add_row(line.part, line.what, f"{line.units:,.2f}", f"{line.monthly:,.2f}")
    return table
