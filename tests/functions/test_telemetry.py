"""Telemetry: what is documented is what is measured, traces connect, and nothing secret leaves."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import function_app
from shared import telemetry
from shared.adapters.http_source import HttpSource
from shared.adapters.memory import MemoryClock, MemoryHub
from shared.domain.cloud_event import CloudEvent
from shared.domain.errors import MillraceError, TryLater
from shared.domain.page import Request, Validators
from shared.domain.poll import Progress, SourcePolled
from shared.domain.raw_blob import HubBatch
from shared.domain.run import Run, RunKind, RunState
from shared.flow.hub_to_raw import BatchLanded
from shared.flow.maintain_tables import TablesMaintained
from shared.flow.measure_pipeline import PartitionMeasured, PipelineMeasured, TableMeasured
from shared.flow.operate_runs import RunOperated
from shared.flow.raw_to_run import RunsLaunched
from shared.flow.replay_quarantine import QuarantineDiscarded, QuarantineReplayed
from shared.flow.track_runs import RunsTracked
from shared.telemetry import instruments
from shared.telemetry.measures import measures_of
from tests.builders import NOON, document, event
from tests.source_tool import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import ReadableSpan

    from shared.domain.source import Source

ROOT = Path(__file__).parents[2]
ONE = "00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-01"
SAME_TRACE = "00-11111111111111111111111111111111-bbbbbbbbbbbbbbbb-01"
OTHER = "00-22222222222222222222222222222222-cccccccccccccccc-01"
ENDED = Run(
    id="quakes-1",
    dataset="quakes",
    job="transform",
    state=RunState.SUCCEEDED,
    blobs=1,
    events=1,
    planned_at=NOON,
    due_at=NOON,
    ended_at=NOON + timedelta(seconds=90),
    counts={"inserted": 1, "updated": 2, "deleted": 3, "quarantined": 4},
    traceparent=ONE,
)
REPORTS: list[Any] = [
    SourcePolled(
        source="tool", requests=3, requests_repeated=1, pages=2, pages_unchanged=1, body_bytes=9,
        records_seen=6, records_new=2, records_changed=1, records_unchanged=3, records_repeated=1,
        records_deleted=1, records_sent=3, events_sent=1,
        progress=Progress(lag_s=1.5),
    ),
    BatchLanded(
        material="quakes", partition="0", received=3, repeated=1, landed=1, quarantined=1,
        healed=1, lost=1, records=1, blobs=1, reasons={"expired": 1},
    ),
    RunsLaunched(
        datasets=1, planned=1, launched=1, coalesced=1,
        tables={"planned": ["quakes"], "launched": ["quakes"], "coalesced": ["quakes"]},
    ),
    *(
        RunsTracked(
            open=0, succeeded=0, retried=0, failed=0, cancelled=0, rows_merged=0,
            records_quarantined=0,
            runs=(Run(
                id="quakes-1", dataset="quakes", job="transform", state=state, blobs=1, events=1,
                planned_at=NOON, due_at=NOON, kind=RunKind.CLEAN,
                ended_at=None if state is RunState.PLANNED else NOON, counts=ENDED.counts,
            ),),
        )
        for state in (RunState.SUCCEEDED, RunState.PLANNED, RunState.FAILED, RunState.CANCELLED)
    ),
    PipelineMeasured(
        lag=1, quarantined=1,
        partitions=(PartitionMeasured(material="quakes", id="0", lag=1, age=timedelta(1)),),
        tables=(
            TableMeasured(
                name="quakes", behind=timedelta(1), open_for=timedelta(1),
                written_before=timedelta(1),
            ),
        ),
        open_entries={("events", "quakes", "expired"): 1},
    ),
    QuarantineReplayed(selected=2, replayed=1, repeated=0, refused=1),
    QuarantineDiscarded(selected=2, discarded=1, repeated=0, refused=1),
    RunOperated(run="quakes-1", dataset="quakes", state="queued"),
    TablesMaintained(tables=1, queued=1, folders_deleted=1),
]  # fmt: skip
#: Measured where they happen, not from a report.
ON_THE_SPOT = {
    "millrace.heartbeat",
    "millrace.source.answers",
    "faas.invoke_duration",
    "faas.errors",
    "messaging.client.sent.messages",
}


class Watched:
    """What an SDK of this test collects."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        """Take the place of the process's own, which can be set only once."""
        self.exporter = InMemorySpanExporter()
        tracers = TracerProvider(**options)
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        meters = MeterProvider([self.reader])
        monkeypatch.setattr(trace, "get_tracer", tracers.get_tracer)
        monkeypatch.setattr(metrics, "get_meter", meters.get_meter)
        for each in (instruments._counter, instruments._histogram, instruments._gauge):
            each.cache_clear()

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """Ended spans by name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    @property
    def counted(self) -> dict[str, list[Mapping[str, Any]]]:
        """The attributes of every value, by metric."""
        found = self.reader.get_metrics_data()
        return {
            metric.name: [dict(point.attributes or {}) for point in metric.data.data_points]
            for resource in (found.resource_metrics if found else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """An SDK, as the worker sets one up."""
    yield Watched(monkeypatch)
    for each in (instruments._counter, instruments._histogram, instruments._gauge):
        each.cache_clear()


def source_at(url: str) -> Source:
    """A source of a document."""
    (source,) = document().sources
    return source.model_copy(update={"url": url})


def batch_from(*origins: str) -> HubBatch:
    """A batch of one event of each origin."""
    events = [event(number, traceparent=each) for number, each in enumerate(origins)]
    return HubBatch(material="quakes", partition="0", events=tuple(events))


def place(text: str) -> tuple[int, int]:
    """The trace and the span of a `traceparent`."""
    _, trace_id, span_id, _ = text.split("-")
    return int(trace_id, 16), int(span_id, 16)


def links_of(span: ReadableSpan) -> list[tuple[int, int]]:
    """What a span links to."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def test_documentation_has_every_metric_as_it_is() -> None:
    """Somebody writes alerts and dashboards from the table."""
    page = (ROOT / "docs/telemetry.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| (\w+) \| `(\S+)` \| (.+?) \|", page, re.MULTILINE)

    documented = {
        name: instruments.Metric(name, kind, unit, tuple(re.findall(r"`([\w.]+)`", attributes)))
        for name, kind, unit, attributes in rows
    }

    assert documented == instruments.METRICS


def test_alert_of_a_metric_is_named_in_the_documentation() -> None:
    """Whoever changes a metric must see what watches it."""
    page = (ROOT / "docs/telemetry.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \|.*\| (.*?) \|$", page, re.MULTILINE)
    documented = {
        (name, alert) for name, cell in rows for alert in re.findall(r"\[([\w-]+)\]", cell)
    }
    queries = (ROOT / "infra/alerts").glob("*.kql")

    asked = {
        (name, path.stem)
        for path in queries
        for name in re.findall(r"\"([\w.]+)\"", path.read_text())
        if name in instruments.METRICS
    }

    assert asked == documented


def test_every_metric_comes_from_a_report_or_is_measured_on_the_spot() -> None:
    """A documented metric that nothing emits is a dashboard that stays empty."""
    names = {measure.name for report in REPORTS for measure in measures_of(report)}

    assert names | ON_THE_SPOT == instruments.METRICS.keys()
    assert not names & ON_THE_SPOT


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
def test_report_becomes_metrics_with_documented_attributes(report: Any, watched: Watched) -> None:
    """An attribute that nobody documented multiplies what is stored, and costs."""
    telemetry.emit(report)

    counted = watched.counted
    assert counted
    for name, values in counted.items():
        for attributes in values:
            assert attributes.keys() <= set(instruments.METRICS[name].attributes)


def test_batch_of_one_trace_is_part_of_it(watched: Watched) -> None:
    """The usual batch is from one poll, and is seen in its trace as a whole."""
    with telemetry.landing(batch_from(ONE, SAME_TRACE, ONE)):
        inside = telemetry.traceparent()

    span = watched.spans["land quakes"]
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == place(ONE)
    assert links_of(span) == [place(SAME_TRACE)]
    assert place(inside) == (span.context.trace_id, span.context.span_id)


def test_batch_of_several_traces_leads_to_all(watched: Watched) -> None:
    """A span has one parent; whoever follows it and the links must find every poll."""
    with telemetry.landing(batch_from(ONE, "", OTHER, "nonsense")):
        pass

    span = watched.spans["land quakes"]
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == place(ONE)
    assert links_of(span) == [place(OTHER)]


def test_run_goes_on_from_who_landed_its_blobs(watched: Watched) -> None:
    """From the run's span the way back begins; it lasts as long as the run did."""
    planned = telemetry.RunTraces().planned(ENDED, origins=[ONE])
    run = replace(ENDED, traceparent=planned)
    moved = RunsTracked(
        open=0, succeeded=1, retried=0, failed=0, cancelled=0, rows_merged=3,
        records_quarantined=4, runs=(run,),
    )  # fmt: skip

    telemetry.emit(moved)

    plan, run_span = watched.spans["plan quakes"], watched.spans["run quakes"]
    assert plan.parent is not None
    assert run_span.parent is not None
    assert (plan.parent.trace_id, plan.parent.span_id) == place(ONE)
    assert (run_span.parent.trace_id, run_span.parent.span_id) == place(planned)
    assert run_span.start_time is not None
    assert run_span.end_time is not None
    assert run_span.end_time - run_span.start_time == 90 * 10**9


def test_step_links_to_its_own_invocation(watched: Watched) -> None:
    """The host's span of it says how long it waited, and on which instance."""
    with trace.get_tracer("host").start_as_current_span("invocation") as invocation:
        with telemetry.landing(batch_from(ONE)):
            pass
        here = invocation.get_span_context()

    assert links_of(watched.spans["land quakes"]) == [(here.trace_id, here.span_id)]


async def test_event_is_told_where_it_was_sent_and_stays_the_same(watched: Watched) -> None:
    """Its id is of its content; a replayed event keeps the trace that it came from."""
    hub = MemoryHub()
    fresh = CloudEvent(attributes={"id": "a"}, body=b"{}")
    replayed = CloudEvent(attributes={"id": "b", "traceparent": OTHER}, body=b"{}")

    await telemetry.TracedHub(hub).send("quakes", {0: [fresh, replayed]})

    sent, again = hub.sent["quakes", 0]
    span = watched.spans["send quakes"]
    assert place(sent.attributes["traceparent"]) == (span.context.trace_id, span.context.span_id)
    assert (sent.id, sent.body) == (fresh.id, fresh.body)
    assert again == replayed


async def test_event_is_sent_as_it_is_when_nobody_traces() -> None:
    """Without an SDK there is no trace, and nothing is added."""
    hub = MemoryHub()
    fresh = CloudEvent(attributes={"id": "a"}, body=b"{}")

    await telemetry.TracedHub(hub).send("quakes", {0: [fresh]})

    assert hub.sent["quakes", 0] == [fresh]


async def test_failed_timer_is_counted_and_has_no_heartbeat(watched: Watched) -> None:
    """Silence is what wakes somebody; a timer that fails each time must be silent."""

    @telemetry.invocation("poll_tool", trigger="timer")
    async def poll() -> None:
        raise TryLater("the tool is away")

    with pytest.raises(TryLater):
        await poll()

    counted = watched.counted
    assert counted["faas.errors"] == [
        {"faas.name": "poll_tool", "faas.trigger": "timer", "error.type": "TryLater"}
    ]
    assert counted["faas.invoke_duration"]
    assert "millrace.heartbeat" not in counted


async def test_metrics_do_not_depend_on_sampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces may be left out to save money; alerts are on metrics."""
    watched = Watched(monkeypatch, sampler=ALWAYS_OFF)

    @telemetry.invocation("poll_tool", trigger="timer")
    async def poll() -> None:
        telemetry.emit(REPORTS[0])

    await poll()

    assert not watched.spans
    assert {"millrace.heartbeat", "millrace.records.sent"} <= watched.counted.keys()


async def test_answer_that_ends_a_poll_is_counted(watched: Watched) -> None:
    """A poll that fails reports nothing; that its source refuses it must still be seen."""
    async with running(lambda _: web.Response(status=403)) as tool:
        source = source_at(tool.url)
        async with ClientSession() as session:
            reader = HttpSource(session, {}, MemoryClock(), answered=telemetry.answered)
            with pytest.raises(MillraceError):
                await reader.fetch(source, Request(), query={}, validators=Validators(), seconds=9)

    assert watched.counted["millrace.source.answers"] == [
        {"millrace.source": "tool", "http.response.status_code": 403}
    ]


def test_every_function_is_measured_under_its_name() -> None:
    """A function that nobody measures fails unseen."""
    functions = [builder._function for builder in function_app.app._function_builders]
    names = {each.get_function_name(): each.get_user_function().__closure__ for each in functions}

    for name, closure in names.items():
        assert closure is not None, name
        known = [cell.cell_contents for cell in closure if isinstance(cell.cell_contents, dict)]
        assert [each["faas.name"] for each in known] == [name]


SECRETS = [
    ("GET https://me:pa55word@tool.example/items?api_key=pa55word#x failed", "tool.example/items"),
    ("AccountName=a;AccountKey=pa55word==;EndpointSuffix=x", "EndpointSuffix=x"),
    ("Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey=pa55word=;EntityPath=e", "Path=e"),
    ("https://a.blob.core.windows.net/raw/b?sv=1&sig=pa55word is refused", "windows.net/raw/b"),
    ("Authorization: Bearer pa55word.pa55word was refused", "was refused"),
    ('{"token": "pa55word", "left": 1}', '"left": 1'),
    ("password=pa55word host=db", "host=db"),
    ("postgresql://me:pa55word@db.example/millrace is away", "db.example/millrace is away"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "stays"), SECRETS)
def test_secret_is_hidden_and_the_rest_stays(text: str, stays: str) -> None:
    """What is left must still help whoever reads it."""
    hidden = telemetry.redact(text)

    assert "pa55word" not in hidden
    assert stays in hidden


@pytest.mark.parametrize(("text", "_"), SECRETS)
async def test_no_secret_leaves_in_a_span_or_a_line(
    text: str, _: str, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors quote what they were about: in the span's words, in a run's message, in an alert."""
    failed = replace(ENDED, state=RunState.FAILED, message=text)
    report = RunsTracked(
        open=0, succeeded=0, retried=0, failed=1, cancelled=0, rows_merged=0,
        records_quarantined=0, runs=(failed,), alerts=(text,),
    )  # fmt: skip

    @telemetry.invocation("ours", trigger="timer")
    async def ours() -> None:
        raise TryLater(text)

    @telemetry.invocation("theirs", trigger="timer")
    async def theirs() -> None:
        raise ValueError(text)

    with caplog.at_level(logging.INFO, logger="millrace"):
        telemetry.emit(report)
    for function, error in ((ours, TryLater), (theirs, ValueError)):
        with pytest.raises(error):
            await function()

    told = "".join(span.to_json() for span in watched.exporter.get_finished_spans())
    assert {"run quakes", "ours", "theirs"} == watched.spans.keys()
    assert "pa55word" not in told
    assert "pa55word" not in caplog.text
