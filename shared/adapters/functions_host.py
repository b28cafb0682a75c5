"""The Functions host: what its Event Hubs trigger hands over, as a batch.

Shapes: the extension's `EventHubTriggerBindingStrategy` for cardinality many. Reading `metadata`
parses every array anew for every event, so it is read once, from the first event.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from shared.domain.cloud_event import NDJSON, attributes_of
from shared.domain.raw_blob import HubBatch, HubEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.functions import EventHubEvent


def hub_batch(events: Sequence[EventHubEvent], *, material: str) -> HubBatch:
    """The batch, its attributes read from the application properties."""
    metadata: dict[str, Any] = dict(events[0].metadata or {})
    properties = metadata["PropertiesArray"]
    return HubBatch(
        material=material,
        partition=metadata["PartitionContext"]["PartitionId"],
        events=tuple(_event(*pair) for pair in zip(events, properties, strict=True)),
    )


def _event(event: EventHubEvent, properties: dict[str, Any]) -> HubEvent:
    assert event.sequence_number is not None, "the host numbers every event"
    assert event.enqueued_time is not None, "the host dates every event"
    return HubEvent(
        sequence=event.sequence_number,
        offset=str(event.offset),
        # The host sends this time without a zone; it is UTC.
        enqueued_at=event.enqueued_time.replace(tzinfo=UTC),
        attributes={"datacontenttype": NDJSON, **attributes_of(properties)},
        body=event.get_body(),
    )
