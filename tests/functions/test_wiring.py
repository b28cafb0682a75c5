"""The wiring: what the environment decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared import wiring
from shared.adapters.databricks_jobs import DatabricksJobs
from shared.settings import Settings
from tests.builders import document

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL = {
    "LAKE": "UseDevelopmentStorage=true",
    "EVENT_HUBS": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;",
    "DATABRICKS_HOST": "http://127.0.0.1:1",
    "DATABRICKS_TOKEN": "local",
}


@pytest.mark.parametrize(
    ("environment", "job"),
    [({}, "test-dev-transform"), ({"PIPELINE_ENVIRONMENT": "prod"}, "test-prod-transform")],
)
async def test_one_document_serves_every_environment(
    environment: Mapping[str, str], job: str
) -> None:
    """The copy in production must not start the jobs of the one in development."""
    settings = Settings.read({**LOCAL, **environment})

    async with wiring.connected(settings, document()) as app:
        assert isinstance(app.jobs, DatabricksJobs)
        assert app.jobs._name("transform") == job
