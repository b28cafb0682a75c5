"""The settings: every name the app reads from its environment, once.

A connection `X` follows the Functions convention: `X` holds a connection string, or `X__…` hold the
service's address and identity sign-in is used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Values of the settings; an empty text means not set."""

    pipeline_file: Path
    pipeline_environment: str
    run_every: str
    event_hubs: str = field(repr=False)
    event_hubs_namespace: str
    lake: str = field(repr=False)
    lake_blob_uri: str
    lake_table_uri: str
    ledger: str = field(repr=False)
    databricks_host: str
    databricks_token: str = field(repr=False)
    identity_client_id: str
    everything: Mapping[str, str] = field(repr=False)

    @staticmethod
    def read(environment: Mapping[str, str]) -> Settings:
        """Read the settings; absent ones are found out when they are needed."""
        value = environment.get
        return Settings(
            pipeline_file=pipeline_file(environment),
            pipeline_environment=value("PIPELINE_ENVIRONMENT", ""),
            run_every=value("RUN_EVERY", ""),
            event_hubs=value("EVENT_HUBS", ""),
            event_hubs_namespace=value("EVENT_HUBS__fullyQualifiedNamespace", ""),
            lake=value("LAKE", ""),
            lake_blob_uri=value("LAKE__blobServiceUri", ""),
            lake_table_uri=value("LAKE__tableServiceUri", ""),
            ledger=value("LEDGER", ""),
            databricks_host=value("DATABRICKS_HOST", ""),
            databricks_token=value("DATABRICKS_TOKEN", ""),
            identity_client_id=value("AZURE_CLIENT_ID", ""),
            everything=dict(environment),
        )


def pipeline_file(environment: Mapping[str, str]) -> Path:
    """Where the document is: `PIPELINE_FILE`, or `pipeline.json` beside `function_app.py`."""
    return ROOT / environment.get("PIPELINE_FILE", "pipeline.json")


def needed(value: str, *, setting: str) -> str:
    """The value; raise `Misconfigured` naming the setting when it is not set."""
    if not value:
        raise Misconfigured(setting, "is not set; local.settings.json.example shows every setting")
    return value
