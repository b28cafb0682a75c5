"""run, by hand: try one again that failed or was cancelled, or cancel one.

A person's commands; the tracking timer does the rest. Both steps are safe to repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured, TryLater
from shared.domain.fields import nearest
from shared.domain.run import RunState, reopen, tables_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.dataset import Curated, Dataset
    from shared.domain.run import Run
    from shared.ports import Clock, Jobs, Ledger

QUEUED = "queued"  # It is tried again when the run has ended that its table has open now.
CANCELLING = "cancelling"  # The service was asked; the timer notes what became of it.
_TRIES = 10  # Each is lost to somebody who moved the same table on meanwhile.


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOperated:
    """What a person's command did; `state` is the run's, or `queued`, or `cancelling`."""

    run: str
    dataset: str
    state: str


async def retry_run(
    run_id: str, *, datasets: Sequence[Dataset | Curated], ledger: Ledger, clock: Clock
) -> RunOperated:
    """Try a run again with its manifest: at once, or after the run that its table has open.

    A run that is open already is left as it is. Raises `Misconfigured("run", …)` for an id that no
    run has, for a run that succeeded, and for a curated run whose successor covers what it did.
    Raises `TryLater`; may be called again.
    """
    for _ in range(_TRIES):
        run = await _find(run_id, datasets=datasets, ledger=ledger)
        if run.is_open:
            return _operated(run)
        if run.state is RunState.SUCCEEDED:
            problem = f"{run.id} has succeeded; millrace replay reads raw blobs again"
            raise Misconfigured("run", problem)
        progress = await ledger.progress(run.dataset)
        if any(progress.planned.get(name) != place for name, place in run.inputs.items()):
            problem = f"{run.id} cannot be tried again: a later run of {run.dataset} covers it"
            raise Misconfigured("run", problem)
        if run.id in progress.queued:
            return _operated(run, QUEUED)
        if progress.run_open:
            if await ledger.replace_progress(progress.with_queued(run.id)):
                return _operated(run, QUEUED)
        else:
            again, moved = reopen(run, progress, now=clock.now())
            if await ledger.reopen_run(again, moved):
                return _operated(again)
    raise TryLater(f"{run_id} is being changed by others; try again")


async def cancel_run(
    run_id: str,
    *,
    datasets: Sequence[Dataset | Curated],
    ledger: Ledger,
    jobs: Jobs,
    clock: Clock,
) -> RunOperated:
    """Cancel a run: a planned one at once, a launched one by asking the service to.

    What it covers is kept, and `retry_run` brings it in. Raises `Misconfigured("run", …)` for an id
    that no run has and for a run that has ended, and `TryLater`; may be called again.
    """
    for _ in range(_TRIES):
        run = await _find(run_id, datasets=datasets, ledger=ledger)
        if run.state is RunState.CANCELLED:
            return _operated(run)
        if not run.is_open:
            raise Misconfigured("run", f"{run.id} has {run.state} already")
        if run.job_run is not None:
            await jobs.cancel(run.job_run)
            return _operated(run, CANCELLING)
        if run.state is RunState.LAUNCHED:
            raise TryLater(f"{run.id} is being launched; try again in a moment")
        cancelled = run.to(
            RunState.CANCELLED, ended_at=clock.now(), message="cancelled before it was launched"
        )
        if await ledger.update_run(cancelled):  # The timer frees its place, as for every end.
            return _operated(cancelled)
    raise TryLater(f"{run_id} is being changed by others; try again")


async def _find(run_id: str, *, datasets: Sequence[Dataset | Curated], ledger: Ledger) -> Run:
    """The run, asked for in each table whose name its id begins with."""
    for table in tables_of(run_id, datasets):
        if found := await ledger.run(table.name, run_id):
            return found
    known = [run.id for table in datasets for run in await ledger.runs(table.name)]
    raise Misconfigured("run", f"{run_id!r} is no run's id{nearest(run_id, known)}")


def _operated(run: Run, state: str = "") -> RunOperated:
    return RunOperated(run=run.id, dataset=run.dataset, state=state or str(run.state))
