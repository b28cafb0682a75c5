"""hub → raw: every event in exactly one blob, whatever is delivered how often by whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.memory import (
    MemoryAttempts,
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryQuarantine,
    MemoryRawStore,
)
from shared.domain import claim
from shared.domain.errors import TryLater
from shared.domain.raw_blob import START, HubBatch, Partition
from shared.flow.hub_to_raw import CLAIMED_BYTES_MAX, BatchLanded, land_batch
from tests.builders import LIFE, PARTITION, batch, event

if TYPE_CHECKING:
    from shared.domain.raw_blob import HubEvent, RawBlob, RawHead


class World:
    """Everything landing touches, in memory; `log` is what the hub holds."""

    def __init__(self, events: int = 200) -> None:
        """A hub that took `events` events in its one partition."""
        self.hub = MemoryHub(log={"0": list(batch(0, events - 1).events)})
        self.raw = MemoryRawStore()
        self.claims = MemoryClaims()
        self.quarantine = MemoryQuarantine()
        self.attempts = MemoryAttempts()

    async def land(self, delivered: HubBatch) -> BatchLanded:
        """Land a batch at noon."""
        return await land_batch(
            delivered,
            hub=self.hub,
            raw=self.raw,
            claims=self.claims,
            quarantine=self.quarantine,
            attempts=self.attempts,
            clock=MemoryClock(),
        )

    def landed(self) -> list[int]:
        """Every sequence number in every blob, in order."""
        return sorted(each.sequence for blob in self.raw.blobs.values() for each in blob.events)

    def restart(self) -> None:
        """A new process over the same storage."""
        self.attempts = MemoryAttempts(tries=self.attempts.tries)


async def test_batch_lands_as_one_blob_named_by_its_first_sequence() -> None:
    """The name is a function of the content."""
    world = World()

    report = await world.land(batch(0, 9))

    (name,) = world.raw.blobs
    assert name == "quakes/2026/11/20/12/p0-20261120T000000-00000000000000000000.avro"
    assert (report.landed, report.repeated, report.blobs) == (10, 0, 1)


async def test_redelivered_batch_lands_nothing() -> None:
    """The host delivers at least once."""
    world = World()
    await world.land(batch(0, 9))

    report = await world.land(batch(0, 9))

    assert (report.repeated, report.blobs) == (10, 0)
    assert world.landed() == list(range(10))


async def test_position_that_is_behind_is_caught_up_from_the_blobs() -> None:
    """A writer killed between landing and remembering leaves the position behind."""
    world = World()
    await world.land(batch(0, 9))
    world.raw.remembered[PARTITION] = START

    await world.land(batch(5, 14))

    assert world.landed() == list(range(15))


async def test_bad_event_goes_to_quarantine_and_keeps_its_place() -> None:
    """A batch never fails because of one event, and ranges stay contiguous."""
    world = World()
    bad = event(1, body=b"\xff junk", id="")

    report = await world.land(
        HubBatch(material="quakes", partition="0", events=(event(0), bad, event(2)))
    )

    (entry,) = world.quarantine.entries.values()
    (blob,) = world.raw.blobs.values()
    assert (entry.reason, entry.body) == ("not-a-cloud-event", b"\xff junk")
    assert [each.quarantined for each in blob.events] == ["", "not-a-cloud-event", ""]
    assert (report.landed, report.quarantined) == (2, 1)


@pytest.mark.parametrize(
    ("expiry", "reason"),
    [
        ("2026-11-20T11:59:59Z", "expired"),
        ("2026-11-20T12:00:00Z", "expired"),
        ("yesterday", "not-a-cloud-event"),
        ("2026-11-20T11:59:59", "not-a-cloud-event"),
    ],
)
async def test_expired_event_is_kept_apart(expiry: str, reason: str) -> None:
    """Perishables are checked at every stage."""
    world = World()
    stale = event(0, expirytime=expiry)

    await world.land(HubBatch(material="quakes", partition="0", events=(stale,)))

    assert [entry.reason for entry in world.quarantine.entries.values()] == [reason]


def claiming(sequence: int, body: bytes, **attributes: str) -> HubEvent:
    """An event whose data is elsewhere."""
    reference = claim.reference_of("quakes", body)
    return event(sequence, body=b"", **{"dataref": reference, **attributes})


async def test_claimed_data_is_landed_whole() -> None:
    """Raw is complete: tables are rebuilt from it when every claim is long deleted."""
    world = World()
    body = b'{"id":"large"}'
    await world.claims.put("quakes", body)

    await world.land(HubBatch(material="quakes", partition="0", events=(claiming(0, body),)))

    (blob,) = world.raw.blobs.values()
    assert blob.events == (event(0, body=body),)


@pytest.mark.parametrize(
    ("reference", "kept", "reason"),
    [
        ("", b"", "claim-missing"),
        ("", b'{"id":"other"}', "claim-changed"),
        ("https://elsewhere.example/data", b"", "foreign-dataref"),
        ("claims/quakes/../../cursors/tool.json", b"", "foreign-dataref"),
    ],
)
async def test_claim_that_cannot_be_used_is_set_apart(
    reference: str, kept: bytes, reason: str
) -> None:
    """An event must not make landing read what nobody sent, and an empty body is not its data."""
    world = World()
    bad = claiming(0, b"data", **({"dataref": reference} if reference else {}))
    if kept:
        world.claims.bodies[bad.attributes["dataref"]] = kept

    report = await world.land(HubBatch(material="quakes", partition="0", events=(bad, event(1))))

    (entry,) = world.quarantine.entries.values()
    assert (entry.reason, entry.attributes) == (reason, bad.attributes)
    assert (report.landed, report.quarantined) == (1, 1)


async def test_expired_claim_is_kept_with_its_data() -> None:
    """A claim is deleted one day; what is in quarantine must still be whole then."""
    world = World()
    body = b'{"id":"large"}'
    await world.claims.put("quakes", body)
    stale = claiming(0, body, expirytime="2026-11-20T11:59:59Z")

    await world.land(HubBatch(material="quakes", partition="0", events=(stale,)))

    (entry,) = world.quarantine.entries.values()
    assert (entry.reason, entry.body) == ("expired", body)


async def test_claims_make_blobs_of_bounded_size() -> None:
    """A batch of a thousand large records must not be in memory at once."""
    world = World()
    bodies = [bytes([number]) * (CLAIMED_BYTES_MAX // 2) for number in range(5)]
    for body in bodies:
        await world.claims.put("quakes", body)
    events = tuple(claiming(number, body) for number, body in enumerate(bodies))

    report = await world.land(HubBatch(material="quakes", partition="0", events=events))

    assert [len(blob.events) for blob in world.raw.blobs.values()] == [2, 2, 1]
    assert (report.landed, world.landed()) == (5, [0, 1, 2, 3, 4])


async def test_gap_is_healed_from_the_hub() -> None:
    """The host can checkpoint past a batch that it never finished."""
    world = World()
    await world.land(batch(0, 9))

    report = await world.land(batch(50, 59))

    assert world.landed() == list(range(60))
    assert (report.healed, report.lost, report.landed) == (40, 0, 10)


async def test_what_retention_dropped_is_reported_as_lost_and_nothing_else() -> None:
    """Loss is loud: an entry in quarantine, a count in the report, a gap in the chain."""
    world = World()
    await world.land(batch(0, 9))
    world.hub.begins = 30

    report = await world.land(batch(50, 59))

    (entry,) = world.quarantine.entries.values()
    heads = {blob.events[0].sequence: blob for blob in world.raw.blobs.values()}
    assert world.landed() == [*range(10), *range(30, 60)]
    assert (report.healed, report.lost) == (20, 20)
    assert (entry.kind, entry.attributes) == ("losses", {"first": "10", "last": "29"})
    assert heads[30].previous.sequence == 9


async def test_hub_made_anew_is_a_new_chain() -> None:
    """Its sequence numbers begin at 0 again and must not be taken for redeliveries."""
    world = World()
    await world.land(batch(0, 99))
    later = [replace(each, enqueued_at=each.enqueued_at + timedelta(days=1)) for each in
             batch(0, 9).events]  # fmt: skip
    world.hub.made = "20261121T000000"
    world.hub.log = {"0": later}

    report = await world.land(HubBatch(material="quakes", partition="0", events=tuple(later)))

    assert (report.landed, report.repeated) == (10, 0)
    assert len(world.landed()) == 110


async def test_hub_made_anew_that_is_already_further_is_recognised_too() -> None:
    """A stale checkpoint can point into the middle of the new hub."""
    world = World()
    await world.land(batch(0, 9))
    world.hub.made = "20261121T000000"

    report = await world.land(batch(20, 29))

    assert (report.healed, report.landed) == (20, 10)
    assert len(world.landed()) == 10 + 30


@pytest.mark.parametrize("length", [1, 2, 7, 100])
async def test_event_that_kills_the_process_is_isolated(length: int) -> None:
    """A batch is halved after restarts until the one event stands alone, and is set apart."""
    world = World()
    world.raw = DeadlyRawStore(poison=length // 2)
    restarts = 0
    while True:
        try:
            await world.land(batch(0, length - 1))
            break
        except SystemExit:
            restarts += 1
            world.restart()

    assert world.landed() == list(range(length))
    assert [entry.reason for entry in world.quarantine.entries.values()] == ["poison"]
    assert restarts <= 4 * (length.bit_length() + 2)


async def test_outage_makes_no_event_poison() -> None:
    """A try that ends with an error did not kill anything, however often it is repeated."""
    world = World()
    world.raw = OutOfReach()
    for _ in range(50):
        with pytest.raises(TryLater):
            await world.land(batch(0, 0))
    world.raw = MemoryRawStore()

    report = await world.land(batch(0, 0))

    assert (report.landed, report.quarantined) == (1, 0)


class OutOfReach(MemoryRawStore):
    """Storage that is down."""

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:  # noqa: ARG002 -- Nothing is looked at.
        """Answer nothing."""
        raise TryLater("storage cannot be reached")


class DeadlyRawStore(MemoryRawStore):
    """A store whose writer dies of one event's body."""

    def __init__(self, poison: int) -> None:
        """`poison` is the sequence number of that event."""
        super().__init__()
        object.__setattr__(self, "blobs", {})
        self.poison = poison

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Die, as a crash in native code would."""
        if any(each.sequence == self.poison and each.body for each in blob.events):
            raise SystemExit(139)
        return await super().land(blob)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6), st.booleans()), max_size=12),
)
async def test_any_redelivery_lands_every_event_once(
    deliveries: list[tuple[int, int, bool]],
) -> None:
    """Boundaries move between deliveries, batches are skipped, positions get lost."""
    world = World()
    reached = -1
    for first, length, forget in deliveries:
        await world.land(batch(first, first + length))
        reached = max(reached, first + length)
        if forget:
            world.raw.remembered.clear()

    assert Counter(world.landed()) == Counter(range(reached + 1))


async def test_two_owners_of_a_partition_land_every_event_once() -> None:
    """Ownership overlaps after a rebalance: the second finds the name taken, trims, goes on."""
    first, second = World(), World()
    second.raw = MemoryRawStore(blobs=first.raw.blobs)
    await first.land(batch(0, 4))
    second.raw.remembered[PARTITION] = START

    report = await second.land(batch(0, 9))

    assert first.landed() == list(range(10))
    assert (report.repeated, report.landed) == (5, 5)


async def test_partitions_do_not_meet() -> None:
    """Sequence numbers start at 0 in every partition."""
    world = World()
    other = Partition(material="quakes", id="1", hub=LIFE)

    await world.land(batch(0, 1))
    await world.land(batch(0, 1, partition=other))

    assert len(world.raw.blobs) == 2


async def test_chain_links_every_blob_to_the_one_before() -> None:
    """An auditor walks it without a second source."""
    world = World()
    for first in range(0, 40, 10):
        await world.land(batch(first, first + 9))

    blobs = sorted(world.raw.blobs.values(), key=lambda blob: blob.events[0].sequence)
    assert blobs[0].previous == START
    for before, after in pairwise(blobs):
        assert after.previous == before.head(digest=before.name[::-1]).tip


def test_report_that_does_not_add_up_is_a_bug() -> None:
    """What is counted must be all there is."""
    good = BatchLanded(
        material="m", partition="0", received=3, repeated=1, landed=1, quarantined=1, healed=0,
        lost=0, records=1, blobs=1,
    )  # fmt: skip

    with pytest.raises(AssertionError):
        replace(good, received=4)
