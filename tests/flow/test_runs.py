"""raw → run → table: one open run a dataset, nothing forgotten, nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory import (
    MemoryClock,
    MemoryJobs,
    MemoryLedger,
    MemoryRawStore,
    MemoryRunFiles,
)
from shared.domain.errors import Misconfigured
from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.run import ATTEMPTS_MAX, RunState
from shared.flow.raw_to_run import RunsLaunched, launch_runs
from shared.flow.track_runs import RunsTracked, track_runs
from tests.builders import blob, document


class World:
    """Everything runs touch, in memory."""

    def __init__(self) -> None:
        """Nothing is landed yet."""
        self.document = document()
        self.raw = MemoryRawStore()
        self.ledger = MemoryLedger()
        self.files = MemoryRunFiles()
        self.jobs = MemoryJobs()
        self.clock = MemoryClock()

    async def land(self, first: int, last: int) -> None:
        """Land one blob."""
        await self.raw.land(blob(first, last))

    async def launch(self) -> RunsLaunched:
        """What the blob trigger does."""
        return await launch_runs(
            self.document.datasets,
            self.document,
            raw=self.raw,
            ledger=self.ledger,
            files=self.files,
            jobs=self.jobs,
            clock=self.clock,
        )

    async def track(self) -> RunsTracked:
        """What the timer does."""
        return await track_runs(
            self.document.datasets,
            ledger=self.ledger,
            files=self.files,
            jobs=self.jobs,
            clock=self.clock,
        )

    def end_jobs(self, outcome: JobOutcome, message: str = "") -> None:
        """Let every job run end, with a result when it succeeded."""
        for number in self.jobs.tokens.values():
            self.jobs.states[number] = JobRun(outcome=outcome, message=message)
        if outcome is JobOutcome.SUCCEEDED:
            for run in self.ledger.rows.values():
                self.files.results[run.id] = {"inserted": 1, "updated": 1}

    def covered(self) -> list[str]:
        """Every blob in every manifest."""
        return [
            each["name"]
            for manifest in self.files.manifests.values()
            for each in json.loads(manifest)["blobs"]
        ]


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
