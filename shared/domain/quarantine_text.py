"""The quarantine's entry as text: JSON for its content, blob metadata for what may change."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.domain.cloud_event import rfc3339
from shared.domain.quarantine import Decision, Head, Quarantined, State

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def of_json(text: bytes, *, metadata: Mapping[str, str]) -> Quarantined:
    """Read back what `to_json` and `metadata_of` wrote."""
    content = json.loads(text)
    return Quarantined(
        kind=content["kind"],
        material=content["material"],
        origin=content["origin"],
        reason=content["reason"],
        detail=content["detail"],
        seen_at=datetime.fromisoformat(content["firstSeen"]),
        attributes=content["attributes"],
        body=base64.b64decode(content["body"]),
        decision=_decision(metadata),
    )


def metadata_of(head: Head) -> dict[str, str]:
    """Blob metadata; what is empty is left out, because Blob Storage refuses it."""
    decision = head.decision
    texts = {
        "reason": head.reason,
        "first_seen": rfc3339(head.seen_at),
        "body_bytes": str(head.body_bytes),
        "state": decision.state.value,
        "changed_at": rfc3339(decision.at) if decision.at else "",
        "changed_by": decision.by,
        "repaired": ",".join(decision.repaired),
    }
    return {key: text for key, text in texts.items() if text}


def head_of(name: str, metadata: Mapping[str, str]) -> Head:
    """Read back what `metadata_of` wrote."""
    return Head(
        name=name,
        reason=metadata["reason"],
        seen_at=datetime.fromisoformat(metadata["first_seen"]),
        body_bytes=int(metadata["body_bytes"]),
        decision=_decision(metadata),
    )


def summary(head: Head) -> dict[str, Any]:
    """A listed entry, for machines."""
    decision = head.decision
    changed = {
        "changedAt": rfc3339(decision.at) if decision.at else "",
        "changedBy": decision.by,
        "repaired": list(decision.repaired),
    }
    return {
        "name": head.name,
        "reason": head.reason,
        "firstSeen": rfc3339(head.seen_at),
        "bodyBytes": head.body_bytes,
        "state": decision.state.value,
        **{key: value for key, value in changed.items() if value},
    }


def description(entry: Quarantined) -> dict[str, Any]:
    """A whole entry, for machines; the body travels as base64."""
    return {**json.loads(to_json(entry)), **summary(entry.head)}


def _decision(metadata: Mapping[str, str]) -> Decision:
    changed_at = metadata.get("changed_at")
    return Decision(
        state=State(metadata.get("state", State.OPEN)),
        at=datetime.fromisoformat(changed_at) if changed_at else None,
        by=metadata.get("changed_by", ""),
        repaired=tuple(filter(None, metadata.get("repaired", "").split(","))),
    )
