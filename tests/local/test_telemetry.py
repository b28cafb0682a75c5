"""Telemetry of the running stack, as a collector receives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.blob import BlobServiceClient

from shared.domain.trace import trace_id_of
from shared.telemetry.instruments import METRICS
from tests.local_ports import free_base
from tests.otlp_receiver import receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.otlp_receiver import Received, Span

ROOT = Path(__file__).parents[2]
RUN = "run earthquakes"
#: What a feed of new records, polled until it does not change any more, must leave.
LEFT_BY_ONE_FEED = {
    "millrace.heartbeat",
    "faas.invoke_duration",
    "millrace.source.answers",
    "millrace.source.pages",
    "millrace.source.received",
    "millrace.records.seen",
    "millrace.records.new",
    "millrace.records.sent",
    "millrace.events.sent",
    "messaging.client.sent.messages",
    "messaging.client.consumed.messages",
    "millrace.events.landed",
    "millrace.records.landed",
    "millrace.blobs.landed",
    "millrace.consumer.lag",
    "millrace.consumer.lag_age",
    "millrace.runs.planned",
    "millrace.runs.launched",
    "millrace.runs.succeeded",
    "millrace.run.duration",
    "millrace.run.age",
    "millrace.rows.merged",
    "millrace.freshness",
    "millrace.table.age",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a stack sent, what it said, and the state it left."""

    received: Received
    said: str
    lake: str
    manifest: dict[str, Any]
    result: dict[str, Any]
    run: Span


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A stack that ran until a run had succeeded and everything was measured once after it."""
    data = tmp_path_factory.mktemp("watched")
    with receiver() as (address, received):
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
        command = [sys.executable, "-m", "cli", "up", "--source-seconds", "3"]
        stack = subprocess.Popen(
            [*command, "--data", str(data), "--ports", str(free_base())],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait(received, stack)
            lake = json.loads((data / "stack.json").read_text())["LAKE"]
            run = next(each for each in received.named(RUN) if not each.failed)
            manifest, result = _left_by(lake, run)
        finally:
            stack.send_signal(signal.SIGINT)
            stack.communicate(timeout=60)
        said = "".join(path.read_text() for path in (data / "logs").glob("*.log"))
        yield Watched(
            received=received, said=said, lake=lake, manifest=manifest, result=result, run=run
        )


def _wait(received: Received, stack: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 150
    while time.monotonic() < until and stack.poll() is None:
        time.sleep(1)
        if received.metrics.keys() >= LEFT_BY_ONE_FEED and received.named(RUN):
            return
    missing = LEFT_BY_ONE_FEED - received.metrics.keys()
    raise AssertionError(f"not received: {sorted(missing)}; spans: {received.named(RUN)}")


def _left_by(lake: str, run: Span) -> tuple[dict[str, Any], dict[str, Any]]:
    """The run's manifest and its result."""
    name = run.attributes["millrace.run"]
    with BlobServiceClient.from_connection_string(lake) as service:
        state = service.get_container_client("state")
        (manifest,) = [blob.name for blob in state.list_blobs("manifests/") if name in blob.name]
        (result,) = [
            blob.name
            for blob in state.list_blobs("results/")
            if f"/{name}/" in blob.name and blob.size and "/_" not in blob.name
        ]
        texts = [state.download_blob(each).readall() for each in (manifest, result)]
    return json.loads(texts[0]), json.loads(texts[1])


def test_collector_receives_the_documented_metrics(watched: Watched) -> None:
    """Alerts name them, with their units and attributes: what is sent is what is documented."""
    found = watched.received.metrics

    assert set(found) >= LEFT_BY_ONE_FEED
    assert set(found) <= set(METRICS)
    for name, series in found.items():
        assert (series.kind, series.unit) == (METRICS[name].kind, METRICS[name].unit)
        assert series.attributes <= set(METRICS[name].attributes), name


def test_numbers_of_the_arrows_agree(watched: Watched) -> None:
    """What a dashboard adds up must come out even: nothing is lost between two arrows."""
    found = watched.received.metrics

    assert found["millrace.records.sent"].total == found["millrace.records.landed"].total
    assert found["millrace.events.sent"].total == found["millrace.events.landed"].total
    assert found["messaging.client.sent.messages"].total == found["millrace.events.sent"].total
    assert set(found["millrace.consumer.lag"].values.values()) == {0}


def test_every_timer_has_a_heartbeat_of_its_own(watched: Watched) -> None:
    """Silence of one timer must not hide behind the noise of another."""
    beats = watched.received.metrics["millrace.heartbeat"].values

    assert {dict(key)["faas.name"] for key in beats} == {
        "poll_usgs_earthquakes",
        "track_runs",
        "measure_pipeline",
    }


def test_trace_connects_the_table_to_the_poll(watched: Watched) -> None:
    """Whoever asks where a row came from follows parents and links from the run."""
    names = watched.received.before(watched.run)

    assert names >= {
        RUN,
        "plan earthquakes",
        "land earthquakes",
        "send earthquakes",
        "poll_usgs_earthquakes",
    }


def test_trace_goes_through_the_job(watched: Watched) -> None:
    """The job runs elsewhere; its manifest and its result name the trace of the run's span."""
    in_manifest = trace_id_of(watched.manifest["traceparent"])

    assert in_manifest == watched.run.trace
    assert watched.result["lineage"]["trace"] == watched.run.trace


def test_no_secret_is_in_what_is_sent_or_logged(watched: Watched) -> None:
    """A collector and a log are read by more people than a vault."""
    (key,) = [
        part.partition("=")[2] for part in watched.lake.split(";") if part.startswith("AccountKey=")
    ]
    sent = b"".join(body for _, body in watched.received.bodies)

    assert len(key) > 20
    assert key.encode() not in sent
    assert b"SharedAccessKey" not in sent
    assert key not in watched.said
