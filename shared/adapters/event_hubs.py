"""Event Hubs: sending events and asking how far a hub has come."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from azure.eventhub import EventData
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from shared.domain.cloud_event import NDJSON, properties_of
from shared.domain.errors import Misconfigured, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from azure.eventhub.aio import EventHubProducerClient

    from shared.domain.cloud_event import CloudEvent


class EventHubs:
    """Hub: one producer a material, opened at its first use and kept."""

    def __init__(self, connect: Callable[[str], EventHubProducerClient]) -> None:
        """`connect` makes a client for a hub's name."""
        self._connect = connect
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


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except AuthenticationError as error:
        raise Misconfigured("EVENT_HUBS", f"sign-in refused while {doing}") from error
    except (EventHubError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise TryLater(f"the hub is unwell while {doing}: {reason}") from error
