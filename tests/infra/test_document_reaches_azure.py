"""The one document drives everything in Azure: each entry reaches resources, with no other edit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli import plan as plan_command
from cli import synapse_sql
from cli.sql_views import views_of
from cli.tables import CURATED
from infra.databricks import resources as bundle
from shared.adapters import table_storage
from shared.domain import document as documents
from shared.domain.document import Document, EventHub
from shared.domain.watch import Alerts
from tests.infra.bicep_plan import Resource, plan
from tests.infra.bicep_syntax import read, text_of, walk

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "infra/bicep/main.bicep"
COMMITTED: dict[str, Any] = json.loads((ROOT / "pipeline.json").read_text())


def made(content: dict[str, Any], **parameters: Any) -> tuple[list[Resource], dict[str, Any]]:
    """What Azure would hold for a document; one the models refuse is a mistake of the test."""
    documents.parse(json.dumps(content))
    return plan(
        MAIN,
        document=content,
        environmentName="any",
        operators={"name": "operators", "objectId": "the-operators"},
        **parameters,
    )


def names(resources: list[Resource], kind: str) -> set[str]:
    """The last part of the name of each resource of a type."""
    return {each.name.rpartition("/")[2] for each in resources if each.type == kind}


def query(resources: list[Resource], name: str) -> str:
    """The query of an alert."""
    rule = one(resources, "Microsoft.Insights/scheduledQueryRules", name)
    return str(rule.properties["criteria"]["allOf"][0]["query"])


def one(resources: list[Resource], kind: str, ending: str = "") -> Resource:
    """The one resource of a type whose name ends so."""
    (found,) = [each for each in resources if each.type == kind and each.name.endswith(ending)]
    return found


def budget(content: dict[str, Any], **parameters: Any) -> Any:
    """The properties of the budget of a document."""
    given = {"name": "any", "actionGroupId": "the-group", "startDate": "2026-11-01"}
    ((found,), _) = plan(MAIN.with_name("budget.bicep"), document=content, **given | parameters)
    return found.properties


def larger() -> dict[str, Any]:
    """The committed document with a source, a hub, a dataset, a curated table and a job more."""
    content: dict[str, Any] = json.loads(json.dumps(COMMITTED))
    content["sources"].append(
        {
            "name": "river-levels",
            "url": "%RIVERS_URL%/levels",
            "headers": {"X-Api-Key": "%RIVERS_KEY%"},
            "schedule": "0 */5 * * * *",
            "publishes": "river-levels",
        }
    )
    content["eventhubs"].append(
        {"material": "river-levels", "partitions": 7, "expiresAfter": "3hrs", "owner": "hydrology"}
    )
    content["datasets"].append(
        {
            "name": "river-levels",
            "consumes": "river-levels",
            "primaryKey": ["id"],
            "freshness": "PT2H",
            "columns": {"id": {"type": "string"}, "level": {"type": "double"}},
            "job": "rivers",
        }
    )
    content["curated"].append(
        {
            "name": "flooded-rivers",
            "reads": ["river-levels"],
            "columns": {"id": "string", "level_max": "double"},
            "job": "rivers",
        }
    )
    content["databricks"]["jobs"].append(
        {"name": "rivers", "entryPoint": "transforms.job:main", "cluster": "Standard_D4ds_v5"}
    )
    return content


def test_adding_a_source_a_hub_and_a_dataset_changes_everything_that_follows() -> None:
    """One edit of one file is the promise."""
    before, first = made(COMMITTED)
    after, second = made(larger())
    hub = one(after, "Microsoft.EventHub/namespaces/eventhubs", "river-levels")
    settings = one(after, "Microsoft.Web/sites/config").properties
    workbook = one(after, "Microsoft.Insights/workbooks").properties["serializedData"]

    assert names(before, "Microsoft.EventHub/namespaces/eventhubs") == {"earthquakes"}
    assert hub.properties["partitionCount"] == 7
    assert hub.properties["retentionDescription"]["retentionTimeInHours"] == 3
    assert one(after, "Microsoft.EventHub/namespaces").body["tags"]["river-levels.owner"] == (
        "hydrology"
    )
    assert first["SECRET_SETTINGS"].split() == ["EARTHQUAKES_URL"]
    assert second["SECRET_SETTINGS"].split() == ["EARTHQUAKES_URL", "RIVERS_URL", "RIVERS_KEY"]
    assert settings["RIVERS_KEY"].startswith("@Microsoft.KeyVault(SecretUri=<")
    assert settings["RIVERS_KEY"].endswith("secrets/RIVERS-KEY)")
    assert "'river-levels', 7200" in query(after, "freshness")
    assert "'river-levels', 7200" in workbook
    assert "'poll_river_levels', 7200" in query(after, "silence")
    assert "river" not in query(before, "silence")


def test_adding_them_changes_jobs_views_and_plan_as_well() -> None:
    """The same edit, seen from Databricks, from SQL and by whoever reviews it."""
    document = documents.parse(json.dumps(larger()))
    variables = {"environment": "any", "function_client_id": "the-app", "lake_name": "lake"}
    jobs = bundle.resources_of(document, variables).jobs
    views = synapse_sql.scripts(views_of(document, curated_folder=CURATED), database="any")
    tables = views["03-tables.sql"].split("GO\n")
    planned = " ".join(name for _, name in plan_command.resources(document, "any"))
    (rivers,) = [text for text in tables if "[dbo].[river_levels]" in text]
    (flooded,) = [text for text in tables if "[dbo].[flooded_rivers]" in text]

    assert set(jobs) == {"transform", "rivers"}
    assert jobs["rivers"].as_dict()["max_concurrent_runs"] == 2
    assert "BULK 'river-levels', DATA_SOURCE = 'clean'" in rivers
    assert "[level] FLOAT" in rivers
    assert "BULK 'flooded-rivers', DATA_SOURCE = 'curated'" in flooded
    assert "[level_max] FLOAT" in flooded
    assert "[operations].[river_levels_refused]" in views["04-operations.sql"]
    for part in ("river-levels: 7 partitions, kept for 3 hours", "RIVERS-KEY", "quakes-any-rivers"):
        assert part in planned


def test_a_hub_has_a_consumer_group_for_each_function_that_reads_it() -> None:
    """Functions that share a group steal each other's partitions."""
    resources, _ = made(larger())
    expected = {
        f"{hub.material}/{group}"
        for hub in documents.parse(json.dumps(larger())).eventhubs
        for group in hub.consumer_groups
    }
    found = {
        each.name.partition("/")[2]
        for each in resources
        if each.type == "Microsoft.EventHub/namespaces/eventhubs/consumergroups"
    }

    assert found == expected


def test_landing_functions_are_always_ready_where_it_matters() -> None:
    """A hub that waits for an instance to start is a hub that lags; the names are the triggers'."""
    resources, _ = made(larger(), size="prod")
    scale = one(resources, "Microsoft.Web/sites").properties["functionAppConfig"]
    source = (ROOT / "functions/hub_to_raw.py").read_text()

    assert "f\"land_{hub.material.replace('-', '_')}\"" in source
    assert scale["scaleAndConcurrency"]["alwaysReady"] == [
        {"name": "function:land_earthquakes", "instanceCount": 1},
        {"name": "function:land_river_levels", "instanceCount": 1},
    ]
    assert scale["runtime"] == {"name": "python", "version": "3.13"}
    assert scale["siteUpdateStrategy"] == {"type": "RollingUpdate"}


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("P1D", 24),
        ("PT3H", 3),
        ("P1DT12H", 36),
        ("PT90M", 2),
        ("PT30S", 1),
        ("P30D", 168),
        ("3hrs", 3),
        ("3 hrs", 3),
        ("2 Days", 48),
        ("1day", 24),
        ("2d", 48),
        ("90 mins", 2),
        ("90m", 2),
        ("7200secs", 2),
        ("7200s", 2),
        ("4h", 4),
    ],
)
def test_retention_is_the_expiry_in_whole_hours(written: str, hours: int) -> None:
    """Bicep and the models read the same text, and understand it alike."""
    content = {**COMMITTED, "eventhubs": [{"material": "earthquakes", "expiresAfter": written}]}
    expiry = documents.parse(json.dumps(content)).eventhubs[0].expires_after
    resources, _ = made(content)
    hub = one(resources, "Microsoft.EventHub/namespaces/eventhubs")

    assert hub.properties["retentionDescription"]["retentionTimeInHours"] == hours
    assert hours == min(-(-expiry.total_seconds() // 3600), 168)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("https://host/%KEY%/x", ["KEY"]),
        ("%HOST%/a%20b/%KEY%", ["HOST", "KEY"]),
        ("%HOST%/%HOST%", ["HOST"]),
        ("https://host/a%20b%2fc", []),
        ("%A%B%C%", ["A", "C"]),
        ("https://host/100%/%_a1%", ["_a1"]),
    ],
)
def test_every_setting_of_a_source_becomes_a_secret(url: str, names: list[str]) -> None:
    """The vault holds a secret for exactly the settings that the app will look for."""
    document = {**COMMITTED, "sources": [{**COMMITTED["sources"][0], "url": "https://h"}]}
    document["sources"][0]["headers"] = {"A-Header": url}
    resources, outputs = made(document)
    settings = one(resources, "Microsoft.Web/sites/config").properties

    assert list(dict.fromkeys(documents.settings_named(url))) == names
    assert outputs["SECRET_SETTINGS"].split() == names
    assert {name for name, value in settings.items() if "KeyVault" in value} == set(names)


def test_secrets_are_written_only_where_a_value_is_given() -> None:
    """A deployment never empties a secret that a person has set."""
    resources, _ = made(
        larger(), sourceSettings={"RIVERS_KEY": "a value", "OTHER": "not asked for"}
    )
    secret = one(resources, "Microsoft.KeyVault/vaults/secrets")

    assert secret.name.endswith("/RIVERS-KEY")
    assert secret.properties == {"value": "a value"}


def test_defaults_are_those_of_the_models() -> None:
    """What the document leaves out means the same to the code and to the infrastructure."""
    bare = {"name": "bare", "eventhubs": [{"material": "things"}]}
    resources, _ = made(bare)
    hub = one(resources, "Microsoft.EventHub/namespaces/eventhubs").properties
    model = EventHub(material="things")
    alerts = Alerts()
    late, silent = (
        int(each.total_seconds()) for each in (alerts.run_late_after, alerts.silent_after)
    )

    assert hub["partitionCount"] == model.partitions
    assert hub["retentionDescription"]["retentionTimeInHours"] * 3600 == (
        model.expires_after.total_seconds()
    )
    assert f"todouble({alerts.lag_events})" in query(resources, "consumer-lag")
    assert f"todouble({late})" in query(resources, "runs-late")
    assert f"'track_runs', {silent}" in query(resources, "silence")
    assert budget(bare)["amount"] == alerts.monthly_budget
    assert "freshness ?? 'P1D'" in MAIN.read_text()
    assert alerts.freshness.total_seconds() == 86_400


def test_keys_of_the_models_are_no_tags() -> None:
    """A free attribute is one that no model knows; Bicep has to know the same ones."""
    known = next(each for each in read(MAIN).of("var") if each.name == "knownOfHub")
    assert known.value is not None
    listed = {text_of(node) for node in walk(known.value) if node.type == "string"}
    models = {field.alias or name for name, field in EventHub.model_fields.items()}

    assert listed == models


def test_who_is_told_and_the_budget_come_from_the_document() -> None:
    """Nobody has to look for the address of the person on call in a portal."""
    content = {**COMMITTED, "alerts": {"emails": ["on-call@example.org"], "monthlyBudget": 55}}
    resources, _ = made(content)
    group = one(resources, "Microsoft.Insights/actionGroups")
    spent = budget(content, actionGroupId=group.id)

    assert [each["emailAddress"] for each in group.properties["emailReceivers"]] == [
        "on-call@example.org"
    ]
    assert spent["amount"] == 55
    for told in spent["notifications"].values():
        assert told["contactEmails"] == ["on-call@example.org"]
        assert told["contactGroups"] == [group.id]
    assert spent["timePeriod"] == {"startDate": "2026-11-01"}


@pytest.mark.parametrize(
    "hub",
    [
        {"material": "things", "partitions": 33},
        {"material": "t" * 51},
        {"material": "things", "partitions": "four"},
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(hub: dict[str, Any]) -> None:
    """The types of the modules are the second gate, behind the models."""
    with pytest.raises(AssertionError, match="hubs"):
        plan(
            MAIN,
            document={"name": "bare", "eventhubs": [hub]},
            environmentName="any",
            operators={"name": "operators", "objectId": "the-operators"},
        )


def test_blobs_of_interest_call_the_function_that_asks_for_them() -> None:
    """A misspelt name or folder would leave every hint undelivered, and nobody would see."""
    second = MAIN.with_name("event-grid.bicep")
    resources, _ = plan(
        second,
        topicName="topic",
        functionAppName="app",
        hostStorageName="host",
        deadLetterContainer="dead-letters",
    )
    (delivery,) = resources
    trigger = (ROOT / "functions/raw_to_run.py").read_text()
    function = re.findall(r'function_name\("(\w+)"\)', trigger)[0]
    path = re.findall(r'path="([^{"]+)', trigger)[0]
    container, _, folder = path.partition("/")
    properties = delivery.properties

    assert (
        f"functionName=Host.Functions.{function}&code="
        in (properties["destination"]["properties"]["endpointUrl"])
    )
    assert properties["filter"]["subjectBeginsWith"] == (
        f"/blobServices/default/containers/{container}/blobs/{folder}"
    )
    assert properties["filter"]["includedEventTypes"] == ["Microsoft.Storage.BlobCreated"]
    assert properties["deadLetterWithResourceIdentity"]["identity"]["type"] == "SystemAssigned"


def test_containers_and_table_are_those_the_adapters_use() -> None:
    """The app may not make what is missing: it only has rights inside of what is there."""
    resources, _ = made(COMMITTED)
    adapters = "".join(path.read_text() for path in (ROOT / "shared/adapters").glob("*.py"))
    used = set(re.findall(r'get_container_client\("(\w+)"\)', adapters))
    containers = names(resources, "Microsoft.Storage/storageAccounts/blobServices/containers")
    tables = names(resources, "Microsoft.Storage/storageAccounts/tableServices/tables")

    assert used
    assert used <= containers
    assert {"raw", "clean", "curated", "quarantine", "state"} <= containers
    assert tables == {table_storage.TABLE}


def test_committed_document_is_one_the_models_know() -> None:
    """What this module compares with is the document itself."""
    assert isinstance(documents.load(ROOT / "pipeline.json"), Document)
