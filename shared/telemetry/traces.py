"""Traces: the spans of the steps, and how one step goes on with the trace of another.

A step that goes on with what others did is part of the trace of the first of them, and links to the
rest and to its own invocation. So whoever follows parents and links from a run gets to every poll
that it began with; and whoever plans the same run a second time is in the same trace.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.domain.errors import MillraceError
from shared.domain.run import RunState
from shared.domain.trace import ATTRIBUTE
from shared.telemetry.instruments import (
    DATASET,
    ERROR,
    HUB,
    KIND,
    OPERATION,
    PARTITION,
    SCOPE,
    SYSTEM,
)
from shared.telemetry.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from shared.domain.raw_blob import HubBatch
    from shared.domain.run import Run
    from shared.telemetry.instruments import Attributes

EVENT_HUBS = "eventhubs"
RUN = "millrace.run"
_FORM = TraceContextTextMapPropagator()


def traceparent() -> str:
    """Where in a trace the caller is; empty without one."""
    carrier: dict[str, str] = {}
    _FORM.inject(carrier)
    return carrier.get(ATTRIBUTE, "")


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    attributes: Attributes,
    origins: Iterable[str] = (),
) -> Iterator[Span]:
    """A span around what the caller does, because of what happened at `origins`.

    A failure is told by its kind, and in words only if they are ours: others' may hold anything.
    """
    parent, links = _continued(origins)
    with trace.get_tracer(SCOPE).start_as_current_span(
        name, parent, kind, attributes, links, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            current.set_attribute(ERROR, type(error).__name__)
            words = redact(str(error)) if isinstance(error, MillraceError) else None
            current.set_status(Status(StatusCode.ERROR, words))
            raise


@contextmanager
def landing(batch: HubBatch) -> Iterator[None]:
    """A span around the landing of a batch, because of who sent its events."""
    attributes: dict[str, str | int] = {
        SYSTEM: EVENT_HUBS,
        HUB: batch.material,
        PARTITION: batch.partition,
        OPERATION: "land",
        "messaging.operation.type": "process",
        "messaging.batch.message_count": len(batch.events),
    }
    origins = (event.attributes.get(ATTRIBUTE, "") for event in batch.events)
    with span(f"land {batch.material}", SpanKind.CONSUMER, attributes=attributes, origins=origins):
        yield


class RunTraces:
    """Traces: a span for each run that is planned, because of who landed what it covers."""

    def planned(self, run: Run, *, origins: Sequence[str]) -> str:
        """Note the plan; the job and the end of the run go on from there."""
        attributes = {DATASET: run.dataset, KIND: str(run.kind), RUN: run.id}
        name = f"plan {run.dataset}"
        with span(name, SpanKind.PRODUCER, attributes=attributes, origins=origins):
            return traceparent()


def tell_run(run: Run) -> None:
    """A span for a run that has ended, from when it was planned."""
    if run.is_open or run.ended_at is None:
        return
    attributes: dict[str, str | int] = {
        DATASET: run.dataset,
        KIND: str(run.kind),
        RUN: run.id,
        "millrace.run.state": str(run.state),
        "millrace.run.attempt": run.attempt,
        "millrace.run.job": run.job,
    }
    if run.job_run is not None:
        attributes["millrace.run.job_run"] = run.job_run
    told = trace.get_tracer(SCOPE).start_span(
        f"run {run.dataset}",
        _FORM.extract({ATTRIBUTE: run.traceparent}),
        SpanKind.CONSUMER,
        attributes,
        start_time=_nanoseconds(run.planned_at),
    )
    if run.state is not RunState.SUCCEEDED:
        told.set_status(Status(StatusCode.ERROR, redact(run.message)))
    told.end(_nanoseconds(run.ended_at))


def _continued(origins: Iterable[str]) -> tuple[Context | None, list[Link]]:
    """The parent, None for the caller's own, and the links of a span that has such origins."""
    found = list(filter(None, map(_context_of, dict.fromkeys(origins))))
    if not found:
        return None, []
    first, *others = found
    here = trace.get_current_span().get_span_context()
    if here.is_valid and here.trace_id != first.trace_id:
        others.append(here)
    return trace.set_span_in_context(NonRecordingSpan(first)), [Link(each) for each in others]


def _context_of(origin: str) -> SpanContext | None:
    """What a `traceparent` says; None for what is none."""
    context = trace.get_current_span(_FORM.extract({ATTRIBUTE: origin})).get_span_context()
    return context if origin and context.is_valid else None


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
