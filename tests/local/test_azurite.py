"""Azurite as the local stack starts it: what it acknowledged survives a kill at any moment."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import shutil
import socket
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.data.tables.aio import TableClient
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import ContainerClient
from azure.storage.queue.aio import QueueClient

from local import azurite_process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

LIMIT_S = 60


class Azurite:
    """One Azurite process and a client of each service; nothing is tried twice."""

    def __init__(self, location: Path, *options: str) -> None:
        self.ports = free_ports()
        self.command = azurite_process.command(location, **self.ports) + list(options)
        storage = azurite_process.connection_string(**self.ports)
        self.blobs = ContainerClient.from_connection_string(storage, "raw", retry_total=0)
        self.queue = QueueClient.from_connection_string(storage, "due", retry_total=0)
        self.table = TableClient.from_connection_string(storage, "ledger", retry_total=0)
        self.process: Process

    async def launch(self) -> None:
        """Start the process without waiting for it."""
        self.process = await asyncio.create_subprocess_exec(
            *self.command, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )

    async def announced(self) -> str:
        """The line that says that all services can be used."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), LIMIT_S)).decode()

    async def create(self) -> None:
        """Make the container, the queue and the table."""
        await self.blobs.create_container()
        await self.queue.create_queue()
        await self.table.create_table()

    async def ended(self) -> int:
        """Wait for the process to end by itself, and return its exit code."""
        return await asyncio.wait_for(self.process.wait(), LIMIT_S)

    async def kill(self) -> None:
        """End it the way the kernel does when memory is short."""
        self.process.kill()
        await self.ended()


def free_ports() -> dict[str, int]:
    """A port for each service that nobody listens on."""
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        probes = {"blob": first, "queue": second, "table": third}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: probe.getsockname()[1] for name, probe in probes.items()}


@asynccontextmanager
async def running(location: Path, *options: str) -> AsyncIterator[Azurite]:
    """Azurite over `location`, announced; gone at the end whatever happened."""
    azurite = Azurite(location, *options)
    await azurite.launch()
    try:
        async with azurite.blobs, azurite.queue, azurite.table:
            await azurite.announced()
            yield azurite
    finally:
        if azurite.process.returncode is None:
            await azurite.kill()


@dataclass(slots=True)
class Memory:
    """What a client knows: values acknowledged, and values on their way when it was cut off."""

    acknowledged: dict[str, Any] = field(default_factory=dict)
    attempted: dict[str, Any] = field(default_factory=dict)

    async def write(self, key: str, value: Any, sent: Awaitable[object]) -> None:
        """Remember `value` as attempted until it is acknowledged."""
        self.attempted[key] = value
        await sent
        self.acknowledged[key] = self.attempted.pop(key)

    def allows(self, key: str, found: Any) -> bool:
        """Whether finding this, None meaning nothing, breaks no promise; it is true from now on."""
        allowed = [self.acknowledged.get(key)]
        if key in self.attempted:
            allowed.append(self.attempted.pop(key))
        self.acknowledged[key] = found
        return found in allowed


@dataclass(slots=True)
class Client:
    """Writes to all three services at once until the connection breaks."""

    random: random.Random
    blobs: Memory = field(default_factory=Memory)
    entities: Memory = field(default_factory=Memory)
    messages: Memory = field(default_factory=Memory)
    count: itertools.count[int] = field(default_factory=itertools.count)

    async def write(self, azurite: Azurite) -> None:
        """Write until `azurite` is killed."""
        steps = (self.put_blob, self.delete_blob, self.put_entities, self.send_message)

        async def work(number: int) -> None:
            while True:
                step = self.random.choice(steps)
                await step(azurite, f"{number}-{self.random.randrange(4)}")

        outcomes = await asyncio.gather(*map(work, range(4)), return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, AzureError), outcome

    async def put_blob(self, azurite: Azurite, key: str) -> None:
        """Overwrite a blob, in one request or in two blocks."""
        body = self.random.randbytes(self.random.choice((0, 300, 30_000)))
        blob = azurite.blobs.get_blob_client(key)
        if self.random.random() < 0.5:
            await self.blobs.write(key, body, blob.upload_blob(body, overwrite=True))
            return
        await blob.stage_block("one", body + b"1")
        await blob.stage_block("two", body + b"2")
        blocks = [BlobBlock("one"), BlobBlock("two")]
        await self.blobs.write(key, body + b"1" + body + b"2", blob.commit_block_list(blocks))

    async def delete_blob(self, azurite: Azurite, key: str) -> None:
        """Delete a blob that is there."""
        if self.blobs.acknowledged.get(key) is not None:
            await self.blobs.write(key, None, azurite.blobs.delete_blob(key))

    async def put_entities(self, azurite: Azurite, key: str) -> None:
        """Write one value into two entities, in one transaction."""
        value = next(self.count)
        rows = [{"PartitionKey": key, "RowKey": row, "value": value} for row in ("a", "b")]
        sent = azurite.table.submit_transaction([("upsert", row) for row in rows])
        await self.entities.write(key, value, sent)

    async def send_message(self, azurite: Azurite, _: str) -> None:
        """Send a message that was never sent before."""
        text = str(next(self.count))
        await self.messages.write(text, text, azurite.queue.send_message(text))

    async def check(self, azurite: Azurite) -> None:
        """Compare what is there with what was promised."""
        for key in {*self.blobs.acknowledged, *self.blobs.attempted}:
            assert self.blobs.allows(key, await read_blob(azurite, key)), f"blob {key}"
        pairs: dict[str, list[int]] = {
            key: [] for key in {*self.entities.acknowledged, *self.entities.attempted}
        }
        async for entity in azurite.table.list_entities():
            pairs[entity["PartitionKey"]].append(entity["value"])
        for key, values in pairs.items():
            assert len(values) in (0, 2), f"half a transaction: {key}"
            assert len(set(values)) < 2, f"half a transaction: {key}"
            assert self.entities.allows(key, values[0] if values else None), f"entity {key}"
        texts = await take_messages(azurite)
        for key in {*self.messages.acknowledged, *self.messages.attempted, *texts}:
            assert self.messages.allows(key, key if key in texts else None), f"message {key}"
            self.messages.acknowledged[key] = None


async def read_blob(azurite: Azurite, name: str) -> bytes | None:
    """The content of a blob, None if there is none."""
    try:
        return await (await azurite.blobs.download_blob(name)).readall()
    except ResourceNotFoundError:
        return None


async def take_messages(azurite: Azurite) -> set[str]:
    """Every message of the queue, which is empty afterwards."""
    found = set()
    async for message in azurite.queue.receive_messages(messages_per_page=32):
        await azurite.queue.delete_message(message)
        found.add(message.content)
    return found


@pytest.mark.parametrize("journal_bytes_max", [64 * 1024 * 1024, 20_000])
async def test_kill_loses_nothing_acknowledged(tmp_path: Path, journal_bytes_max: int) -> None:
    """The pipeline promises what its storage keeps, so a local kill has to lose nothing either."""
    chance = random.Random(7)
    client = Client(chance)

    for turn in range(3):
        async with running(tmp_path, "--journalBytesMax", str(journal_bytes_max)) as azurite:
            if turn == 0:
                await azurite.create()
            await client.check(azurite)
            writing = asyncio.create_task(client.write(azurite))
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            await azurite.kill()
            await writing
    async with running(tmp_path) as azurite:
        await client.check(azurite)

    assert next(client.count) > 20, "it was killed before it had written anything"


def databases(location: Path) -> dict[str, Any]:
    """What Azurite wrote down: the documents of each collection of each database."""
    return {
        path.name: {
            collection["name"]: (collection["maxId"], collection["data"])
            for collection in json.loads(path.read_text())["collections"]
        }
        for path in location.glob("__azurite_db_*__.json")
        if "extent" not in path.name  # Files without a reader are swept at every start.
    }


async def use_everything(azurite: Azurite) -> None:
    """Change metadata in every way that the pipeline or its libraries do."""
    await azurite.create()
    blob = azurite.blobs.get_blob_client("blob")
    await blob.upload_blob(b"first", metadata={"first": "1"})
    await blob.create_snapshot()
    await blob.set_blob_metadata({"last": "2"})
    await blob.set_blob_tags({"kind": "test"})
    await (await blob.acquire_lease(15)).release()
    await azurite.blobs.get_blob_client("copy").start_copy_from_url(blob.url)
    await azurite.blobs.get_blob_client("staged").stage_block("one", b"never committed")
    await azurite.blobs.get_blob_client("appended").upload_blob(b"1", blob_type="AppendBlob")
    await blob.delete_blob(delete_snapshots="include")
    await azurite.queue.send_message("waits")
    message = await azurite.queue.send_message("changes")
    await azurite.queue.update_message(message, visibility_timeout=60, content="changed")
    await azurite.queue.clear_messages()
    await azurite.queue.send_message("stays")
    for row in "abc":
        await azurite.table.create_entity({"PartitionKey": "p", "RowKey": row, "value": 1})
    await azurite.table.upsert_entity({"PartitionKey": "p", "RowKey": "a", "more": 2.5})
    await azurite.table.delete_entity("p", "b")
    await azurite.table.delete_table()
    await azurite.table.create_table()
    await azurite.table.create_entity({"PartitionKey": "p", "RowKey": "new", "value": 1})


async def test_killed_azurite_knows_what_a_stopped_one_wrote_down(tmp_path: Path) -> None:
    """The journal is complete only if replaying it gives what Azurite itself would have saved."""
    stopped, killed = tmp_path / "stopped", tmp_path / "killed"

    async with running(stopped) as azurite:
        await use_everything(azurite)
        shutil.copytree(stopped, killed)  # What is on disk now is what a kill would leave.
        azurite.process.terminate()
        await azurite.ended()
    async with running(killed) as azurite:
        replayed = databases(killed)

    assert replayed == databases(stopped)


async def test_line_cut_off_by_a_kill_is_no_obstacle(tmp_path: Path) -> None:
    """A kill may come in the middle of a write; the next start has to get past what it left."""
    async with running(tmp_path) as azurite:
        await azurite.create()
        await azurite.blobs.upload_blob("kept", b"kept")
        await azurite.kill()
    with (tmp_path / "journal.ndjson").open("a") as journal:
        journal.write('[{"database":"__azurite_db_blob__.json","coll')

    async with running(tmp_path) as azurite:
        found = await read_blob(azurite, "kept")

    assert found == b"kept"


async def test_azurite_ends_with_its_parent(tmp_path: Path) -> None:
    """However the stack dies, it leaves no process behind that holds the ports."""
    async with running(tmp_path) as azurite:
        assert azurite.process.stdin is not None
        azurite.process.stdin.close()

        code = await azurite.ended()

    assert code == 0


async def test_announcement_is_all_that_is_printed(tmp_path: Path) -> None:
    """The stack waits for exactly this line, and people read its log."""
    azurite = Azurite(tmp_path)
    await azurite.launch()

    line = await azurite.announced()
    azurite.process.terminate()
    rest, errors = await azurite.process.communicate()  # Ends its standard input as well.

    assert line == f"azurite listening on 127.0.0.1:{azurite.ports['blob']}\n"
    assert (azurite.process.returncode, rest, errors) == (0, b"", b"")


async def test_taken_port_is_one_readable_line(tmp_path: Path) -> None:
    """Two stacks on one machine are common; a stack trace does not say which port is taken."""
    azurite = Azurite(tmp_path)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", azurite.ports["table"]))
        taken.listen()
        await azurite.launch()
        code = await azurite.ended()
    assert azurite.process.stderr is not None
    errors = await azurite.process.stderr.read()

    assert code == 1
    assert errors.decode().count("\n") == 1
    assert f"address already in use 127.0.0.1:{azurite.ports['table']}" in errors.decode()
