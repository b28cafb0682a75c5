"""Hub: sends as the hub it wraps does, and tells the events where in a trace they were sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from shared.domain.trace import ATTRIBUTE
from shared.telemetry.instruments import HUB, OPERATION, SYSTEM, measure
from shared.telemetry.traces import EVENT_HUBS, span, traceparent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.raw_blob import HubBatch, Partition
    from shared.ports import Hub


class TracedHub:
    """Hub: an event's id and body stay as they are."""

    def __init__(self, hub: Hub) -> None:
        """`hub` does the work."""
        self._hub = hub

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Send; an event that was sent before keeps the trace that it came from."""
        count = sum(map(len, events.values()))
        attributes = {SYSTEM: EVENT_HUBS, HUB: material, OPERATION: "send"}
        batch: dict[str, str | int] = {
            "messaging.operation.type": "send",
            "messaging.batch.message_count": count,
        }
        with span(f"send {material}", SpanKind.PRODUCER, attributes={**attributes, **batch}):
            here = traceparent()
            stamped = {number: _stamped(members, here) for number, members in events.items()}
            await self._hub.send(material, stamped)
        measure("messaging.client.sent.messages", count, attributes)

    async def last_sequences(self, material: str, *, partitions: int) -> dict[str, int]:
        """Ask the hub."""
        return await self._hub.last_sequences(material, partitions=partitions)

    async def life(self, material: str, *, fresh: bool = False) -> str:
        """Ask the hub."""
        return await self._hub.life(material, fresh=fresh)

    async def first_sequence(self, partition: Partition) -> int:
        """Ask the hub."""
        return await self._hub.first_sequence(partition)

    def read(self, partition: Partition, *, first: int, last: int) -> AsyncIterator[HubBatch]:
        """Read the hub."""
        return self._hub.read(partition, first=first, last=last)


def _stamped(events: Sequence[CloudEvent], here: str) -> Sequence[CloudEvent]:
    if not here:
        return events
    return [replace(event, attributes={ATTRIBUTE: here, **event.attributes}) for event in events]
