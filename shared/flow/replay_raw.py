"""raw → run, again: rebuild tables from raw without touching the source or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured, TryLater
from shared.domain.manifest import manifest_of
from shared.domain.run import plan_replay

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document
    from shared.ports import Clock, Ledger, RawStore, RunFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlanned:
    """One run that reads blobs again; the tracking timer launches and follows it."""

    dataset: str
    run: str
    blobs: int
    events: int


async def replay_raw(
    dataset: Dataset,
    document: Document,
    *,
    start: datetime,
    end: datetime,
    raw: RawStore,
    ledger: Ledger,
    files: RunFiles,
    clock: Clock,
) -> ReplayPlanned:
    """Plan a run over every blob whose first event was enqueued from `start`'s to `end`'s hour.

    Newer rows are never overwritten by older events, so any range may be replayed at any time.
    Raises `TryLater` while another run is open, and `Misconfigured` when the range holds nothing.
    """
    progress = await ledger.progress(dataset.name)
    if progress.run_open:
        raise TryLater(f"run {progress.run_open} is open; replay when it has ended: millrace wait")
    heads = [head async for head in raw.heads(dataset.consumes, start=start, end=end)]
    if not heads:
        raise Misconfigured("--from/--to", f"no raw blob of {dataset.consumes} is from that time")
    run, moved = plan_replay(heads, dataset=dataset, progress=progress, now=clock.now())
    manifest = manifest_of(run, heads, document=document, storage=files.storage())
    await files.put_manifest(dataset.name, run.id, manifest)
    if not await ledger.open_run(run, moved):
        raise TryLater(f"another run of {dataset.name} was planned meanwhile; try again")
    return ReplayPlanned(dataset=dataset.name, run=run.id, blobs=run.blobs, events=run.events)
