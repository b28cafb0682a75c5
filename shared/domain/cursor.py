"""The cursor: how far a source has been read, and what it last said."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.record import FINGERPRINT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """What is remembered between two polls; replaced only after the hub acknowledged.

    `seen` holds the fingerprints of the records in the last answer, so that an unchanged record is
    not sent again. Totals are for people; nothing is decided by them.
    """

    etag: str = ""
    last_modified: str = ""
    seen: frozenset[bytes] = frozenset()
    records_sent: int = 0
    events_sent: int = 0
    changed_at: str = ""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers of a conditional GET (RFC 9110, section 13.1)."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


def to_json(cursor: Cursor) -> bytes:
    """Text of a cursor, as it is kept in a blob."""
    content = {
        "etag": cursor.etag,
        "lastModified": cursor.last_modified,
        "recordsSent": cursor.records_sent,
        "eventsSent": cursor.events_sent,
        "changedAt": cursor.changed_at,
        "seen": base64.b64encode(b"".join(sorted(cursor.seen))).decode(),
    }
    return json.dumps(content).encode()


def of_json(text: bytes) -> Cursor:
    """Read what `to_json` wrote."""
    content = json.loads(text)
    return Cursor(
        etag=content["etag"],
        last_modified=content["lastModified"],
        records_sent=content["recordsSent"],
        events_sent=content["eventsSent"],
        changed_at=content["changedAt"],
        seen=frozenset(_split(base64.b64decode(content["seen"]))),
    )


def _split(packed: bytes) -> Iterable[bytes]:
    assert len(packed) % FINGERPRINT_BYTES == 0, "fingerprints have one length"
    return (
        packed[start : start + FINGERPRINT_BYTES]
        for start in range(0, len(packed), FINGERPRINT_BYTES)
    )
