"""The quarantine as its user works with it: commands and requests, real storage, a real hub."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import deltalake
import httpx
import pyarrow as pa  # type: ignore[import-untyped]  # It has no stubs.
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from cli.__main__ import commands
from shared import wiring
from shared.adapters.blob_storage import CONTAINERS
from shared.domain import document as documents
from shared.domain.quarantine import Quarantined
from shared.domain.raw_blob import Partition
from shared.settings import Settings
from tests.builders import LIFE, NOON, event
from tests.local_functions_host import ROOT, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shared.domain.raw_blob import HubEvent

_MATERIALS = (f"quarantined-{number}" for number in count())
GOOD = b'{"id":"a"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One pipeline of a material of its own, whose dataset is called like the material."""

    material: str
    settings: dict[str, str]

    def millrace(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command about the quarantine to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cli", "quarantine", *arguments],
            cwd=ROOT, env=os.environ | self.settings, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    def entries(self) -> dict[str, dict[str, Any]]:
        """Everything that is listed of the material, by name."""
        done = self.millrace("list", "--material", self.material, "--state", "all", "--json")
        assert done.returncode == 0, done.stderr
        return {each["name"]: each for each in json.loads(done.stdout)["entries"]}

    def keep(self, sequence: int, **attributes: Any) -> str:
        """Keep an event that landing found; its name."""
        usual: dict[str, Any] = {
            "kind": "events",
            "material": self.material,
            "origin": f"p1-{LIFE}-{sequence:020d}",
            "reason": "expired",
            "detail": "expired",
            "seen_at": NOON,
            "attributes": event(sequence, **attributes).attributes,
            "body": GOOD,
        }
        entry = Quarantined(**usual)
        asyncio.run(self._keep(entry))
        return entry.name

    def refuse(self, *rows: dict[str, Any]) -> list[str]:
        """Write rows of the dataset's table of refused records; their names."""
        blob = f"{self.material}/2026/11/20/12/p0-{LIFE}-{0:020d}.avro"
        usual = {"run_id": "r1", "blob": blob, "partition": "0", "enqueued_time": NOON}
        types = {
            "enqueued_time": pa.timestamp("us", tz="UTC"),
            "line": pa.int32(),
            "body": pa.binary(),
        }
        whole = [usual | row for row in rows]
        table = pa.table({
            name: pa.array([row[name] for row in whole], types.get(name))
            for name in whole[0]
        })  # fmt: skip
        deltalake.write_deltalake(
            f"az://quarantine/refused/{self.material}", table, mode="append",
            storage_options=_delta_options(self.settings["LAKE"]),
        )  # fmt: skip
        origins = {
            f"{self.material}-p0-{LIFE}-{row['sequence_number']:020d}-{row['line']}" for row in rows
        }
        return sorted(f"refusals/{self.material}/{origin}.json" for origin in origins)

    def sent(self) -> list[HubEvent]:
        """Every event of the hub, partition by partition."""
        return asyncio.run(self._sent())

    async def _keep(self, entry: Quarantined) -> None:
        async with self._app() as app:
            await app.quarantine.keep(entry)

    async def _sent(self) -> list[HubEvent]:
        events: list[HubEvent] = []
        async with self._app() as app:
            for number, last in (await app.hub.last_sequences(self.material, partitions=2)).items():
                partition = Partition(material=self.material, id=number, hub=LIFE)
                if last >= 0:
                    async for batch in app.hub.read(partition, first=0, last=last):
                        events += batch.events
        return events

    def _app(self) -> contextlib.AbstractAsyncContextManager[wiring.App]:
        settings = Settings.read(self.settings)
        return wiring.connected(settings, documents.load(settings.pipeline_file))


def _delta_options(connection: str) -> dict[str, str]:
    parts = dict(re.findall(r"(\w+)=([^;]+)", connection))
    return {
        "account_name": parts["AccountName"],
        "account_key": parts["AccountKey"],
        "azure_storage_endpoint": parts["BlobEndpoint"],
        "allow_http": "true",
    }


@pytest.fixture
def lab(azurite: str, tmp_path: Path) -> Iterator[Lab]:
    """A hub of two partitions that starts empty, and an empty quarantine."""
    material = next(_MATERIALS)
    document = {
        "name": "lab",
        "eventhubs": [{"material": material, "partitions": 2}],
        "datasets": [
            {
                "name": material,
                "consumes": material,
                "primaryKey": ["id"],
                "columns": {"id": {"type": "string"}},
            }
        ],
    }
    pipeline = tmp_path / "pipeline.json"
    pipeline.write_text(json.dumps(document))
    with BlobServiceClient.from_connection_string(azurite) as blobs:
        for container in CONTAINERS:
            with contextlib.suppress(ResourceExistsError):
                blobs.create_container(container)
    hubs = Process(
        [sys.executable, "-m", "local.event_hubs", "--pipeline", str(pipeline),
         "--data", str(tmp_path / "hubs"), "--port", "0", "--with-parent"],
        environment={}, log=tmp_path / "hubs.log",
    )  # fmt: skip
    try:
        settings = {
            "LAKE": azurite,
            "EVENT_HUBS": f"Endpoint=sb://127.0.0.1:{hubs.port};SharedAccessKeyName=local;"
            "SharedAccessKey=local;UseDevelopmentEmulator=true;",
            "DATABRICKS_TOKEN": "local",
            "PIPELINE_FILE": str(pipeline),
        }
        yield Lab(material=material, settings=settings)
    finally:
        hubs.stop()


def test_commands_leave_nothing_open(lab: Lab, tmp_path: Path) -> None:
    """What a person does: look, mend what can be mended, put the rest aside."""
    expired = lab.keep(7)
    nameless = lab.keep(8, source="", id="")
    wrong, broken = lab.refuse(
        {"reason": "id:missing; at:not-a-date", "sequence_number": 5, "line": 2, "body": b"{}"},
        {"reason": "not-utf8", "sequence_number": 5, "line": 3, "body": b"\xff\x00"},
    )
    lab.refuse(
        {"run_id": "r2", "reason": "not-utf8", "sequence_number": 5, "line": 3, "body": b"\xff\x00"}
    )
    mended = tmp_path / "mended.json"
    mended.write_text('{"id":\n "b"}')
    original = tmp_path / "original"

    listed = lab.millrace("list", "--material", lab.material)
    shown = lab.millrace("show", broken)
    written = lab.millrace("show", broken, "--body", str(original))
    refused = lab.millrace("replay", broken)
    repaired = lab.millrace("replay", wrong, "--body", str(mended))
    many = lab.millrace("replay", "--material", lab.material, "--reason", "expired")
    named = lab.millrace("replay", nameless, "--set", "id=x", "--set", "source=/by/hand")
    rest = lab.millrace("discard", "--material", lab.material)
    entries, sent = lab.entries(), lab.sent()

    assert [line.split()[-1] for line in listed.stdout.splitlines()[:4]] == [
        expired, nameless, wrong, broken,
    ]  # fmt: skip
    assert "2 expired" in listed.stdout
    assert "1 id:missing; at:not-a-date" in listed.stdout
    assert "00000000  ff 00" in shown.stdout
    assert (written.returncode, original.read_bytes()) == (0, b"\xff\x00")
    assert (refused.returncode, refused.stderr.count("\n"), refused.stdout) == (1, 1, "")
    assert "not one JSON object" in refused.stderr
    assert (repaired.returncode, repaired.stderr) == (0, "")
    assert (many.returncode, many.stderr.count("\n")) == (1, 1)
    assert f"{nameless}: the event has no id, source" in many.stderr
    assert many.stdout == "1 replayed, 1 refused of 2 selected\n"
    assert (named.returncode, named.stderr) == (0, "")
    assert (rest.returncode, rest.stdout) == (0, "1 discarded of 1 selected\n")
    assert {name: each["state"] for name, each in entries.items()} == {
        expired: "replayed", nameless: "replayed", wrong: "replayed", broken: "discarded",
    }  # fmt: skip
    assert entries[nameless]["repaired"] == ["id", "source"]
    assert sorted((each.attributes["source"], each.body) for each in sent) == [
        ("/by/hand", GOOD),
        (f"/datasets/{lab.material}", b'{"id":  "b"}'),
        ("/sources/test", GOOD),
    ]
    assert all(each.attributes["expirytime"] > "2026-11-21" for each in sent)


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("discard",),
        ("discard", "events/a/b.json", "--all"),
        ("replay", "--all", "--set", "id=one"),
        ("replay", "a", "b", "--body", "pipeline.json"),
        ("replay", "a", "--set", "id"),
        ("list", "--kind", "event"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    """Nothing is changed on a guess; a script sees the difference to a failure."""
    assert CliRunner().invoke(commands, ["quarantine", *arguments]).exit_code == 2


def test_requests_reach_the_functions_through_the_real_host(lab: Lab, tmp_path: Path) -> None:
    """Names hold slashes, and GET and POST share a route: only a host knows whether that works."""
    expired, nameless = lab.keep(7), lab.keep(8, id="")
    functions = ("list_quarantine", "show_quarantined", "change_quarantined")
    host = Process(
        [sys.executable, "-m", "local.functions_host", "--with-parent", "--app", str(ROOT),
         "--port", "0", "--functions", *functions],
        environment={
            **lab.settings,
            "AzureWebJobsStorage": lab.settings["LAKE"],
            "AzureFunctionsWebHost__hostid": lab.material,
        },
        log=tmp_path / "host.log",
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{host.port}/api/", timeout=30) as client:
            listed = client.get("quarantine", params={"material": lab.material})
            shown = client.get(f"quarantine/{expired}")
            replayed = client.post(f"quarantine/{expired}", json={"action": "replay"})
            discarded = client.post(f"quarantine/{expired}", json={"action": "discard"})
            bad = client.post(f"quarantine/{nameless}", json={"action": "replay"})
            absent = client.get("quarantine/events/none/none.json")
    finally:
        host.stop()
    answers = (listed, shown, replayed, discarded, bad, absent)
    sent = lab.sent()

    assert [answer.status_code for answer in answers] == [200, 200, 200, 409, 400, 404]
    assert [each["name"] for each in listed.json()["entries"]] == [expired, nameless]
    assert base64.b64decode(shown.json()["body"]) == GOOD
    assert replayed.json()["event"] == "event-7"
    assert absent.headers["Content-Type"].startswith("application/problem+json")
    assert [(each.attributes["id"], each.body) for each in sent] == [("event-7", GOOD)]
