"""Texts: where the values of a dataset's columns are in a record's JSON.

One `from_json` reads them all as text: its typed form differs between the engines, and may wrap or
raise. A number with a fraction has been a double by then, which Sail rounds carelessly: of those
with 16 or 17 digits, one in ten becomes its neighbour. On Sail, `get_json_object` leaves a number
as it is written, but reads the record once more for each value. So it reads what must not lose a
digit, and what may have lost one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

from transforms.session import on_databricks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column as Expression

    from shared.domain.dataset import Column

#: Numbers of so many digits have doubles of their own, whose neighbours are other numbers.
_DIGITS_OF_DOUBLE = 15
#: A double that is written shorter than that is the number it was, or differs beyond these digits.
_LENGTH_DOUBTFUL = 12
_FRACTIONAL = ("double", "decimal")
#: No path of `get_json_object` leads to a name with one of these in it.
_NO_PATH = frozenset("'?[]")


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
    """The texts of a dataset's columns in a record."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Decide how each path is read: the deepest first, since they save the most."""
        self._columns = columns
        self._paths = {
            name: (name if column.path is None else column.path).split(".")
            for name, column in columns.items()
        }
        self._root = _Node(kind="object")
        exact = {name for name in columns if self._is_exact(name)}
        # Something must be read by `from_json`: it is what tells a record from what is no JSON.
        read = [name for name in columns if name not in exact] or list(columns)
        deepest_first = sorted(read, key=lambda name: -len(self._paths[name]))
        self._single = exact | {
            name for name in deepest_first if not self._root.add(self._paths[name])
        }

    @property
    def schema(self) -> str:
        """The schema for `from_json`."""
        return self._root.type

    @property
    def fields(self) -> list[str]:
        """The record's own fields that columns are read from."""
        return sorted({path[0] for path in self._paths.values()})

    def text(self, name: str, *, record: Expression, parsed: Expression) -> Expression:
        """Return a column's text: NULL when the record has no value there."""
        path = self._paths[name]
        written = fn.get_json_object(record, _json_path(path))
        if name in self._single:
            return written
        text = reduce(_step_into, path, parsed)
        if not self._may_be_careless(name):
            return text
        is_doubtful = fn.length(text) >= _LENGTH_DOUBTFUL
        if self._columns[name].kind not in _FRACTIONAL:
            is_doubtful &= text.contains(".")  # Most times are counted in whole numbers.
        return fn.when(is_doubtful, written).otherwise(text)

    def is_absent(self, parsed: Expression) -> Expression:
        """Say whether `from_json` found nothing at all: a record without a column, or no JSON."""
        found = [parsed.getField(name).isNull() for name in self._root.inner]
        return reduce(lambda left, right: left & right, found)

    def _is_exact(self, name: str) -> bool:
        """Say whether the column has room for what a double may lose unseen."""
        column = self._columns[name]
        if column.kind == "decimal":
            precision, scale = column.digits
            has_room = min(precision - scale, _LENGTH_DOUBTFUL) + scale > _DIGITS_OF_DOUBLE
        else:
            has_room = column.kind == "json"
        return has_room and self._has_json_path(name)

    def _may_be_careless(self, name: str) -> bool:
        """Say whether a long number has to be looked at again."""
        column = self._columns[name]
        is_number = column.kind in _FRACTIONAL or column.format != "iso8601"
        return is_number and self._has_json_path(name) and not on_databricks()

    def _has_json_path(self, name: str) -> bool:
        return not _NO_PATH & set("".join(self._paths[name]))


def _step_into(parsed: Expression, step: str) -> Expression:
    if step.isdecimal():
        return fn.get(parsed, fn.lit(int(step)))  # Beyond the end is NULL, not an error.
    return parsed.getField(step)


def _json_path(path: list[str]) -> str:
    return "$" + "".join(f"[{step}]" if step.isdecimal() else f"['{step}']" for step in path)
