"""Telemetry: a step's report as one canonical log line and as metrics.

Numbers of a report become counters `millrace.<report>.<field>`; its texts become their attributes.
Without an OpenTelemetry SDK the counters cost nothing; in Azure the worker configures the SDK.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from functools import cache
from typing import TYPE_CHECKING

from opentelemetry import metrics

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from opentelemetry.metrics import Counter

_log = logging.getLogger("millrace")
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


def emit(report: DataclassInstance) -> None:
    """Tell what a step did."""
    name = _WORDS.sub("_", type(report).__name__).lower()
    fields = dataclasses.asdict(report)
    texts = {key: value for key, value in fields.items() if isinstance(value, str)}
    for key, value in fields.items():
        if type(value) is int and value:
            _counter(f"millrace.{name}.{key}").add(value, texts)
    line = " ".join(f"{key}={value}" for key, value in fields.items())
    _log.info("%s %s", name, line)


@cache
def _counter(name: str) -> Counter:
    return metrics.get_meter("millrace").create_counter(name)
