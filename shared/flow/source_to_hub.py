"""source → hub: poll a GET-only tool and send what is new in its answer."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.domain import cloud_event
from shared.domain.cursor import Cursor
from shared.domain.errors import TryLater
from shared.domain.quarantine import Quarantined
from shared.domain.record import Record, pack, records_of

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.document import EventHub
    from shared.domain.page import Page
    from shared.domain.source import Source
    from shared.ports import Clock, CursorStore, Hub, Kept, Quarantine, SourceReader


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePolled:
    """What one poll saw and sent."""

    source: str
    changed: bool = False
    body_bytes: int = 0
    records_seen: int = 0
    records_unchanged: int = 0
    records_sent: int = 0
    records_quarantined: int = 0
    events_sent: int = 0

    def __post_init__(self) -> None:
        """Every record seen went somewhere."""
        gone = self.records_unchanged + self.records_sent + self.records_quarantined
        assert self.records_seen == gone, "records seen are unchanged, sent or quarantined"


async def poll_source(
    source: Source,
    material: EventHub,
    *,
    reader: SourceReader,
    hub: Hub,
    cursors: CursorStore,
    quarantine: Quarantine,
    clock: Clock,
) -> SourcePolled:
    """Poll once: an unchanged source costs one request and nothing else.

    Raises `TryLater` when the source or the hub is unwell and `BadRecord` for an answer that is no
    page. May be called again at any time: the cursor moves only after the hub acknowledged, and a
    record sent twice is one row in the end.
    """
    now = clock.now()
    kept = await cursors.read(source.name)
    cursor = kept.value if kept else Cursor()
    page = await reader.fetch(source, conditions=cursor.conditions)
    if page is None:
        return SourcePolled(source=source.name)
    records = records_of(page.body, path=source.records, key=source.key)
    fresh = [record for record in records if record.fingerprint not in cursor.seen]
    sendable = [record for record in fresh if len(record.body) <= cloud_event.BODY_BYTES_MAX]
    for record in fresh:
        if len(record.body) > cloud_event.BODY_BYTES_MAX:
            await quarantine.keep(_too_large(record, source=source, now=now))
    events = _events(sendable, source=source, material=material, now=now)
    if events:
        await hub.send(material.material, events)
    sent = sum(len(group) for group in events.values())
    moved = _moved(cursor, page, records, sent=len(sendable), events=sent, now=now)
    await _commit(cursors, source, moved, kept=kept)
    return SourcePolled(
        source=source.name,
        changed=bool(fresh),
        body_bytes=len(page.body),
        records_seen=len(records),
        records_unchanged=len(records) - len(fresh),
        records_sent=len(sendable),
        records_quarantined=len(fresh) - len(sendable),
        events_sent=sent,
    )


def _events(
    records: list[Record], *, source: Source, material: EventHub, now: datetime
) -> dict[int, list[CloudEvent]]:
    """Pack records by partition: one key stays in one partition, and so in order."""
    groups: defaultdict[int, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.group(material.partitions)].append(record)
    return {
        group: [
            cloud_event.of_records(
                body,
                source=source.name,
                records=count,
                group=group,
                now=now,
                expires=now + material.expires_after,
            )
            for body, count in pack(members, bytes_max=material.max_event_bytes)
        ]
        for group, members in sorted(groups.items())
    }


def _moved(
    cursor: Cursor, page: Page, records: list[Record], *, sent: int, events: int, now: datetime
) -> Cursor:
    return replace(
        cursor,
        etag=page.etag,
        last_modified=page.last_modified,
        seen=frozenset(record.fingerprint for record in records),
        records_sent=cursor.records_sent + sent,
        events_sent=cursor.events_sent + events,
        changed_at=cloud_event.rfc3339(now) if sent else cursor.changed_at,
    )


async def _commit(
    cursors: CursorStore, source: Source, cursor: Cursor, *, kept: Kept[Cursor] | None
) -> None:
    """Replace the cursor if nobody else did; an equal one is left alone."""
    if kept and kept.value == cursor:
        return
    unchanged = kept.version if kept else None
    if not await cursors.replace(source.name, cursor, unchanged=unchanged):
        raise TryLater(
            f"another poll of {source.name} moved the cursor meanwhile; "
            "what both sent becomes the same rows, and the next poll goes on"
        )


def _too_large(record: Record, *, source: Source, now: datetime) -> Quarantined:
    return Quarantined(
        kind="records",
        material=source.publishes,
        origin=f"{source.name}-{record.fingerprint.hex()}",
        reason="too-large",
        detail=f"{len(record.body)} bytes; a hub takes {cloud_event.BODY_BYTES_MAX}",
        seen_at=now,
        attributes={"source": f"/sources/{source.name}"},
        body=record.body,
    )
