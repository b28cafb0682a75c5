"""The local event hubs through the real SDK: what it sends, receives and is told."""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import azure.eventhub
import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import (
    ConnectError,
    ConnectionLostError,
    EventDataSendError,
)

from local.event_hubs import EventHubs
from local.event_hubs.broker import Address
from local.faults import Faults
from tests.local_event_hubs import (
    HUB,
    PATIENCE_S,
    Clock,
    bodies,
    connections_break,
    content,
    fill,
    hub,
    offset_of,
    partition_of_key,
    producer,
    readers,
    receive,
    receiving,
    stored,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

#: A key, so that a client need not ask which partitions there are, which takes it half a second.
KEY = "device-7"
KEY_PARTITION = partition_of_key(KEY, 2)
#: Draws a drop after an append, one before, and then leaves six sends alone.
SEED_OF_BOTH_DROPS = 88


@pytest.fixture
def clock() -> Clock:
    """Stop the time."""
    return Clock()


@pytest.fixture
async def server(tmp_path: Path, clock: Clock) -> AsyncIterator[EventHubs]:
    """Serve one hub of two partitions."""
    async with EventHubs([hub()], tmp_path, now_ms=clock) as running:
        yield running


async def test_a_synchronous_client_receives_what_another_sent(server: EventHubs) -> None:
    """Notebooks and scripts use the synchronous SDK, which polls and frames differently."""

    def send_and_receive() -> list[EventData]:
        with azure.eventhub.EventHubProducerClient.from_connection_string(
            server.connection_string, eventhub_name=HUB
        ) as client:
            client.send_batch([EventData("one"), EventData("two")], partition_key=KEY)
            client.send_event(EventData("three"), partition_key=KEY)
        received: list[EventData] = []
        consumer = azure.eventhub.EventHubConsumerClient.from_connection_string(
            server.connection_string, "$Default", eventhub_name=HUB
        )

        def take(_: object, event: EventData | None) -> None:
            if event:
                received.append(event)
            if event is None or len(received) == 3:
                consumer.close()

        with consumer:
            consumer.receive(
                take, partition_id=KEY_PARTITION, starting_position="-1", max_wait_time=PATIENCE_S
            )
        return received

    received = await asyncio.to_thread(send_and_receive)

    assert bodies(received) == ["one", "two", "three"]
    assert [event.sequence_number for event in received] == [0, 1, 2]


async def test_an_event_arrives_as_it_was_sent(server: EventHubs, clock: Clock) -> None:
    """CloudEvents live in application properties and the body is NDJSON: not a byte may change.

    What the hub adds, its own annotations and the metrics asked for, stands between the sections.
    """
    sent = EventData(b'{"a":1}\n\xff')
    sent.properties = {"cloudEvents:id": "1", "cloudEvents:recordcount": 7}
    sent.content_type, sent.message_id, sent.correlation_id = "application/x-ndjson", "m", "c"
    async with producer(server.connection_string) as client:
        await client.send_batch([sent, EventData("next")], partition_key=KEY)

    event, _ = await receive(
        server.connection_string, 2, partition=KEY_PARTITION,
        track_last_enqueued_event_properties=True,
    )  # fmt: skip

    assert content(event) == b'{"a":1}\n\xff'
    assert event.properties == {b"cloudEvents:id": b"1", b"cloudEvents:recordcount": 7}
    assert (event.content_type, event.message_id) == ("application/x-ndjson", "m")
    assert event.correlation_id == "c"
    assert event.partition_key == KEY.encode()
    assert (event.sequence_number, event.enqueued_time) == (0, clock.at())
    metrics = event._message.delivery_annotations
    assert metrics is not None
    assert metrics[b"last_enqueued_sequence_number"] == 1


async def test_a_key_chooses_the_partition_the_sdk_would_choose(server: EventHubs) -> None:
    """A buffered client resolves keys itself; both ways of sending must agree on the partition."""
    keys = ["alphabet", "TeStInG", "a", "abcdefghijklm", "größe", "東京"]
    async with producer(server.connection_string) as client:
        for key in keys:
            await client.send_event(EventData(key), partition_key=key)

    for number in ("0", "1"):
        chosen = [key for key in keys if partition_of_key(key, 2) == number]
        assert chosen
        assert stored(server, number) == chosen


async def test_without_a_key_batches_take_turns(server: EventHubs) -> None:
    """One partition that gets everything would hide that consumers can share the work."""
    async with producer(server.connection_string) as client:
        for text in ("one", "two", "three"):
            await client.send_batch([EventData(text), EventData(text)])

    assert stored(server, "0") == ["one", "one", "three", "three"]
    assert stored(server, "1") == ["two", "two"]


async def test_a_consumer_starts_wherever_it_asks(server: EventHubs, clock: Clock) -> None:
    """Checkpoints, repairs of gaps and replays start from offsets, sequence numbers and times."""
    times = []
    for text in ("e0", "e1", "e2", "e3"):
        clock.now_ms += 60_000
        times.append(clock.at())
        fill(server, [text])
    log = server.broker.partition(Address(HUB, "", "0")).log
    offset_1 = offset_of(log.from_sequence(1).take(1)[0].message)
    starts = (
        ("-1", False, "e0"), (offset_1, False, "e2"), (offset_1, True, "e1"),
        (2, False, "e3"), (2, True, "e2"), (-1, False, "e0"),
        (times[1], False, "e2"), (times[1], True, "e1"), (times[0] - timedelta(1), True, "e0"),
    )  # fmt: skip

    groups = ("$Default", "hub-to-raw") * 5  # Five readers each is the service's limit.

    received = await asyncio.gather(
        *(
            receive(
                server.connection_string, 1, group=group,
                starting_position=start, starting_position_inclusive=inclusive,
            )
            for (start, inclusive, _), group in zip(starts, groups, strict=False)
        )
    )  # fmt: skip

    assert [bodies(events)[0] for events in received] == [first for *_, first in starts]


async def test_the_latest_position_sees_only_what_comes_after(server: EventHubs) -> None:
    """A new consumer group that starts at the end must not replay the past, nor miss the future."""
    fill(server, ["before"])
    events: list[EventData] = []
    async with receiving(server.connection_string, events, starting_position="@latest"):
        await until(lambda: len(readers(server)) == 1)
        fill(server, ["after"])

        await until(lambda: len(events) == 1)

    assert bodies(events) == ["after"]


async def test_a_consumer_is_told_why_it_is_refused(
    server: EventHubs, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt group must not read nothing for ever, nor an old checkpoint skip what comes."""
    fill(server, ["one"])
    address = server.connection_string
    async with (
        receiving(address, [], group="hub-to-row") as group_errors,
        receiving(address, [], starting_position="99") as offset_errors,
    ):
        await until(lambda: bool(group_errors and offset_errors))

    group_error, offset_error = str(group_errors[0]), str(offset_errors[0])

    assert "consumer group 'hub-to-row' in 'quakes' could not be found" in group_error
    assert (
        "The supplied offset '99' is invalid. The last offset in the system is '0'." in offset_error
    )
    assert "hub-to-row" in caplog.text


async def test_properties_describe_the_hub_and_its_partitions(
    server: EventHubs, clock: Clock
) -> None:
    """Lag is measured with these numbers, from a hub that never had an event on."""
    async with producer(server.connection_string) as client:
        described = await client.get_eventhub_properties()
        empty = await client.get_partition_properties("0")
        fill(server, ["one", "two"])
        filled = await client.get_partition_properties("0")
        with pytest.raises(ConnectError, match="invalid for 'quakes'"):
            await client.get_partition_properties("7")

    assert described == {
        "eventhub_name": HUB, "created_at": clock.at(), "partition_ids": ["0", "1"],
    }  # fmt: skip
    assert (empty["is_empty"], empty["last_enqueued_sequence_number"]) == (True, -1)
    assert empty["last_enqueued_time_utc"].year == 1
    assert (filled["is_empty"], filled["beginning_sequence_number"]) == (False, 0)
    assert (filled["last_enqueued_sequence_number"], filled["last_enqueued_time_utc"]) == (
        1, clock.at(),
    )  # fmt: skip


async def test_a_higher_epoch_takes_the_partition(server: EventHubs) -> None:
    """Two consumers that both believe they own a partition must not both go on reading it."""
    low, high = list[EventData](), list[EventData]()
    address = server.connection_string
    async with receiving(address, low, owner_level=1) as lost:
        await until(lambda: len(readers(server)) == 1)
        async with receiving(address, high, owner_level=2):
            await until(lambda: len(lost) > 0)
            async with (
                receiving(address, low, owner_level=1) as refused,
                receiving(address, low) as not_exclusive,
            ):
                await until(lambda: bool(refused and not_exclusive))
            fill(server, ["one"])
            await until(lambda: len(high) == 1)

    assert low == []
    assert all(isinstance(one, ConnectionLostError) for one in (lost[0], refused[0]))
    assert "New receiver" in str(lost[0])
    assert "higher epoch" in str(refused[0])
    assert "non-epoch receiver is not allowed" in str(not_exclusive[0])


async def test_an_unknown_hub_is_refused_at_once(
    server: EventHubs, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt name must say so, on both sides, not time out."""
    async with producer(server.connection_string, hub_name="quaks") as client:
        with pytest.raises(
            ConnectionLostError, match="'quaks' could not be found; there are: quakes"
        ):
            await client.send_batch([EventData("lost")])

    assert [record.levelname for record in caplog.records if "quaks" in record.message] == [
        "WARNING"
    ]


async def test_a_message_above_the_limit_is_refused_with_the_reason(server: EventHubs) -> None:
    """The SDK does not check single events; an answer it cannot read makes it wait for ever."""
    async with producer(server.connection_string) as client:
        largest = (await client.create_batch()).max_size_in_bytes
        with pytest.raises(EventDataSendError, match="exceeds the limit"):
            await client.send_event(EventData(b"x" * (largest + 1)))
        await client.send_event(EventData(b"x" * (largest - 100)))

    (event,) = await receive(server.connection_string, 1)

    assert len(content(event)) == largest - 100


async def test_throttling_reaches_the_sender_as_server_busy(server: EventHubs) -> None:
    """The step that sends has to tell "later" from "never"; it can only by this condition."""
    async with producer(server.connection_string) as client:
        server.inject(Faults(busy=1))
        with pytest.raises(EventDataSendError, match=r"com\.microsoft:server-busy"):
            await client.send_event(EventData("refused"), partition_id="1")
        server.inject(Faults())

        await client.send_event(EventData("accepted"), partition_id="1")

    assert stored(server, "1") == ["accepted"]


async def test_an_answer_can_be_delayed(server: EventHubs) -> None:
    """Slowness is tested by a service that is slow, not by one that is off."""
    async with producer(server.connection_string) as client:
        await client.send_event(EventData("connected"))
        server.inject(Faults(delay_ms=400))
        began = time.monotonic()

        await client.send_event(EventData("slow"))

    assert time.monotonic() - began >= 0.4


@connections_break
async def test_dropped_connections_lose_nothing_that_is_sent_again(server: EventHubs) -> None:
    """A drop before the append loses an event, one after doubles it: the SDK must meet both."""
    sent = ["one", "two", "three"]

    async def send_all() -> None:
        async with producer(
            server.connection_string, retry_total=20, retry_backoff_factor=0.01
        ) as client:
            for text in sent:
                await client.send_event(EventData(text), partition_key=KEY)

    server.inject(Faults(seed=SEED_OF_BOTH_DROPS, drop=0.5))
    await send_all()
    gc.collect()

    assert stored(server, KEY_PARTITION) == ["one", *sent]
