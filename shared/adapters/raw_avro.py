"""Avro: a raw blob's events as an object container file, compressed with Zstandard."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import fastavro
from backports.zstd import ZstdError

from shared.domain.raw_blob import SCHEMA, head_of, metadata_of

if TYPE_CHECKING:
    from shared.domain.raw_blob import RawBlob, RawHead

_SCHEMA = fastavro.parse_schema(SCHEMA)


def encode(blob: RawBlob) -> io.BytesIO:
    """The blob's content, to be read from its start: the same events give the same bytes.

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
    buffer.seek(0)
    return buffer  # Not its value: a batch of large events would be in memory once more.


def read_head(name: str, content: bytes) -> RawHead | None:
    """The head that a blob's content gives: its events and the link it holds; None if broken."""
    try:
        reader = fastavro.reader(io.BytesIO(content))
        link = {
            key.removeprefix("millrace."): text
            for key, text in reader.metadata.items()
            if key.startswith("millrace.")
        }
        numbers = [cast("dict[str, int]", row)["sequence_number"] for row in reader]
        claimed = head_of(name, link, size_bytes=len(content))
    except (ValueError, KeyError, IndexError, EOFError, TypeError, ZstdError):
        return None
    return replace(
        claimed,
        digest=digest_of(content),
        sequence_first=numbers[0],
        sequence_last=numbers[-1],
        events=len(set(numbers)),
    )


def digest_of(content: bytes | memoryview) -> str:
    """SHA-256 of a blob's content."""
    return hashlib.sha256(content).hexdigest()
