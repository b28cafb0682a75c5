"""run, looked at: what there is, and everything about one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.run import has_runs, tables_of
from shared.domain.run_text import RunAbsent, next_step, summary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from shared.domain.dataset import Curated, Dataset
    from shared.domain.document import Document
    from shared.domain.run import Run, RunState
    from shared.ports import Ledger, RunFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShown:
    """One run with all that is known of it; `details` are `lineage` and `drift`, if it left any."""

    run: Run
    manifest: str
    next_step: str
    details: Mapping[str, Any]

    def described(self, *, now: datetime) -> dict[str, Any]:
        """The same for programs."""
        inputs = {
            name: {"version": place.sequence, "run": place.blob}
            for name, place in self.run.inputs.items()
        }
        return {
            **summary(self.run, now=now),
            "inputs": inputs,
            "manifest": self.manifest,
            **self.details,
            "nextStep": self.next_step,
        }


async def list_runs(
    tables: Sequence[Dataset | Curated], *, states: Collection[RunState], ledger: Ledger
) -> list[Run]:
    """The tables' runs in any of the states, the newest first. Raises `TryLater`."""
    found = [
        run
        for table in filter(has_runs, tables)
        for run in await ledger.runs(table.name)
        if run.state in states
    ]
    return sorted(found, key=lambda run: run.planned_at, reverse=True)


async def find_run(run_id: str, *, tables: Sequence[Dataset | Curated], ledger: Ledger) -> Run:
    """One run; raises `RunAbsent` and `TryLater`."""
    for table in tables_of(run_id, tables):
        if found := await ledger.run(table.name, run_id):
            return found
    known = [run.id for table in tables for run in await ledger.runs(table.name)]
    raise RunAbsent(run_id, known=known)


async def show_run(
    run_id: str, document: Document, *, ledger: Ledger, files: RunFiles, now: datetime
) -> RunShown:
    """Everything about one run; raises `RunAbsent` and `TryLater`."""
    run = await find_run(run_id, tables=document.tables, ledger=ledger)
    progress = await ledger.progress(run.dataset)
    late_after = document.alerts.run_late_after
    return RunShown(
        run=run,
        manifest=files.manifest_address(run.dataset, run.id),
        next_step=next_step(run, progress, now=now, late_after=late_after),
        details=await files.details(run.dataset, run.id),
    )
