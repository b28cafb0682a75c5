"""Avro: a raw blob's events as an object container file, compressed with Zstandard."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import fastavro

from shared.domain.raw_blob import SCHEMA, metadata_of

if TYPE_CHECKING:
    from shared.domain.raw_blob import RawBlob

_SCHEMA = fastavro.parse_schema(SCHEMA)


def encode(blob: RawBlob) -> bytes:
    """The blob's content: the same events give the same bytes.

    The chain's link is in the file's own metadata too, so that a copy of the files alone can be
    audited. The sync marker, random by default, comes from the name.
    """
    buffer = io.BytesIO()
    link = blob.head(digest="")
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
    fastavro.writer(
        buffer,
        _SCHEMA,
        records,
        codec="zstandard",
        metadata={f"millrace.{key}": text for key, text in metadata_of(link).items()},
        sync_marker=hashlib.md5(blob.name.encode(), usedforsecurity=False).digest(),
    )
    return buffer.getvalue()


def digest_of(content: bytes) -> str:
    """SHA-256 of a blob's content."""
    return hashlib.sha256(content).hexdigest()
