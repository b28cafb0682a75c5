"""raw → run: cover what is newly landed by one run a dataset, and launch it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured
from shared.domain.run import RunState, follow, manifest_of, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document
    from shared.domain.run import Run
    from shared.ports import Clock, Jobs, Ledger, RawStore, RunFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsLaunched:
    """What became of a hint that there is something to transform."""

    datasets: int
    planned: int
    launched: int
    coalesced: int  # Datasets whose open run must end first; its successor takes the blobs.


async def launch_runs(
    datasets: Sequence[Dataset],
    document: Document,
    *,
    raw: RawStore,
    ledger: Ledger,
    files: RunFiles,
    jobs: Jobs,
    clock: Clock,
) -> RunsLaunched:
    """For each dataset without an open run: plan one over what is landed; launch what is planned.

    Raises `TryLater`; may be called again at any time and by several at once: a run and the
    progress it covers are written together or not at all, and the launch carries a token.
    """
    counts = Counter[str]()
    held_up: Misconfigured | None = None
    for dataset in datasets:
        progress = await ledger.progress(dataset.name)
        run = await ledger.run(dataset.name, progress.run_open) if progress.run_open else None
        if run is None:
            heads = follow(
                await raw.landed_after(dataset.consumes, progress.planned), progress.planned
            )
            if not heads:
                continue
            run, moved = plan(heads, dataset=dataset, progress=progress, now=clock.now())
            manifest = manifest_of(run, heads, document=document, storage=files.storage())
            await files.put_manifest(dataset.name, run.id, manifest)
            if not await ledger.open_run(run, moved):
                counts["coalesced"] += 1  # Somebody else planned first.
                continue
            counts["planned"] += 1
            run = await ledger.run(dataset.name, run.id) or run
        if run.state is not RunState.PLANNED or run.due_at > clock.now():
            counts["coalesced"] += 1
            continue
        try:
            counts["launched"] += await _launch(run, ledger=ledger, files=files, jobs=jobs)
        except Misconfigured as error:  # Only this dataset waits for a person.
            held_up = error
    if held_up is not None:
        raise held_up
    return RunsLaunched(
        datasets=len(datasets),
        planned=counts["planned"],
        launched=counts["launched"],
        coalesced=counts["coalesced"],
    )


async def _launch(run: Run, *, ledger: Ledger, files: RunFiles, jobs: Jobs) -> bool:
    """Start the job. Killed between the start and the note of it, the next call finds that run.

    What only a person can mend stays planned, with the reason on the run.
    """
    address = files.manifest_address(run.dataset, run.id)
    parameters = {"run": run.id, "manifest": address}
    try:
        number = await jobs.start(run.job, token=run.token, parameters=parameters)
    except Misconfigured as error:
        if run.message != str(error):
            await ledger.update_run(replace(run, message=str(error)))
        raise
    return await ledger.update_run(run.to(RunState.LAUNCHED, job_run=number, message=""))
