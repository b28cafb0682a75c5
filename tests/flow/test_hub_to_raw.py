"""hub → raw: every event in exactly one blob, whatever is delivered how often by whom."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.memory import MemoryClock, MemoryQuarantine, MemoryRawStore
from shared.domain.raw_blob import HubBatch, Partition
from shared.flow.hub_to_raw import BatchLanded, land_batch
from tests.builders import PARTITION, batch, event


async def land(
    delivered: HubBatch, raw: MemoryRawStore, quarantine: MemoryQuarantine | None = None
) -> BatchLanded:
    """Land a batch at noon."""
    return await land_batch(
        delivered, raw=raw, quarantine=quarantine or MemoryQuarantine(), clock=MemoryClock()
    )


def landed(raw: MemoryRawStore) -> list[int]:
    """Every sequence number in every blob, in order."""
    return sorted(each.sequence for blob in raw.blobs.values() for each in blob.events)


async def test_batch_lands_as_one_blob_named_by_its_first_sequence() -> None:
    """The name is a function of the content."""
    raw = MemoryRawStore()

    report = await land(batch(0, 9), raw)

    (name,) = raw.blobs
    assert name == "quakes/2026/11/20/12/p0-00000000000000000000.avro"
    assert (report.landed, report.repeated, report.blobs) == (10, 0, 1)


async def test_redelivered_batch_lands_nothing() -> None:
    """The host delivers at least once."""
    raw = MemoryRawStore()
    await land(batch(0, 9), raw)

    report = await land(batch(0, 9), raw)

    assert (report.repeated, report.blobs) == (10, 0)
    assert landed(raw) == list(range(10))


async def test_lost_position_is_found_again_in_the_blobs() -> None:
    """A writer killed between landing and remembering leaves the position behind."""
    raw = MemoryRawStore()
    await land(batch(0, 9), raw)
    raw.remembered[PARTITION] = -1

    await land(batch(5, 14), raw)

    assert landed(raw) == list(range(15))


async def test_bad_event_goes_to_quarantine_and_keeps_its_place() -> None:
    """A batch never fails because of one event, and ranges stay contiguous."""
    raw, quarantine = MemoryRawStore(), MemoryQuarantine()
    bad = event(1, body=b"\xff junk", id="")
    delivered = HubBatch(partition=PARTITION, events=(event(0), bad, event(2)))

    report = await land(delivered, raw, quarantine)

    (entry,) = quarantine.entries.values()
    (blob,) = raw.blobs.values()
    assert (entry.reason, entry.body) == ("not-a-cloud-event", b"\xff junk")
    assert [each.quarantined for each in blob.events] == ["", "not-a-cloud-event", ""]
    assert (report.landed, report.quarantined) == (2, 1)


async def test_expired_event_is_counted_not_landed() -> None:
    """Perishables are checked at every stage."""
    raw, quarantine = MemoryRawStore(), MemoryQuarantine()
    stale = event(0, expirytime="2026-11-20T11:59:59Z")

    await land(HubBatch(partition=PARTITION, events=(stale,)), raw, quarantine)

    assert [entry.reason for entry in quarantine.entries.values()] == ["expired"]


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 6), st.booleans()), max_size=12),
)
async def test_any_redelivery_lands_every_event_once(
    deliveries: list[tuple[int, int, bool]],
) -> None:
    """Boundaries move between deliveries, and the position may be lost at any time.

    A delivery starts nowhere beyond the first event not landed: what the host has checkpointed, a
    function has landed.
    """
    raw = MemoryRawStore()
    reached = -1
    for first, length, forget in deliveries:
        start = min(first, reached + 1)
        await land(batch(start, start + length), raw)
        reached = max(reached, start + length)
        if forget:
            raw.remembered.clear()

    assert Counter(landed(raw)) == Counter(range(reached + 1))


async def test_two_owners_of_a_partition_land_every_event_once() -> None:
    """Ownership overlaps after a rebalance: the second finds the name taken, trims, goes on."""
    shared_blobs = MemoryRawStore()
    first, second = shared_blobs, MemoryRawStore(blobs=shared_blobs.blobs)
    await land(batch(0, 4), first)
    second.remembered[PARTITION] = -1

    report = await land(batch(0, 9), second)

    assert landed(shared_blobs) == list(range(10))
    assert (report.repeated, report.landed) == (5, 5)


async def test_partitions_do_not_meet() -> None:
    """Sequence numbers start at 0 in every partition."""
    raw = MemoryRawStore()
    other = Partition(material="quakes", id="1")

    await land(batch(0, 1), raw)
    await land(batch(0, 1, partition=other), raw)

    assert len(raw.blobs) == 2


def test_report_that_does_not_add_up_is_a_bug() -> None:
    """What is counted must be all there is."""
    good = BatchLanded(
        material="m", partition="0", received=3, repeated=1, landed=1, quarantined=1, records=1,
        blobs=1,
    )  # fmt: skip

    try:
        replace(good, received=4)
    except AssertionError:
        return
    raise AssertionError("a sum that does not add up was accepted")
