"""Hub: sends as the hub it wraps does, and tells the events where in a trace they were sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from shared.domain.trace import ATTRIBUTE
from shared.ports import HubAround
from shared.telemetry.instruments import HUB, OPERATION, SYSTEM, measure
from shared.telemetry.traces import EVENT_HUBS, span, traceparent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.cloud_event import CloudEvent


class TracedHub(HubAround):
    """Hub: an event's id and body stay as they are."""

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


def _stamped(events: Sequence[CloudEvent], here: str) -> Sequence[CloudEvent]:
    if not here:
        return events
    return [replace(event, attributes={ATTRIBUTE: here, **event.attributes}) for event in events]
