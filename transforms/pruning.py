"""Pruning: the condition that lets the engine leave most of a table's folders alone."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import DataFrame

type Value = str | int | date | None

#: More folders than these are looked through one and all: the list would take longer.
FOLDERS_MAX = 500
#: What every engine reads alike between quotes.
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:;/+@#-]*")


def values_of(rows: DataFrame, *columns: str) -> list[Value] | None:
    """Return the values of some columns; `None` when there are too many or they have no literal."""
    frames = [rows.select(fn.col(column).alias("value")) for column in columns]
    together = frames[0]
    for frame in frames[1:]:
        together = together.union(frame)
    found = together.distinct().limit(FOLDERS_MAX + 1).collect()
    values = [row["value"] for row in found]
    if len(values) > FOLDERS_MAX or any(_literal(value) is None for value in values):
        return None
    return values


def are_in(column: str, values: Iterable[Value] | None) -> str:
    """Return ` and (column is one of the values)`; nothing when they are not known."""
    if values is None:
        return ""
    listed = list(values)
    literals = sorted(str(_literal(value)) for value in listed if value is not None)
    conditions = [f"{column} in ({', '.join(literals)})"] if literals else []
    conditions += [f"{column} is null"] if None in listed else []
    return f" and ({' or '.join(conditions) or 'false'})"


def _literal(value: object) -> str | None:
    """Return a value as SQL; `None` for a kind or a text that engines may not read alike."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if type(value) is date:
        return f"date'{value.isoformat()}'"
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return f"'{value}'"
    return None
