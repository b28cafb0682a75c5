"""The status: what a person on call sees of every arrow."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.adapters.memory import (
    MemoryAttempts,
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryLedger,
    MemoryQuarantine,
    MemoryRawStore,
)
from shared.adapters.memory_source import MemoryCursorStore
from shared.domain.errors import TryLater
from shared.domain.job_run import JobOutcome
from shared.flow.hub_to_raw import land_batch
from shared.flow.pipeline_status import PartitionWaiting, PipelineStatus, read_status
from tests.builders import NOON, PARTITION, batch, blob, document
from tests.memory_runs import World as RunsWorld

if TYPE_CHECKING:
    from shared.domain.raw_blob import RawBlob, RawHead

ONE_PARTITION = document(eventhubs=[{"material": "quakes", "partitions": 1}])


class UnwellStore(MemoryRawStore):
    """Storage that takes no blob while it is unwell."""

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Refuse."""
        raise TryLater(f"landing {blob.name}: storage answers 503", retry_after_s=1)


class World:
    """A hub of ten events, and what landing keeps."""

    def __init__(self) -> None:
        """Nothing is landed."""
        self.hub = MemoryHub(log={"0": list(batch(0, 9).events)})
        self.raw = MemoryRawStore()
        self.attempts = MemoryAttempts()
        self.quarantine = MemoryQuarantine()

    async def land(self, first: int, last: int, *, raw: MemoryRawStore | None = None) -> None:
        """Land a batch."""
        await land_batch(
            batch(first, last),
            hub=self.hub,
            raw=raw or self.raw,
            claims=MemoryClaims(),
            quarantine=self.quarantine,
            attempts=self.attempts,
            clock=MemoryClock(),
        )

    async def status(self) -> PipelineStatus:
        """Look."""
        return await read_status(
            ONE_PARTITION,
            hub=self.hub,
            cursors=MemoryCursorStore(),
            raw=self.raw,
            attempts=self.attempts,
            quarantine=self.quarantine,
            ledger=MemoryLedger(),
        )


async def test_partition_that_waits_for_a_world_that_is_unwell_is_shown() -> None:
    """How much waits and since when is what tells a slow minute from a bad night."""
    world = World()
    await world.land(0, 5)
    with suppress(TryLater):
        await world.land(6, 9, raw=UnwellStore())

    (hub,) = (await world.status()).hubs

    landed_until = NOON + timedelta(seconds=5)
    assert hub.waiting == (PartitionWaiting(id="0", events=4, landed_until=landed_until, deaths=0),)
    assert hub.lag == 4


async def test_partition_whose_next_batch_ends_its_process_is_shown() -> None:
    """A crash loop looks like idleness from outside."""
    world = World()
    for _ in range(3):
        await MemoryAttempts(tries=world.attempts.tries).begin(PARTITION, sequence=0)

    pending = (await world.status()).pending()

    (line,) = pending
    assert line.startswith("hub quakes: 10 events of partition 0 not landed, last one never; ")
    assert line.endswith("has ended its process 2 times")


async def test_partition_that_is_caught_up_waits_for_nothing() -> None:
    """Nothing to see is nothing to read."""
    world = World()
    await world.land(0, 9)

    status = await world.status()

    assert status.hubs[0].waiting == ()
    assert not any("hub quakes" in line for line in status.pending())


async def test_curated_table_is_pending_until_its_inputs_are_covered() -> None:
    """Whoever waits for everything waits for what is made of it too."""
    curated = {
        "name": "daily",
        "reads": ["quakes"],
        "columns": {"id": "string"},
    }
    runs = RunsWorld(document(curated=[curated]))
    await runs.land(0, 0)
    await runs.raw.remember(PARTITION, blob(0, 0).head(digest="d").tip)
    waits = []
    for _ in range(3):
        await runs.tick()
        runs.end_jobs(JobOutcome.SUCCEEDED)
        status = await read_status(
            runs.document,
            hub=MemoryHub(),
            cursors=MemoryCursorStore(),
            raw=runs.raw,
            attempts=MemoryAttempts(),
            quarantine=MemoryQuarantine(),
            ledger=runs.ledger,
        )
        waits.append([line.split(":")[0] for line in status.pending()])
    await runs.tick()

    assert waits == [["dataset quakes"], ["dataset daily"], []]
