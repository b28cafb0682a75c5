"""What a trigger hands to the worker: values and metadata, free of any SDK and of the worker."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "string", "bytes", "json", "http", "collection_bytes", "collection_string", "collection_sint64"
]


@dataclass(frozen=True, slots=True)
class Value:
    """One value as the host's wire protocol would type it."""

    kind: Kind
    content: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The trigger's value and the metadata that comes with it."""

    value: Value
    metadata: Mapping[str, Value] = field(default_factory=dict)


def text(content: str) -> Value:
    """Wrap a string."""
    return Value("string", content)


def as_json(content: object) -> Value:
    """Write JSON the way the .NET host does: no spaces, no escaping beyond ASCII."""
    return Value("json", json.dumps(content, separators=(",", ":"), ensure_ascii=False))


def aware_time(moment: datetime) -> str:
    """A .NET DateTimeOffset in UTC as Newtonsoft writes it: shortest fraction, then +00:00."""
    return f"{unspecified_time(moment)}+00:00"


def unspecified_time(moment: datetime) -> str:
    """A .NET DateTime of unspecified kind: no zone, so that Python reads it as naive."""
    moment = moment.astimezone(UTC)
    whole = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{moment.microsecond:06}".rstrip("0") if moment.microsecond else whole
