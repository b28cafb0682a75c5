"""The whole pipeline, measured: how far each arrow is behind, and what is in quarantine.

Old runs and blobs do not raise the cost, so that it can be done every minute. `pipeline_status`
tells more, for people, and lists every run for that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain.dataset import Curated
from shared.domain.manifest import inputs_of
from shared.domain.quarantine import Selection
from shared.domain.raw_blob import START, Partition
from shared.domain.run import RunKind, has_runs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document, EventHub
    from shared.domain.raw_blob import Tip
    from shared.domain.run import Progress
    from shared.ports import Clock, Hub, Ledger, Quarantine, RawStore

#: A partition landed so recently is not asked for its oldest event: it cannot be much older.
_RECENT = timedelta(minutes=1)
_NONE = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMeasured:
    """How many events a partition holds that are not landed, and how old the oldest of them is."""

    material: str
    id: str
    lag: int
    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMeasured:
    """A table; `behind` is the age of the oldest thing sent that is not in it.

    A run that was given up does not count there. `open_for` is the age of the open run;
    `written_before` is how long ago the last run succeeded, None for a table that has none.
    """

    name: str
    behind: timedelta
    open_for: timedelta
    written_before: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineMeasured:
    """Every arrow; `open_entries` counts quarantine by kind, material and reason."""

    lag: int
    quarantined: int
    partitions: tuple[PartitionMeasured, ...]
    tables: tuple[TableMeasured, ...]
    open_entries: Mapping[tuple[str, str, str], int]


async def measure_pipeline(
    document: Document,
    *,
    hub: Hub,
    raw: RawStore,
    quarantine: Quarantine,
    ledger: Ledger,
    clock: Clock,
) -> PipelineMeasured:
    """Measure everything behind the sources. Raises `TryLater`; changes nothing."""
    partitions = [
        partition
        for each in document.eventhubs
        for partition in await _partitions(each, hub=hub, raw=raw, now=clock.now())
    ]
    late = Counter[str]()
    for each in partitions:
        late[each.material] = max(late[each.material], each.age // timedelta(microseconds=1))
    tables = [
        await _table(
            table,
            document,
            raw=raw,
            ledger=ledger,
            now=clock.now(),
            unlanded={name: timedelta(microseconds=age) for name, age in late.items()},
        )
        for table in document.tables
        if has_runs(table)
    ]
    entries = Counter([
        (head.kind, head.material, head.reason) async for head in quarantine.heads(Selection())
    ])  # fmt: skip
    return PipelineMeasured(
        lag=sum(each.lag for each in partitions),
        quarantined=entries.total(),
        partitions=tuple(partitions),
        tables=tuple(tables),
        open_entries=entries,
    )


async def _partitions(
    each: EventHub, *, hub: Hub, raw: RawStore, now: datetime
) -> list[PartitionMeasured]:
    sent = await hub.last_sequences(each.material, partitions=each.partitions)
    tips = await raw.tips(each.material)
    place = Partition(material=each.material, id="", hub=await hub.life(each.material))
    landed = {number: tips.get(replace(place, id=number), START) for number in sorted(sent)}
    if any(tip.sequence > sent[number] for number, tip in landed.items()):  # The hub is a new one.
        place = replace(place, hub=await hub.life(each.material, fresh=True))
        landed = {number: tips.get(replace(place, id=number), START) for number in landed}
    ages = await asyncio.gather(*(
        _age(replace(place, id=number), tip, last=sent[number], hub=hub, now=now)
        for number, tip in landed.items()
    ))  # fmt: skip
    return [
        PartitionMeasured(
            material=each.material, id=number, lag=max(0, sent[number] - tip.sequence), age=age
        )
        for (number, tip), age in zip(landed.items(), ages, strict=True)
    ]


async def _age(place: Partition, tip: Tip, *, last: int, hub: Hub, now: datetime) -> timedelta:
    """How old the oldest event is that is not landed; it is looked at if that may be long."""
    if tip.sequence >= last:
        return _NONE
    if tip.blob and now - tip.enqueued_at < _RECENT:
        return max(_NONE, now - tip.enqueued_at)
    first = max(tip.sequence + 1, await hub.first_sequence(place))
    async with aclosing(hub.read(place, first=first, last=first)) as batches:  # type: ignore[type-var] # Every generator can be closed.
        async for batch in batches:
            return max(_NONE, now - batch.first.enqueued_at)
    return _NONE  # The hub has dropped it meanwhile; landing says what is lost.


async def _table(
    table: Dataset | Curated,
    document: Document,
    *,
    raw: RawStore,
    ledger: Ledger,
    now: datetime,
    unlanded: Mapping[str, timedelta],
) -> TableMeasured:
    progress = await ledger.progress(table.name)
    openly = await ledger.run(table.name, progress.run_open) if progress.run_open else None
    newest = progress.run_succeeded
    last = await ledger.run(table.name, newest) if newest else None
    waits = [now]
    if openly is not None and openly.kind is not RunKind.MAINTENANCE:
        waits.append(openly.planned_at)
    if isinstance(table, Curated):
        waits += await _inputs_since(table, document, progress=progress, ledger=ledger)
    else:
        waits.append(now - unlanded.get(table.consumes, _NONE))
        waits += await _landed_since(table, progress=progress, raw=raw)
    return TableMeasured(
        name=table.name,
        behind=now - min(waits),
        open_for=max(_NONE, now - openly.planned_at) if openly else _NONE,
        written_before=max(_NONE, now - last.ended_at) if last and last.ended_at else None,
    )


async def _landed_since(dataset: Dataset, *, progress: Progress, raw: RawStore) -> list[datetime]:
    """When what is landed and not planned was sent."""
    tips = await raw.tips(dataset.consumes)
    if all(progress.covers(place.label, tip.sequence) for place, tip in tips.items()):
        return []
    heads = await raw.landed_after(dataset.consumes, progress.planned)
    return [head.enqueued_last for head in heads]


async def _inputs_since(
    curated: Curated, document: Document, *, progress: Progress, ledger: Ledger
) -> list[datetime]:
    """Since when inputs have versions that no run of the curated table covers."""
    found = []
    for table in inputs_of(curated, document):
        newest = (await ledger.progress(table.name)).run_succeeded
        known = progress.planned.get(table.name)
        if not newest or (known is not None and known.blob == newest):
            continue
        run = await ledger.run(table.name, newest)
        version = run.table_version if run else 0
        if run and run.ended_at and (known is None or known.sequence != version):
            found.append(run.ended_at)
    return found
