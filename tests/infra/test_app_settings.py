"""The settings of the app in Azure: those that the documentation names, and telemetry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.infra.bicep_plan import plan

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "infra/bicep/main.bicep"


def app_settings(**parameters: Any) -> Mapping[str, Any]:
    """The settings of the function app."""
    operators = {"name": "operators", "objectId": "the-operators"}
    made, _ = plan(MAIN, environmentName="any", operators=operators, **parameters)
    (found,) = [each.properties for each in made if each.type == "Microsoft.Web/sites/config"]
    return found


def documented_settings() -> dict[str, str]:
    """Each setting of docs/settings.md and what it is in Azure."""
    rows = re.findall(
        r"^\| `([^`]+)` \|.*\| (.+?) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE
    )
    return dict(rows)


def test_every_setting_is_set_as_the_documentation_says() -> None:
    """A setting that is missing in Azure is found out by the first event, too late."""
    settings = app_settings()
    documented = documented_settings()
    unset = {name for name, value in documented.items() if value.startswith("not set")}
    literal = {
        name: value.strip("`")
        for name, value in documented.items()
        if (name.endswith("_SCHEDULE") or name == "PIPELINE_FILE") and name not in unset
    }

    assert len(documented) > 10
    assert not unset & settings.keys()
    assert not documented.keys() - unset - settings.keys() - {"AzureWebJobsStorage"}
    assert settings["AzureWebJobsStorage__accountName"].startswith("host")
    assert {name: settings[name] for name in literal} == literal
    assert all(isinstance(value, str) for value in settings.values())


def test_telemetry_is_configured_once_and_loses_no_metric() -> None:
    """The worker sets Azure Monitor up itself; the default sampler keeps five traces a second."""
    settings = app_settings()

    assert settings["PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"] == "true"
    assert settings["APPLICATIONINSIGHTS_CONNECTION_STRING"].endswith(".ConnectionString>")
    assert settings["APPLICATIONINSIGHTS_AUTHENTICATION_STRING"].endswith(";Authorization=AAD")
    assert settings["OTEL_TRACES_SAMPLER"] == "microsoft.fixed_percentage"
    assert settings["OTEL_TRACES_SAMPLER_ARG"] == "1.0"
    assert "FUNCTIONS_WORKER_RUNTIME" not in settings


def test_every_connection_has_the_addresses_its_functions_ask_for() -> None:
    """Without the queues' address the blob trigger cannot set aside what it fails at."""
    settings = app_settings()

    assert {name for name in settings if "__" in name and "client" not in name.lower()} == {
        "AzureWebJobsStorage__accountName",
        "AzureWebJobsStorage__credential",
        "EVENT_HUBS__credential",
        "EVENT_HUBS__fullyQualifiedNamespace",
        "LAKE__blobServiceUri",
        "LAKE__credential",
        "LAKE__queueServiceUri",
        "LAKE__tableServiceUri",
    }
    for name in ("AzureWebJobsStorage", "EVENT_HUBS", "LAKE"):
        assert settings[f"{name}__clientId"] == settings["AZURE_CLIENT_ID"]
    for part in ("blob", "queue", "table"):
        assert settings[f"LAKE__{part}ServiceUri"].endswith(f".primaryEndpoints.{part}>")
    assert settings["PIPELINE_ENVIRONMENT"] == "any"
