"""The synthetic record: one that a dataset must take, told from every real one by its key.

A table whose rows follow deletions (`full`) gets a key of its own for each trial, and loses it
again. Any other gets one key for ever, so that it holds one such row at most: each trial is the
next version of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from shared.domain.dataset import Column, Dataset
    from shared.domain.document import Document

_MOMENT = "2000-01-01T00:00:00+00:00"
_KEY = "smoke-test"


def suitable(document: Document, token: str, *, now: datetime) -> tuple[Dataset, dict[str, Any]]:
    """The dataset that a record can be made for, one that loses it again if there is any."""
    reasons = []
    for dataset in sorted(document.datasets, key=lambda dataset: dataset.ingestion != "full"):
        try:
            return dataset, record_of(dataset, token, now=now)
        except Misconfigured as error:
            reasons.append(str(error))
    raise Misconfigured("datasets", "; ".join(reasons) or "there is none to try")


def record_of(dataset: Dataset, token: str, *, now: datetime) -> dict[str, Any]:
    """A record that holds the token; raise `Misconfigured` where none can be made."""
    if dataset.ingestion == "append":
        raise Misconfigured(dataset.name, "keeps every record, so each trial would leave another")
    key = f"{_KEY}-{token}" if dataset.ingestion == "full" else _KEY
    marker = marker_of(dataset)
    record: dict[str, Any] = {}
    for name, column in dataset.columns.items():
        if name in dataset.primary_key:
            value = _key(column, key)
        elif name == marker:
            value = token
        elif name == dataset.incremental_field:
            value = _version(column, now)
        else:
            value = _value(column)
        if value is None:
            raise Misconfigured(dataset.name, f"no value can be thought of for column {name!r}")
        _put(record, path_of(dataset, name), value)
    return record


def marker_of(dataset: Dataset) -> str:
    """The column that tells one trial from another: any text may stand in it."""
    taken = (*dataset.primary_key, dataset.incremental_field)
    for name, column in dataset.columns.items():
        if name not in taken and column.kind == "string" and _is_free(column):
            return name
    raise Misconfigured(dataset.name, "has no column beside its key that takes any text")


def path_of(dataset: Dataset, column: str) -> list[str]:
    """The steps that lead to a column's value."""
    return (dataset.columns[column].path or column).split(".")


def key_of(dataset: Dataset, record: dict[str, Any]) -> dict[str, Any]:
    """The part of a record that names it: the body of its deletion."""
    key: dict[str, Any] = {}
    for name in dataset.primary_key:
        path = path_of(dataset, name)
        _put(key, path, value_at(record, path))
    return key


def value_at(record: Any, path: list[str]) -> Any:  # noqa: ANN401 -- JSON.
    """What is at a path."""
    for step in path:
        record = record[int(step)] if isinstance(record, list) else record[step]
    return record


def _put(place: Any, path: list[str], value: Any) -> None:  # noqa: ANN401 -- JSON.
    """Put a value at a path, and on the way what is not there; a number is a place in an array."""
    step, *rest = path
    if isinstance(place, list):
        place.extend([None] * (int(step) + 1 - len(place)))
    key: Any = int(step) if isinstance(place, list) else step
    if rest:
        inner = place[key] if isinstance(place, list) else place.get(key)
        if inner is None:
            inner = [] if rest[0].isdigit() else {}
        _put(inner, rest, value)
        value = inner
    place[key] = value


def _is_free(column: Column) -> bool:
    return not column.one_of and column.matches is None and column.min is None


def _key(column: Column, key: str) -> str | int | None:
    if not _is_free(column):
        return None
    if column.kind in ("integer", "long"):
        return -1  # Hardly any tool gives a negative one.
    return key if column.kind == "string" else None


def _version(column: Column, now: datetime) -> str | int | None:
    """What is newer than at the trial before; of two that are equal, the later one is."""
    if column.kind in ("timestamp", "date"):
        return _moment(column, now.isoformat())
    return int(now.timestamp()) if column.kind in ("integer", "long", "double") else None


def _value(column: Column) -> Any:  # noqa: ANN401 -- JSON.
    if column.matches is not None:
        return column.default
    chosen = next(iter(column.one_of), None)
    for limit in (column.min, column.max):
        chosen = limit if chosen is None else chosen
    if column.kind in ("timestamp", "date"):
        return _moment(column, str(chosen or _MOMENT))
    plain = {"string": "smoke test", "boolean": True, "json": {}}.get(column.kind, 1)
    return plain if chosen is None else chosen


def _moment(column: Column, written: str) -> str | int:
    moment = datetime.fromisoformat(written)
    if column.format == "iso8601":
        return written[:10] if column.kind == "date" else written
    seconds = int(moment.timestamp())
    return seconds if column.format == "epochSeconds" else seconds * 1000
