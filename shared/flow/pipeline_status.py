"""The whole pipeline: where everything is, read from the state each arrow keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.raw_blob import START, Partition

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document, EventHub
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
    """raw → run → table."""

    name: str
    table: str
    runs: int
    succeeded: int
    failed: int
    open: str
    waiting: bool
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
                waits.append(f"dataset {dataset.name}: landed blobs without a run")
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
    datasets = [await _dataset(each, raw=raw, ledger=ledger) for each in document.datasets]
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


async def _dataset(dataset: Dataset, *, raw: RawStore, ledger: Ledger) -> DatasetStatus:
    landed = {
        place.label: tip.sequence for place, tip in (await raw.tips(dataset.consumes)).items()
    }
    progress = await ledger.progress(dataset.name)
    runs = await ledger.runs(dataset.name)
    succeeded = [run for run in runs if run.state == "succeeded"]
    openly = next((run for run in runs if run.id == progress.run_open), None)
    return DatasetStatus(
        name=dataset.name,
        table=dataset.table,
        runs=len(runs),
        succeeded=len(succeeded),
        failed=sum(run.state == "failed" for run in runs),
        open=f"run {openly.id} {openly.state}, attempt {openly.attempt}" if openly else "",
        waiting=any(
            partition not in progress.planned or progress.planned[partition].sequence < sequence
            for partition, sequence in landed.items()
        ),
        message=openly.message if openly else "",
        records_quarantined=sum(run.counts.get("quarantined", 0) for run in succeeded),
    )
