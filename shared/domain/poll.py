"""The poll: what is asked of one, what it sends, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from xxhash import xxh3_64_digest

from shared.domain import cloud_event
from shared.domain.errors import Misconfigured
from shared.domain.quarantine import Quarantined
from shared.domain.record import pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.cursor_field import Value
    from shared.domain.document import EventHub
    from shared.domain.errors import BadRecord
    from shared.domain.source import Source

#: So much of a page that could not be read is kept, for a person to see.
BYTES_KEPT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asks of a poll: a window of the cursor field, or everything once more.

    A window is read and sent whole, and moves nothing; what is asked for in full is a new walk.
    """

    since: Value = None
    until: Value = None
    full: bool = False

    @property
    def is_window(self) -> bool:
        """Whether only a part of the source is asked for."""
        return self.since is not None or self.until is not None


NOTHING_SPECIAL = Wish()


def wish_of(source: Source, *, since: str, until: str, full: bool) -> Wish:
    """What a person asks for in texts; raise `Misconfigured` for what the source cannot do."""
    if not since and not until:
        return Wish(full=full)
    cursor, where = source.cursor, f"source {source.name}"
    if full:
        raise Misconfigured(where, "can be polled in full or for a window, not for both at once")
    if cursor is None or not cursor.parameter or (until and not cursor.until):
        raise Misconfigured(
            where, "cannot be asked for a window: cursor.parameter and cursor.until name no query"
        )
    try:
        values = [cursor.value(text) if text else None for text in (since, until)]
    except ValueError as error:
        raise Misconfigured(where, f"has a cursor of another form: {error}") from error
    return Wish(since=values[0], until=values[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Texts of the cursor before and after a poll, and how far the source's newest record lags."""

    before: str = ""
    after: str = ""
    lag_s: float | None = None
    resting_until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePolled:
    """What one poll saw and sent.

    `unfinished` says that time was up: the next poll goes on. `capped_at` is the size to which the
    source silently cuts its pages.
    """

    source: str
    changed: bool = False
    unfinished: bool = False
    requests: int = 0
    requests_repeated: int = 0
    pages: int = 0
    pages_unchanged: int = 0
    capped_at: int = 0
    body_bytes: int = 0
    records_seen: int = 0
    records_new: int = 0
    records_changed: int = 0
    records_unchanged: int = 0
    records_repeated: int = 0
    records_deleted: int = 0
    records_sent: int = 0
    events_sent: int = 0
    statuses: Mapping[int, int] = field(default_factory=dict)
    progress: Progress = Progress()

    def __post_init__(self) -> None:
        """Every record seen went somewhere."""
        gone = self.records_unchanged + self.records_sent
        assert self.records_seen == gone, "records seen are unchanged or sent"


def events_of(
    names: Sequence[bytes],
    bodies: Sequence[bytes],
    *,
    source: Source,
    material: EventHub,
    now: datetime,
    kind: str = cloud_event.RECORDS_TYPE,
) -> dict[int, list[CloudEvent]]:
    """Pack records by partition: one key stays in one partition, and so in order.

    `names` are hashes.
    """
    partitions = material.partitions
    groups: list[list[bytes]] = [[] for _ in range(partitions)]
    for name, body in zip(names, bodies, strict=True):
        groups[name[0] % partitions].append(body)  # `group_of`, without the call.
    return {
        group: [
            cloud_event.of_records(
                body,
                source=source.name,
                records=count,
                group=group,
                now=now,
                expires=now + material.expires_after,
                kind=kind,
            )
            for body, count in pack(members, bytes_max=material.max_event_bytes)
        ]
        for group, members in enumerate(groups)
        if members
    }


def unreadable(begins: bytes, error: BadRecord, *, source: Source, now: datetime) -> Quarantined:
    """The entry of a page that could not be read: its first bytes, and why."""
    kept = begins[:BYTES_KEPT]
    return Quarantined(
        kind="records",
        material=source.publishes,
        origin=f"{source.name}-page-{xxh3_64_digest(kept).hex()}",
        reason=error.reason,
        detail=f"a whole page of {source.name}, of which nothing was used: {error.detail}",
        seen_at=now,
        attributes={"source": f"/sources/{source.name}"},
        body=kept,
    )


def key_of(source: Source, values: Sequence[Any]) -> bytes:
    """A record that holds only what names it, at its paths."""
    record: dict[str, Any] = {}
    for path, value in zip(source.keys, values, strict=True):
        *way, last = path.split(".")
        place = record
        for step in way:
            place = place.setdefault(step, {})
        place[last] = value
    return orjson.dumps(record)
