"""run → table: follow open runs to their end.

The end of a run is noted where SQL reads it, then what it staged is deleted, then its row and the
progress of its table change together. Killed before that, the next call does all of it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.run import RunState, after_failure, after_skip, has_runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.domain.dataset import Curated, Dataset
    from shared.domain.run import Progress, Run
    from shared.ports import Clock, Jobs, Ledger, RunFiles

_LOST = JobRun(outcome=JobOutcome.FAILED, message="the job service does not know this run any more")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsTracked:
    """What became of the open runs; `rows_merged` counts inserted and updated rows.

    `runs` are those that moved, as they are now. `alerts` are for a person: a line for each run
    that was given up.
    """

    open: int
    succeeded: int
    retried: int
    failed: int
    cancelled: int
    rows_merged: int
    records_quarantined: int
    runs: tuple[Run, ...] = field(default=(), compare=False)
    alerts: tuple[str, ...] = field(default=())


async def track_runs(
    tables: Sequence[Dataset | Curated],
    *,
    ledger: Ledger,
    files: RunFiles,
    jobs: Jobs,
    clock: Clock,
) -> RunsTracked:
    """Ask the job service about each open run and note what it says; retry or give up a failed one.

    Raises `TryLater`; may be called again at any time.
    """
    moved: list[Run] = []
    still_open = 0
    for table in filter(has_runs, tables):
        progress = await ledger.progress(table.name)
        run = await ledger.run(table.name, progress.run_open) if progress.run_open else None
        if run is None:
            continue
        after = await _advance(run, files=files, jobs=jobs, clock=clock) if run.is_open else run
        still_open += after.is_open
        if after.is_open and after is not run and await ledger.update_run(after):
            moved.append(after)
        if not after.is_open and await _end(after, progress, ledger=ledger, files=files):
            moved.append(after)
    return _report(moved, still_open=still_open)


async def _advance(run: Run, *, files: RunFiles, jobs: Jobs, clock: Clock) -> Run:
    """The run as the service now sees it; the same object when nothing changed."""
    if run.job_run is None:
        return run
    found = await jobs.look(run.job_run) or _LOST
    if found.outcome is not JobOutcome.SUCCEEDED:
        return _moved(run, found, now=clock.now())
    counts = await files.result(run.dataset, run.id)
    if counts is None:
        message = "the job succeeded but left no result"
        return after_failure(run, message=message, now=clock.now())
    return run.to(RunState.SUCCEEDED, ended_at=clock.now(), counts=counts, message="")


def _moved(run: Run, found: JobRun, *, now: datetime) -> Run:
    match found.outcome:
        case JobOutcome.RUNNING if run.state is not RunState.RUNNING:
            return run.to(RunState.RUNNING)
        case JobOutcome.FAILED:
            return after_failure(run, message=found.message, now=now)
        case JobOutcome.SKIPPED:
            return after_skip(run, message=found.message, now=now)
        case JobOutcome.CANCELLED:
            return run.to(RunState.CANCELLED, ended_at=now, message=found.message)
        case _:
            return run


async def _end(run: Run, progress: Progress, *, ledger: Ledger, files: RunFiles) -> bool:
    """Leave what an ended run leaves, and free its place; whether nobody else did so before."""
    await files.note(run)
    await files.drop_staging(run.id)
    return await ledger.close_run(run, progress.after(run))


def _report(moved: list[Run], *, still_open: int) -> RunsTracked:
    succeeded = [run for run in moved if run.state is RunState.SUCCEEDED]
    failed = [run for run in moved if run.state is RunState.FAILED]
    return RunsTracked(
        open=still_open,
        succeeded=len(succeeded),
        retried=sum(run.state is RunState.PLANNED for run in moved),
        failed=len(failed),
        cancelled=sum(run.state is RunState.CANCELLED for run in moved),
        rows_merged=sum(
            run.counts.get("inserted", 0) + run.counts.get("updated", 0) for run in succeeded
        ),
        records_quarantined=sum(run.counts.get("quarantined", 0) for run in succeeded),
        runs=tuple(moved),
        alerts=tuple(map(_alert, failed)),
    )


def _alert(run: Run) -> str:
    return (
        f"run {run.id} of {run.dataset} failed for good after {run.failures} failures: "
        f"{run.message}; what it covers is kept: mend the cause, then millrace runs retry {run.id}"
    )
