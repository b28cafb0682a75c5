"""Alerts and workbook: queries name what exists, and every alert says what to do."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.__main__ import commands
from tests.infra.bicep_plan import Resource, plan
from tests.infra.kql import Query, query_of

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "infra/bicep/main.bicep"
RUNBOOKS = ROOT / "docs/runbooks"
ALERTS = sorted(path.stem for path in (ROOT / "infra/alerts").glob("*.kql"))


@cache
def resources() -> tuple[Resource, ...]:
    """Everything one environment has."""
    made, _ = plan(
        MAIN, environmentName="any", operators={"name": "operators", "objectId": "the-operators"}
    )
    return tuple(made)


def of(kind: str) -> list[Resource]:
    """The resources of a type."""
    return [each for each in resources() if each.type == kind]


def rule(name: str) -> dict[str, Any]:
    """The properties of an alert on our own metrics."""
    rules = of("Microsoft.Insights/scheduledQueryRules")
    (found,) = [each for each in rules if each.name == f"quakes-any-{name}"]
    return dict(found.properties)


def query(name: str) -> Query:
    """The query of an alert, as it is deployed."""
    return query_of(rule(name)["criteria"]["allOf"][0]["query"])


@cache
def workbook() -> dict[str, Any]:
    """The workbook as its service reads it."""
    (found,) = of("Microsoft.Insights/workbooks")
    content: dict[str, Any] = json.loads(found.properties["serializedData"])
    return content


def charts() -> dict[str, Query]:
    """The queries of the workbook by name."""
    return {
        item["name"]: query_of(item["content"]["query"])
        for item in workbook()["items"]
        if item["type"] == 3 and item["content"]["queryType"] == 0
    }


@cache
def metrics() -> dict[str, set[str]]:
    """Each metric of the documentation, with its attributes."""
    page = (ROOT / "docs/telemetry.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| \w+ \| \S+ \| (.+?) \|", page, re.MULTILINE)
    return {name: set(re.findall(r"`([\w.]+)`", attributes)) for name, attributes in rows}


def test_every_query_is_deployed() -> None:
    """A file that no template loads watches nothing."""
    deployed = {
        each.name.removeprefix("quakes-any-")
        for each in of("Microsoft.Insights/scheduledQueryRules")
    }
    drawn = {path.stem for path in (ROOT / "infra/workbook").glob("*.kql")}

    assert deployed == set(ALERTS)
    assert set(charts()) == drawn


@pytest.mark.parametrize("name", ALERTS)
def test_alert_names_what_exists(name: str) -> None:
    """A query on a column or metric that does not exist is silent for ever."""
    found = query(name)

    assert not found.unknown()
    assert found.metrics
    assert found.metrics <= metrics().keys()
    assert found.attributes <= set().union(*(metrics()[each] for each in found.metrics))


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_it_found(name: str) -> None:
    """Whoever is woken reads the subject, the value and the limit in the message itself."""
    criterion = rule(name)["criteria"]["allOf"][0]

    assert query(name).results == ["Subject", "Value", "Limit"]
    assert [each["name"] for each in criterion["dimensions"]] == ["Subject"]
    assert (criterion["timeAggregation"], criterion["operator"]) == ("Count", "GreaterThan")
    assert criterion["threshold"] == 0


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "infra/workbook").glob("*.kql"))
)
def test_chart_names_what_exists(name: str) -> None:
    """An empty chart looks like a quiet day."""
    found = charts()[name]

    assert not found.unknown()
    assert found.metrics <= metrics().keys()


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ('AppMetrics | where Nmae == "a"', {"Nmae"}),
        ('AppMetric | where Name == "a"', {"AppMetric", "Name"}),
        ("AppMetrics | summarize Value = summ(Sum) by Name", {"summ"}),
        ("AppMetrics | extend Hub = Name | project Hubb", {"Hubb"}),
        ("AppMetrics | extend Hub = Name | project Hub, Value = Sum", set()),
    ],
)
def test_check_of_queries_finds_misspelt_names(text: str, unknown: set[str]) -> None:
    """A check that finds nothing is worth nothing."""
    assert query_of(text).unknown() == unknown


def test_freshness_fires_on_silence() -> None:
    """A table of which nobody says anything is the one to worry about."""
    text = query("freshness").text

    assert "datatable(Dataset: string, Limit: real)['earthquakes', 86400]" in text
    assert re.search(r"expected\s*\| join kind=leftouter \(seen\) on Dataset", text)
    assert "where isnull(Age) or Age > Limit" in text


def test_silence_expects_every_timer_that_must_not_be_silent() -> None:
    """A filter answers nothing for who says nothing; and a poll has a limit of its own."""
    text = query("silence").text

    assert "['track_runs', 900, 'measure_pipeline', 900, 'poll_usgs_earthquakes', 86400]" in text
    assert re.search(r"expected\s*\| join kind=leftouter \(seen\) on Function", text)
    assert "where isnull(Last) or Age > Limit" in text


def test_platform_metrics_are_watched() -> None:
    """Throttling and failed deliveries are known to the services only."""
    criteria = [
        criterion
        for each in of("Microsoft.Insights/metricAlerts")
        for criterion in each.properties["criteria"]["allOf"]
    ]

    assert {(each["operator"], each["timeAggregation"]) for each in criteria} == {
        ("GreaterThan", "Total")
    }
    assert {(each["metricNamespace"], each["metricName"]) for each in criteria} == {
        ("Microsoft.EventHub/namespaces", "ThrottledRequests"),
        ("Microsoft.EventGrid/systemTopics", "DeliveryAttemptFailCount"),
        ("Microsoft.EventGrid/systemTopics", "DroppedEventCount"),
        ("Microsoft.EventGrid/systemTopics", "DeadLetteredCount"),
    }


def test_every_alert_tells_the_same_group() -> None:
    """One place says who is called."""
    (group,) = of("Microsoft.Insights/actionGroups")
    step = MAIN.with_name("budget.bicep")
    ((budget,), _) = plan(step, name="any", actionGroupId=group.id, startDate="2026-11-01")

    for each in of("Microsoft.Insights/scheduledQueryRules"):
        assert each.body["kind"] == "LogAlert"
        assert each.properties["actions"]["actionGroups"] == [group.id]
    for each in of("Microsoft.Insights/metricAlerts"):
        assert each.properties["actions"] == [{"actionGroupId": group.id}]
    for told in budget.properties["notifications"].values():
        assert told["contactGroups"] == [group.id]


def test_every_alert_has_a_runbook_that_can_be_followed() -> None:
    """At night nobody thinks: a page says what it means, how to look and what to do."""
    named = {
        match
        for kind in ("scheduledQueryRules", "metricAlerts")
        for each in of(f"Microsoft.Insights/{kind}")
        for match in re.findall(r"docs/runbooks/([\w-]+)\.md", each.properties["description"])
    }
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}

    assert named == {*ALERTS, "throttled", "event-grid"}
    assert pages == named | {"budget"}
    for page in pages:
        text = (RUNBOOKS / f"{page}.md").read_text()
        assert [line for line in text.splitlines() if line.startswith("## ")] == [
            "## What it means",
            "## How to look",
            "## What to do",
        ], page
        assert f"({page}.md)" in (RUNBOOKS / "README.md").read_text()


def test_commands_of_the_pages_exist() -> None:
    """A command that does not exist is worse than none."""
    group = get_command(commands)
    known = dict(getattr(group, "commands", {}))
    pages = [*RUNBOOKS.glob("*.md"), *(ROOT / "docs/operations").glob("*.md")]
    pages += [ROOT / "docs/deploy.md", ROOT / "docs/telemetry.md", ROOT / "synapse/README.md"]
    used = re.findall(r"millrace ([a-z]+)(?: ([a-z]+))?", "\n".join(p.read_text() for p in pages))

    assert used
    for name, inner in used:
        assert name in known, f"millrace {name}"
        inside = dict(getattr(known[name], "commands", {}))
        assert not inside or inner in inside, f"millrace {name} {inner}"


def test_workbook_shows_the_picture_first() -> None:
    """Every arrow and its state, then what one asks next, and what it costs."""
    names = [item["name"] for item in workbook()["items"]]

    assert names == [
        "introduction",
        "parameters",
        "arrows",
        "freshness",
        "lag",
        "throughput",
        "quarantine",
        "runs",
        "cost",
    ]
    for arrow in ("source → hub", "hub → raw", "raw → run", "run → table", "table → SQL"):
        assert f'"{arrow}"' in charts()["arrows"].text
    cost = json.loads(workbook()["items"][-1]["content"]["query"])
    assert cost["path"].endswith("/providers/Microsoft.CostManagement/query?api-version=2024-08-01")
    assert json.loads(cost["data"])["dataset"]["grouping"][0]["name"] == "ServiceName"
