"""raw → run → table under faults: every blob in exactly one run, none lost, one open at a time."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.errors import Misconfigured
from tests.faults.faulty_ports import MOMENTS, Crash, NthCallFails, finish, unwell
from tests.faults.runs_world import DOCUMENT, Actor, JobService, RunsWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.faults.faulty_ports import Moment

ACTIONS = (
    *["launch"] * 3,
    *["track"] * 2,
    *["move"] * 8,
    *["land"] * 2,
    *["advance"] * 2,
    "maintain",
    "cancel",
    "retry",
    "crash",
    "miss",
)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("failure", [unwell, Crash], ids=["world unwell", "crash"])
def test_no_failure_of_any_call_breaks_a_promise(
    moment: Moment, failure: Callable[[], BaseException]
) -> None:
    """Each call fails before or after its effect; only the timer's next tick tries again."""
    struck: set[str] = set()
    for number in count(1):
        gate = NthCallFails(frozenset({number}), moment, failure)
        _arrive_and_run(gate)
        struck.update(gate.struck)
        if not gate.struck:
            break

    assert struck == {
        "progress", "run", "landed_after", "put_manifest", "open_run", "start", "update_run",
        "look", "result", "close_run", "runs", "note", "drop_staging", "staged",
        "replace_progress", "reopen_run", "cancel",
    }  # fmt: skip


def test_second_failure_during_recovery_breaks_no_promise() -> None:
    """Two crashes, so many calls apart."""
    for distance in (1, 2, 5):
        for number in count(distance, 2):
            gate = NthCallFails(frozenset({number, number + distance}), "after", Crash)
            _arrive_and_run(gate)
            if not gate.struck:
                break

    assert number > 50


def _arrive_and_run(gate: NthCallFails) -> None:
    """Blobs arrive while runs are planned, fail, are cancelled, are tried again and succeed."""
    world = RunsWorld(gate)
    for partitions in ("0", "", "01", "", "", "1"):
        for partition in partitions:
            world.land(partition)
        world.tick()
        world.check()
    world.survive(world.cancel, world.maintain)
    world.check()
    world.settle()
    world.mend()
    world.check_end()


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2)), min_size=30, max_size=90))
def test_planners_and_trackers_may_interleave_at_every_call(
    schedule: list[tuple[str, int]],
) -> None:
    """Position blobs change in parallel with each other, with the timers and with people."""
    world = RunsWorld()
    actors = [Actor(world) for _ in range(3)]
    for action, index in schedule:
        match action:
            case "land":
                world.land(str(index % 2))
            case "advance":
                world.jobs.advance()
            case "crash":
                actors[index].crash()
            case "miss":
                world.raw.missed = next(reversed(world.raw.blobs), "")
            case "launch" | "track" | "maintain" | "cancel" | "retry":
                actors[index].begin(action)
            case _:
                actors[index].move()
        world.check()
    for actor in actors:
        actor.finish()

    world.settle()
    world.mend()

    world.check_end()


def test_planners_in_step_open_one_run() -> None:
    """Two hints at once see the same blobs and the same progress."""
    for lead in range(12):
        world = RunsWorld()
        world.land("0")
        first, second = Actor(world), Actor(world)
        first.begin("launch")
        for _ in range(lead):
            first.move()
        second.begin("launch")
        for _ in range(30):
            second.move()
            first.move()

        world.check()

        assert len(world.runs()) == len(DOCUMENT.datasets)
        assert len(world.jobs.tokens) == len(DOCUMENT.datasets)


def test_run_cancelled_before_its_launch_is_known_leaves_no_job_behind() -> None:
    """Killed between the start and the note of it, a job runs that nobody follows yet."""
    world = RunsWorld()
    world.land("0")
    killed = Actor(world)
    killed.begin("launch")
    killed.move_to("start")
    killed.move()
    killed.crash()
    finish(world.cancel())
    world.land("0")

    for _ in range(3):  # The job takes its time: a tick would let it end.
        world.survive(world.track, world.launch)
        world.check()

    assert len(world.jobs.tokens) == len(DOCUMENT.datasets)


@pytest.mark.parametrize("late", ["launch", "track"])
def test_run_that_ended_stays_ended(late: str) -> None:
    """Whoever was held up before noting a run's state must not note an older one over its end."""
    world = RunsWorld()
    world.land("0")
    slow = Actor(world)
    if late == "track":
        finish(world.launch())
        world.jobs.advance()
    slow.begin(late)
    slow.move_to("update_run")
    world.settle()

    slow.finish()

    world.check()


def test_tracker_that_another_has_overtaken_finds_nothing_to_do() -> None:
    """Between reading which run is open and reading that run, the run can end."""
    world = RunsWorld()
    world.land("0")
    slow = Actor(world)
    finish(world.launch())
    slow.begin("track")
    slow.move_to("run")
    world.settle()

    slow.finish()

    world.check_end()


class OneJobIsGone(JobService):
    """Somebody deleted the job of the first dataset."""

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """Refuse that job."""
        if job == "one":
            raise Misconfigured("databricks", "has no job called 'one'")
        return await super().start(job, token=token, parameters=parameters)


def test_dataset_that_a_person_must_mend_holds_up_no_other() -> None:
    """Each dataset is somebody else's table."""
    world = RunsWorld()
    world.jobs = OneJobIsGone(world.files)
    world.land("0")

    for _ in range(3):
        with pytest.raises(Misconfigured):
            finish(world.launch())

    assert {run.dataset: str(run.state) for run in world.runs()} == {
        "first": "planned",
        "second": "launched",
    }
