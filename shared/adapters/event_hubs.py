"""Event Hubs: sending events and asking how far a hub has come."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from azure.eventhub import EventData
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from shared.domain.cloud_event import NDJSON, attributes_of, properties_of
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.raw_blob import HubBatch, HubEvent, hub_life

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.raw_blob import Partition


_READ_BATCH = 1000
_READ_LIMIT_S = 60
#: So long a hub's life is believed: one question a minute finds a hub that was made anew.
_LIFE_S = 60


class EventHubs:
    """Hub: one producer a material, opened at its first use and kept."""

    def __init__(
        self,
        connect: Callable[[str], EventHubProducerClient],
        connect_reader: Callable[[str], EventHubConsumerClient],
    ) -> None:
        """Each makes a client for a hub's name."""
        self._connect = connect
        self._connect_reader = connect_reader
        self._lives: dict[str, tuple[float, str]] = {}
        self._producers: dict[str, EventHubProducerClient] = {}

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Send each partition's events in order, the partitions side by side."""
        producer = self._producer(material)
        with _errors(f"sending to hub {material}"):
            sends = [_send(producer, str(each), members) for each, members in events.items()]
            outcomes = await asyncio.gather(*sends, return_exceptions=True)
            for error in filter(None, outcomes):  # All have ended: no send is left behind.
                raise error

    async def last_sequences(self, material: str, *, partitions: int) -> dict[str, int]:
        """Ask every partition, side by side: the SDK opens a connection for each question."""
        producer = self._producer(material)
        with _errors(f"asking hub {material} how far it has come"):
            ids = map(str, range(partitions))
            found = await asyncio.gather(*map(producer.get_partition_properties, ids))
        return {
            each["id"]: -1 if each["is_empty"] else each["last_enqueued_sequence_number"]
            for each in found
        }

    async def life(self, material: str, *, fresh: bool = False) -> str:
        """Ask when the hub was made, once a minute."""
        now = asyncio.get_running_loop().time()
        asked_at, life = self._lives.get(material, (now - _LIFE_S, ""))
        if fresh or now - asked_at >= _LIFE_S:
            with _errors(f"asking hub {material} when it was made"):
                properties = await self._producer(material).get_eventhub_properties()
            life = hub_life(properties["created_at"])
            self._lives[material] = (now, life)
        return life

    async def first_sequence(self, partition: Partition) -> int:
        """Ask the partition; an empty one begins after its last."""
        producer = self._producer(partition.material)
        with _errors(f"asking hub {partition.material} where it begins"):
            found = await producer.get_partition_properties(partition.id)
        if found["is_empty"]:
            return int(found["last_enqueued_sequence_number"]) + 1
        return int(found["beginning_sequence_number"])

    async def read(self, partition: Partition, *, first: int, last: int) -> AsyncIterator[HubBatch]:
        """Receive from `first`, in a group of its own: in the host's it would steal."""
        received: asyncio.Queue[list[EventData]] = asyncio.Queue(maxsize=1)

        async def keep(_: object, events: list[EventData]) -> None:
            await received.put(events)

        async with self._connect_reader(partition.material) as reader:
            receiving = asyncio.create_task(
                reader.receive_batch(
                    keep,
                    partition_id=partition.id,
                    starting_position=first,
                    starting_position_inclusive=True,
                    max_batch_size=_READ_BATCH,
                )
            )
            try:
                while first <= last:
                    with _errors(f"reading hub {partition.material} again from {first}"):
                        async with asyncio.timeout(_READ_LIMIT_S):
                            events = await received.get()
                    batch = _batch(partition, events, last=last)
                    if not batch.events:  # The hub has dropped all that was left of them.
                        return
                    first = batch.events[-1].sequence + 1
                    yield batch
            finally:
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)

    async def close(self) -> None:
        """Close every producer."""
        for producer in self._producers.values():
            await producer.close()
        self._producers.clear()

    def _producer(self, material: str) -> EventHubProducerClient:
        if material not in self._producers:
            self._producers[material] = self._connect(material)
        return self._producers[material]


async def _send(
    producer: EventHubProducerClient, partition: str, events: Sequence[CloudEvent]
) -> None:
    batch = await producer.create_batch(partition_id=partition)
    for event in events:
        message = _message(event)
        try:
            batch.add(message)
        except ValueError:  # The batch is full.
            await producer.send_batch(batch)
            batch = await producer.create_batch(partition_id=partition)
            batch.add(message)
    await producer.send_batch(batch)


def _message(event: CloudEvent) -> EventData:
    message = EventData(event.body)
    properties: dict[str | bytes, Any] = {}
    for name, text in properties_of(event).items():
        properties[name] = text  # noqa: PERF403 -- The SDK also takes bytes as names.
    message.properties = properties
    message.content_type = event.attributes.get("datacontenttype", NDJSON)
    return message


def _batch(partition: Partition, events: list[EventData], *, last: int) -> HubBatch:
    """What of the events is asked for, as the host would have handed it over."""
    return HubBatch(
        material=partition.material,
        partition=partition.id,
        events=tuple(_event(event) for event in events if (event.sequence_number or 0) <= last),
    )


def _event(event: EventData) -> HubEvent:
    assert event.sequence_number is not None, "the hub numbers every event"
    assert event.enqueued_time is not None, "the hub dates every event"
    properties = {
        name.decode() if isinstance(name, bytes) else name: _text(value)
        for name, value in (event.properties or {}).items()
    }
    return HubEvent(
        sequence=event.sequence_number,
        offset=str(event.offset),
        enqueued_at=event.enqueued_time,
        attributes={"datacontenttype": NDJSON, **attributes_of(properties)},
        body=b"".join(cast("Iterable[bytes]", event.body)),
    )


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise Misconfigured("EVENT_HUBS", f"sign-in refused while {doing}") from error
    except (EventHubError, OSError) as error:  # A time-out is an OSError.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise TryLater(f"the hub is unwell while {doing}: {reason}") from error
