"""The Event Hub listener against the real SDK, the hub emulator and Azurite."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.storage.blob.aio import ContainerClient

from tests.local_functions_host import App, Process, eventually, eventually_there

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HUBS = ("exhausted", "in-flight", "parallel")


class Hubs:
    """The hub emulator, with one hub per test."""

    def __init__(self, folder: Path) -> None:
        hubs = [{"material": name, "partitions": 2} for name in HUBS]
        pipeline = folder / "pipeline.json"
        pipeline.write_text(json.dumps({"name": "tests", "eventhubs": hubs}))
        command = [sys.executable, "-m", "local.event_hubs", "--with-parent", "--port", "0"]
        command += ["--pipeline", str(pipeline), "--data", str(folder / "data")]
        self.process = Process(command, environment={}, log=folder / "hubs.log")
        self.address = f"127.0.0.1:{self.process.port}"
        self.connection = (
            f"Endpoint=sb://{self.address};SharedAccessKeyName=local;SharedAccessKey=local;"
            "UseDevelopmentEmulator=true;"
        )

    async def send(self, hub: str, **bodies: list[str]) -> None:
        """Publish a batch to each partition named, `p0=[...]` to partition 0."""
        producer = EventHubProducerClient.from_connection_string(self.connection, eventhub_name=hub)
        async with producer:
            sends = (
                producer.send_batch(
                    [event(body) for body in given], partition_id=name.removeprefix("p")
                )
                for name, given in bodies.items()
            )
            await asyncio.gather(*sends)


def event(body: str) -> EventData:
    """An event with application properties."""
    made = EventData(body.encode())
    made.properties = {"cloudEvents:type": "test", "recordcount": len(body)}
    return made


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hubs]:
    """Start the emulator once."""
    found = Hubs(tmp_path_factory.mktemp("hubs"))
    yield found
    found.process.stop()


def sample(folder: Path, azurite: str, hubs: Hubs, *, hub: str, retries: int) -> App:
    """The sample app on one hub."""
    settings = {"HUBS": hubs.connection, "HUB": hub, "RETRIES": str(retries)}
    return App("hubs", folder=folder, storage=azurite, **settings)


async def checkpoint(azurite: str, hubs: Hubs, hub: str, partition: str) -> str | None:
    """The sequence number a partition is checkpointed at, as the .NET host would find it."""
    container = ContainerClient.from_connection_string(azurite, "azure-webjobs-eventhub")
    async with container:
        blob = container.get_blob_client(f"{hubs.address}/{hub}/hub-to-raw/checkpoint/{partition}")
        try:
            metadata = (await blob.get_blob_properties()).metadata
        except ResourceNotFoundError:
            return None
    return metadata["sequencenumber"]


async def test_checkpoint_follows_the_last_retry_and_not_an_earlier_one(
    tmp_path: Path, azurite: str, hubs: Hubs
) -> None:
    """An app that trusts a finite retry policy loses the batch; it must see that here first."""
    app = sample(tmp_path, azurite, hubs, hub="exhausted", retries=2)
    await hubs.send("exhausted", p0=["wait for third", "fail until never"])

    with app.running() as host:
        await eventually(lambda: app.recorded(attempt=0))
        early = [await checkpoint(azurite, hubs, "exhausted", "0")]
        app.open("third")
        await eventually(lambda: app.recorded(attempt=1))
        early.append(await checkpoint(azurite, hubs, "exhausted", "0"))
        last = await eventually_there(lambda: checkpoint(azurite, hubs, "exhausted", "0"))
        code = host.stop()

    assert early == [None, None]
    assert last == "1"
    assert [line["attempt"] for line in app.recorded(partition="0")] == [0, 1, 2]
    assert not app.recorded(done=["wait for third", "fail until never"])
    assert "land failed, attempt 3 of 3: OSError('asked to fail" in host.log
    assert code == 0


async def test_batch_in_flight_when_the_host_stops_is_delivered_again(
    tmp_path: Path, azurite: str, hubs: Hubs
) -> None:
    """Landing must be safe to repeat; a host that checkpoints while it stops would hide that."""
    app = sample(tmp_path, azurite, hubs, hub="in-flight", retries=-1)
    await hubs.send("in-flight", p0=["wait for end"])

    with app.running() as host:
        await eventually(lambda: app.recorded(partition="0"))
        host.tell()
        await asyncio.sleep(0.2)
        app.open("end")
        code = host.wait()
    after_stop = await checkpoint(azurite, hubs, "in-flight", "0")
    seen_by_first_host = len(app.recorded(partition="0"))
    with app.running():
        await eventually(lambda: len(app.recorded(done=["wait for end"])) == 2)
        at_last = await eventually_there(lambda: checkpoint(azurite, hubs, "in-flight", "0"))

    assert code == 0
    assert after_stop is None
    assert seen_by_first_host == 1
    assert at_last == "0"


async def test_partition_that_retries_for_ever_holds_up_only_itself(
    tmp_path: Path, azurite: str, hubs: Hubs
) -> None:
    """With storage of one partition unwell, the others go on, and nothing of the one is lost."""
    app = sample(tmp_path, azurite, hubs, hub="parallel", retries=-1)
    await hubs.send("parallel", p0=["fail until healed"])

    with app.running():
        await eventually(lambda: app.recorded(partition="0", attempt=0))
        await hubs.send("parallel", p0=["later"], p1=["other"])
        await eventually(lambda: app.recorded(done=["other"]))
        other = await eventually_there(lambda: checkpoint(azurite, hubs, "parallel", "1"))
        await eventually(lambda: app.recorded(partition="0", attempt=1))
        held = (await checkpoint(azurite, hubs, "parallel", "0"), app.recorded(bodies=["later"]))
        app.open("healed")
        await eventually(lambda: app.recorded(done=["later"]))

    assert other == "0"
    assert held == (None, [])
    assert app.recorded(done=["fail until healed"])
    arrived = app.recorded(bodies=["other"])[0]
    assert arrived["properties"] == [{"cloudEvents:type": "test", "recordcount": 5}]
    assert arrived["naive"] is True
