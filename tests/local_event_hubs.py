"""What the tests of the local event hubs share: hubs, the real SDK's clients, and a raw client."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

from local.event_hubs import EventHubs, codec, frames, messages
from local.event_hubs.broker import Address, Reader
from local.event_hubs.codec import NULL
from local.event_hubs.frames import Fields
from local.event_hubs.messages import Event
from shared.domain.document import EventHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from azure.eventhub import EventData
    from azure.eventhub.aio import PartitionContext

ROOT = Path(__file__).parents[1]
HUB = "quakes"
GROUP = "$Default"
#: Generous: a test that gets this far has failed, however slow the machine.
PATIENCE_S = 30.0

#: The SDK forgets to close the socket of a connection that broke. A test that breaks connections
#: collects the garbage itself, so that no later test is blamed.
connections_break = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def hub(partitions: int = 2, expires_after: timedelta = timedelta(days=1)) -> EventHub:
    """Describe the hub under test."""
    return EventHub(material=HUB, partitions=partitions, expires_after=expires_after)


def producer(
    connection_string: str, *, hub_name: str = HUB, **options: Any
) -> EventHubProducerClient:
    """Make a client that does not try again: a test wants the first answer."""
    return EventHubProducerClient.from_connection_string(
        connection_string, eventhub_name=hub_name, **{"retry_total": 0} | options
    )


def consumer(
    connection_string: str, *, group: str = GROUP, **options: Any
) -> EventHubConsumerClient:
    """Make a client that does not try again."""
    return EventHubConsumerClient.from_connection_string(
        connection_string, group, eventhub_name=HUB, retry_total=0, **options
    )


async def receive(
    connection_string: str, count: int, *, partition: str = "0", group: str = GROUP, **options: Any
) -> list[EventData]:
    """Receive until there are `count` events of a partition."""
    events: list[EventData] = []
    async with receiving(connection_string, events, partition=partition, group=group, **options):
        await until(lambda: len(events) >= count)
    return events


@contextlib.asynccontextmanager
async def receiving(
    connection_string: str,
    events: list[EventData],
    *,
    partition: str = "0",
    group: str = GROUP,
    **options: Any,
) -> AsyncIterator[list[Exception]]:
    """Collect a partition's events for a while; hands over the errors the SDK tells of."""

    async def take(_: PartitionContext, batch: list[EventData]) -> None:
        events.extend(batch)

    options.setdefault("starting_position", "-1")
    client = consumer(connection_string, group=group)
    async with consuming(client, take, partition_id=partition, **options) as errors:
        yield errors


@contextlib.asynccontextmanager
async def consuming(
    client: EventHubConsumerClient,
    take: Callable[[PartitionContext, list[EventData]], Awaitable[None]],
    **options: Any,
) -> AsyncIterator[list[Exception]]:
    """Run a consumer for a while; hands over the errors the SDK tells of."""
    errors: list[Exception] = []

    async def note(_: PartitionContext, error: Exception) -> None:
        errors.append(error)

    task = asyncio.create_task(client.receive_batch(take, on_error=note, **options))
    try:
        yield errors
    finally:
        for processor in client._event_processors.values():
            await _end(*processor._tasks.values())  # Else the SDK sleeps for a second to see that.
        await _end(task)
        await client.close()


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens sooner or later."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- The SDK's callbacks know no event of ours.
            await asyncio.sleep(0.02)


def bodies(events: Sequence[EventData]) -> list[str]:
    """Say what events hold."""
    return [event.body_as_str() for event in events]


def content(event: EventData) -> bytes:
    """Put an event's body together."""
    return b"".join(cast("Iterable[bytes]", event.body))


def partition_of_key(key: str, partitions: int) -> str:
    """Ask the SDK which partition it would choose for a key."""
    code: int = generate_hash_code(key)  # type: ignore[no-untyped-call]  # The SDK is untyped here.
    return str(abs(code % partitions))


class Clock:
    """A time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000

    def __call__(self) -> int:
        """Read the time as the emulator does."""
        return self.now_ms

    def at(self) -> datetime:
        """Read the time as the SDK tells it."""
        return datetime.fromtimestamp(self.now_ms / 1000, tz=UTC)


def fill(server: EventHubs, texts: Sequence[str], partition: str = "0") -> None:
    """Store events one by one, without the time it takes a client to connect."""
    found = server.broker.partition(Address(HUB, "", partition))
    for text in texts:
        event = Event(b"", 0, b"", body(text))
        found.log.append([event], server.broker.now_ms())
    found.wake_readers()


def readers(server: EventHubs, partition: str = "0") -> list[Reader]:
    """Say who reads a partition now."""
    groups = server.broker.partition(Address(HUB, "", partition))._readers.values()
    return [reader for group in groups for reader in group]


def stored(server: EventHubs, partition: str = "0") -> list[str]:
    """Read the bodies of all events of a partition, without a client."""
    log = server.broker.partition(Address(HUB, "", partition)).log
    cursor = log.from_sequence(0)
    texts = []
    while records := cursor.take(1000):
        for record in records:
            (data,) = (
                codec.decode(record.message, start)[0]
                for code, start, _ in messages._sections(record.message)
                if code == messages.BODY_DATA
            )
            texts.append(cast("bytes", data).decode())
    return texts


def offset_of(message: bytes) -> str:
    """Read where a stored event is, as its consumer will be told."""
    name = codec.symbol("x-opt-offset")
    return str(codec.decode(message, message.index(name) + len(name))[0])


WINDOW = codec.uint(1 << 30)


def opening(*, frame_bytes_max: int = 65536, idle_ms: int | None = None) -> bytes:
    """Build a connection and a session, without SASL."""
    idle = codec.uint(idle_ms) if idle_ms else NULL
    size = codec.uint(frame_bytes_max)
    return (
        frames.AMQP
        + frames.frame(
            0, codec.composite(frames.OPEN, codec.string("peer"), NULL, size, NULL, idle)
        )
        + frames.frame(1, codec.composite(frames.BEGIN, NULL, codec.uint(0), WINDOW, WINDOW))
    )


def attaching(address: str, *, receives: bool, handle: int = 0) -> bytes:
    """Build a link."""
    source = frames.source(address if receives else "here")
    target = frames.target("here" if receives else address)
    return frames.frame(
        1,
        codec.composite(
            frames.ATTACH, codec.string(f"link {handle}"), codec.uint(handle),
            codec.boolean(receives), NULL, NULL, source, target, NULL, NULL, codec.uint(0),
        ),
    )  # fmt: skip


def granting(credit: int, *, drain: bool = False, handle: int = 0) -> bytes:
    """Build what lets the emulator send that many events."""
    return frames.frame(
        1,
        codec.composite(
            frames.FLOW, codec.uint(1), WINDOW, codec.uint(0), WINDOW, codec.uint(handle),
            codec.uint(0), codec.uint(credit), NULL, codec.boolean(drain),
        ),
    )  # fmt: skip


def sending(
    message: bytes, *, number: int = 0, message_format: int = 0, more: bool = False
) -> bytes:
    """Build an event in one frame on the link with handle 0."""
    head = codec.composite(
        frames.TRANSFER, codec.uint(0), codec.uint(number), codec.binary(b"t"),
        codec.uint(message_format), codec.FALSE, codec.boolean(more),
    )  # fmt: skip
    return frames.frame(1, head + message)


class Peer:
    """A client that writes its frames by hand, for what the SDK never does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.write = writer.write
        self.write_eof = writer.write_eof

    async def read(self) -> tuple[int, Fields, bytes]:
        """Receive a frame: its performative and payload; an empty one has code 0."""
        async with asyncio.timeout(PATIENCE_S):
            size = int.from_bytes(await self.reader.readexactly(4))
            content = (await self.reader.readexactly(size - 4))[4:]
        if not content:
            return 0, Fields([]), b""
        code, fields, end = frames.parse(content)
        return code, fields, content[end:]

    async def read_until(self, code: int) -> tuple[Fields, bytes]:
        """Receive frames up to one of a kind."""
        while (received := await self.read())[0] != code:
            pass
        return received[1:]

    async def open(self, *, frame_bytes_max: int = 65536, idle_ms: int | None = None) -> None:
        """Open a connection and a session."""
        self.write(opening(frame_bytes_max=frame_bytes_max, idle_ms=idle_ms))
        assert await self.reader.readexactly(8) == frames.AMQP
        await self.read_until(frames.BEGIN)

    async def attach(self, address: str, *, receives: bool) -> None:
        """Attach a link with handle 0 and wait for the answer."""
        self.write(attaching(address, receives=receives))
        await self.read_until(frames.ATTACH)


@contextlib.asynccontextmanager
async def peer(port: int) -> AsyncIterator[Peer]:
    """Connect by hand."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def body(text: str) -> bytes:
    """Encode a message that is nothing but a body."""
    return codec.described(0x75, codec.binary(text.encode()))
