"""The metrics: every name, with its unit and its attributes; docs/telemetry.md is the same table.

Names of ours begin with `millrace.`; the others, and the attributes, are OpenTelemetry's semantic
conventions for messaging and for functions. Those are still being worked on, so they are named here
and in `traces.py` only.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from opentelemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.metrics import _Gauge as Gauge

    type Attributes = Mapping[str, str | int | bool]

SCOPE = "millrace"
SOURCE = "millrace.source"
DATASET = "millrace.dataset"
REASON = "millrace.reason"
KIND = "millrace.kind"
CHANGE = "millrace.change"
STATUS = "http.response.status_code"
ERROR = "error.type"
SYSTEM = "messaging.system"
HUB = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
OPERATION = "messaging.operation.name"
FUNCTION = "faas.name"
TRIGGER = "faas.trigger"


class Metric(NamedTuple):
    """One metric; `attributes` are all that a value of it may have."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    attributes: tuple[str, ...]


METRICS = {
    each.name: each
    for each in (
        # Functions.
        Metric("millrace.heartbeat", "counter", "{beat}", (FUNCTION,)),
        Metric("faas.invoke_duration", "histogram", "s", (FUNCTION, TRIGGER)),
        Metric("faas.errors", "counter", "{error}", (FUNCTION, TRIGGER, ERROR)),
        # source → hub.
        Metric("millrace.source.answers", "counter", "{answer}", (SOURCE, STATUS)),
        Metric("millrace.source.repeats", "counter", "{request}", (SOURCE,)),
        Metric("millrace.source.pages", "counter", "{page}", (SOURCE,)),
        Metric("millrace.source.pages_unchanged", "counter", "{page}", (SOURCE,)),
        Metric("millrace.source.received", "counter", "By", (SOURCE,)),
        Metric("millrace.source.lag", "gauge", "s", (SOURCE,)),
        Metric("millrace.records.seen", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.new", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.changed", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.unchanged", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.repeated", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.deleted", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.sent", "counter", "{record}", (SOURCE,)),
        Metric("millrace.records.quarantined", "counter", "{record}", (SOURCE, DATASET)),
        Metric("millrace.events.sent", "counter", "{event}", (SOURCE,)),
        Metric("messaging.client.sent.messages", "counter", "{message}", (SYSTEM, HUB, OPERATION)),
        # hub → raw.
        Metric(
            "messaging.client.consumed.messages",
            "counter",
            "{message}",
            (SYSTEM, HUB, PARTITION, OPERATION),
        ),
        Metric("millrace.events.repeated", "counter", "{event}", (HUB, PARTITION)),
        Metric("millrace.events.landed", "counter", "{event}", (HUB, PARTITION)),
        Metric("millrace.events.quarantined", "counter", "{event}", (HUB, PARTITION, REASON)),
        Metric("millrace.events.healed", "counter", "{event}", (HUB, PARTITION)),
        Metric("millrace.events.lost", "counter", "{event}", (HUB, PARTITION)),
        Metric("millrace.records.landed", "counter", "{record}", (HUB, PARTITION)),
        Metric("millrace.blobs.landed", "counter", "{blob}", (HUB, PARTITION)),
        Metric("millrace.consumer.lag", "gauge", "{event}", (HUB, PARTITION)),
        Metric("millrace.consumer.lag_age", "gauge", "s", (HUB, PARTITION)),
        # raw → run → table.
        Metric("millrace.runs.planned", "counter", "{run}", (DATASET,)),
        Metric("millrace.runs.launched", "counter", "{run}", (DATASET,)),
        Metric("millrace.runs.coalesced", "counter", "{hint}", (DATASET,)),
        Metric("millrace.runs.succeeded", "counter", "{run}", (DATASET, KIND)),
        Metric("millrace.runs.retried", "counter", "{run}", (DATASET, KIND)),
        Metric("millrace.runs.failed", "counter", "{run}", (DATASET, KIND)),
        Metric("millrace.runs.cancelled", "counter", "{run}", (DATASET, KIND)),
        Metric("millrace.run.duration", "histogram", "s", (DATASET, KIND)),
        Metric("millrace.run.age", "gauge", "s", (DATASET,)),
        Metric("millrace.rows.merged", "counter", "{row}", (DATASET, CHANGE)),
        Metric("millrace.freshness", "gauge", "s", (DATASET,)),
        Metric("millrace.table.age", "gauge", "s", (DATASET,)),
        # What people and housekeeping do.
        Metric("millrace.quarantine.open", "gauge", "{entry}", (HUB, KIND, REASON)),
        Metric("millrace.quarantine.replayed", "counter", "{entry}", ()),
        Metric("millrace.quarantine.discarded", "counter", "{entry}", ()),
        Metric("millrace.quarantine.refused", "counter", "{entry}", ()),
        Metric("millrace.runs.operated", "counter", "{command}", (DATASET, CHANGE)),
        Metric("millrace.maintenance.queued", "counter", "{run}", ()),
        Metric("millrace.staging.deleted", "counter", "{folder}", ()),
    )
}


def measure(name: str, value: float, attributes: Attributes) -> None:
    """Add to a counter, note a histogram's value, or set a gauge. Without an SDK, nothing."""
    metric = METRICS[name]
    if metric.kind == "counter":
        _counter(metric).add(value, attributes)
    elif metric.kind == "histogram":
        _histogram(metric).record(value, attributes)
    else:
        _gauge(metric).set(value, attributes)


@cache
def _counter(metric: Metric) -> Counter:
    return metrics.get_meter(SCOPE).create_counter(metric.name, metric.unit)


@cache
def _histogram(metric: Metric) -> Histogram:
    return metrics.get_meter(SCOPE).create_histogram(metric.name, metric.unit)


@cache
def _gauge(metric: Metric) -> Gauge:
    return metrics.get_meter(SCOPE).create_gauge(metric.name, metric.unit)
