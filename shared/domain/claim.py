"""The claim: a body too large for an event, kept in storage, and named by the event's `dataref`.

CloudEvents, extension "Dataref (Claim Check Pattern)": an event has its data in its body, or says
where the data is; whoever passes it on may turn one into the other. A claim's reference is relative
to the container of claims and ends with the SHA-256 of its bytes, so that the same body is the same
claim, and that nobody can be made to read anything else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.domain.errors import BadRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.cloud_event import CloudEvent

ATTRIBUTE = "dataref"
_REFERENCE = re.compile(r"claims/[a-z0-9-]+/[0-9a-f]{64}")


def reference_of(material: str, body: bytes) -> str:
    """`claims/<material>/<SHA-256 of the body>`."""
    return f"claims/{material}/{hashlib.sha256(body).hexdigest()}"


def claiming(event: CloudEvent, reference: str) -> CloudEvent:
    """The event without its body; its id stays, because it is still the same event."""
    return replace(event, attributes={**event.attributes, ATTRIBUTE: reference}, body=b"")


def claimed_by(attributes: Mapping[str, str], body: bytes) -> str:
    """The reference of an event whose data is elsewhere; empty when it is in the body."""
    return "" if body else attributes.get(ATTRIBUTE, "")


def is_ours(reference: str) -> bool:
    """Whether the reference is one that `reference_of` gives."""
    return _REFERENCE.fullmatch(reference) is not None


def problem(reference: str, body: bytes | None) -> BadRecord | None:
    """Why the data of a claim cannot be used; None when `body` is what was claimed."""
    if not is_ours(reference):
        return BadRecord("foreign-dataref", f"has its data at {reference}, which nobody here reads")
    if body is None:
        return BadRecord("claim-missing", f"has its data at {reference}, and nothing is there")
    if not reference.endswith(hashlib.sha256(body).hexdigest()):
        return BadRecord("claim-changed", f"has its data at {reference}, which was changed")
    return None
