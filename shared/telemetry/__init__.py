"""Telemetry: a step's report as one canonical log line and as metrics, and the trace it is part of.

A report's `alerts`, if it has any, are for a person: each is a line of its own, at level ERROR.
Nothing here sets up an OpenTelemetry SDK: in Azure the worker does, locally the host may. Without
one all of this costs next to nothing. What is measured is in docs/telemetry.md.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from functools import wraps
from typing import TYPE_CHECKING, Literal

from shared.flow.track_runs import RunsTracked
from shared.telemetry.hub import TracedHub
from shared.telemetry.instruments import ERROR, FUNCTION, SOURCE, STATUS, TRIGGER, measure
from shared.telemetry.measures import measures_of
from shared.telemetry.redaction import redact
from shared.telemetry.traces import RunTraces, landing, span, tell_run, traceparent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from _typeshed import DataclassInstance

__all__ = [
    "RunTraces",
    "TracedHub",
    "answered",
    "emit",
    "invocation",
    "landing",
    "redact",
    "traceparent",
]

_log = logging.getLogger("millrace")
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


def emit(report: DataclassInstance) -> None:
    """Tell what a step did."""
    for each in measures_of(report):
        measure(*each)
    if isinstance(report, RunsTracked):
        for run in report.runs:
            tell_run(run)
    for alert in getattr(report, "alerts", ()):
        _log.error("%s", redact(alert))
    name = _WORDS.sub("_", type(report).__name__).lower()
    _log.info("%s %s", name, redact(_line(report)))


def _line(report: DataclassInstance) -> str:
    """The report's own numbers and texts; what it lists is in the metrics."""
    fields = {each.name: getattr(report, each.name) for each in dataclasses.fields(report)}
    plain = (str, int, float, bool)
    return " ".join(f"{key}={value}" for key, value in fields.items() if isinstance(value, plain))


def answered(source: str, status: int) -> None:
    """Count an answer of a source, whatever it was."""
    measure("millrace.source.answers", 1, {SOURCE: source, STATUS: status})


def invocation[**P, R](
    name: str, trigger: Literal["timer", "pubsub", "datasource", "http"]
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Measure every call of a function, in a span of its name; a timer that ends has a heartbeat.

    `trigger` is one of the semantic conventions'.
    """
    attributes = {FUNCTION: name, TRIGGER: trigger}

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        @wraps(function)
        async def invoked(*args: P.args, **kwargs: P.kwargs) -> R:
            started = time.perf_counter()
            try:
                with span(name, attributes=attributes):
                    returned = await function(*args, **kwargs)
            except BaseException as error:
                measure("faas.errors", 1, {**attributes, ERROR: type(error).__name__})
                raise
            finally:
                measure("faas.invoke_duration", time.perf_counter() - started, attributes)
            if trigger == "timer":
                measure("millrace.heartbeat", 1, {FUNCTION: name})
            return returned

        return invoked

    return decorate
