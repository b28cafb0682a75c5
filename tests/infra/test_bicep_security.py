"""What the templates make is closed by default, and every right is a chosen one."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared.domain import claim
from tests.infra.bicep_plan import Resource, plan

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "infra/bicep/main.bicep"
LONGEST_RETENTION_DAYS = 7  # Of a hub in the Standard tier.
#: What each service calls its logs and metrics; a category it does not know fails a deployment.
CATEGORIES = {
    "Databricks": {"jobs", "clusters"},
    "EventGrid": {"DeliveryFailures", "AllMetrics"},
    "EventHub": {"OperationalLogs", "AutoScaleLogs", "DiagnosticErrorLogs", "AllMetrics"},
    "KeyVault": {"AuditEvent", "AllMetrics"},
    "Storage": {"StorageDelete", "Transaction"},
    "Synapse": {"BuiltinSqlReqsEnded", "AllMetrics"},
    "Web": {"FunctionAppLogs", "AllMetrics"},
}
ROLES = {role: name for name, role in json.loads((MAIN.parent / "roles.json").read_text()).items()}


@cache
def resources(size: str = "dev", *, private: bool = False) -> tuple[Resource, ...]:
    """Everything one environment has."""
    made, _ = plan(
        MAIN,
        environmentName="any",
        size=size,
        privateNetwork=private,
        operators={"name": "operators", "objectId": "the-operators"},
        analysts={"name": "analysts", "objectId": "the-analysts"},
        smokeTestPrincipalId="the-smoke-test",
    )
    return tuple(made)


def of(kind: str, **options: Any) -> list[Resource]:
    """The resources of a type."""
    return [each for each in resources(**options) if each.type == kind]


def provider(identifier: str) -> str:
    """The service in an id."""
    return identifier.split("/Microsoft.")[1].split("/", maxsplit=1)[0]


@pytest.mark.parametrize("size", ["branch", "prod"])
def test_storage_takes_no_keys_and_shows_nothing_to_the_public(size: str) -> None:
    """A leaked key or an open container is how lakes are lost."""
    accounts = of("Microsoft.Storage/storageAccounts", size=size)
    containers = of("Microsoft.Storage/storageAccounts/blobServices/containers", size=size)

    assert len(accounts) == 2
    for account in accounts:
        found = account.properties
        assert found["allowSharedKeyAccess"] is False
        assert found["allowBlobPublicAccess"] is False
        assert found["supportsHttpsTrafficOnly"] is True
        assert found["minimumTlsVersion"] == "TLS1_2"
        assert found["allowCrossTenantReplication"] is False
    assert containers
    assert all(each.properties["publicAccess"] == "None" for each in containers)


def test_only_the_lake_has_a_hierarchical_namespace() -> None:
    """Tables want it; the leases of checkpoints do not go with it."""
    accounts = of("Microsoft.Storage/storageAccounts")

    assert {each.properties["isHnsEnabled"]: each.name[:4] for each in accounts} == {
        True: "lake",
        False: "host",
    }


def test_what_is_deleted_can_be_brought_back() -> None:
    """Blobs, containers and secrets are kept for a while; in production no accident."""
    services = of("Microsoft.Storage/storageAccounts/blobServices", size="prod")
    vault = of("Microsoft.KeyVault/vaults", size="prod")[0].properties
    locks = of("Microsoft.Authorization/locks", size="prod")

    assert len(services) == 2
    for service in services:
        assert service.properties["deleteRetentionPolicy"] == {"enabled": True, "days": 30}
        assert service.properties["containerDeleteRetentionPolicy"] == {"enabled": True, "days": 30}
    assert vault["enableSoftDelete"] is True
    assert vault["enablePurgeProtection"] is True
    assert sorted(provider(each.scope) for each in locks) == [
        "Databricks",
        "EventHub",
        "KeyVault",
        "OperationalInsights",
        "Storage",
        "Storage",
        "Synapse",
    ]
    assert not of("Microsoft.Authorization/locks", size="branch")


def test_claims_outlive_every_event_that_refers_to_them_and_nothing_else_is_deleted() -> None:
    """A claim that is gone before its event is landed is a record lost."""
    (policy,) = of("Microsoft.Storage/storageAccounts/managementPolicies")
    (rule,) = policy.properties["policy"]["rules"]
    days = rule["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"]
    folder = claim.reference_of("any", b"").partition("/")[0]

    assert policy.name.startswith("lake")
    assert rule["enabled"] is True
    assert rule["definition"]["actions"].keys() == {"baseBlob"}
    assert rule["definition"]["filters"]["prefixMatch"] == [f"state/{folder}/"]
    assert days >= 2 * LONGEST_RETENTION_DAYS


def test_production_survives_the_loss_of_a_region() -> None:
    """The lake is copied to another region; everything else is made again from this repository."""
    accounts = of("Microsoft.Storage/storageAccounts", size="prod")

    assert {each.body["sku"]["name"] for each in accounts} == {"Standard_GZRS"}


def test_services_take_identities_only() -> None:
    """Where no key is taken, none can be stolen, and every access has a name."""
    namespace = of("Microsoft.EventHub/namespaces")[0].properties
    insights = of("Microsoft.Insights/components")[0].properties
    logs = of("Microsoft.OperationalInsights/workspaces")[0].properties
    synapse = of("Microsoft.Synapse/workspaces")[0].properties
    vault = of("Microsoft.KeyVault/vaults")[0].properties
    publishing = of("Microsoft.Web/sites/basicPublishingCredentialsPolicies")

    assert namespace["disableLocalAuth"] is True
    assert namespace["minimumTlsVersion"] == "1.2"
    assert insights["DisableLocalAuth"] is True
    assert logs["features"]["disableLocalAuth"] is True
    assert synapse["azureADOnlyAuthentication"] is True
    assert "sqlAdministratorLogin" not in synapse
    assert vault["enableRbacAuthorization"] is True
    assert [each.properties["allow"] for each in publishing] == [False, False]


def test_the_app_signs_in_with_its_identity_and_speaks_https_only() -> None:
    """No setting of the app holds a key or a connection string with one."""
    site = of("Microsoft.Web/sites")[0]
    settings = of("Microsoft.Web/sites/config")[0].properties

    assert site.body["identity"]["type"] == "UserAssigned"
    assert site.properties["httpsOnly"] is True
    assert site.properties["siteConfig"]["minTlsVersion"] == "1.2"
    assert site.properties["siteConfig"]["scmMinTlsVersion"] == "1.2"
    assert site.properties["siteConfig"]["ftpsState"] == "Disabled"
    assert not [value for value in settings.values() if "SharedAccessKey" in value]
    assert not [value for value in settings.values() if "AccountKey" in value]
    for name in ("AzureWebJobsStorage", "EVENT_HUBS", "LAKE"):
        assert settings[f"{name}__credential"] == "managedidentity"


def test_the_private_network_shuts_the_public_doors() -> None:
    """With the switch on, services answer through private endpoints, and to trusted services."""
    accounts = of("Microsoft.Storage/storageAccounts", private=True)
    endpoints = of("Microsoft.Network/privateEndpoints", private=True)
    reached = {
        (each.properties["privateLinkServiceConnections"][0]["properties"]["groupIds"][0])
        for each in endpoints
    }
    site = of("Microsoft.Web/sites", private=True)[0].properties
    workspace = of("Microsoft.Databricks/workspaces", private=True)[0].properties

    for account in accounts:
        assert account.properties["networkAcls"]["defaultAction"] == "Deny"
    for kind in ("Microsoft.EventHub/namespaces", "Microsoft.KeyVault/vaults"):
        assert of(kind, private=True)[0].properties["publicNetworkAccess"] == "Disabled"
    assert reached == {"blob", "dfs", "queue", "table", "namespace", "vault"}
    assert {each.name for each in of("Microsoft.Network/privateDnsZones", private=True)} == {
        *(f"privatelink.{part}.core.windows.net" for part in ("blob", "dfs", "queue", "table")),
        "privatelink.servicebus.windows.net",
        "privatelink.vaultcore.azure.net",
    }
    assert len(endpoints) == 9
    assert site["virtualNetworkSubnetId"].endswith("/subnets/functions")
    assert site["siteConfig"]["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert workspace["parameters"]["enableNoPublicIp"] == {"value": True}
    assert "customVirtualNetworkId" in workspace["parameters"]


def test_flex_functions_live_in_the_subnet_made_for_them() -> None:
    """Flex Consumption delegates to another service than the older plans."""
    subnets = of("Microsoft.Network/virtualNetworks", private=True)[0].properties["subnets"]
    delegated = {
        subnet["name"]: [each["properties"]["serviceName"] for each in found]
        for subnet in subnets
        if (found := subnet["properties"].get("delegations"))
    }

    assert delegated == {
        "functions": ["Microsoft.App/environments"],
        "databricks-public": ["Microsoft.Databricks/workspaces"],
        "databricks-private": ["Microsoft.Databricks/workspaces"],
    }


def test_rules_of_the_clusters_are_those_that_databricks_makes_itself() -> None:
    """The second deployment would take away what it does not name, and the service refuses that."""
    (group,) = of("Microsoft.Network/networkSecurityGroups", private=True)
    (network,) = of("Microsoft.Network/virtualNetworks", private=True)
    ruled = {
        subnet["name"]: subnet["properties"]["networkSecurityGroup"]["id"]
        for subnet in network.properties["subnets"]
        if "networkSecurityGroup" in subnet["properties"]
    }
    rules = {
        each["name"].rpartition("_databricks-")[2]: each["properties"]
        for each in group.properties["securityRules"]
    }

    assert {
        name: (each["direction"], each["destinationAddressPrefix"], each["destinationPortRange"])
        for name, each in rules.items()
    } == {
        "worker-to-worker-inbound": ("Inbound", "VirtualNetwork", "*"),
        "worker-to-worker-outbound": ("Outbound", "VirtualNetwork", "*"),
        "worker-to-databricks-webapp": ("Outbound", "AzureDatabricks", "443"),
        "worker-to-sql": ("Outbound", "Sql", "3306"),
        "worker-to-storage": ("Outbound", "Storage", "443"),
        "worker-to-eventhub": ("Outbound", "EventHub", "9093"),
    }
    assert ruled == dict.fromkeys(("databricks-public", "databricks-private"), group.id)
    for each in group.properties["securityRules"]:
        assert each["name"].startswith("Microsoft.Databricks-workspaces_UseOnly_databricks-")
        assert each["properties"]["sourceAddressPrefix"] == "VirtualNetwork"


def grants() -> set[tuple[str, str, str]]:
    """Who, which role, where."""
    found = set()
    for each in of("Microsoft.Authorization/roleAssignments"):
        who = each.properties["principalId"].strip("<>").removeprefix("Microsoft.")
        role = ROLES[each.properties["roleDefinitionId"].rpartition("/")[2]]
        place = each.scope.split("Microsoft.")[-1]
        kind, name = place.split("/", 1)[0], place.rpartition("/")[2]
        found.add(
            (who.split("/")[0], role, f"{kind} {name[:4] if 'Storage' not in kind else name}")
        )
    return found


def places(who: str, role: str) -> set[str]:
    """Where somebody holds a role."""
    return {place for holder, held, place in grants() if (holder, held) == (who, role)}


def test_only_the_app_and_the_jobs_write() -> None:
    """People and SQL read; a right to write is given to two identities, container by container."""
    app, jobs = "ManagedIdentity", "Databricks"
    writers = {who for who, role, _ in grants() if "Contributor" in role or "Owner" in role}

    assert writers == {app, jobs, "EventGrid"}
    assert places(app, "storageBlobDataContributor") == {
        "Storage raw",
        "Storage state",
        "Storage quarantine",
    }
    assert places(jobs, "storageBlobDataContributor") == {
        "Storage clean",
        "Storage curated",
        "Storage quarantine",
        "Storage state",
    }
    assert places(jobs, "storageBlobDataReader") == {"Storage raw"}
    assert places("EventGrid", "storageBlobDataContributor") == {"Storage dead-letters"}


def test_readers_read_tables_only() -> None:
    """Analysts see tables; the SQL pool also what operators ask of it; nobody reads raw records."""
    tables = {"Storage clean", "Storage curated"}

    assert places("the-analysts", "storageBlobDataReader") == tables
    assert {role for who, role, _ in grants() if who == "the-analysts"} == {"storageBlobDataReader"}
    assert places("Synapse", "storageBlobDataReader") == {
        *tables,
        "Storage quarantine",
        "Storage state",
    }
    assert {role for who, role, _ in grants() if who == "Synapse"} == {"storageBlobDataReader"}
    assert {role for who, role, _ in grants() if who == "the-smoke-test"} == {"eventHubsDataSender"}


def test_every_assignment_is_made_in_one_module() -> None:
    """Who may do what is read in one file."""
    assignments = of("Microsoft.Authorization/roleAssignments")

    assert {each.module for each in assignments} == {"roles.bicep"}
    for each in assignments:
        assert each.properties["principalType"] in ("ServicePrincipal", "Group")
        assert each.scope


def test_every_service_tells_what_happens_in_it() -> None:
    """What is not logged cannot be looked up afterwards."""
    settings = of("Microsoft.Insights/diagnosticSettings")
    hubs = next(each for each in settings if provider(each.scope) == "EventHub")

    assert {
        provider(each.scope): {
            part["category"]
            for part in (*each.properties["logs"], *each.properties.get("metrics", []))
            if part["enabled"]
        }
        for each in settings
    } == CATEGORIES
    assert all(each.properties["workspaceId"] for each in settings)
    assert hubs.properties["logAnalyticsDestinationType"] == "Dedicated"
