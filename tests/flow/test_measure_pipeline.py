"""The measure: how far each arrow is behind, in numbers that somebody is woken by."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.adapters.memory import MemoryHub, MemoryLedger, MemoryQuarantine, MemoryRawStore
from shared.domain.job_run import JobOutcome
from shared.domain.quarantine import Decision, Quarantined, State
from shared.domain.raw_blob import START
from shared.flow.measure_pipeline import PipelineMeasured, measure_pipeline
from tests.builders import NOON, PARTITION, batch, blob, document
from tests.memory_runs import World as RunsWorld

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from shared.domain.document import Document
    from shared.domain.raw_blob import RawHead
    from shared.domain.run import Planned, Run

ONE_PARTITION = document(eventhubs=[{"material": "quakes", "partitions": 1}])
HOUR = timedelta(hours=1)
CURATED = {
    "name": "largest",
    "reads": ["quakes"],
    "kind": "table",
    "primaryKey": ["id"],
    "columns": {"id": "string"},
}


class World(RunsWorld):
    """Runs in memory, behind a hub of ten events, one each second from noon on."""

    def __init__(self, described: Document | None = None) -> None:
        """Nothing is landed."""
        super().__init__(described or ONE_PARTITION)
        self.hub = MemoryHub(log={"0": list(batch(0, 9).events)})
        self.quarantine = MemoryQuarantine()

    async def land(self, first: int, last: int) -> None:
        """Land a blob, and remember it."""
        head, _ = await self.raw.land(blob(first, last))
        await self.raw.remember(PARTITION, head.tip)

    async def measure(self) -> PipelineMeasured:
        """Measure."""
        return await measure_pipeline(
            self.document,
            hub=self.hub,
            raw=self.raw,
            quarantine=self.quarantine,
            ledger=self.ledger,
            clock=self.clock,
        )


class HubMadeAnew(MemoryHub):
    """A hub whose former life is remembered until somebody asks afresh."""

    async def life(self, material: str, *, fresh: bool = False) -> str:
        """Remembered, or as it is."""
        return await super().life(material) if fresh else PARTITION.hub


class LedgerThatListsNothing(MemoryLedger):
    """A ledger that must not be asked for all runs."""

    async def runs(self, dataset: str, *, ended_since: datetime | None = None) -> list[Run]:
        """Fail the test."""
        raise AssertionError(f"all runs of {dataset} since {ended_since} were listed")


class RawStoreThatListsNothing(MemoryRawStore):
    """A store that must not be asked for blobs."""

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """Fail the test."""
        raise AssertionError(f"the blobs of {material} were listed beyond {planned}")


def entry(number: int, reason: str) -> Quarantined:
    """An entry of quarantine."""
    return Quarantined(
        kind="events",
        material="quakes",
        origin=f"p0-20261120T000000-{number:020d}",
        reason=reason,
        detail="",
        seen_at=NOON,
        attributes={},
        body=b"",
    )


async def test_partition_never_landed_is_as_old_as_its_first_event() -> None:
    """A landing function that never started is the longest lag there is."""
    world = World()
    world.clock.moment = NOON + HOUR

    (found,) = (await world.measure()).partitions

    assert (found.lag, found.age) == (10, HOUR)


async def test_age_of_a_lag_is_that_of_the_oldest_event_not_landed() -> None:
    """A quiet source's single new event must not look as old as the last one that was landed."""
    world = World()
    await world.land(0, 4)
    world.clock.moment = NOON + HOUR

    (found,) = (await world.measure()).partitions

    assert (found.lag, found.age) == (5, HOUR - timedelta(seconds=5))


async def test_partition_landed_just_now_is_not_read() -> None:
    """A busy hub costs no more to measure than an idle one."""
    world = World()
    await world.land(0, 4)
    world.hub.log["0"][5:] = []
    world.hub.sent["quakes", 0] = [None] * 10  # type: ignore[list-item] # Only counted.
    world.clock.moment = NOON + timedelta(seconds=30)

    (found,) = (await world.measure()).partitions

    assert (found.lag, found.age) == (5, timedelta(seconds=26))


async def test_hub_made_anew_lags_by_all_it_holds() -> None:
    """Its numbers begin at 0 again: what its former life landed says nothing about it."""
    world = World()
    await world.raw.remember(PARTITION, replace(START, sequence=99, blob="b", enqueued_at=NOON))
    world.hub = HubMadeAnew(log=world.hub.log, made="20261120T110000")

    (found,) = (await world.measure()).partitions

    assert found.lag == 10


async def test_table_is_behind_by_the_oldest_thing_that_is_not_in_it() -> None:
    """From the hub to the table: wherever it waits, the table is behind by it."""
    world = World()
    ages = []
    world.clock.moment = NOON + HOUR
    ages.append((await world.measure()).tables[0].behind)  # All in the hub.
    await world.land(0, 9)
    ages.append((await world.measure()).tables[0].behind)  # Landed, without a run.
    await world.launch()
    world.clock.moment += HOUR
    ages.append((await world.measure()).tables[0].behind)  # In an open run.
    await world.finish()
    ages.append((await world.measure()).tables[0].behind)

    assert ages == [HOUR, HOUR - timedelta(seconds=9), HOUR, timedelta()]


async def test_quiet_source_leaves_its_table_fresh() -> None:
    """Nobody is woken because nothing happens."""
    world = World()
    await world.land(0, 9)
    await world.launch()
    await world.finish()
    ended = world.runs("quakes")[0].ended_at
    world.clock.moment += timedelta(days=9)

    (table,) = (await world.measure()).tables

    assert ended is not None
    assert table.behind == timedelta()
    assert table.written_before == world.clock.moment - ended


async def test_open_run_is_as_old_as_its_plan_however_often_it_is_tried() -> None:
    """Attempts that fail one after the other are one late run, not several young ones."""
    world = World()
    await world.land(0, 9)
    await world.launch()
    began = world.clock.moment
    await world.finish(JobOutcome.FAILED)
    world.clock.moment += HOUR

    (table,) = (await world.measure()).tables

    assert table.open_for == world.clock.moment - began


async def test_curated_table_is_behind_its_inputs() -> None:
    """Analysts read the last table of a chain: what waits before it counts for it."""
    world = World(document(eventhubs=[{"material": "quakes", "partitions": 1}], curated=[CURATED]))
    await world.land(0, 9)
    await world.launch()
    world.end_jobs(JobOutcome.SUCCEEDED)
    await world.track()
    ended = world.runs("quakes")[0].ended_at
    world.clock.moment += HOUR

    table = (await world.measure()).tables[1]

    assert ended is not None
    assert (table.name, table.behind) == ("largest", world.clock.moment - ended)
    assert table.written_before is None


async def test_quarantine_is_counted_by_reason_while_it_is_open() -> None:
    """Twenty of one reason is a change of the source; what is decided is nobody's trouble."""
    world = World()
    decided = replace(entry(3, "expired"), decision=Decision(state=State.DISCARDED, at=NOON))
    for each in (entry(1, "expired"), entry(2, "expired"), decided, entry(4, "poison")):
        await world.quarantine.keep(each)

    found = await world.measure()

    assert found.open_entries == {
        ("events", "quakes", "expired"): 2,
        ("events", "quakes", "poison"): 1,
    }
    assert found.quarantined == 3


async def test_measuring_lists_neither_runs_nor_blobs_while_all_is_well() -> None:
    """It is done every minute, for years."""
    world = World()
    for number in range(3):
        await world.land(number, number)
        await world.launch()
        await world.finish()
    world.hub.log["0"] = list(batch(0, 2).events)
    world.ledger = LedgerThatListsNothing(rows=world.ledger.rows, kept=world.ledger.kept)
    world.raw = RawStoreThatListsNothing(blobs=world.raw.blobs, remembered=world.raw.remembered)

    found = await world.measure()

    assert (found.lag, found.tables[0].behind) == (0, timedelta())
