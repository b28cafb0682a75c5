"""The plan and its cost: what would exist, what a month costs, and what saves money."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import cost
from cli.__main__ import commands
from cli.plan import resources, sentences, without
from tests.builders import document

SOURCE = {
    "name": "tool",
    "url": "http://127.0.0.1:1/items",
    "schedule": "0 */5 * * * *",
    "records": "items",
    "publishes": "quakes",
}
HUB = {
    "material": "quakes",
    "partitions": 4,
    "expectedRecordsPerDay": 10_000_000,
    "recordBytes": 500,
}
SIZES = (cost.Size.DEV, cost.Size.STAGING, cost.Size.PROD)


def busy(**changes: Any) -> Any:
    """A pipeline that carries 5 GB a day."""
    return document(sources=[SOURCE], eventhubs=[HUB | changes])


@pytest.mark.parametrize(
    ("schedule", "polls"),
    [
        ("* * * * * *", 86_400),
        ("*/10 * * * * *", 8_640),
        ("0 */5 * * * *", 288),
        ("0 0 6 * * *", 1),
        ("0 0 6 * * 1", 1 / 7),
    ],
)
def test_schedule_says_how_often_a_source_is_polled(schedule: str, polls: float) -> None:
    """NCRONTAB begins with seconds, which the usual readers put last."""
    counted = cost.polls_a_day(schedule)

    assert counted == pytest.approx(polls)


def test_packing_and_coalescing_are_what_makes_it_cheap() -> None:
    """One record an event and one run a blob are what people build first."""
    monthly = cost.total(cost.estimate(busy()))

    alternatives = without(busy(), size=cost.Size.DEV)

    assert all(price > monthly for price in alternatives.values())


def test_events_are_billed_by_64_kilobytes() -> None:
    """10,000,000 records of 500 bytes are 288 polls of 290 events of 60,000 bytes."""
    (line,) = (line for line in cost.estimate(busy()) if line.what.startswith("million events"))

    assert line.units == pytest.approx(288 * 290 * cost.DAYS / 1e6, rel=0.01)


def test_fewer_runs_cost_less() -> None:
    """`runEvery` trades freshness for money, and the plan shows how much."""
    dataset = busy().dataset("quakes").model_dump(by_alias=True)
    hourly = document(sources=[SOURCE], eventhubs=[HUB], datasets=[dataset | {"runEvery": "PT1H"}])

    assert cost.total(cost.estimate(hourly)) < cost.total(cost.estimate(busy()))


def test_curated_table_runs_after_every_run_of_its_input() -> None:
    """A second table doubles the runs: whoever adds it wants to know before, not from the bill."""
    curated = [{"name": "daily", "reads": ["quakes"], "columns": {"id": "string"}}]
    alone = document(sources=[SOURCE], eventhubs=[HUB])
    both = document(sources=[SOURCE], eventhubs=[HUB], curated=curated)

    def runs(of: Any) -> float:
        volumes = {hub.material: cost.volume(hub, of) for hub in of.eventhubs}
        return cost.runs_a_day(of, volumes)

    assert runs(both) == 2 * runs(alone)


def test_larger_environment_costs_more() -> None:
    """Instances that are always ready are paid for while nothing happens."""
    monthly = [cost.total(cost.estimate(busy(), size=size)) for size in SIZES]

    assert monthly == sorted(set(monthly))


def test_every_entry_of_the_document_is_in_the_plan() -> None:
    """What is in the document and not in the plan would be a surprise."""
    described = document(
        curated=[{"name": "daily", "reads": ["quakes"], "columns": {"id": "string"}}]
    )

    names = " ".join(name for _, name in resources(described, "feature"))

    for part in ("quakes", "tool", "daily", "test-feature-transform", "freshness"):
        assert part in names


def test_plan_says_what_the_document_decides() -> None:
    """Partitions, retention, secrets and limits are what a review of the document is about."""
    described = document(
        sources=[SOURCE | {"url": "https://h/%TOOL_KEY%"}],
        eventhubs=[HUB | {"expiresAfter": "PT90M"}],
        alerts={"freshness": "PT2H", "lagEvents": 5000, "monthlyBudget": 55},
    )

    found = resources(described, "feature")

    assert ("hub", "quakes: 4 partitions, kept for 2 hours") in found
    assert ("secret", "TOOL-KEY") in found
    assert ("alert", "freshness: quakes 2 hours") in found
    assert ("alert", "consumer-lag: 5,000 events in a partition") in found
    assert ("alert", "budget: 55 a month") in found


@pytest.mark.parametrize(
    ("alerts", "warned"),
    [
        ({"monthlyBudget": 1}, [True, True]),
        ({"monthlyBudget": 100_000, "emails": ["on-call@example.org"]}, [False, False]),
    ],
)
def test_plan_warns_of_what_would_surprise(alerts: dict[str, Any], warned: list[bool]) -> None:
    """A budget below the estimate is spent on the second day, and an alert nobody gets is none."""
    described = document(sources=[SOURCE], eventhubs=[HUB], alerts=alerts)
    monthly = cost.total(cost.estimate(described))

    text = "\n".join(sentences(described, size=cost.Size.DEV, monthly=monthly, savings={}))

    assert ["monthlyBudget" in text, "nobody is told" in text] == warned


def test_every_price_has_a_source_and_the_list_a_date() -> None:
    """A price nobody can look up is a rumour."""
    listed = json.loads(cost.PRICES.read_text())

    assert listed["date"]
    assert all(price["source"].startswith("https://") for price in listed["prices"].values())


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--size", "prod"]])
def test_plan_is_printed(arguments: list[str]) -> None:
    """The command is what people run before they deploy."""
    result = CliRunner().invoke(commands, ["plan", *arguments])

    assert result.exit_code == 0
    assert "earthquakes" in result.stdout
    assert "Event Hubs" in result.stdout
