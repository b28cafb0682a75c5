"""The functions host's telemetry: sent when somebody watches, nothing at all otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.functions_host.telemetry import watched
from tests.conftest import free_ports

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, os, sys, time
from local.functions_host import telemetry
end = telemetry.set_up(dict(os.environ))
from shared.telemetry import answered, invocation
answered("tool", 200)
end()
print(json.dumps([
    "opentelemetry.sdk" in sys.modules, os.environ.get("PYTHON_ENABLE_OPENTELEMETRY", "")
]))
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:4318/v1/metrics"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_telemetry_is_off_until_somebody_says_where_to(
    environment: dict[str, str], *, expected: bool
) -> None:
    """The variables are OpenTelemetry's own, so that every tool's instructions work."""
    assert watched(environment) is expected


def test_nothing_is_loaded_when_nobody_watches() -> None:
    """The SDK takes time and memory that nobody would gain from."""
    loaded, enabled = _run({})

    assert (loaded, enabled) == (False, "")


def test_collector_that_is_away_holds_up_no_end() -> None:
    """Ctrl-C must work while the collector is down."""
    (port,) = free_ports(1)
    began = time.monotonic()

    loaded, enabled = _run({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})

    assert (loaded, enabled) == (True, "true")
    assert time.monotonic() - began < 30


def _run(environment: dict[str, str]) -> tuple[bool, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded, enabled = json.loads(done.stdout)
    return loaded, enabled
