"""raw → run → table: one open run a dataset, nothing forgotten, nothing twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory import MemoryJobs, MemoryLedger
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.job_run import JobOutcome
from shared.domain.run import ATTEMPTS_MAX, RunState
from tests.builders import document
from tests.memory_runs import World


async def test_blobs_that_arrive_during_a_run_wait_for_one_next_run() -> None:
    """A thousand blobs in a burst must not be a thousand runs."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    for number in range(1, 1000):
        await world.land(number, number)
        await world.launch()
    world.end_jobs(JobOutcome.SUCCEEDED)
    await world.track()
    await world.launch()

    assert len(world.ledger.rows) == 2
    assert sorted(world.covered()) == sorted(world.raw.blobs)


async def test_dataset_that_runs_every_hour_takes_in_what_came_meanwhile() -> None:
    """A run over little is all start-up, and start-ups are what a table costs."""
    world = World()
    hourly = document().dataset("quakes").model_dump(by_alias=True) | {"runEvery": "PT1H"}
    world.document = document(datasets=[hourly])
    await world.land(0, 0)
    await world.launch()
    world.end_jobs(JobOutcome.SUCCEEDED)
    await world.track()
    await world.land(1, 1)

    world.clock.moment += timedelta(minutes=59)
    early = await world.launch()
    world.clock.moment += timedelta(minutes=1)
    due = await world.launch()

    assert (early.planned, due.planned) == (0, 1)


async def test_killed_before_the_launch_is_noted_the_job_still_runs_once() -> None:
    """The service answers the token with the run it already has."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    (run,) = world.ledger.rows.values()
    await world.ledger.update_run(replace(run, state=RunState.PLANNED, job_run=None))

    await world.launch()

    (again,) = world.ledger.rows.values()
    assert len(world.jobs.tokens) == 1
    assert again.job_run == run.job_run


async def test_dataset_that_waits_for_a_person_holds_up_no_other() -> None:
    """One job that is not deployed must not stop the tables of the others."""
    world = World()
    other = {
        "name": "others",
        "consumes": "quakes",
        "primaryKey": ["id"],
        "columns": {"id": {"type": "string"}},
        "job": "missing",
    }
    world.document = document(
        datasets=[other, document().dataset("quakes").model_dump(by_alias=True)],
        databricks={
            "jobs": [{"name": name, "entryPoint": "a:b"} for name in ("transform", "missing")]
        },
    )

    class Undeployed(MemoryJobs):
        async def start(self, job: str, **rest: Any) -> int:
            if job == "missing":
                raise Misconfigured("databricks.jobs", "has no job called missing")
            return await super().start(job, **rest)

    world.jobs = Undeployed()
    await world.land(0, 0)

    with pytest.raises(Misconfigured):
        await world.launch()

    states = {run.dataset: (run.state, run.message) for run in world.ledger.rows.values()}
    assert states["quakes"] == (RunState.LAUNCHED, "")
    assert states["others"] == (RunState.PLANNED, "databricks.jobs has no job called missing")


async def test_two_planners_at_once_open_one_run() -> None:
    """Blob events come in parallel: whoever comes second sees the progress moved."""
    world = World()
    await world.land(0, 0)

    class Racing(MemoryLedger):
        async def open_run(self, *arguments: Any) -> bool:
            world.ledger = MemoryLedger(rows=self.rows, kept=self.kept)
            await world.launch()
            return await super().open_run(*arguments)

    world.ledger = Racing()
    report = await world.launch()

    assert (report.planned, report.coalesced) == (0, 1)
    assert len(world.ledger.rows) == 1


async def test_run_is_followed_to_its_end() -> None:
    """States advance as the service's do, and the counts come into the ledger."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    world.end_jobs(JobOutcome.RUNNING)
    await world.track()
    running = next(iter(world.ledger.rows.values())).state
    world.end_jobs(JobOutcome.SUCCEEDED)

    report = await world.track()

    (run,) = world.ledger.rows.values()
    assert (running, run.state) == (RunState.RUNNING, RunState.SUCCEEDED)
    assert (report.succeeded, report.rows_merged) == (1, 2)


async def test_failed_run_is_tried_again_when_it_is_due_and_given_up_at_last() -> None:
    """Its blobs stay in its manifest, and later blobs get a run of their own."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    for _ in range(ATTEMPTS_MAX):
        world.end_jobs(JobOutcome.FAILED, "boom")
        await world.track()
        early = await world.launch()
        world.clock.moment += timedelta(hours=1)
        await world.launch()
    await world.land(1, 1)

    await world.launch()

    states = sorted(run.state for run in world.ledger.rows.values())
    assert early.launched == 0
    assert len(world.jobs.tokens) == ATTEMPTS_MAX + 1
    assert states == [RunState.FAILED, RunState.LAUNCHED]


async def test_run_the_service_forgot_is_tried_again() -> None:
    """A workspace can lose a run; its blobs must not be lost with it."""
    world = World()
    await world.land(0, 0)
    await world.launch()

    report = await world.track()

    assert report.retried == 1


async def test_success_without_a_result_is_no_success() -> None:
    """What cannot be counted is not believed."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    world.end_jobs(JobOutcome.SUCCEEDED)
    world.files.results.clear()

    report = await world.track()

    assert (report.succeeded, report.retried) == (0, 1)


async def test_burst_of_a_thousand_blobs_makes_at_most_three_runs() -> None:
    """Each run costs a job's start-up; blobs that come during one wait for the next."""
    world = World()
    for number in range(1000):
        await world.land(number, number)
        await world.launch()
        if number in {300, 999}:
            await world.finish()
    await world.finish()

    assert len(world.runs("quakes")) <= 3
    assert sorted(world.covered()) == sorted(world.raw.blobs)
    assert {run.state for run in world.runs("quakes")} == {RunState.SUCCEEDED}


async def test_launch_that_the_service_did_not_answer_is_asked_for_again() -> None:
    """Whether the job began is not known; by the token it begins once."""
    world = World()
    await world.land(0, 0)

    class Mute(MemoryJobs):
        async def start(self, job: str, **rest: Any) -> int:
            await super().start(job, **rest)
            raise TryLater("no answer")

    world.jobs = Mute()
    with pytest.raises(TryLater):
        await world.launch()
    (asked,) = world.runs("quakes")
    tokens = world.jobs.tokens
    world.jobs = MemoryJobs(tokens=tokens)
    await world.tick()

    (run,) = world.runs("quakes")
    assert (asked.state, asked.job_run, asked.message) == (RunState.LAUNCHED, None, "no answer")
    assert (run.state, run.job_run, run.message) == (RunState.LAUNCHED, 1, "")
    assert len(tokens) == 1


async def test_skipped_run_waits_for_the_queue_and_loses_no_attempt() -> None:
    """A full queue can last longer than five attempts."""
    world = World()
    await world.land(0, 0)
    await world.launch()

    for _ in range(ATTEMPTS_MAX * 2):
        await world.finish(JobOutcome.SKIPPED)
    (waiting,) = world.runs("quakes")
    await world.finish()

    (run,) = world.runs("quakes")
    assert (waiting.state, waiting.failures) == (RunState.LAUNCHED, 0)
    assert len(world.jobs.tokens) == ATTEMPTS_MAX * 2 + 1
    assert run.state is RunState.SUCCEEDED


async def test_run_cancelled_at_the_service_is_kept_and_not_tried_again() -> None:
    """Somebody wanted it to stop; what comes later goes on."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    world.end_jobs(JobOutcome.CANCELLED, "CANCELED: by ann")
    await world.land(1, 1)

    report = await world.tick()
    await world.finish()
    await world.tick()

    cancelled, later = world.runs("quakes")
    assert (report.cancelled, report.retried, report.failed) == (1, 0, 0)
    assert (cancelled.state, cancelled.message) == (RunState.CANCELLED, "CANCELED: by ann")
    assert later.state is RunState.SUCCEEDED
    assert sorted(world.covered()) == sorted(world.raw.blobs)


async def test_run_given_up_is_an_alert_that_says_what_to_do() -> None:
    """Nobody looks at a table of runs before something is missing."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    reports = []
    for _ in range(ATTEMPTS_MAX):
        world.end_jobs(JobOutcome.FAILED, "no such column")
        reports.append(await world.tick())

    (run,) = world.runs("quakes")
    assert [report.failed for report in reports] == [0, 0, 0, 0, 1]
    (alert,) = reports[-1].alerts
    assert alert == (
        f"run {run.id} of quakes failed for good after 5 failures: no such column; what it covers "
        f"is kept: mend the cause, then millrace runs retry {run.id}"
    )


async def test_end_that_somebody_else_noted_is_not_counted_twice() -> None:
    """Two trackers see the same end; the counters add up over both."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    world.end_jobs(JobOutcome.SUCCEEDED)

    others = []

    class Overtaken(MemoryLedger):
        async def close_run(self, *arguments: Any) -> bool:
            world.ledger = MemoryLedger(rows=self.rows, kept=self.kept)
            others.append(await world.track())
            return await super().close_run(*arguments)

    world.ledger = Overtaken(rows=world.ledger.rows, kept=world.ledger.kept)
    report = await world.track()

    assert (report.succeeded, report.rows_merged) == (0, 0)
    assert [(other.succeeded, other.rows_merged) for other in others] == [(1, 2)]


async def test_end_is_noted_for_sql_and_what_was_staged_is_gone() -> None:
    """People ask about runs in SQL; staged rows cost money for nothing."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    (run,) = world.runs("quakes")
    launched = world.files.notes[run.id].state
    world.files.staging |= {run.id, "quakes-other"}

    await world.finish()

    assert launched is RunState.LAUNCHED
    assert world.files.notes[run.id].state is RunState.SUCCEEDED
    assert world.files.notes[run.id].counts["inserted"] == 1
    assert world.files.staging == {"quakes-other"}


async def test_late_note_does_not_take_an_end_back() -> None:
    """Whoever was held up between launching and noting it must not undo what came after."""
    world = World()
    await world.land(0, 0)
    await world.launch()
    (launched,) = world.runs("quakes")
    await world.finish()

    await world.files.note(launched)

    assert world.files.notes[launched.id].state is RunState.SUCCEEDED
