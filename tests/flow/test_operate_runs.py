"""run, by hand: retry and cancel, in every state, however often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.adapters.memory import MemoryJobs, MemoryLedger
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.job_run import JobOutcome
from shared.domain.run import ATTEMPTS_MAX, RunState
from shared.flow.operate_runs import RunOperated
from tests.memory_runs import World

if TYPE_CHECKING:
    from shared.domain.run import Progress, Run


async def planned() -> tuple[World, Run]:
    """A world with one planned run, whose job nobody can start yet."""
    world = World()
    await world.land(0, 0)

    class Undeployed(MemoryJobs):
        async def start(self, job: str, **_: Any) -> int:
            raise Misconfigured("databricks.jobs", f"has no job called {job}")

    world.jobs = Undeployed()
    with pytest.raises(Misconfigured):
        await world.launch()
    world.jobs = MemoryJobs()
    return world, world.runs("quakes")[0]


async def failed() -> tuple[World, Run]:
    """A world with one run that was given up."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    for _ in range(ATTEMPTS_MAX):
        await world.finish(JobOutcome.FAILED)
    return world, world.runs("quakes")[0]


async def test_failed_run_is_tried_again_with_its_manifest() -> None:
    """What it covers is in no other run; asking twice is asking once."""
    world, run = await failed()
    manifest = world.manifest(run)
    first, second = await world.retry(run.id), await world.retry(run.id)
    await world.tick()
    await world.finish()

    (again,) = world.runs("quakes")
    assert first == second == RunOperated(run=run.id, dataset="quakes", state="planned")
    assert (again.state, again.attempt) == (RunState.SUCCEEDED, ATTEMPTS_MAX + 1)
    assert world.manifest(again) == manifest
    assert world.files.notes[run.id].state is RunState.SUCCEEDED


async def test_retried_run_has_all_its_attempts_again() -> None:
    """The first trouble after the repair must not be the last."""
    world, run = await failed()
    await world.retry(run.id)
    await world.tick()
    for _ in range(ATTEMPTS_MAX - 1):
        await world.finish(JobOutcome.FAILED)
    await world.finish()

    assert world.runs("quakes")[0].state is RunState.SUCCEEDED


async def test_retry_waits_for_the_open_run_and_comes_before_new_blobs() -> None:
    """A busy table would otherwise never take it in."""
    world, run = await failed()
    await world.land(1, 1)
    await world.launch()
    queued, twice = await world.retry(run.id), await world.retry(run.id)
    await world.land(2, 2)
    await world.finish()
    order = [(each.id == run.id, each.state) for each in world.runs("quakes")]
    await world.finish()
    await world.finish()

    assert queued == twice == RunOperated(run=run.id, dataset="quakes", state="queued")
    assert order == [(True, RunState.LAUNCHED), (False, RunState.SUCCEEDED)]
    assert {each.state for each in world.runs("quakes")} == {RunState.SUCCEEDED}
    assert sorted(world.covered()) == sorted(world.raw.blobs)
    assert (await world.ledger.progress("quakes")).queued == ()


async def test_run_that_succeeded_is_not_tried_again() -> None:
    """Reading raw again is another command."""
    world, run = await failed()
    await world.retry(run.id)
    await world.tick()
    await world.finish()

    with pytest.raises(Misconfigured, match="has succeeded; millrace replay reads raw"):
        await world.retry(run.id)


@pytest.mark.parametrize("operation", ["retry", "cancel"])
async def test_unknown_id_names_the_nearest(operation: str) -> None:
    """Ids are copied by hand, from tables that cut them."""
    world, run = await failed()

    with pytest.raises(Misconfigured) as caught:
        await getattr(world, operation)(run.id[:-2])

    assert str(caught.value) == (f"run {run.id[:-2]!r} is no run's id; did you mean {run.id!r}?")


async def test_planned_run_is_cancelled_at_once_and_its_blobs_are_kept() -> None:
    """Nothing runs of it; the next blobs go on, and a retry brings the rest in."""
    world, run = await planned()
    first, second = await world.cancel(run.id), await world.cancel(run.id)
    await world.land(1, 1)
    await world.tick()
    noted = world.files.notes[run.id].state
    await world.finish()
    again = await world.retry(run.id)
    await world.tick()
    await world.finish()

    assert first == second == RunOperated(run=run.id, dataset="quakes", state="cancelled")
    assert noted is RunState.CANCELLED
    assert again.state == "planned"
    assert [each.state for each in world.runs("quakes")] == [RunState.SUCCEEDED] * 2
    assert sorted(world.covered()) == sorted(world.raw.blobs)


async def test_running_run_is_cancelled_by_the_service() -> None:
    """What the service says in the end counts: it may have succeeded just before."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    (run,) = world.runs("quakes")
    operated = await world.cancel(run.id)
    await world.cancel(run.id)
    world.end_jobs(JobOutcome.CANCELLED, "USER_CANCELED")
    await world.tick()

    assert operated == RunOperated(run=run.id, dataset="quakes", state="cancelling")
    assert world.jobs.cancelled == [run.job_run] * 2
    assert world.runs("quakes")[0].state is RunState.CANCELLED
    assert await world.cancel(run.id) == RunOperated(
        run=run.id, dataset="quakes", state="cancelled"
    )


async def test_run_that_is_being_launched_is_cancelled_a_moment_later() -> None:
    """Whether the service runs it is not known yet; forgetting it could leave two at work."""
    world, run = await planned()

    class Mute(MemoryJobs):
        async def start(self, job: str, **rest: Any) -> int:
            await super().start(job, **rest)
            raise TryLater("no answer")

    world.jobs = Mute()
    with pytest.raises(TryLater):
        await world.tick()

    with pytest.raises(TryLater, match="is being launched"):
        await world.cancel(run.id)


async def test_ended_run_cannot_be_cancelled() -> None:
    """There is nothing left to stop."""
    world, run = await failed()

    with pytest.raises(Misconfigured, match=f"run {run.id} has failed already"):
        await world.cancel(run.id)


async def test_table_that_moves_on_meanwhile_is_looked_at_again() -> None:
    """The timer changes the same row at the same moment."""
    world, run = await failed()
    await world.land(1, 1)

    class Moving(MemoryLedger):
        async def reopen_run(self, run: Run, progress: Progress) -> bool:
            world.ledger = MemoryLedger(rows=self.rows, kept=self.kept)
            await world.launch()
            return await super().reopen_run(run, progress)

    world.ledger = Moving(rows=world.ledger.rows, kept=world.ledger.kept)
    operated = await world.retry(run.id)

    assert operated.state == "queued"
    assert (await world.ledger.progress("quakes")).queued == (run.id,)


async def test_run_that_was_brought_in_while_it_was_queued_is_dropped() -> None:
    """Two people retry at once: whoever is late must not hold up what comes next."""
    world, run = await failed()
    await world.retry(run.id)
    await world.tick()
    await world.finish()
    late = (await world.ledger.progress("quakes")).with_queued(run.id)
    await world.ledger.replace_progress(late)
    await world.land(1, 1)
    await world.tick()

    progress = await world.ledger.progress("quakes")
    assert progress.queued == ()
    assert progress.run_open == world.runs("quakes")[-1].id != run.id
