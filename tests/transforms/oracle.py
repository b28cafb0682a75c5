"""What a column must make of a JSON value, in plain Python: the clean stage is compared with it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import ROUND_HALF_UP, Decimal, localcontext
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.domain.dataset import Column

#: A value that is there, but is not of the type.
WRONG: Final = object()

_BLANKS = " \t\r\n"
_WHOLE = re.compile(r"[ \f\t\r\n]*[+-]?[0-9]+[ \f\t\r\n]*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MOMENT = re.compile(
    r"""
      (?P<year> \d{4}) - (?P<month> \d\d?) - (?P<day> \d\d?)
      (?: [T ] (?P<hour> \d\d?)
        (?: : (?P<minute> \d\d?)
          (?: : (?P<second> \d\d?) (?: \. (?P<fraction> \d*) )? )?
          \ ? (?P<zone> Z | [+-] \d\d? (?: :? \d\d )? | UTC | GMT
            | [A-Z][a-z]+ / [A-Za-z/_]+ )?
        )?
      )?
    """,
    re.VERBOSE | re.ASCII,
)
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_DIGITS_MAX, _EXPONENT_DIGITS_MAX = 50, 9
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
    rounded = _rounded(text, scale=scale)
    return WRONG if rounded is None or abs(rounded) >= 10 ** (precision - scale) else rounded


def _boolean(value: Any, _: Column) -> Any:
    text = json.dumps(value) if isinstance(value, bool) else _text_of_number(value)
    word = (text or "").lower()
    return True if word in _TRUE else False if word in _FALSE else WRONG


def _timestamp(value: Any, column: Column) -> Any:
    return _moment(value) if column.format == "iso8601" else _epoch(value, column.format)


def _moment(value: Any) -> Any:
    match = _MOMENT.fullmatch(value.strip(_BLANKS)) if isinstance(value, str) else None
    if match is None:
        return WRONG
    year, month, day, hour, minute, second = (int(match[name] or 0) for name in _PARTS)
    micros = int((match["fraction"] or "").ljust(6, "0")[:6])
    # Python knows no year 0, of which the last hours may be year 1 in UTC: 400 years are a cycle.
    cycle = timedelta(0)
    if year == 0:
        year, cycle = 400, timedelta(days=146_097)
    try:
        zone = _zone(match["zone"] or "Z")
        local = datetime(year, month, day, hour, minute, second, micros, zone)
        return (local.astimezone(UTC) - cycle).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return WRONG


def _zone(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    if text[0] not in "+-":
        return ZoneInfo(text)
    hours, _, minutes = text[1:].partition(":")
    if len(hours) > 2:
        hours, minutes = hours[:2], hours[2:]
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    if offset > timedelta(hours=18) or int(minutes or 0) > 59:
        raise ValueError(text)
    return timezone(-offset if text[0] == "-" else offset)


def _epoch(value: Any, unit: str) -> Any:
    text = _text_of_number(value)
    if text is None or not _NUMBER.fullmatch(text):
        return WRONG
    ticks = _rounded(text, scale=6)
    if ticks is None:
        return WRONG
    micros = int(ticks * {"epochSeconds": 1_000_000, "epochMilliseconds": 1000}[unit])
    try:
        return datetime(1970, 1, 1) + timedelta(microseconds=micros)  # noqa: DTZ001 -- As Sail says it.
    except OverflowError:
        return WRONG


def _rounded(text: str, *, scale: int) -> Decimal | None:
    """Round what is written; `None` where no decimal could hold it."""
    if len(text.lower().partition("e")[2].strip(" \t+-")) > _EXPONENT_DIGITS_MAX:
        return None
    number = Decimal(text)
    if not number or number.adjusted() < -_DIGITS_MAX:
        number = Decimal(0)
    if number.adjusted() > _DIGITS_MAX:
        return None
    with localcontext(prec=500):
        return number.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)


def _date(value: Any, column: Column) -> Any:
    moment = _timestamp(value, column)
    return moment if moment is WRONG else moment.date()


def _text_of_number(value: Any) -> str | None:
    if isinstance(value, bool | list | dict):
        return None
    return value.strip(_BLANKS) if isinstance(value, str) else json.dumps(value)


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
