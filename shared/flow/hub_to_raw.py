"""hub → raw: land every event in exactly one blob."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.domain import claim, cloud_event
from shared.domain.errors import BadRecord
from shared.domain.quarantine import Quarantined
from shared.domain.raw_blob import HubBatch, HubEvent, Partition, RawBlob, Tip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.domain.raw_blob import RawHead
    from shared.ports import Attempts, Claims, Clock, Hub, Quarantine, RawStore

#: An event, whole, and why it is set apart.
type _Checked = tuple[HubEvent, BadRecord | None]

#: Tries of one event alone, each ended by the death of the process, before it counts as poison;
#: deploys and scale-in kill innocent events too, but hardly the same one so often.
TRIES_ALONE = 4
#: A slice ends once so many bytes of claims are in it: only one more can be in memory beside them.
CLAIMED_BYTES_MAX = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLanded:
    """What became of the events of one batch, and of a gap before it.

    `healed` events were read again from the hub; `lost` ones the hub had dropped already. `reasons`
    says why events were quarantined, healed ones included.
    """

    material: str
    partition: str
    received: int
    repeated: int
    landed: int
    quarantined: int
    healed: int
    lost: int
    records: int
    blobs: int
    reasons: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Every event received went somewhere."""
        gone = self.repeated + self.landed + self.quarantined
        assert self.received == gone, "events received are repeated, landed or quarantined"


@dataclass(slots=True, kw_only=True)
class _Landing:
    """One call of the step: the ports it touches and where it has come to."""

    partition: Partition
    tip: Tip
    raw: RawStore
    claims: Claims
    quarantine: Quarantine
    attempts: Attempts
    now: datetime
    heads: list[RawHead]
    reasons: Counter[str] = field(default_factory=Counter)


async def land_batch(
    batch: HubBatch,
    *,
    hub: Hub,
    raw: RawStore,
    claims: Claims,
    quarantine: Quarantine,
    attempts: Attempts,
    clock: Clock,
) -> BatchLanded:
    """Land what of the batch is not landed yet, in blobs at `last + 1`, created if absent.

    Sequence numbers of a partition are contiguous. Whoever finds a name taken reads how far that
    blob goes, trims, and tries again; so redelivery, a second owner of the partition and a crash
    at any point all end with every event in one blob. A batch that begins beyond `last + 1` first
    lands what is missing, read again from the hub. Data that an event only claims is fetched, so
    that raw is complete. Raises `TryLater`; may be called again.
    """
    partition, tip = await _place(batch, hub=hub, raw=raw)
    landing = _Landing(
        partition=partition, tip=tip, raw=raw, claims=claims, quarantine=quarantine,
        attempts=attempts, now=clock.now(), heads=[],
    )  # fmt: skip
    lost = await _heal(landing, batch, hub=hub)
    healed, bad_healed = sum(head.events for head in landing.heads), landing.reasons.total()
    await _land(landing, batch.events)
    await raw.remember(partition, landing.tip)
    await attempts.end(partition)
    fresh = sum(head.events for head in landing.heads) - healed
    bad = landing.reasons.total() - bad_healed
    return BatchLanded(
        material=batch.material,
        partition=batch.partition,
        received=len(batch.events),
        repeated=len(batch.events) - fresh,
        landed=fresh - bad,
        quarantined=bad,
        healed=healed,
        lost=lost,
        records=sum(head.records for head in landing.heads),
        blobs=len(landing.heads),
        reasons=landing.reasons,
    )


async def _place(batch: HubBatch, *, hub: Hub, raw: RawStore) -> tuple[Partition, Tip]:
    """The partition, in the life of the hub that the batch is from, and its tip.

    Known numbers on events younger than the tip, or a gap, are what a hub made anew looks like;
    and its first event is one whose life must not be a remembered one.
    """
    life = await hub.life(batch.material, fresh=batch.first.sequence == 0)
    partition = Partition(material=batch.material, id=batch.partition, hub=life)
    tip = await raw.tip(partition)
    known_but_younger = (
        batch.first.sequence <= tip.sequence and batch.first.enqueued_at > tip.enqueued_at
    )
    if known_but_younger or batch.first.sequence > tip.sequence + 1:
        life = await hub.life(batch.material, fresh=True)
        partition = replace(partition, hub=life)
        tip = await raw.find_tip(partition)
    return partition, tip


async def _heal(landing: _Landing, batch: HubBatch, *, hub: Hub) -> int:
    """Land what is missing before the batch; return how many events the hub has dropped.

    The host can checkpoint past a batch that it never finished (azure-webjobs-sdk #2947). The hub
    may drop events even while they are read again.
    """
    missing, until = landing.tip.sequence + 1, batch.first.sequence
    if missing >= until:
        return 0
    lost = 0
    begins = await hub.first_sequence(landing.partition)
    if begins < until:
        async for part in hub.read(landing.partition, first=max(missing, begins), last=until - 1):
            lost += await _pass_over(landing, part.first.sequence)
            await _land(landing, part.events)
    return lost + await _pass_over(landing, until)


async def _pass_over(landing: _Landing, until: int) -> int:
    """Announce as lost what lies between the tip and `until`, if anything does; how much it is."""
    missing = landing.tip.sequence + 1
    if missing >= until:
        return 0
    await landing.quarantine.keep(_loss(landing, missing, until - 1))
    return until - missing


async def _land(landing: _Landing, events: Sequence[HubEvent]) -> None:
    """Land events in slices: all at once, unless tries to do so have killed the process."""
    while fresh := [event for event in events if event.sequence > landing.tip.sequence]:
        tries = await landing.attempts.begin(landing.partition, sequence=fresh[0].sequence)
        size = max(1, len(fresh) >> max(0, tries - 1))
        poison = size == 1 and tries >= len(fresh).bit_length() + TRIES_ALONE
        checked = await _check(landing, fresh[:size], poison=poison)
        await _create(landing, checked)
        # Whoever comes after a death begins with the slice that caused it.
        if len(checked) < len(fresh):
            await landing.raw.remember(landing.partition, landing.tip)


async def _check(landing: _Landing, events: Sequence[HubEvent], *, poison: bool) -> list[_Checked]:
    """Give each event, whole, and why it is set apart if it is: as many as fit into one blob."""
    checked, claimed = [], 0
    for event in events:
        whole, error = (event, _POISON) if poison else await _whole(landing, event)
        checked.append((whole, error))
        claimed += len(whole.body) - len(event.body)
        if claimed >= CLAIMED_BYTES_MAX:
            break
    return checked


async def _whole(landing: _Landing, event: HubEvent) -> _Checked:
    """Give the event with the data that it claims, and what is wrong with either."""
    error = cloud_event.problem(event.attributes, now=landing.now)
    reference = claim.claimed_by(event.attributes, event.body)
    if not reference:
        return event, error
    body = await landing.claims.get(reference) if claim.is_ours(reference) else None
    problem = claim.problem(reference, body)
    if body is None or problem:
        return event, error or problem
    attributes = {**event.attributes}
    del attributes[claim.ATTRIBUTE]
    return replace(event, attributes=attributes, body=body), error


async def _create(landing: _Landing, checked: Sequence[_Checked]) -> None:
    """Create one blob at the tip; if its name is taken, only move the tip."""
    for event, error in checked:
        if error:
            await landing.quarantine.keep(_entry(landing, event, error))
    blob = RawBlob(
        partition=landing.partition,
        events=tuple(_landed(event, error) for event, error in checked),
        previous=landing.tip,
    )
    head, created = await landing.raw.land(blob)
    landing.tip = head.tip
    if created:
        landing.heads.append(head)
        landing.reasons.update(error.reason for _, error in checked if error)


_POISON = BadRecord("poison", "landing this event alone has killed the process repeatedly")


def _landed(event: HubEvent, error: BadRecord | None) -> HubEvent:
    """The event as it is landed: a bad one leaves only its place and its reason."""
    if error is None:
        return event
    return replace(event, quarantined=error.reason, attributes={}, body=b"")


def _entry(landing: _Landing, event: HubEvent, error: BadRecord) -> Quarantined:
    return Quarantined(
        kind="events",
        material=landing.partition.material,
        origin=f"p{landing.partition.label}-{event.sequence:020d}",
        reason=error.reason,
        detail=error.detail,
        seen_at=landing.now,
        attributes=event.attributes,
        body=event.body,
    )


def _loss(landing: _Landing, first: int, last: int) -> Quarantined:
    """A loss is noted where everything is that did not come through, before it is passed over."""
    return Quarantined(
        kind="losses",
        material=landing.partition.material,
        origin=f"p{landing.partition.label}-{first:020d}-{last:020d}",
        reason="dropped-by-retention",
        detail=f"the hub had dropped events {first} to {last} before they were landed",
        seen_at=landing.now,
        attributes={"first": str(first), "last": str(last)},
        body=b"",
    )
