"""raw → run: cover what is new by one run a table, and launch it.

What is new is landed blobs for a dataset, and newer versions of its inputs for a curated table.
What a person asked to be tried again, and maintenance that is due, come first: each of them only
once, so nothing that is new waits for long.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain.dataset import Curated
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.manifest import (
    Input,
    curated_manifest,
    inputs_of,
    maintenance_manifest,
    manifest_of,
)
from shared.domain.run import (
    Planned,
    RunKind,
    RunState,
    follow,
    has_runs,
    plan,
    plan_curated,
    plan_maintenance,
    reopen,
)
from shared.domain.trace import UNTRACED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document
    from shared.domain.run import Progress, Run
    from shared.ports import Clock, Jobs, Ledger, RawStore, RunFiles, Traces

#: Clocks of two machines differ by less; a run listed needlessly does no harm.
_CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsLaunched:
    """What became of a hint that there is something to transform; `tables` says of which."""

    datasets: int
    planned: int
    launched: int
    coalesced: int  # Tables whose open run must end first; its successor takes what is new.
    tables: Mapping[str, Sequence[str]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """The run that a table gets next, and what goes with it; `manifest` is None if it has one."""

    run: Run
    progress: Progress
    manifest: bytes | None


async def launch_runs(
    tables: Sequence[Dataset | Curated],
    document: Document,
    *,
    raw: RawStore,
    ledger: Ledger,
    files: RunFiles,
    jobs: Jobs,
    clock: Clock,
    traces: Traces = UNTRACED,
) -> RunsLaunched:
    """For each table without an open run: plan one over what is new; launch what is planned.

    Raises `TryLater`; may be called again at any time and by several at once: a run and the
    progress it covers are written together or not at all, and the launch carries a token.
    """
    planner = _Planner(
        document=document, raw=raw, ledger=ledger, files=files, clock=clock, traces=traces
    )
    became = defaultdict[str, list[str]](list)
    held_up: Misconfigured | None = None
    for table in filter(has_runs, tables):
        progress = await ledger.progress(table.name)
        run = await ledger.run(table.name, progress.run_open) if progress.run_open else None
        if run is None:
            coming = await planner.find_next(table, progress)
            if coming is None:
                continue
            run = await planner.open(coming)
            if run is None:
                became["coalesced"].append(table.name)  # Somebody else planned first.
                continue
            became["planned"].append(table.name)
        if not _is_to_launch(run) or run.due_at > clock.now():
            became["coalesced"].append(table.name)
            continue
        try:
            if await _launch(run, ledger=ledger, files=files, jobs=jobs):
                became["launched"].append(table.name)
        except Misconfigured as error:  # Only this table waits for a person.
            held_up = error
    if held_up is not None:
        raise held_up
    return RunsLaunched(
        datasets=len(tables),
        planned=len(became["planned"]),
        launched=len(became["launched"]),
        coalesced=len(became["coalesced"]),
        tables=became,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planner:
    """Finds what comes next for a table."""

    document: Document
    raw: RawStore
    ledger: Ledger
    files: RunFiles
    clock: Clock
    traces: Traces

    async def open(self, coming: _Next) -> Run | None:
        """Open the run; None when the table has moved on meanwhile."""
        run = coming.run
        if coming.manifest is None:
            opened = await self.ledger.reopen_run(run, coming.progress)
        else:
            await self.files.put_manifest(run.dataset, run.id, coming.manifest)
            opened = await self.ledger.open_run(run, coming.progress)
        return (await self.ledger.run(run.dataset, run.id) or run) if opened else None

    async def find_next(self, table: Dataset | Curated, progress: Progress) -> _Next | None:
        """What is queued, or else a run over what is new, if anything is."""
        for run_id in progress.queued:
            if found := await self._queued(table, run_id, progress):
                return found
            progress = progress.without_queued(run_id)
        if isinstance(table, Curated):
            return await self._curated(table, progress)
        return await self._clean(table, progress)

    async def _queued(
        self, table: Dataset | Curated, run_id: str, progress: Progress
    ) -> _Next | None:
        """A retry, or maintenance; None for a run that was brought in while it was being queued."""
        now = self.clock.now()
        run = await self.ledger.run(table.name, run_id)
        if run is None:
            run, moved = plan_maintenance(table, run_id, progress=progress, now=now)
            run = self._traced(run)
            storage = self.files.storage()
            manifest = maintenance_manifest(run, table, document=self.document, storage=storage)
            return _Next(run=run, progress=moved, manifest=manifest)
        if run.state not in {RunState.FAILED, RunState.CANCELLED}:
            return None
        run, moved = reopen(run, progress, now=now)
        return _Next(run=run, progress=moved, manifest=None)

    async def _clean(self, dataset: Dataset, progress: Progress) -> _Next | None:
        """A run over the blobs that link up with what is planned, when it is time for one."""
        if dataset.run_every is not None and progress.run_succeeded:
            last = await self.ledger.run(dataset.name, progress.run_succeeded)
            if last is not None and self.clock.now() < last.planned_at + dataset.run_every:
                return None
        heads = await self.raw.landed_after(dataset.consumes, progress.planned)
        heads = follow(heads, progress.planned)
        if not heads:
            return None
        run, moved = plan(heads, dataset=dataset, progress=progress, now=self.clock.now())
        run = self._traced(run, *(head.traceparent for head in heads))
        manifest = manifest_of(run, heads, document=self.document, storage=self.files.storage())
        return _Next(run=run, progress=moved, manifest=manifest)

    async def _curated(self, curated: Curated, progress: Progress) -> _Next | None:
        """A run over the inputs as they are now, when each has rows and one of them newer ones."""
        tables = inputs_of(curated, self.document)
        places = {table.name: await self._place(table.name, progress) for table in tables}
        known = {name: place for name, place in places.items() if place is not None}
        if len(known) < len(places) or all(
            progress.planned.get(name) == place for name, place in known.items()
        ):
            return None
        covered = await self._covered(curated, progress)
        news = {
            name: await self._new_runs(name, covered.get(name), place)
            for name, place in known.items()
        }
        inputs = [
            Input(
                table=table,
                version=known[table.name].sequence,
                runs=tuple(run.id for run in news[table.name]),
            )
            for table in tables
        ]
        run, moved = plan_curated(curated, known, progress=progress, now=self.clock.now())
        run = self._traced(run, *(each.traceparent for runs in news.values() for each in runs))
        manifest = curated_manifest(
            run, curated, inputs, document=self.document, storage=self.files.storage()
        )
        return _Next(run=run, progress=moved, manifest=manifest)

    async def _place(self, name: str, progress: Progress) -> Planned | None:
        """How far an input is: as planned if its version is still the same; None without rows."""
        known = progress.planned.get(name)
        newest = (await self.ledger.progress(name)).run_succeeded
        if known is not None and newest in {known.blob, ""}:
            return known
        run = await self.ledger.run(name, newest) if newest else None
        if run is None:
            return None
        version = run.table_version
        if known is not None and known.sequence == version:  # That run changed no row.
            return known
        return Planned(sequence=version, blob=run.id)

    async def _covered(self, curated: Curated, progress: Progress) -> dict[str, Planned]:
        """What the last run of a curated table that succeeded has covered."""
        if not progress.run_succeeded:
            return {}
        run = await self.ledger.run(curated.name, progress.run_succeeded)
        return dict(run.inputs) if run else {}

    async def _new_runs(self, name: str, covered: Planned | None, place: Planned) -> list[Run]:
        """The runs that wrote what is not covered, in their order; all for a table made anew."""
        since = None
        if covered is not None and covered.sequence <= place.sequence:
            run = await self.ledger.run(name, covered.blob)
            since = run.ended_at - _CLOCKS_DIFFER if run and run.ended_at else None
        found = [
            run
            for run in await self.ledger.runs(name, ended_since=since)
            if run.state is RunState.SUCCEEDED
            and run.kind is not RunKind.MAINTENANCE
            and (since is None or covered is None or run.table_version > covered.sequence)
        ]
        return sorted(found, key=lambda run: (run.table_version, run.id))

    def _traced(self, run: Run, *origins: str) -> Run:
        return replace(run, traceparent=self.traces.planned(run, origins=origins))


def _is_to_launch(run: Run) -> bool:
    """Whether the service is still to be asked; who asked and was killed then never noted it."""
    return run.state is RunState.PLANNED or (run.state is RunState.LAUNCHED and run.job_run is None)


async def _launch(run: Run, *, ledger: Ledger, files: RunFiles, jobs: Jobs) -> bool:
    """Start the job: note first that it is asked for, then ask, then note its number.

    Killed anywhere between, the next call finds the same job run by its token. What only a person
    can mend goes back to planned, with the reason on the run.
    """
    if run.state is RunState.PLANNED:
        if not await ledger.update_run(run.to(RunState.LAUNCHED)):
            return False  # Somebody else has launched or cancelled it.
        run = await ledger.run(run.dataset, run.id) or run
        if not _is_to_launch(run):
            return False
    address = files.manifest_address(run.dataset, run.id)
    parameters = {"run": run.id, "manifest": address}
    try:
        number = await jobs.start(run.job, token=run.token, parameters=parameters)
    except Misconfigured as error:  # Nothing was started.
        await ledger.update_run(run.to(RunState.PLANNED, message=str(error)))
        raise
    except TryLater as error:  # It may have been: the next call asks again by the same token.
        if run.message != str(error):
            await ledger.update_run(replace(run, message=str(error)))
        raise
    launched = replace(run, job_run=number, message="")
    await files.note(launched)
    return await ledger.update_run(launched)
