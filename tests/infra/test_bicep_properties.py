"""Names of properties: the compiler warns of one that it does not know, the service skips it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.infra.bicep_plan import Resource, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BICEP = ROOT / "infra/bicep"
#: Each was looked up in Azure's types of the version; whoever adds one does the same.
KNOWN = json.loads(Path(__file__).with_name("properties.json").read_text())
#: Objects whose keys are names of ours.
OURS = {
    "Microsoft.Consumption/budgets": "properties.notifications",
    "Microsoft.Web/sites/config": "properties",
    "Microsoft.Web/sites": "identity.userAssignedIdentities",
}


def resources() -> Iterator[Resource]:
    """Every resource that there can be: the largest environment, the smallest, and both steps."""
    operators = {"name": "operators", "objectId": "the-operators"}
    shared: dict[str, Any] = {"environmentName": "any", "operators": operators}
    clients = [{"name": "office", "first": "192.0.2.1", "last": "192.0.2.2"}]
    secrets = {"EARTHQUAKES_URL": "https://host"}
    yield from plan(BICEP / "main.bicep", **shared, size="branch")[0]
    yield from plan(
        BICEP / "main.bicep", **shared, size="prod", privateNetwork=True, sqlClients=clients,
        document=document(), sourceSettings=secrets,
    )[0]  # fmt: skip
    yield from plan(
        BICEP / "event-grid.bicep", topicName="topic", functionAppName="app",
        hostStorageName="host", deadLetterContainer="dead-letters",
    )[0]  # fmt: skip
    yield from plan(
        BICEP / "budget.bicep", name="any", actionGroupId="the-group", startDate="2026-11-01",
        document=document(),
    )[0]  # fmt: skip


def document() -> dict[str, Any]:
    """The committed document, and somebody who is told."""
    content: dict[str, Any] = json.loads((ROOT / "pipeline.json").read_text())
    return {**content, "alerts": {"emails": ["on-call@example.org"]}}


def names(value: Any, path: str, ours: str | None) -> Iterator[str]:
    """Paths of the properties of a body; items of a list are alike, and our own names are `*`."""
    if isinstance(value, list):
        for item in value:
            yield from names(item, f"{path}[]", ours)
    elif isinstance(value, dict) and path != "tags":
        for name, inner in value.items():
            step = "*" if path == ours else name
            yield from names(inner, f"{path}.{step}".removeprefix("."), ours)
    else:
        yield path


def test_properties_are_those_that_azure_knows() -> None:
    """`retentionDays` for `retentionInDays` would keep logs for a month, and nobody would see."""
    used: dict[str, set[str]] = {}
    for each in resources():
        found = names(dict(each.body), "", OURS.get(each.type))
        used.setdefault(each.type, set()).update(found)

    assert {kind: sorted(found) for kind, found in used.items()} == KNOWN
