"""table → table: a curated table follows its inputs, one run at a time, from exact versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.errors import Misconfigured
from shared.domain.job_run import JobOutcome
from shared.domain.run import ATTEMPTS_MAX, RunKind, RunState
from tests.builders import document
from tests.memory_runs import World

if TYPE_CHECKING:
    from shared.domain.run import Run


def world_of(*curated: dict[str, Any], datasets: tuple[str, ...] = ("quakes",)) -> World:
    """Datasets of one material, and curated tables."""
    usual = document().dataset("quakes").model_dump(by_alias=True)
    return World(
        document(datasets=[usual | {"name": name} for name in datasets], curated=list(curated))
    )


DAILY = {"name": "daily", "reads": ["quakes"], "columns": {"day": "date"}}


def inputs_of(world: World, run: Run) -> list[tuple[str, int, list[str]]]:
    """What a run was told to read: names, versions, and whose rows are new."""
    told = world.manifest(run)["inputs"]
    return [(each["name"], each["version"], each["runs"]) for each in told]


async def test_curated_run_follows_the_run_of_its_input() -> None:
    """A tick after the clean table changed, the curated one is on its way."""
    world = world_of(DAILY)
    await world.land(0, 0)
    await world.launch()
    early = world.runs("daily")
    await world.finish()

    (clean,), (curated,) = world.runs("quakes"), world.runs("daily")
    assert early == []
    assert (curated.kind, curated.state) == (RunKind.CURATED, RunState.LAUNCHED)
    assert inputs_of(world, curated) == [("quakes", 1, [clean.id])]


async def test_what_changes_during_a_curated_run_waits_for_one_next_run() -> None:
    """Two MERGEs at once would meet; and each run costs a job's start-up."""
    world = world_of(DAILY)
    await world.land(0, 0)
    await world.launch()
    await world.finish()
    (first,) = world.runs("daily")
    world.held.add("daily")
    for number in range(1, 4):
        await world.land(number, number)
        await world.launch()
        await world.finish()
    during = world.runs("daily")
    world.held.clear()
    await world.finish()

    _, second = world.runs("daily")
    clean = [run.id for run in world.runs("quakes")]
    assert [run.id for run in during] == [first.id]
    assert inputs_of(world, second) == [("quakes", 4, clean[1:])]


async def test_input_without_rows_is_waited_for() -> None:
    """SQL over a table that is not there fails, again and again."""
    both = DAILY | {"reads": ["quakes", "others"]}
    world = world_of(both, datasets=("quakes", "others"))
    await world.land(0, 0)
    await world.launch()
    world.held.add("others")
    await world.finish()
    early = world.runs("daily")
    world.held.clear()
    await world.finish()

    (run,) = world.runs("daily")
    assert early == []
    assert [name for name, _, _ in inputs_of(world, run)] == ["quakes", "others"]


async def test_run_that_changed_no_row_brings_no_curated_run() -> None:
    """A replay of known events leaves the table's version as it was."""
    world = world_of(DAILY)
    await world.land(0, 0)
    await world.launch()
    await world.finish()
    await world.finish()
    await world.land(1, 1)
    await world.launch()
    await world.finish(tableVersion=1)
    await world.tick()

    assert len(world.runs("quakes")) == 2
    assert len(world.runs("daily")) == 1


async def test_maintenance_of_an_input_brings_no_curated_run() -> None:
    """It makes a new version with the same rows."""
    world = world_of(DAILY)
    await world.land(0, 0)
    await world.launch()
    await world.finish()
    await world.finish()
    await world.maintain()
    await world.tick()
    await world.finish()
    await world.tick()

    kinds = [run.kind for run in world.ledger.rows.values()]
    assert kinds.count(RunKind.MAINTENANCE) == 2
    assert kinds.count(RunKind.CURATED) == 1


async def test_curated_tables_follow_one_another() -> None:
    """A change goes through every table that reads the one before it."""
    yearly = {"name": "yearly", "reads": ["latest"], "columns": {"year": "integer"}}
    latest = {"name": "latest", "reads": ["daily"], "kind": "view"}
    world = world_of(DAILY, latest, yearly)
    await world.land(0, 0)
    await world.launch()
    for _ in range(3):
        await world.finish()

    (daily,), (run,) = world.runs("daily"), world.runs("yearly")
    assert run.state is RunState.SUCCEEDED
    assert inputs_of(world, run) == [("daily", 1, [daily.id])]
    assert world.runs("latest") == []


async def fail_for_good(world: World, table: str) -> Run:
    """The open run of a table after all its attempts."""
    for _ in range(ATTEMPTS_MAX):
        await world.finish(JobOutcome.FAILED)
    run = world.runs(table)[-1]
    assert run.state is RunState.FAILED
    return run


async def test_next_curated_run_covers_what_a_failed_one_did_not() -> None:
    """An incremental table would have a hole where the failed run's rows belong."""
    world = world_of(DAILY)
    await world.land(0, 0)
    await world.launch()
    await world.finish()
    await fail_for_good(world, "daily")
    quiet = len(world.runs("daily"))
    await world.land(1, 1)
    await world.launch()
    await world.finish()

    clean = [run.id for run in world.runs("quakes")]
    assert quiet == 1
    assert inputs_of(world, world.runs("daily")[-1]) == [("quakes", 2, clean)]


async def test_failed_curated_run_is_tried_again_until_a_later_one_covers_it() -> None:
    """With its old manifest it would bring old rows back over newer ones."""
    world = world_of(DAILY)
    await world.land(0, 0)
    await world.launch()
    await world.finish()
    failed = await fail_for_good(world, "daily")
    again = await world.retry(failed.id)
    await world.tick()
    await fail_for_good(world, "daily")
    await world.land(1, 1)
    await world.launch()
    await world.finish()

    assert again.state == "planned"
    with pytest.raises(Misconfigured, match="a later run of daily covers it"):
        await world.retry(failed.id)


async def test_input_that_was_made_anew_is_read_whole() -> None:
    """Its versions count from the beginning again: none of its rows is covered."""
    world = world_of(DAILY)
    for number in range(3):
        await world.land(number, number)
        await world.launch()
        await world.finish()
    await world.finish()
    await world.land(3, 3)
    await world.launch()
    await world.finish(tableVersion=0)

    clean = [run.id for run in world.runs("quakes")]
    name, version, runs = inputs_of(world, world.runs("daily")[-1])[0]
    assert (name, version) == ("quakes", 0)
    assert sorted(runs) == sorted(clean)
