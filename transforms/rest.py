"""The rest: those fields of a record that no column is read from, as they were written.

No SQL function of the engines keeps a value as it is written, so this one is Python. Values are
copied, not read: numbers keep their digits, and however deeply a value is nested costs no stack.
"""

from __future__ import annotations

import json
import re
from operator import itemgetter
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import Column as Expression

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rf'[\[{{](?:[^\[\]{{}}"]++|{_STRING})*+[\]}}]'
_NESTED = rf'[\[{{](?:[^\[\]{{}}"]++|{_STRING}|{_FLAT})*+[\]}}]'
#: A field and its value; the value is empty where objects and arrays are nested deeper than that.
_FIELD = re.compile(
    rf'\s*+[{{,]\s*+({_STRING})\s*+:\s*+({_STRING}|[^\s,}}\]{{\["]++|{_NESTED}|(?=[{{\[]))'
)
_VALUE = itemgetter(1)
_MARK = re.compile(rf"{_STRING}|([{{\[])|([}}\]])")


def rest_of(record: str, named: frozenset[str]) -> str | None:
    """Return the record's other fields as a JSON object; `None` when there is none.

    Of two fields with one name the last counts. A record that is no JSON object is refused anyway:
    it gives something, but no error.
    """
    rest = {}
    for written, value in _fields(record):
        name = _name(written) if "\\" in written else written[1:-1]
        if name not in named:
            rest[name] = f"{written}:{value}"
    return f"{{{','.join(rest.values())}}}" if rest else None


def rest_column(record: Expression, named: list[str]) -> Expression:
    """Return `rest_of` a column of records; NULL for NULL."""
    return fn.udf(_rest_of_each(frozenset(named)), "string", useArrow=True)(record)


def _rest_of_each(named: frozenset[str]) -> Callable[[str | None], str | None]:
    return lambda record: None if record is None else rest_of(record, named)


def _name(written: str) -> str:
    try:
        return str(json.loads(written))
    except ValueError:
        return written


def _fields(record: str) -> list[tuple[str, str]]:
    """Return each field's name, in quotes, and its value."""
    fields: list[tuple[str, str]] = _FIELD.findall(record)
    return fields if all(map(_VALUE, fields)) else list(_walk(record))


def _walk(record: str) -> Iterator[tuple[str, str]]:
    """Yield the fields one by one, and count how deep a value goes."""
    position = 0
    while field := _FIELD.match(record, position):
        start, position = field.span(2)
        if start == position:
            position = _end_of_nested(record, start)
        yield field[1], record[start:position]


def _end_of_nested(record: str, start: int) -> int:
    depth = 0
    for mark in _MARK.finditer(record, start):
        depth += (mark[1] is not None) - (mark[2] is not None)
        if depth == 0:
            return mark.end()
    return len(record)
