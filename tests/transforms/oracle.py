"""What a column must make of a JSON value, in plain Python: the clean stage is compared with it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.domain.dataset import Column

#: A value that is there, but is not of the type.
WRONG: Final = object()

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TRUE, _FALSE = ("t", "true", "y", "yes", "1"), ("f", "false", "n", "no", "0")


def typed(value: Any, column: Column) -> Any:
    """What the column holds of a value; `WRONG` when the value is not of its type."""
    return None if value is None else _READ[column.kind](value, column)


def reasons(name: str, value: Any, column: Column) -> Iterator[str]:
    """Every reason for which a record with this value is refused."""
    if value is None and column.default is None:
        if column.required:
            yield f"{name}:missing"
        return
    found = _of_document(column.default, column) if value is None else typed(value, column)
    if found is WRONG:
        yield f"{name}:not-a-{column.type}"
        return
    if column.min is not None and not found >= _of_document(column.min, column):
        yield f"{name}:below-min"
    if column.max is not None and not found <= _of_document(column.max, column):
        yield f"{name}:above-max"
    if column.one_of and found not in [_of_document(each, column) for each in column.one_of]:
        yield f"{name}:not-one-of"
    if column.matches is not None and not re.fullmatch(column.matches, found, re.ASCII):
        yield f"{name}:no-match"


def filled(value: Any, column: Column) -> Any:
    """What the column holds of a value, or of its default; None where it holds nothing."""
    found = _of_document(column.default, column) if value is None else typed(value, column)
    return None if found is WRONG else found


def _of_document(value: Any, column: Column) -> Any:
    if value is None or column.kind == "string":
        return value
    if column.kind == "decimal":
        return Decimal(str(value))
    if column.kind in ("date", "timestamp"):
        moment = _moment(value)
        return moment.date() if column.kind == "date" else moment
    return typed(value, column)


def _string(value: Any, _: Column) -> Any:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _whole(value: Any, column: Column) -> Any:
    text = _text_of_number(value)
    if text is None or not _WHOLE.fullmatch(text):
        return WRONG
    bits = {"integer": 31, "long": 63}[column.kind]
    return int(text) if -(2**bits) <= int(text) < 2**bits else WRONG


def _double(value: Any, _: Column) -> Any:
    text = _text_of_number(value)
    number = float(text) if text is not None and _NUMBER.fullmatch(text) else inf
    return number if isfinite(number) else WRONG


def _decimal(value: Any, column: Column) -> Any:
    text = _text_of_number(value)
    if text is None or not _NUMBER.fullmatch(text):
        return WRONG
    precision, scale = column.digits
    rounded = _rounded(Decimal(text), scale=scale)
    return rounded if abs(rounded) < 10 ** (precision - scale) else WRONG


def _boolean(value: Any, _: Column) -> Any:
    text = json.dumps(value) if isinstance(value, bool) else _text_of_number(value)
    word = (text or "").strip().lower()
    return True if word in _TRUE else False if word in _FALSE else WRONG


def _timestamp(value: Any, column: Column) -> Any:
    return _moment(value) if column.format == "iso8601" else _epoch(value, column.format)


def _moment(value: Any) -> Any:
    if not isinstance(value, str) or not _DAY.match(value):
        return WRONG
    try:
        moment = datetime.fromisoformat(value.rstrip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return WRONG


def _epoch(value: Any, unit: str) -> Any:
    text = _text_of_number(value)
    if text is None or not _NUMBER.fullmatch(text):
        return WRONG
    ticks = _rounded(Decimal(text), scale=6)
    micros = int(ticks * {"epochSeconds": 1_000_000, "epochMilliseconds": 1000}[unit])
    try:
        return datetime(1970, 1, 1) + timedelta(microseconds=micros)  # noqa: DTZ001 -- As Sail says it.
    except OverflowError:
        return WRONG


def _rounded(number: Decimal, *, scale: int) -> Decimal:
    with localcontext(prec=500):
        return number.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)


def _date(value: Any, column: Column) -> Any:
    moment = _timestamp(value, column)
    return moment if moment is WRONG else moment.date()


def _text_of_number(value: Any) -> str | None:
    if isinstance(value, bool | list | dict):
        return None
    return value if isinstance(value, str) else json.dumps(value)


_READ: dict[str, Callable[[Any, Column], Any]] = {
    "string": _string,
    "json": _string,
    "integer": _whole,
    "long": _whole,
    "double": _double,
    "decimal": _decimal,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "date": _date,
}
