"""Columns: where a value is in a record's JSON, and how its text becomes what the column must be.

`from_json` reads every value as text (its typed form differs between the engines, and may wrap or
raise), and `try_cast` makes the type of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column as Expression

    from shared.domain.dataset import Column

_SPARK_TYPES = {"integer": "int", "long": "bigint", "json": "string"}
_MICROSECONDS = {"epochSeconds": 1_000_000, "epochMilliseconds": 1_000}
#: 0001-01-01 and the end of 9999: no engine or reader in the chain agrees on years beyond them.
_TIME_FIRST, _TIME_LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


def spark_type(column: Column) -> str:
    """Return the column's type as Spark names it."""
    return _SPARK_TYPES.get(column.type, column.type.replace(" ", ""))


def typed_value(text: Expression, column: Column) -> Expression:
    """Return the text as the column's type: NULL when it is not one."""
    if column.type in ("string", "json"):
        return text
    if column.type not in ("timestamp", "date"):
        return text.try_cast(spark_type(column))
    if column.format == "iso8601":
        # "12:30" would be today, and "2026" the first of January: both engines are too kind.
        time = fn.when(fn.substring(text, 5, 1) == "-", text.try_cast("timestamp"))
    else:
        ticks = text.try_cast("decimal(26,6)") * _MICROSECONDS[column.format]
        micros = ticks.try_cast("bigint")
        time = fn.when(micros.between(_TIME_FIRST, _TIME_LAST), fn.timestamp_micros(micros))
    # Sail casts a time's text to no date at all, so a date is always cut from a time.
    return time.try_cast("date") if column.type == "date" else time


@dataclass(slots=True)
class _Node:
    """A place in the JSON: a leaf, an object's fields or an array's elements, never two of them."""

    kind: str = ""
    inner: dict[str, _Node] = field(default_factory=dict)

    def add(self, steps: list[str]) -> bool:
        """Make room for a path; `False` when one that was added before leaves none."""
        if not steps:
            self.kind = self.kind or "leaf"
            return self.kind == "leaf"
        step, *rest = steps
        kind = "array" if step.isdecimal() else "object"
        if self.kind not in ("", kind):
            return False
        self.kind = kind
        key = "" if kind == "array" else step
        # Spark takes two fields of one object whose names differ only in case for one.
        if key not in self.inner and key.lower() in map(str.lower, self.inner):
            return False
        return self.inner.setdefault(key, _Node()).add(rest)

    @property
    def type(self) -> str:
        """The node as a type in DDL, every leaf a string."""
        if self.kind == "array":
            return f"array<{self.inner[''].type}>"
        if self.kind == "object":
            return f"struct<{', '.join(self.fields)}>"
        return "string"

    @property
    def fields(self) -> list[str]:
        """The object's fields in DDL."""
        return [f"`{name.replace('`', '``')}`:{node.type}" for name, node in self.inner.items()]


class JsonTexts:
    """The texts of a dataset's columns in a record, most of them read by a single `from_json`."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Decide how each path is read: the deepest first, since they save the most."""
        self._paths = {
            name: (name if column.path is None else column.path).split(".")
            for name, column in columns.items()
        }
        self._root = _Node(kind="object")
        deepest_first = sorted(self._paths, key=lambda name: -len(self._paths[name]))
        self._single = {name for name in deepest_first if not self._root.add(self._paths[name])}

    @property
    def schema(self) -> str:
        """The schema for `from_json`."""
        return self._root.type

    def text(self, name: str, *, record: Expression, parsed: Expression) -> Expression:
        """Return a column's text: NULL when the record has no value there."""
        path = self._paths[name]
        if name in self._single:
            return fn.get_json_object(record, _json_path(path))
        return reduce(_step_into, path, parsed)

    def is_absent(self, parsed: Expression) -> Expression:
        """Say whether `from_json` found nothing at all: a record without a column, or no JSON."""
        found = [parsed.getField(name).isNull() for name in self._root.inner]
        return reduce(lambda left, right: left & right, found)


def _step_into(parsed: Expression, step: str) -> Expression:
    if step.isdecimal():
        return fn.get(parsed, fn.lit(int(step)))  # Beyond the end is NULL, not an error.
    return parsed.getField(step)


def _json_path(path: list[str]) -> str:
    return "$" + "".join(f"[{step}]" if step.isdecimal() else f"['{step}']" for step in path)
