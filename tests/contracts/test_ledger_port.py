"""Every adapter of the ledger keeps the same promises: memory, real Azurite, real PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from azure.data.tables.aio import TableServiceClient

from shared.adapters.memory import MemoryLedger
from shared.adapters.postgres import PostgresLedger
from shared.adapters.postgres_connection import connect, parameters_of
from shared.adapters.table_storage import TABLE, TableLedger
from shared.domain.run import Planned, Progress, Run, RunKind, RunState
from tests.builders import NOON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import Ledger

_DATASETS = (f"set{number}" for number in count(1))
PLACE = Planned(sequence=2**53 + 1, blob="quakes/2026/11/20/12/p0-x-0.avro")
FULL = Run(
    id="r-full",
    dataset="",
    kind=RunKind.CURATED,
    job="transform",
    state=RunState.PLANNED,
    attempt=3,
    failures=2,
    blobs=70_000,
    events=2**31 - 1,
    inputs={"quakes": Planned(sequence=7, blob="quakes-abc"), "späť/%": PLACE},
    planned_at=NOON + timedelta(milliseconds=123),
    due_at=NOON + timedelta(hours=1),
    job_run=2**40,
    ended_at=NOON + timedelta(milliseconds=4567),
    message="'quoted' \"\\ späť; 東京 😀\nsecond line; DROP TABLE runs;--",
    counts={"records": 2**40, "inserted": 3, "tableVersion": 0, "other": -1},
    traceparent="00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-01",
)


@pytest.fixture(params=["memory", "azurite", "postgres"])
async def ledgers(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two processes' ledgers of the same things."""
    if request.param == "memory":
        ledger = MemoryLedger()
        yield ledger, ledger
        return
    opened = _tables if request.param == "azurite" else _database
    name = "azurite" if request.param == "azurite" else "ledger_address"
    address = request.getfixturevalue(name)
    async with opened(address) as first, opened(address) as second:
        yield first, second


@pytest.fixture
def ledger(ledgers: tuple[Ledger, Ledger]) -> Ledger:
    """One adapter of the port."""
    return ledgers[0]


@asynccontextmanager
async def _tables(connection: str) -> AsyncIterator[Ledger]:
    async with TableServiceClient.from_connection_string(connection) as tables:
        await tables.create_table_if_not_exists(TABLE)
        yield TableLedger(tables.get_table_client(TABLE))


@asynccontextmanager
async def _database(address: str) -> AsyncIterator[Ledger]:
    ledger = PostgresLedger(partial(connect, parameters_of(address), None))
    try:
        yield ledger
    finally:
        await ledger.close()


@pytest.fixture
def dataset() -> str:
    """A dataset of the test's own, because the stores are shared."""
    return next(_DATASETS)


def planned(dataset: str, number: int = 1, **changes: Any) -> Run:
    """A planned run."""
    run = Run(
        id=f"{dataset}-{number}",
        dataset=dataset,
        job="transform",
        state=RunState.PLANNED,
        blobs=1,
        events=10,
        planned_at=NOON + timedelta(minutes=number),
        due_at=NOON,
    )
    return replace(run, **changes)


async def opened(ledger: Ledger, run: Run) -> Run:
    """The run, opened over the present progress, as it is read back."""
    progress = await ledger.progress(run.dataset)
    assert await ledger.open_run(run, replace(progress, run_open=run.id))
    return await read(ledger, run)


async def read(ledger: Ledger, run: Run) -> Run:
    """The run as the ledger has it."""
    found = await ledger.run(run.dataset, run.id)
    assert found is not None
    return found


async def test_nothing_is_no_error(ledger: Ledger, dataset: str) -> None:
    """The first plan of a dataset begins here."""
    assert await ledger.progress(dataset) == Progress(dataset=dataset)
    assert await ledger.run(dataset, "none") is None
    assert await ledger.runs(dataset) == []


async def test_run_reads_back_as_it_was_written(ledger: Ledger, dataset: str) -> None:
    """Whoever looks at night must be able to believe each field."""
    run = replace(FULL, dataset=dataset)
    await opened(ledger, run)
    least = await opened(ledger, planned(dataset))

    found = await read(ledger, run)

    assert found == run
    assert found.planned_at.tzname() == "UTC"
    assert least == planned(dataset)


async def test_progress_reads_back_as_it_was_written(ledger: Ledger, dataset: str) -> None:
    """A plan that forgets a partition takes its blobs twice."""
    progress = Progress(
        dataset=dataset,
        planned={"0-20261120T000000": PLACE, "31-späť/%": Planned(sequence=0, blob="")},
        run_open=f"{dataset}-1",
        run_succeeded=f"{dataset}-0",
        queued=(f"{dataset}-b", f"{dataset}-a"),
    )
    await ledger.open_run(planned(dataset), progress)

    found = await ledger.progress(dataset)

    assert replace(found, version="") == progress
    assert found.version


async def test_run_and_progress_change_together_or_not_at_all(ledger: Ledger, dataset: str) -> None:
    """Whoever planned with an old progress gets nothing done, and a run is added once."""
    empty = await ledger.progress(dataset)
    first = await ledger.open_run(planned(dataset), replace(empty, run_open="first"))
    behind = await ledger.open_run(planned(dataset, 2), replace(empty, run_open="behind"))
    kept = await ledger.progress(dataset)
    again = await ledger.open_run(planned(dataset, blobs=9), replace(kept, run_open="again"))

    assert (first, behind, again) == (True, False, False)
    assert await ledger.progress(dataset) == kept
    assert kept.run_open == "first"
    assert await ledger.runs(dataset) == [planned(dataset)]


async def test_exactly_one_of_many_opens_a_run(
    ledgers: tuple[Ledger, Ledger], dataset: str
) -> None:
    """At most one run of a table is open, whoever plans at the same moment."""
    for round_number in range(3):
        progress = await ledgers[0].progress(dataset)
        runs = [planned(dataset, 10 * round_number + number) for number in range(8)]
        results = await asyncio.gather(
            *(
                ledgers[number % 2].open_run(run, replace(progress, run_open=run.id))
                for number, run in enumerate(runs)
            )
        )

        winners = [run for run, won in zip(runs, results, strict=True) if won]
        moved = await ledgers[1].progress(dataset)
        assert [run.id for run in winners] == [moved.run_open]
        assert (await ledgers[1].runs(dataset))[0] == winners[0]
        assert len(await ledgers[1].runs(dataset)) == round_number + 1


async def test_run_closes_with_its_progress_once(ledger: Ledger, dataset: str) -> None:
    """The next run may open only when this one has ended."""
    run = await opened(ledger, planned(dataset))
    stale = await ledger.progress(dataset)
    await ledger.replace_progress(stale.with_queued("next"))
    ended = run.to(RunState.LAUNCHED).to(RunState.SUCCEEDED, ended_at=NOON, counts={"records": 3})

    late = await ledger.close_run(ended, stale.after(ended))
    untouched = await read(ledger, run)
    closed = await ledger.close_run(ended, (await ledger.progress(dataset)).after(ended))
    again = await ledger.close_run(ended, (await ledger.progress(dataset)).after(ended))

    progress = await ledger.progress(dataset)
    assert (late, closed, again) == (False, True, False)
    assert untouched == run
    assert await read(ledger, run) == ended
    assert (progress.run_open, progress.run_succeeded) == ("", run.id)
    assert progress.queued == ("next",)


async def test_run_that_moved_on_takes_its_progress_along_nowhere(
    ledger: Ledger, dataset: str
) -> None:
    """A close over an old run must not free the place of one that is running."""
    run = await opened(ledger, planned(dataset))
    await ledger.update_run(run.to(RunState.LAUNCHED, job_run=1))
    progress = await ledger.progress(dataset)

    closed = await ledger.close_run(run.to(RunState.CANCELLED), progress.without_run())

    assert not closed
    assert await ledger.progress(dataset) == progress
    assert (await read(ledger, run)).state is RunState.LAUNCHED


async def test_run_opens_again_with_its_progress(ledger: Ledger, dataset: str) -> None:
    """A retry takes the table's one place, or leaves everything as it is."""
    run = await opened(ledger, planned(dataset))
    progress = await ledger.progress(dataset)
    await ledger.close_run(
        run.to(RunState.CANCELLED, ended_at=NOON, message="by hand"), progress.without_run()
    )
    ended = await read(ledger, run)
    again = ended.to(RunState.PLANNED, attempt=2, ended_at=None)

    late = await ledger.reopen_run(again, replace(progress, run_open=run.id))
    kept = await ledger.progress(dataset)
    reopened = await ledger.reopen_run(again, replace(kept, run_open=run.id))

    assert (late, reopened) == (False, True)
    assert await read(ledger, run) == again
    assert (await ledger.progress(dataset)).run_open == run.id


async def test_run_is_updated_only_if_unchanged(
    ledgers: tuple[Ledger, Ledger], dataset: str
) -> None:
    """Of all who read the same row one may go on, and all others read again."""
    run = await opened(ledgers[0], planned(dataset))

    results = await asyncio.gather(
        *(
            ledgers[number % 2].update_run(run.to(RunState.LAUNCHED, job_run=number))
            for number in range(6)
        )
    )

    winner = await read(ledgers[1], run)
    assert sum(results) == 1
    assert results[winner.job_run or 0]
    assert await ledgers[1].update_run(winner.to(RunState.RUNNING))


async def test_progress_is_replaced_only_if_unchanged(ledger: Ledger, dataset: str) -> None:
    """It can be absent, and then exactly one begins it."""
    empty = await ledger.progress(dataset)
    begun = await ledger.replace_progress(empty.with_queued("a"))
    twice = await ledger.replace_progress(empty.with_queued("b"))
    kept = await ledger.progress(dataset)
    moved = await ledger.replace_progress(kept.with_queued("c"))
    late = await ledger.replace_progress(kept.with_queued("d"))

    assert (begun, twice, moved, late) == (True, False, True, False)
    assert (await ledger.progress(dataset)).queued == ("a", "c")


async def test_no_change_of_two_writers_is_lost(
    ledgers: tuple[Ledger, Ledger], dataset: str
) -> None:
    """Compare and set is all that the ledger's order rests on."""
    changes = 8

    async def write(ledger: Ledger, name: str) -> None:
        done = 0
        while done < changes:
            progress = await ledger.progress(dataset)
            done += await ledger.replace_progress(progress.with_queued(f"{name}{done}"))

    await asyncio.gather(write(ledgers[0], "a"), write(ledgers[1], "b"))

    queued = (await ledgers[0].progress(dataset)).queued
    assert [name for name in queued if name[0] == "a"] == [f"a{n}" for n in range(changes)]
    assert [name for name in queued if name[0] == "b"] == [f"b{n}" for n in range(changes)]


async def test_runs_are_the_dataset_s_own_and_the_newest_first(
    ledger: Ledger, dataset: str
) -> None:
    """Datasets may begin alike, and a listing is cut after its first lines."""
    for number in (2, 3, 1):
        await opened(ledger, planned(dataset, number))
    await opened(ledger, planned(f"{dataset}-more"))

    found = await ledger.runs(dataset)

    assert [run.id for run in found] == [f"{dataset}-{number}" for number in (3, 2, 1)]
    assert [run.dataset for run in await ledger.runs(f"{dataset}-more")] == [f"{dataset}-more"]


async def test_runs_that_ended_since_are_selected(ledger: Ledger, dataset: str) -> None:
    """What is asked every few seconds must not cost all there ever was."""
    for number, ended_at in enumerate((NOON - timedelta(milliseconds=1), NOON, None)):
        await opened(ledger, planned(dataset, number, ended_at=ended_at))

    found = await ledger.runs(dataset, ended_since=NOON)

    assert [run.id for run in found] == [f"{dataset}-1"]


async def test_message_that_is_too_long_is_cut(ledger: Ledger, dataset: str) -> None:
    """A job's last words may be a megabyte; noting its end must not fail for them."""
    words = "x" * 1_000_000

    run = await opened(ledger, planned(dataset, message=words))

    assert words.startswith(run.message)
    assert len(run.message) >= 1_000


@pytest.mark.parametrize("words", ["before\0after", "half \ud83d of a character"])
async def test_message_that_no_store_takes_whole_is_no_obstacle(
    ledger: Ledger, dataset: str, words: str
) -> None:
    """A job may say anything; its run must end nevertheless."""
    run = await opened(ledger, planned(dataset, message=words))

    assert run.message.startswith(words[:5])
    assert run.message.endswith(words[-5:])
