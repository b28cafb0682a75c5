"""The event: CloudEvents 1.0, AMQP binding, binary content mode, with NDJSON as its body.

Attributes travel as application properties named `cloudEvents:<attribute>` (CloudEvents AMQP
Protocol Binding 1.0.2, section 3.1.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from shared.domain.errors import BadRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "cloudEvents:"
#: Some AMQP intermediaries forbid the colon; the binding allows the underscore (same section).
PREFIX_ALTERNATIVE = "cloudEvents_"
REQUIRED = ("specversion", "id", "source", "type")
NDJSON = "application/x-ndjson"
#: A hub takes 1 MiB a message; this leaves room for the event's properties.
BODY_BYTES_MAX = 1_000_000
RECORDS_TYPE = "dev.millrace.records"
#: Its records hold only what names them: they have disappeared from a source that is read whole.
DELETIONS_TYPE = "dev.millrace.deletions"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """Context attributes (lower-case names, text values) and the body."""

    attributes: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Derived from content: a repeated poll of the same records gives the same id."""
        return self.attributes["id"]


def of_records(
    body: bytes,
    *,
    source: str,
    records: int,
    group: int,
    now: datetime,
    expires: datetime,
    kind: str = RECORDS_TYPE,
) -> CloudEvent:
    """Wrap NDJSON `body`, which holds `records` records of one partition group."""
    from xxhash import xxh3_128  # noqa: PLC0415 -- Spark jobs import this module without it.

    digest = xxh3_128(b"\0".join((kind.encode(), source.encode(), str(group).encode(), b"")))
    digest.update(body)
    return CloudEvent(
        attributes={
            "specversion": "1.0",
            "id": digest.hexdigest(),
            "source": f"/sources/{source}",
            "type": kind,
            "time": rfc3339(now),
            "datacontenttype": NDJSON,
            "expirytime": rfc3339(expires),
            "partitionkey": str(group),
            "recordcount": str(records),
        },
        body=body,
    )


def attributes_of(properties: Mapping[str, object]) -> dict[str, str]:
    """The context attributes among an event's application properties."""
    return {
        key[len(PREFIX) :]: value if isinstance(value, str) else str(value)
        for key, value in properties.items()
        if key.startswith((PREFIX, PREFIX_ALTERNATIVE))
    }


def properties_of(event: CloudEvent) -> dict[str, str]:
    """The application properties an event travels with; its content type travels beside them."""
    return {
        PREFIX + key: value for key, value in event.attributes.items() if key != "datacontenttype"
    }


def problem(attributes: Mapping[str, str], *, now: datetime) -> BadRecord | None:
    """Why this is no CloudEvent 1.0 that can be used now; None when it is one."""
    missing = [name for name in REQUIRED if not attributes.get(name)]
    if missing:
        return BadRecord("not-a-cloud-event", f"has no {', '.join(missing)}")
    if attributes["specversion"] != "1.0":
        return BadRecord("not-a-cloud-event", f"has specversion {attributes['specversion']!r}")
    expiry = attributes.get("expirytime")
    if not expiry:
        return None
    try:
        expires = datetime.fromisoformat(expiry)
    except ValueError:
        return BadRecord("not-a-cloud-event", f"has expirytime {expiry!r}, which is no timestamp")
    if expires.tzinfo is None:
        return BadRecord("not-a-cloud-event", f"has expirytime {expiry!r} without a zone")
    return BadRecord("expired", f"expired at {expiry}") if expires <= now else None


def rfc3339(moment: datetime) -> str:
    """Text of an aware moment, in UTC, as CloudEvents writes timestamps."""
    assert moment.tzinfo is not None, "moments are aware"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
