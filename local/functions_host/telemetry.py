"""Telemetry: sends what the app measures to an OpenTelemetry collector, if somebody watches.

In Azure the worker sets this up itself. Here it is set up when `OTEL_EXPORTER_OTLP_ENDPOINT`, or
one of its two siblings, says where to; all other `OTEL_…` variables work as OpenTelemetry's SDK
documents them.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
#: A collector that does not answer must not hold up the end of the host.
_LAST_WORDS_S = 3.0


def watched(environment: Mapping[str, str]) -> bool:
    """Whether telemetry is to be sent anywhere."""
    switched_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not switched_off and any(environment.get(name) for name in _ENDPOINTS)


def set_up(environment: Mapping[str, str]) -> Callable[[], None]:
    """Send traces and metrics if anybody watches; the answer sends what is left, and ends it.

    The worker library hands the app the host's trace only when it is told to.
    """
    if not watched(environment):
        return lambda: None
    from opentelemetry import metrics, trace  # noqa: PLC0415 -- Costs nothing when nobody watches.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter,
    )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    os.environ["PYTHON_ENABLE_OPENTELEMETRY"] = "true"  # noqa: TID251 -- The worker library reads it.
    name = environment.get("OTEL_SERVICE_NAME") or "millrace"
    resource = Resource.create({"service.name": name})
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(meters)

    def end() -> None:
        endings = [
            threading.Thread(target=provider.shutdown, name="telemetry", daemon=True)
            for provider in (tracers, meters)
        ]
        for each in endings:
            each.start()
        for each in endings:
            each.join(_LAST_WORDS_S)

    return end
