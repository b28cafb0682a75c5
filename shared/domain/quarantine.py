"""Quarantine: what could not be used, whole, with the reason and where it came from."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.cloud_event import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One event or record; `origin` names the place it was found, and so the entry itself.

    `kind` is `events` or `records`; `origin` is unique within a material, for example
    `p3-00000000000000000042` for an event of partition 3.
    """

    kind: str
    material: str
    origin: str
    reason: str
    detail: str
    seen_at: datetime
    attributes: Mapping[str, str]
    body: bytes

    @property
    def name(self) -> str:
        """Path within the container `quarantine`."""
        return f"{self.kind}/{self.material}/{self.origin}.json"


def to_json(entry: Quarantined) -> bytes:
    """Text of an entry; the original bytes travel as base64."""
    content = {
        "kind": entry.kind,
        "material": entry.material,
        "origin": entry.origin,
        "reason": entry.reason,
        "detail": entry.detail,
        "firstSeen": rfc3339(entry.seen_at),
        "attributes": dict(entry.attributes),
        "body": base64.b64encode(entry.body).decode(),
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
