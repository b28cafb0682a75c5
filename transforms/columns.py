"""Columns: how the text of a value becomes what its column must be."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

from shared.domain.sql_types import sql_type

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression

    from shared.domain.dataset import Column, Scalar

_MICROSECONDS = {"epochSeconds": 1_000_000, "epochMilliseconds": 1_000}
#: 0001-01-01 and the end of 9999: no engine or reader in the chain agrees on years beyond them.
_TIMES = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_DOUBLE_MAX = sys.float_info.max
#: What a value must look like: engines are too kind, each in its own way. "NaN", "1d" and digits of
#: another script are no numbers; "12:30" would be today, "2026-11" the first of the month, and what
#: "BST" is depends on who says it.
_NUMBER = r"^[ \t\r\n]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\r\n]*$"
_ZONE = r"Z|UTC|GMT|[+-][0-9]{1,2}(:?[0-9]{2})?|[A-Z][A-Za-z]+/[A-Za-z0-9_/+-]+"
_CLOCK = rf"[0-9]{{1,2}}(:[0-9]{{1,2}}(:[0-9]{{1,2}}(\.[0-9]*)?)?( ?({_ZONE}))?)?"
_MOMENT = rf"^[ \t\r\n]*[0-9]{{4}}-[0-9]{{1,2}}-[0-9]{{1,2}}([T ]{_CLOCK})?[ \t\r\n]*$"
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_PARTS = r"^\s*([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]{1,9}))?\s*$"
_EXPONENT_MAX = 50  # More than a decimal of 38 digits can tell from nothing, or hold.


def spark_type(column: Column) -> str:
    """Return the column's type as Spark names it."""
    return sql_type(column.type).spark


def value_of(text: Expression, column: Column) -> Expression:
    """Return the column's value: of the text, or of the default where there is no text."""
    value = typed_value(text, column)
    if column.default is None:
        return value
    return fn.when(text.isNotNull(), value).otherwise(literal(column.default, column))


def typed_value(text: Expression, column: Column) -> Expression:
    """Return the text as the column's type: NULL when it is not one."""
    if column.kind in ("string", "json"):
        return text
    if column.kind == "decimal":
        return _decimal(text, *column.digits)
    if column.kind == "double":
        # 1e309 is infinity, which T-SQL's FLOAT cannot hold.
        number = fn.when(text.rlike(_NUMBER), text.try_cast("double"))
        return fn.when(number.between(-_DOUBLE_MAX, _DOUBLE_MAX), number)
    if column.kind == "boolean":
        return _boolean(text)
    if column.kind not in ("timestamp", "date"):
        return text.try_cast(spark_type(column))
    if column.format == "iso8601":
        read = fn.when(text.rlike(_MOMENT), _timestamp(text))
        known = read.between(*(fn.timestamp_micros(fn.lit(end)) for end in _TIMES))
        time = fn.when(known, read)
    else:
        ticks = _decimal(text, 26, 6) * _MICROSECONDS[column.format]
        micros = ticks.try_cast("bigint")
        time = fn.when(micros.between(*_TIMES), fn.timestamp_micros(micros))
    # Sail casts a time's text to no date at all, so a date is always cut from a time.
    return time.try_cast("date") if column.kind == "date" else time


def literal(value: Scalar, column: Column) -> Expression:
    """Return a value of the document as the column's type."""
    if column.kind in ("string", "json", "boolean"):
        return fn.lit(value)
    if column.kind == "double":
        return fn.lit(float(value))
    text = str(value)
    if column.kind == "timestamp":
        text = datetime.fromisoformat(text).astimezone(UTC).isoformat()
    elif column.kind == "date":
        text = date.fromisoformat(text).isoformat()
    elif column.kind == "decimal":
        text = f"{Decimal(text):f}"
    return fn.lit(text).cast(spark_type(column))


def _boolean(text: Expression) -> Expression:
    # Sail knows two words more than Spark.
    word = fn.lower(fn.btrim(text, fn.lit(" \t\r\n")))
    is_false = fn.when(word.isin(*_FALSE), fn.lit(False))  # noqa: FBT003 -- A column's value.
    return fn.when(word.isin(*_TRUE), fn.lit(True)).otherwise(is_false)  # noqa: FBT003


def _timestamp(text: Expression) -> Expression:
    # Sail reads no zone after a time without seconds.
    with_seconds = fn.regexp_replace(text, r"^([0-9\s-]+[T ][0-9]+:[0-9]+)([^:0-9])", "$1:00$2")
    return fn.coalesce(text.try_cast("timestamp"), with_seconds.try_cast("timestamp"))


def _decimal(text: Expression, precision: int, scale: int) -> Expression:
    kind = f"decimal({precision},{scale})"
    plain = _written_plainly(text, scale=scale)
    return fn.when(text.rlike(_NUMBER), fn.coalesce(text.try_cast(kind), plain.try_cast(kind)))


def _written_plainly(text: Expression, *, scale: int) -> Expression:
    """Return a number without exponent and needless digits; NULL for any other text.

    Sail reads no exponent in a decimal, and at most 76 digits, zeros that say nothing included. One
    digit beyond the scale says how to round.
    """
    sign, whole, fraction, power = (fn.regexp_extract(text, _PARTS, n) for n in range(1, 5))
    exponent = fn.coalesce(power.try_cast("int"), fn.lit(0))
    zeros = fn.lit("0" * _EXPONENT_MAX)
    digits = fn.concat(zeros, whole, fraction, zeros)
    point = fn.length(whole) + exponent + _EXPONENT_MAX
    beyond = fn.substring(digits, point + 1, fn.lit(scale + 1))
    moved = fn.concat(fn.substring(digits, 1, point), fn.lit("."), beyond)
    number = fn.concat(sign, fn.lit("0"), fn.btrim(moved, fn.lit("0")))
    number = fn.when(point < 0, "0").when(exponent <= _EXPONENT_MAX, number)
    number = number.when(fn.btrim(digits, fn.lit("0")) == "", "0")
    return fn.when(fn.length(whole) + fn.length(fraction) > 0, number)
