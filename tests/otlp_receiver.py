"""An OpenTelemetry collector of a few lines: keeps what it is sent over OTLP/HTTP."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span; `origins` are the ids of its parent and of what it links to."""

    id: str
    trace: str
    name: str
    origins: tuple[str, ...]
    attributes: dict[str, str]
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What is known of one metric: its kind, its unit, and the attributes of each of its values."""

    kind: str
    unit: str
    values: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)

    @property
    def attributes(self) -> set[str]:
        """The names of all attributes."""
        return {name for each in self.values for name, _ in each}

    @property
    def total(self) -> float:
        """The sum over all attributes."""
        return sum(self.values.values())


@dataclass(slots=True)
class Received:
    """Everything that was sent so far, by `millrace` itself and by libraries."""

    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def spans(self) -> dict[str, Span]:
        """Every span by its id."""
        found = {}
        for path, body in list(self.bodies):
            if path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        for span in scope.spans:
                            origins = [span.parent_span_id, *(link.span_id for link in span.links)]
                            found[span.span_id.hex()] = Span(
                                id=span.span_id.hex(),
                                trace=span.trace_id.hex(),
                                name=span.name,
                                origins=tuple(each.hex() for each in origins if each),
                                attributes=_texts(span.attributes),
                                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                            )
        return found

    @property
    def metrics(self) -> dict[str, Series]:
        """Our metrics by name, the latest value of each; counters count from the start."""
        found: dict[str, Series] = {}
        for path, body in list(self.bodies):
            if path == "/v1/metrics":
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in resource.scope_metrics:
                        if scope.scope.name == "millrace":
                            for metric in scope.metrics:
                                _note(found, metric)
        return found

    def named(self, name: str) -> list[Span]:
        """The spans of a name."""
        return [span for span in self.spans.values() if span.name == name]

    def before(self, span: Span) -> set[str]:
        """The names of all spans that whoever follows parents and links from a span gets to."""
        spans, open_, met = self.spans, [span.id], set[str]()
        while open_:
            here = open_.pop()
            if here in spans and here not in met:
                met.add(here)
                open_ += spans[here].origins
        return {spans[each].name for each in met}


@contextmanager
def receiver() -> Iterator[tuple[str, Received]]:
    """A collector on a free port: its address, and what it received."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.bodies.append((self.path, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


def _note(found: dict[str, Series], metric: Metric) -> None:
    kind = {"sum": "counter", "gauge": "gauge", "histogram": "histogram"}[
        str(metric.WhichOneof("data"))
    ]
    series = found.setdefault(metric.name, Series(kind=kind, unit=metric.unit))
    if kind == "histogram":
        for each in metric.histogram.data_points:
            series.values[_key(each.attributes)] = each.count
    for point in (*metric.sum.data_points, *metric.gauge.data_points):
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        series.values[_key(point.attributes)] = value


def _key(attributes: Iterable[KeyValue]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(_texts(attributes).items()))


def _texts(attributes: Iterable[KeyValue]) -> dict[str, str]:
    texts = defaultdict(str)
    for each in attributes:
        kind = each.value.WhichOneof("value")
        texts[each.key] = str(getattr(each.value, kind)) if kind else ""
    return dict(texts)
