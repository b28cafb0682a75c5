"""What becomes of bad events on the real host: each is set apart, and nothing behind it waits."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.storage.blob.aio import BlobServiceClient

from local.stack import Ports, Stack, running
from shared import wiring
from shared.domain import document as documents
from shared.domain.cloud_event import NDJSON
from shared.domain.raw_blob import Partition
from shared.settings import Settings
from tests.local_ports import free_base

if TYPE_CHECKING:
    import pytest

APP = Path(__file__).parent / "apps" / "deadly"
LIMIT_S = 150
DOCUMENT = {"name": "policies", "eventhubs": [{"material": "quakes", "partitions": 1}]}


def message(body: bytes, **attributes: str) -> EventData:
    """An event as any sender may write it; an empty attribute is left out."""
    usual = {"specversion": "1.0", "id": body.decode(), "source": "/test", "type": "test"}
    event = EventData(body)
    event.content_type = NDJSON
    event.properties = {
        f"cloudEvents:{name}": text for name, text in (usual | attributes).items() if text
    }
    return event


async def test_bad_expired_and_deadly_events_are_set_apart_and_stop_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad events cost no retry; one that kills the process is alone after some restarts."""
    monkeypatch.setenv("MILLRACE_HOST_BALANCE_S", "0.5")
    pipeline = tmp_path / "pipeline.json"
    pipeline.write_text(json.dumps(DOCUMENT))
    said: list[str] = []
    stack = Stack(
        pipeline=pipeline,
        data=tmp_path / "data",
        ports=Ports(base=free_base()),
        source_seconds=1,
        say=said.append,
        app=APP,
    )
    async with running(stack):
        settings = Settings.read({**os.environ, **stack.settings()})
        await _send(
            settings,
            message(b"good-1"),
            message(b"nameless", id=""),
            message(b"stale", expirytime="2020-01-01T00:00:00Z"),
            message(b"POISON"),
            message(b"good-2"),
        )
        async with wiring.connected(settings, documents.load(pipeline)) as app:
            place = Partition(material="quakes", id="0", hub=await app.hub.life("quakes"))
            async with asyncio.timeout(LIMIT_S):
                while (await app.raw.tip(place)).sequence < 4:
                    await asyncio.sleep(0.5)
                    app.raw._seen.clear()  # type: ignore[attr-defined]  # Look again.
            entries = await _entries(settings)

    gc.collect()  # What the stack left open would be another test's warning.
    assert entries == {
        b"nameless": "not-a-cloud-event",
        b"stale": "expired",
        b"POISON": "poison",
    }
    deaths = sum("functions ended unasked" in line for line in said)
    assert 1 <= deaths <= 20


async def _send(settings: Settings, *events: EventData) -> None:
    producer = EventHubProducerClient.from_connection_string(
        settings.event_hubs, eventhub_name="quakes"
    )
    async with producer:
        batch = await producer.create_batch()
        for event in events:
            batch.add(event)
        await producer.send_batch(batch)


async def _entries(settings: Settings) -> dict[bytes, str]:
    """Original bytes and reason of everything in quarantine."""
    found: dict[bytes, str] = {}
    async with BlobServiceClient.from_connection_string(settings.lake) as service:
        container = service.get_container_client("quarantine")
        async for blob in container.list_blobs():
            download = await container.download_blob(blob.name)
            content: dict[str, Any] = json.loads(await download.readall())
            found[base64.b64decode(content["body"])] = content["reason"]
    return found
