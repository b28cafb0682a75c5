"""Checks: what is wrong with a value, each with its reason `<column>:<what>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as fn

from shared.domain.text_pattern import portable
from transforms.columns import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import Column as Expression

    from shared.domain.dataset import Column

type Problem = tuple[Expression, str]


def key_problems(
    name: str, column: Column, *, text: Expression, value: Expression
) -> Iterator[Problem]:
    """Yield what may be wrong with a value that names a row: only that it is not there."""
    if column.default is None:
        yield text.isNull(), f"{name}:missing"
    yield from _type_problems(name, column, text=text, value=value)


def problems(
    name: str, column: Column, *, text: Expression, value: Expression
) -> Iterator[Problem]:
    """Yield each condition under which a record is refused, with the reason it then has."""
    if column.required and column.default is None:
        yield text.isNull(), f"{name}:missing"
    yield from _type_problems(name, column, text=text, value=value)
    if column.min is not None:
        yield value < literal(column.min, column), f"{name}:below-min"
    if column.max is not None:
        yield value > literal(column.max, column), f"{name}:above-max"
    if column.one_of:
        allowed = [literal(each, column) for each in column.one_of]
        yield ~value.isin(allowed), f"{name}:not-one-of"
    if column.matches is not None:
        # Not `^` and `$`: in Java the latter is also before a last line break.
        yield ~value.rlike(rf"\A(?:{portable(column.matches)})\z"), f"{name}:no-match"


def reasons(problems: Iterable[Iterable[Problem]]) -> Expression:
    """Return the reasons of all conditions that hold; the empty text when none does."""
    found = [
        fn.when(condition, reason) for of_column in problems for condition, reason in of_column
    ]
    return fn.concat_ws("; ", *found) if found else fn.lit("")


def _type_problems(
    name: str, column: Column, *, text: Expression, value: Expression
) -> Iterator[Problem]:
    if column.kind not in ("string", "json"):
        yield text.isNotNull() & value.isNull(), f"{name}:not-a-{column.type}"
