"""Avro: a raw blob's events as an object container file, compressed with Zstandard."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import fastavro

from shared.domain.raw_blob import SCHEMA

if TYPE_CHECKING:
    from shared.domain.raw_blob import RawBlob

_SCHEMA = fastavro.parse_schema(SCHEMA)


def encode(blob: RawBlob) -> bytes:
    """The blob's content."""
    buffer = io.BytesIO()
    records = (
        {
            "sequence_number": event.sequence,
            "offset": event.offset,
            "enqueued_time": event.enqueued_at,
            "partition": blob.partition.id,
            "attributes": event.attributes,
            "quarantined": event.quarantined,
            "body": event.body,
        }
        for event in blob.events
    )
    fastavro.writer(buffer, _SCHEMA, records, codec="zstandard")
    return buffer.getvalue()
