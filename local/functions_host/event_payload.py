"""The payload of a batch of events, as the .NET host sends it with `cardinality=many`."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.eventhub.amqp import AmqpMessageBodyType

from local.functions_host.payload import Payload, Value, as_json, aware_time, unspecified_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.eventhub import EventData

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("x-opt-enqueued-time", "absolute-expiry-time", "creation-time")


def batch_payload(events: Sequence[EventData], *, partition: dict[str, Any]) -> Payload:
    """Describe a batch in one pass; `partition` becomes its PartitionContext.

    Times come without a zone in `EnqueuedTimeUtc`, exactly because the real host drops it:
    `event.enqueued_time` is naive there, and an app must meet that here.
    """
    enqueued = [unspecified_time(event.enqueued_time or _EPOCH) for event in events]
    keys = [_plain(event.partition_key) for event in events]
    system = [
        _system_properties(event) | {"EnqueuedTimeUtc": moment, "PartitionKey": key}
        for event, moment, key in zip(events, enqueued, keys, strict=True)
    ]
    return Payload(
        value=Value("collection_bytes", [event_body(event) for event in events]),
        metadata={
            "PartitionContext": as_json(partition),
            # Absent keys are dropped, so this array does not line up with the events.
            "PartitionKeyArray": Value("collection_string", [key for key in keys if key]),
            "OffsetArray": Value("collection_string", [event.offset for event in events]),
            "SequenceNumberArray": Value(
                "collection_sint64", [event.sequence_number for event in events]
            ),
            "EnqueuedTimeUtcArray": as_json(enqueued),
            "PropertiesArray": as_json([_plain_map(event.properties) for event in events]),
            "SystemPropertiesArray": as_json(system),
        },
    )


def event_body(event: EventData) -> bytes:
    """The bytes of an event; other AMQP bodies than data become text."""
    if event.body_type is AmqpMessageBodyType.DATA:
        return b"".join(event.body)  # type: ignore[arg-type]  # A data body is chunks of bytes.
    return event.body_as_str().encode()


def _system_properties(event: EventData) -> dict[str, Any]:
    """AMQP's own properties (content-type, ...) and the broker's annotations, then the host's."""
    found = _plain_map(event.system_properties)
    found.pop("user-id", None)  # The .NET host cannot serialise its bytes.
    for name in _TIMES:
        if isinstance(found.get(name), int):
            found[name] = aware_time(_EPOCH + timedelta(milliseconds=found[name]))
    return found | {"SequenceNumber": event.sequence_number, "Offset": event.offset}


def _plain_map(values: Any) -> dict[str, Any]:  # noqa: ANN401 -- AMQP maps are untyped.
    return {str(_plain(key)): _plain(value) for key, value in (values or {}).items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 -- AMQP values are anything.
    """Make a value fit for JSON; the SDK hands strings and bytes alike over as bytes."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return _plain_map(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
