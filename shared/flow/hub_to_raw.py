"""hub → raw: land every event in exactly one blob."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.domain import cloud_event
from shared.domain.errors import BadRecord
from shared.domain.quarantine import Quarantined
from shared.domain.raw_blob import HubBatch, HubEvent, RawBlob

if TYPE_CHECKING:
    from datetime import datetime

    from shared.ports import Clock, Quarantine, RawStore


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLanded:
    """What became of the events of one batch."""

    material: str
    partition: str
    received: int
    repeated: int
    landed: int
    quarantined: int
    records: int
    blobs: int

    def __post_init__(self) -> None:
        """Every event received went somewhere."""
        gone = self.repeated + self.landed + self.quarantined
        assert self.received == gone, "events received are repeated, landed or quarantined"


async def land_batch(
    batch: HubBatch, *, raw: RawStore, quarantine: Quarantine, clock: Clock
) -> BatchLanded:
    """Land what of the batch is not landed yet, as one blob at `last + 1`, created if absent.

    Sequence numbers of a partition are contiguous. Whoever finds the name taken reads how far that
    blob goes, trims, and tries again; so redelivery, a second owner of the partition and a crash
    at any point all end with every event in one blob. Raises `TryLater`; may be called again.
    """
    now = clock.now()
    last = remembered = await raw.last_landed(batch.partition)
    if batch.events[0].sequence > last + 1:
        last = await raw.find_last_landed(batch.partition)
    landed: RawBlob | None = None
    newest = ""
    while (fresh := batch.after(last)).events:
        events = []
        for event in fresh.events:
            checked, error = _checked(event, now=now)
            if error:
                await quarantine.keep(_entry(event, batch=batch, error=error, now=now))
            events.append(checked)
        blob = RawBlob(partition=batch.partition, events=tuple(events), sequence_previous=last)
        existing = await raw.land(blob)
        landed = None if existing else blob
        last = existing.sequence_last if existing else blob.sequence_last
        newest = blob.name
    if last > remembered:
        await raw.remember(batch.partition, sequence=last, blob=newest)
    return _report(batch, landed=landed)


def _checked(event: HubEvent, *, now: datetime) -> tuple[HubEvent, BadRecord | None]:
    """The event as it is landed: a bad one leaves only its place and its reason."""
    try:
        cloud_event.check(event.attributes, now=now)
    except BadRecord as error:
        return replace(event, quarantined=error.reason, body=b""), error
    return event, None


def _entry(event: HubEvent, *, batch: HubBatch, error: BadRecord, now: datetime) -> Quarantined:
    return Quarantined(
        kind="events",
        material=batch.partition.material,
        origin=f"p{batch.partition.id}-{event.sequence:020d}",
        reason=error.reason,
        detail=error.detail,
        seen_at=now,
        attributes=event.attributes,
        body=event.body,
    )


def _report(batch: HubBatch, *, landed: RawBlob | None) -> BatchLanded:
    events = landed.events if landed else ()
    quarantined = sum(1 for event in events if event.quarantined)
    return BatchLanded(
        material=batch.partition.material,
        partition=batch.partition.id,
        received=len(batch.events),
        repeated=len(batch.events) - len(events),
        landed=len(events) - quarantined,
        quarantined=quarantined,
        records=landed.head.records if landed else 0,
        blobs=1 if landed else 0,
    )
