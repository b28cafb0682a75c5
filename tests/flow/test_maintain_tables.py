"""table → table: maintenance once a day, never beside a run, and neither starves the other."""

from __future__ import annotations

from datetime import timedelta

from shared.domain.job_run import JobOutcome
from shared.domain.run import MAINTENANCE_ATTEMPTS_MAX, RunKind, RunState
from shared.flow.maintain_tables import TablesMaintained
from tests.builders import document
from tests.memory_runs import World


async def written() -> World:
    """A world whose table has rows, and no open run."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    await world.finish()
    return world


async def test_table_is_maintained_once_a_day() -> None:
    """However often the timer fires, or is fired by hand."""
    world = await written()
    reports = [await world.maintain(), await world.maintain()]
    await world.launch()
    reports.append(await world.maintain())
    await world.finish()
    reports.append(await world.maintain())
    world.clock.moment += timedelta(days=1)
    reports.append(await world.maintain())

    _, maintenance = world.runs("quakes")
    assert [report.queued for report in reports] == [1, 0, 0, 0, 1]
    assert (maintenance.kind, maintenance.state) == (RunKind.MAINTENANCE, RunState.SUCCEEDED)
    assert world.manifest(maintenance)["tables"] == [{"name": "quakes", "kind": "clean"}]


async def test_maintenance_waits_for_the_open_run_and_comes_before_new_blobs() -> None:
    """A busy table would otherwise never be compacted."""
    world = await written()
    await world.land(1, 1)
    await world.launch()
    await world.maintain()
    await world.land(2, 2)
    await world.launch()
    during = [run.kind for run in world.runs("quakes")]
    for _ in range(3):
        await world.finish()

    runs = world.runs("quakes")
    assert during == [RunKind.CLEAN, RunKind.CLEAN]
    assert [run.kind for run in runs] == [
        RunKind.CLEAN,
        RunKind.CLEAN,
        RunKind.MAINTENANCE,
        RunKind.CLEAN,
    ]
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert sorted(world.covered()) == sorted(world.raw.blobs)


async def test_failing_maintenance_holds_blobs_up_only_shortly() -> None:
    """A table that cannot be compacted is still a table."""
    world = await written()
    await world.maintain()
    await world.launch()
    await world.land(1, 1)
    for _ in range(MAINTENANCE_ATTEMPTS_MAX):
        await world.finish(JobOutcome.FAILED)

    _, maintenance, clean = world.runs("quakes")
    assert maintenance.state is RunState.FAILED
    assert (clean.kind, clean.state) == (RunKind.CLEAN, RunState.LAUNCHED)


async def test_days_without_an_end_do_not_pile_up() -> None:
    """After a long hold-up, one maintenance is enough."""
    world = await written()
    await world.land(1, 1)
    await world.launch()
    for _ in range(5):
        await world.maintain()
        world.clock.moment += timedelta(days=1)
    for _ in range(4):
        await world.finish()

    kinds = [run.kind for run in world.runs("quakes")]
    assert kinds.count(RunKind.MAINTENANCE) == 1


async def test_only_what_has_changed_is_maintained() -> None:
    """An empty table has no files; in a quiet one, the last maintenance left nothing to do."""
    empty = World(document(curated=[{"name": "latest", "reads": ["quakes"], "kind": "view"}]))
    quiet = await written()
    quiet.clock.moment += timedelta(days=8)
    lately = await quiet.maintain()
    await quiet.launch()
    await quiet.finish()
    quiet.clock.moment += timedelta(days=2)

    reports = [await empty.maintain(), lately, await quiet.maintain()]

    assert [report.queued for report in reports] == [0, 1, 0]


async def test_folders_of_ended_runs_are_swept() -> None:
    """A tracker was killed between the end and the deletion, or a lost attempt wrote on."""
    world = await written()
    (ended,) = world.runs("quakes")
    await world.land(1, 1)
    await world.launch()
    still_open = world.runs("quakes")[-1]
    world.files.staging |= {ended.id, still_open.id, "nobody-knows-it"}

    report = await world.maintain()

    assert report == TablesMaintained(tables=1, queued=1, folders_deleted=1)
    assert world.files.staging == {still_open.id, "nobody-knows-it"}
