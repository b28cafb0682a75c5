"""The triggers: what is registered, and what a batch of the host becomes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.functions import AuthLevel, Cardinality, DataType, meta
from azure.functions.eventhub import EventHubTriggerConverter

import function_app
from shared.adapters.functions_host import hub_batch

if TYPE_CHECKING:
    from collections.abc import Mapping

    import azure.functions as func

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def registered() -> dict[str, list[dict[str, Any]]]:
    """Every function's bindings; `get_functions` may be called only once a process."""
    return {
        str(each.get_function_name()): [part.get_dict_repr() for part in each.get_bindings()]
        for each in function_app.app.get_functions()
    }


def test_every_arrow_has_its_function(registered: Mapping[str, list[dict[str, Any]]]) -> None:
    """The names are in alerts and in scale settings: they change on purpose only."""
    triggers = {name: bindings[0]["type"] for name, bindings in registered.items()}

    assert triggers == {
        "poll_usgs_earthquakes": "timerTrigger",
        "poll_now": "httpTrigger",
        "land_earthquakes": "eventHubTrigger",
        "launch_runs": "blobTrigger",
        "track_runs": "timerTrigger",
        "maintain_tables": "timerTrigger",
        "measure_pipeline": "timerTrigger",
        "list_runs": "httpTrigger",
        "show_run": "httpTrigger",
        "retry_run": "httpTrigger",
        "cancel_run": "httpTrigger",
        "list_quarantine": "httpTrigger",
        "show_quarantined": "httpTrigger",
        "change_quarantined": "httpTrigger",
    }


def test_landing_takes_bytes_in_batches_from_its_own_group(
    registered: Mapping[str, list[dict[str, Any]]],
) -> None:
    """Other data types corrupt bodies; a shared group steals partitions."""
    (binding,) = registered["land_earthquakes"]

    assert binding["dataType"] is DataType.BINARY
    assert binding["cardinality"] is Cardinality.MANY
    assert binding["consumerGroup"] == "hub-to-raw"


def test_whoever_operates_over_http_needs_a_key(
    registered: Mapping[str, list[dict[str, Any]]],
) -> None:
    """Anybody else could read bodies, and send events."""
    triggers = [bindings[0] for bindings in registered.values() if "route" in bindings[0]]

    assert {each["authLevel"] for each in triggers} == {AuthLevel.FUNCTION}
    assert {each["route"] for each in triggers} == {
        "sources/{name}/poll",
        "quarantine",
        "quarantine/{*name}",
        "runs",
        "runs/{run}",
        "runs/{run}/retry",
        "runs/{run}/cancel",
    }


def test_importing_the_app_needs_no_settings_and_no_network() -> None:
    """An exception at import makes all functions vanish without a message."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    script = (
        "import socket\n"
        "def refuse(*_): raise SystemExit('network touched')\n"
        "socket.socket.connect = refuse\n"
        "import function_app, sys\n"
        "slow = {'azure.storage.blob', 'azure.identity', 'pyspark', 'databricks.sdk', 'duckdb'}\n"
        "print(sorted(slow & set(sys.modules)))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, check=False
    )

    assert (done.returncode, done.stdout.strip()) == (0, b"[]"), done.stderr.decode()


def test_trigger_bodies_only_delegate() -> None:
    """Decode, delegate, report: what decides something belongs into a step, where it is tested."""
    for path in (ROOT / "functions").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef):
                inside = {type(each) for statement in node.body for each in ast.walk(statement)}
                assert not inside & {ast.If, ast.For, ast.Try, ast.While}, f"{path.name} decides"
                assert len(node.body) <= 6, f"{path.name} does too much"


def test_batch_of_the_host_is_decoded() -> None:
    """Shapes are the host's own: naive times, properties in one array for all events."""
    events = _decoded(bodies=[b"\xff\x00", b""], keys=["a", "b"])

    batch = hub_batch(events, material="quakes")

    assert (batch.material, batch.partition) == ("quakes", "3")
    assert [each.body for each in batch.events] == [b"\xff\x00", b""]
    assert [each.sequence for each in batch.events] == [41, 42]
    assert [each.attributes["id"] for each in batch.events] == ["a", "b"]
    assert batch.events[0].enqueued_at == datetime(2026, 11, 20, 17, 0, 0, 123000, tzinfo=UTC)


def _decoded(*, bodies: list[bytes], keys: list[str]) -> list[func.EventHubEvent]:
    """What the worker makes of the host's message, by its own converter."""
    system = [
        {
            "SequenceNumber": 41 + number,
            "Offset": str(number),
            "PartitionKey": None,
            "EnqueuedTimeUtc": "2026-11-20T17:00:00.123",
        }
        for number in range(len(bodies))
    ]
    properties = [{"cloudEvents:id": key, "unrelated": 1} for key in keys]
    metadata = {
        "SystemPropertiesArray": meta.Datum(json.dumps(system), "json"),
        "PropertiesArray": meta.Datum(json.dumps(properties), "json"),
        "PartitionContext": meta.Datum(json.dumps({"PartitionId": "3"}), "json"),
    }

    class Bodies:
        bytes = bodies

    decoded = EventHubTriggerConverter.decode(
        meta.Datum(Bodies(), "collection_bytes"), trigger_metadata=metadata
    )
    assert isinstance(decoded, list)
    return decoded
