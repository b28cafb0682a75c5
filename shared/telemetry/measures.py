"""Measures: what each step's report says in numbers, as values of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from typing import TYPE_CHECKING, NamedTuple

from shared.domain.poll import SourcePolled
from shared.domain.run import RunState
from shared.flow.hub_to_raw import BatchLanded
from shared.flow.maintain_tables import TablesMaintained
from shared.flow.measure_pipeline import PipelineMeasured
from shared.flow.operate_runs import RunOperated
from shared.flow.raw_to_run import RunsLaunched
from shared.flow.replay_quarantine import QuarantineDiscarded, QuarantineReplayed
from shared.flow.track_runs import RunsTracked
from shared.telemetry.instruments import (
    CHANGE,
    DATASET,
    HUB,
    KIND,
    OPERATION,
    PARTITION,
    REASON,
    SOURCE,
    SYSTEM,
)
from shared.telemetry.traces import EVENT_HUBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.run import Run
    from shared.telemetry.instruments import Attributes

_POLLED = {
    "requests_repeated": "millrace.source.repeats",
    "pages": "millrace.source.pages",
    "pages_unchanged": "millrace.source.pages_unchanged",
    "body_bytes": "millrace.source.received",
    "records_seen": "millrace.records.seen",
    "records_new": "millrace.records.new",
    "records_changed": "millrace.records.changed",
    "records_unchanged": "millrace.records.unchanged",
    "records_repeated": "millrace.records.repeated",
    "records_deleted": "millrace.records.deleted",
    "records_sent": "millrace.records.sent",
    "events_sent": "millrace.events.sent",
}
_LANDED = {
    "repeated": "millrace.events.repeated",
    "landed": "millrace.events.landed",
    "healed": "millrace.events.healed",
    "lost": "millrace.events.lost",
    "records": "millrace.records.landed",
    "blobs": "millrace.blobs.landed",
}
_LAUNCHED = {
    "planned": "millrace.runs.planned",
    "launched": "millrace.runs.launched",
    "coalesced": "millrace.runs.coalesced",
}
_MOVED = {
    RunState.SUCCEEDED: "millrace.runs.succeeded",
    RunState.PLANNED: "millrace.runs.retried",
    RunState.FAILED: "millrace.runs.failed",
    RunState.CANCELLED: "millrace.runs.cancelled",
}
_MERGED = ("inserted", "updated", "deleted")


class Measure(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    attributes: Attributes


@singledispatch
def measures_of(report: object) -> Iterable[Measure]:  # noqa: ARG001 -- What follows is registered.
    """The measures of a report; a report that is none of a step has none."""
    return ()


@measures_of.register
def _(report: SourcePolled) -> Iterator[Measure]:
    attributes = {SOURCE: report.source}
    yield from _counts(report, _POLLED, attributes)
    if report.progress.lag_s is not None:
        yield Measure("millrace.source.lag", report.progress.lag_s, attributes)


@measures_of.register
def _(report: BatchLanded) -> Iterator[Measure]:
    attributes = {HUB: report.material, PARTITION: report.partition}
    yield Measure(
        "messaging.client.consumed.messages",
        report.received,
        attributes | {SYSTEM: EVENT_HUBS, OPERATION: "land"},
    )
    yield from _counts(report, _LANDED, attributes)
    for reason, count in report.reasons.items():
        yield Measure("millrace.events.quarantined", count, attributes | {REASON: reason})


@measures_of.register
def _(report: RunsLaunched) -> Iterator[Measure]:
    for became, names in report.tables.items():
        for name in names:
            yield Measure(_LAUNCHED[became], 1, {DATASET: name})


@measures_of.register
def _(report: RunsTracked) -> Iterator[Measure]:
    for run in report.runs:
        if run.state in _MOVED:
            yield Measure(_MOVED[run.state], 1, {DATASET: run.dataset, KIND: str(run.kind)})
        if run.ended_at is not None and not run.is_open:
            yield from _ended(run)


def _ended(run: Run) -> Iterator[Measure]:
    assert run.ended_at is not None, "what has ended has an end"
    took_s = (run.ended_at - run.planned_at).total_seconds()
    yield Measure("millrace.run.duration", took_s, {DATASET: run.dataset, KIND: str(run.kind)})
    if run.state is not RunState.SUCCEEDED:
        return
    for change in _MERGED:
        if count := run.counts.get(change, 0):
            yield Measure("millrace.rows.merged", count, {DATASET: run.dataset, CHANGE: change})
    if count := run.counts.get("quarantined", 0):
        yield Measure("millrace.records.quarantined", count, {DATASET: run.dataset})


@measures_of.register
def _(report: PipelineMeasured) -> Iterator[Measure]:
    for partition in report.partitions:
        attributes = {HUB: partition.material, PARTITION: partition.id}
        yield Measure("millrace.consumer.lag", partition.lag, attributes)
        yield Measure("millrace.consumer.lag_age", partition.age.total_seconds(), attributes)
    for table in report.tables:
        attributes = {DATASET: table.name}
        yield Measure("millrace.freshness", table.behind.total_seconds(), attributes)
        yield Measure("millrace.run.age", table.open_for.total_seconds(), attributes)
        if table.written_before is not None:
            yield Measure("millrace.table.age", table.written_before.total_seconds(), attributes)
    for (kind, material, reason), count in report.open_entries.items():
        attributes = {KIND: kind, HUB: material, REASON: reason}
        yield Measure("millrace.quarantine.open", count, attributes)


@measures_of.register
def _(report: QuarantineReplayed) -> Iterator[Measure]:
    names = {"replayed": "millrace.quarantine.replayed", "refused": "millrace.quarantine.refused"}
    return _counts(report, names, {})


@measures_of.register
def _(report: QuarantineDiscarded) -> Iterator[Measure]:
    names = {"discarded": "millrace.quarantine.discarded", "refused": "millrace.quarantine.refused"}
    return _counts(report, names, {})


@measures_of.register
def _(report: RunOperated) -> Iterator[Measure]:
    attributes = {DATASET: report.dataset, CHANGE: report.state}
    yield Measure("millrace.runs.operated", 1, attributes)


@measures_of.register
def _(report: TablesMaintained) -> Iterator[Measure]:
    names = {
        "queued": "millrace.maintenance.queued",
        "folders_deleted": "millrace.staging.deleted",
    }
    return _counts(report, names, {})


def _counts(report: object, names: Mapping[str, str], attributes: Attributes) -> Iterator[Measure]:
    """What is not 0 of a report's counts."""
    for field, name in names.items():
        if count := getattr(report, field):
            yield Measure(name, count, attributes)
