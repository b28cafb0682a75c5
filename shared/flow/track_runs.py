"""run → table: follow open runs to their end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.run import RunState, after_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.dataset import Dataset
    from shared.domain.run import Progress, Run
    from shared.ports import Clock, Jobs, Ledger, RunFiles

_LOST = JobRun(outcome=JobOutcome.FAILED, message="the job service does not know this run any more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTracked:
    """What became of the open runs; `rows_merged` counts inserted and updated rows."""

    open: int
    succeeded: int
    retried: int
    failed: int
    rows_merged: int
    records_quarantined: int


async def track_runs(
    datasets: Sequence[Dataset], *, ledger: Ledger, files: RunFiles, jobs: Jobs, clock: Clock
) -> RunsTracked:
    """Ask the job service about each open run and note what it says; retry or give up a failed one.

    Raises `TryLater`; may be called again at any time.
    """
    ended: list[Run] = []
    still_open = 0
    for dataset in datasets:
        progress = await ledger.progress(dataset.name)
        run = await ledger.run(dataset.name, progress.run_open) if progress.run_open else None
        if run is None or not run.is_open:  # Somebody else has closed it meanwhile.
            continue
        after = await _advance(run, files=files, jobs=jobs, clock=clock)
        still_open += after.is_open
        if after is not run:
            await _note(after, progress=progress, ledger=ledger)
            ended.append(after)
    return _report(ended, still_open=still_open)


async def _advance(run: Run, *, files: RunFiles, jobs: Jobs, clock: Clock) -> Run:
    """The run as the service now sees it; the same object when nothing changed."""
    if run.state is RunState.PLANNED:
        return run
    assert run.job_run is not None, "a launched run has a number"
    found = await jobs.look(run.job_run) or _LOST
    match found.outcome:
        case JobOutcome.WAITING:
            return run
        case JobOutcome.RUNNING:
            return run if run.state is RunState.RUNNING else run.to(RunState.RUNNING)
        case JobOutcome.FAILED:
            return after_failure(run, message=found.message, now=clock.now())
        case JobOutcome.SUCCEEDED:
            counts = await files.result(run.dataset, run.id)
            if counts is None:
                message = "the job succeeded but left no result"
                return after_failure(run, message=message, now=clock.now())
            return run.to(RunState.SUCCEEDED, ended_at=clock.now(), counts=counts, message="")


async def _note(run: Run, *, progress: Progress, ledger: Ledger) -> None:
    if run.is_open:
        await ledger.update_run(run)
    else:
        await ledger.close_run(run, progress.without_run())


def _report(ended: list[Run], *, still_open: int) -> RunsTracked:
    succeeded = [run for run in ended if run.state is RunState.SUCCEEDED]
    return RunsTracked(
        open=still_open,
        succeeded=len(succeeded),
        retried=sum(run.state is RunState.PLANNED for run in ended),
        failed=sum(run.state is RunState.FAILED for run in ended),
        rows_merged=sum(
            run.counts.get("inserted", 0) + run.counts.get("updated", 0) for run in succeeded
        ),
        records_quarantined=sum(run.counts.get("quarantined", 0) for run in succeeded),
    )
