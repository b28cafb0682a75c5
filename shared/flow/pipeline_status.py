"""The whole pipeline: where everything is, read from the state each arrow keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.dataset import Curated
from shared.domain.manifest import inputs_of
from shared.domain.raw_blob import START, Partition
from shared.domain.run import RunKind, RunState, has_runs

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document, EventHub
    from shared.domain.run import Progress
    from shared.domain.source import Source
    from shared.ports import Attempts, CursorStore, Hub, Ledger, Quarantine, RawStore


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """source → hub: totals since the first poll."""

    name: str
    records_sent: int
    events_sent: int
    changed_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionWaiting:
    """A partition that is behind.

    `landed_until` is when the last landed event was enqueued; `deaths` is how many tries of what
    comes next have ended with the process.
    """

    id: str
    events: int
    landed_until: datetime | None
    deaths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatus:
    """hub → raw: how many events the hub took, and how many of them are landed."""

    material: str
    events: int
    landed: int
    quarantined: int
    losses: int
    waiting: tuple[PartitionWaiting, ...]

    @property
    def lag(self) -> int:
        """Events that are not landed yet."""
        return self.events - self.landed


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatus:
    """raw → run → table, and for a curated one table → run → table.

    `failed` counts runs whose rows are missing from the table: maintenance is none of them.
    """

    name: str
    table: str
    runs: int
    succeeded: int
    failed: int
    open: str
    queued: int
    waiting: bool
    curated: bool
    message: str
    records_quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatus:
    """Every arrow."""

    sources: tuple[SourceStatus, ...]
    hubs: tuple[HubStatus, ...]
    datasets: tuple[DatasetStatus, ...]

    def pending(self) -> list[str]:
        """What is still to happen behind the sources, a line each; none when all is caught up."""
        waits = [
            f"hub {hub.material}: {_wait(partition)}"
            for hub in self.hubs
            for partition in hub.waiting
        ]
        for dataset in self.datasets:
            if dataset.open:
                because = f" ({dataset.message})" if dataset.message else ""
                waits.append(f"dataset {dataset.name}: {dataset.open}{because}")
            elif dataset.waiting:
                what = "inputs that changed" if dataset.curated else "landed blobs"
                waits.append(f"dataset {dataset.name}: {what} without a run")
            elif dataset.queued:
                waits.append(f"dataset {dataset.name}: {dataset.queued} runs in its queue")
            if dataset.failed:
                waits.append(f"dataset {dataset.name}: {dataset.failed} failed runs")
        return waits


def _wait(partition: PartitionWaiting) -> str:
    since = f"{partition.landed_until:%Y-%m-%d %H:%M:%S}Z" if partition.landed_until else "never"
    line = f"{partition.events} events of partition {partition.id} not landed, last one {since}"
    if partition.deaths:
        line += f"; what comes next has ended its process {partition.deaths} times"
    return line


async def read_status(
    document: Document,
    *,
    hub: Hub,
    cursors: CursorStore,
    raw: RawStore,
    attempts: Attempts,
    quarantine: Quarantine,
    ledger: Ledger,
) -> PipelineStatus:
    """Read every arrow's state in the order of the flow.

    In that order, what moves on meanwhile is seen where it arrives. Raises `TryLater`.
    """
    sources = [await _source(each, cursors=cursors) for each in document.sources]
    hubs = [
        await _hub(each, hub=hub, raw=raw, attempts=attempts, quarantine=quarantine)
        for each in document.eventhubs
    ]
    datasets = [
        await _table(each, document, raw=raw, ledger=ledger)
        for each in document.tables
        if has_runs(each)
    ]
    return PipelineStatus(sources=tuple(sources), hubs=tuple(hubs), datasets=tuple(datasets))


async def _source(source: Source, *, cursors: CursorStore) -> SourceStatus:
    kept = await cursors.read(source.name)
    return SourceStatus(
        name=source.name,
        records_sent=kept.value.records_sent if kept else 0,
        events_sent=kept.value.events_sent if kept else 0,
        changed_at=kept.value.changed_at if kept else "",
    )


async def _hub(
    each: EventHub, *, hub: Hub, raw: RawStore, attempts: Attempts, quarantine: Quarantine
) -> HubStatus:
    sent = await hub.last_sequences(each.material, partitions=each.partitions)
    life = await hub.life(each.material)
    tips = await raw.tips(each.material)
    places = {
        number: Partition(material=each.material, id=number, hub=life) for number in sorted(sent)
    }
    landed = {number: tips.get(place, START) for number, place in places.items()}
    waiting = [
        PartitionWaiting(
            id=number,
            events=sent[number] - tip.sequence,
            landed_until=tip.enqueued_at if tip.blob else None,
            deaths=max(0, await attempts.unended(places[number]) - 1),
        )
        for number, tip in landed.items()
        if tip.sequence < sent[number]
    ]
    return HubStatus(
        material=each.material,
        events=sum(last + 1 for last in sent.values()),
        landed=sum(tip.sequence + 1 for tip in landed.values()),
        quarantined=await quarantine.count("events", each.material),
        losses=await quarantine.count("losses", each.material),
        waiting=tuple(waiting),
    )


async def _table(
    table: Dataset | Curated, document: Document, *, raw: RawStore, ledger: Ledger
) -> DatasetStatus:
    landed: dict[str, int] = {}  # Read before the progress, which only moves on.
    if not isinstance(table, Curated):
        tips = await raw.tips(table.consumes)
        landed = {place.label: tip.sequence for place, tip in tips.items()}
    progress = await ledger.progress(table.name)
    runs = await ledger.runs(table.name)
    succeeded = [run for run in runs if run.state is RunState.SUCCEEDED]
    openly = next((run for run in runs if run.id == progress.run_open), None)
    return DatasetStatus(
        name=table.name,
        table=table.table,
        runs=len(runs),
        succeeded=len(succeeded),
        failed=sum(
            run.state is RunState.FAILED and run.kind is not RunKind.MAINTENANCE for run in runs
        ),
        open=f"run {openly.id} {openly.state}, attempt {openly.attempt}" if openly else "",
        queued=len(progress.queued),
        waiting=(
            await _inputs_changed(table, document, progress=progress, ledger=ledger)
            if isinstance(table, Curated)
            else not all(progress.covers(*reached) for reached in landed.items())
        ),
        curated=isinstance(table, Curated),
        message=openly.message if openly else "",
        records_quarantined=sum(run.counts.get("quarantined", 0) for run in succeeded),
    )


async def _inputs_changed(
    curated: Curated, document: Document, *, progress: Progress, ledger: Ledger
) -> bool:
    """Whether every input has rows, and one of them others than the last run was planned over."""
    newest = {
        table.name: (await ledger.progress(table.name)).run_succeeded
        for table in inputs_of(curated, document)
    }
    if not all(newest.values()):
        return False
    for name, run_id in newest.items():
        known = progress.planned.get(name)
        if known is None:
            return True
        if known.blob != run_id:
            run = await ledger.run(name, run_id)
            if run is not None and run.table_version != known.sequence:
                return True
    return False
