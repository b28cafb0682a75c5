"""What tests are made of: small events, batches, pages and documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain import document as documents
from shared.domain.page import Page
from shared.domain.raw_blob import (
    START,
    HubBatch,
    HubEvent,
    Partition,
    RawBlob,
    RawHead,
    Tip,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIFE = "20261120T000000"
PARTITION = Partition(material="quakes", id="0", hub=LIFE)


def event(sequence: int, *, body: bytes = b'{"id":"a"}', **attributes: str) -> HubEvent:
    """A good event; attributes given as text replace or, when empty, remove the usual ones."""
    usual = {
        "specversion": "1.0",
        "id": f"event-{sequence}",
        "source": "/sources/test",
        "type": "dev.millrace.records",
        "recordcount": "1",
    }
    return HubEvent(
        sequence=sequence,
        offset=str(sequence * 100),
        enqueued_at=NOON + timedelta(seconds=sequence),
        attributes={name: text for name, text in (usual | attributes).items() if text},
        body=body,
    )


def batch(first: int, last: int, *, partition: Partition = PARTITION) -> HubBatch:
    """Events `first` to `last`, both included, as the host hands them over."""
    return HubBatch(
        material=partition.material,
        partition=partition.id,
        events=tuple(event(number) for number in range(first, last + 1)),
    )


def blob(first: int, last: int, *, partition: Partition = PARTITION) -> RawBlob:
    """A raw blob of the events `first` to `last`, linked to the one before."""
    previous = START
    if first:
        previous = Tip(sequence=first - 1, blob="before", digest="d", enqueued_at=NOON)
    return RawBlob(
        partition=partition,
        events=batch(first, last, partition=partition).events,
        previous=previous,
    )


def head(first: int, last: int, *, partition: Partition = PARTITION) -> RawHead:
    """The head of such a blob."""
    return blob(first, last, partition=partition).head(digest="d")


def page(*records: dict[str, Any], etag: str = "") -> Page:
    """A page whose `items` are the records."""
    return Page(body=json.dumps({"items": records}).encode(), etag=etag)


def document(**changes: Any) -> documents.Document:
    """A small whole document; `changes` replace its parts."""
    content = {
        "name": "test",
        "sources": [
            {
                "name": "tool",
                "url": "http://127.0.0.1:1/items",
                "schedule": "0 * * * * *",
                "records": "items",
                "publishes": "quakes",
            }
        ],
        "eventhubs": [{"material": "quakes", "partitions": 4}],
        "datasets": [
            {
                "name": "quakes",
                "consumes": "quakes",
                "primaryKey": ["id"],
                "columns": {"id": {"type": "string"}},
            }
        ],
    }
    return documents.parse(json.dumps(content | changes))
