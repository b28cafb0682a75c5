"""Checks and defaults: each reason by example, and all types and checks against a plain oracle."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.transforms import oracle
from tests.transforms.cleaned import at, clean, dataset_of, read_one
from tests.transforms.lake import event

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from shared.domain.dataset import Column

MOMENT = "2026-11-20T12:00:00+02:00"


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ({"type": "integer", "min": 3}, [3, "3", 2**31 - 1, None], [2, -1]),
        ({"type": "long", "min": -5, "max": 2**40}, [-5, 0, 2**40], [-6, 2**40 + 1]),
        ({"type": "double", "min": 0.1, "max": 5}, [0.1, 5, "5.0"], [0.0999, 5.0001, "NaN"]),
        ({"type": "decimal(6,2)", "min": 0.1, "max": 99}, [0.1, 99, "0.10"], ["0.09", 99.01]),
        ({"type": "date", "min": "2026-11-20"},
         ["2026-11-20", "2026-11-20T00:00Z"], ["1969-12-31"]),
        ({"type": "timestamp", "max": MOMENT}, ["2026-11-20T10:00Z"], ["2026-11-20T10:00:00.001Z"]),
        ({"type": "string", "oneOf": ["open", "closed"]}, ["open", None], ["Open", "", "open "]),
        ({"type": "integer", "oneOf": [1, 3]}, [1, "3"], [2]),
        ({"type": "decimal(4,1)", "oneOf": [0.5, 1]}, [0.5, "1.0", 0.45], [0.6]),
        ({"type": "date", "oneOf": ["2026-11-20"]}, ["2026-11-20"], ["2026-11-21"]),
        ({"type": "boolean", "oneOf": [True]}, [True, "yes"], [False]),
        ({"type": "string", "matches": "[A-Z]{2}-\\d+"},
         ["AB-1", None], ["AB-", "xAB-1", "A-1", ""]),
        ({"type": "string", "matches": "a|ab"}, ["a", "ab"], ["abc", "a\n", "\na"]),
        ({"type": "string", "matches": "\\w+"}, ["a_1"], ["é", "a b"]),
        ({"type": "string", "matches": "."}, ["é", "\r", "\u2028", "😀"], ["\n", "", "ab"]),
        ({"type": "string", "matches": "\\s[^\\d.]\\."}, [" x."], ["\u00a0x.", " 1.", " xy"]),
    ],
)  # fmt: skip
def test_check_refuses_what_is_not_good(
    session: SparkSession, column: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    """What a person wrote down about a column must hold for every row of the table."""
    found = read_one(session, column, *good, *bad)

    refused = [bool(reason) for _, reason in found]
    assert refused == [False] * len(good) + [True] * len(bad)


@pytest.mark.parametrize(
    ("column", "value", "reasons"),
    [
        ({"type": "integer", "required": True, "min": 0}, None, "c:missing"),
        ({"type": "integer", "required": True, "min": 0}, "x", "c:not-a-integer"),
        ({"type": "decimal(5, 2)"}, "x", "c:not-a-decimal(5, 2)"),
        ({"type": "integer", "min": 5, "oneOf": [7]}, 4, "c:below-min; c:not-one-of"),
        ({"type": "integer", "max": 5, "oneOf": [3]}, 6, "c:above-max; c:not-one-of"),
        ({"type": "string", "matches": "a", "oneOf": ["a"]}, "b", "c:not-one-of; c:no-match"),
    ],
)
def test_every_violated_check_is_a_reason(
    session: SparkSession, column: dict[str, Any], value: Any, reasons: str
) -> None:
    """A person who mends a source wants to do it once, and to count what is wrong most often."""
    [(_, found)] = read_one(session, column, value)

    assert found == reasons


def test_reasons_of_several_columns_are_given_together(session: SparkSession) -> None:
    """A record is looked at as a whole, however early it is clear that it is bad."""
    columns = {
        "id": {"type": "string", "required": True},
        "n": {"type": "integer", "min": 1},
        "m": {"type": "double"},
        "s": {"type": "string", "oneOf": ["a"]},
    }

    [row] = clean(session, columns, event(0, {"n": 0, "m": "x", "s": "b"}))

    assert row["_reason"] == "id:missing; n:below-min; m:not-a-double; s:not-one-of"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"type": "string", "default": "none"}, "none"),
        ({"type": "integer", "default": 0}, 0),
        ({"type": "long", "default": 2**53 + 1}, 2**53 + 1),
        ({"type": "double", "default": 0.1}, 0.1),
        ({"type": "decimal(10,3)", "default": 0.1}, Decimal("0.100")),
        ({"type": "decimal(12,10)", "default": 1e-7}, Decimal("0.0000001000")),
        ({"type": "boolean", "default": False}, False),
        ({"type": "date", "default": "2026-11-20"}, at(2026, 11, 20).date()),
        ({"type": "timestamp", "default": MOMENT}, at(2026, 11, 20, 10)),
        ({"type": "timestamp", "default": MOMENT, "format": "epochSeconds"}, at(2026, 11, 20, 10)),
        ({"type": "json", "default": "{}"}, "{}"),
    ],
)
def test_default_stands_for_what_is_not_there(
    session: SparkSession, column: dict[str, Any], expected: Any
) -> None:
    """A missing value has a meaning in many sources; a wrong one never has."""
    rows = clean(session, {"c": {**column, "required": True}}, event(0, {"c": None}, {}, {"d": 1}))

    assert [(row["c"], row["_reason"], row["_given_c"]) for row in rows] == [
        (expected, "", None)
    ] * 3


def test_default_stands_for_no_wrong_value(session: SparkSession) -> None:
    """Nobody would ever hear of the source's mistake."""
    [(value, reason)] = read_one(session, {"type": "integer", "default": 7}, "seven")

    assert (value, reason) == (None, "c:not-a-integer")


KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "whole": {"type": "integer"},
    "big": {"type": "long"},
    "real": {"type": "double"},
    "small": {"type": "decimal(9,3)"},
    "exact": {"type": "decimal(38,10)"},
    "flag": {"type": "boolean"},
    "day": {"type": "date"},
    "moment": {"type": "timestamp"},
    "seconds": {"type": "timestamp", "format": "epochSeconds"},
    "millis": {"type": "date", "format": "epochMilliseconds"},
}
ZONES = st.sampled_from(
    [None, UTC, *(timezone(timedelta(minutes=minutes)) for minutes in (-300, 345, 840, -720, 1080))]
)
TIMES = st.datetimes(timezones=ZONES)
DIGITS = r"[+-]?([0-9]{0,9}(\.[0-9]{0,12})?|[0-9]{20,60}(\.[0-9]{20,60})?)([eE][+-]?[0-9]{1,2})?"
#: What people, spreadsheets and other languages write where something else is expected.
ODD_TEXTS = [
    json.loads(line) for line in Path(__file__).with_name("odd_texts.txt").read_text().splitlines()
]
BLANKS = st.text(" \t\r\n", max_size=2)
TEXTS = st.one_of(
    st.from_regex(DIGITS, fullmatch=True),
    TIMES.map(str),
    TIMES.map(datetime.isoformat),
    st.dates().map(str),
    st.sampled_from(ODD_TEXTS),
    st.text(max_size=5),
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-100, 100),
    st.integers(1_700_000_000_000, 1_900_000_000_000),
    st.integers(0, 300).map(lambda power: 10**power),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-1_000_000, 1_000_000, places=4).map(float),
    TEXTS,
    st.tuples(BLANKS, TEXTS, BLANKS).map("".join),
)
#: As they are written: a number need not be written as Python does.
VALUES = st.one_of(
    SCALARS.map(json.dumps),
    st.from_regex(r"-?(0|[1-9][0-9]{0,5})\.[0-9]{1,9}([eE][+-]?[0-2]?[0-9])?", fullmatch=True),
    st.lists(SCALARS, max_size=2).map(json.dumps),
    st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=2).map(json.dumps),
)
#: Checks by the name of a column, each of them of use to some of the values.
CHECKS: dict[str, list[dict[str, Any]]] = {
    "text": [{"matches": "[a-z0-9:.+-]+"}, {"oneOf": ["x", "true", "7"]}, {"default": "?"}],
    "whole": [{"min": -5}, {"max": 50}, {"oneOf": [1, 2, 3]}, {"default": 0}],
    "big": [{"min": 0, "max": 2**60}, {"default": -1}],
    "real": [{"min": -0.5}, {"max": 1e6}, {"default": 0.5}],
    "small": [{"min": 0.001}, {"max": 999.5}, {"oneOf": [0, 0.5, 7]}, {"default": 1}],
    "exact": [{"min": 0}, {"max": 2**60}, {"default": 0.25}],
    "flag": [{"oneOf": [True]}, {"default": False}],
    "day": [{"min": "1970-01-01"}, {"max": "2500-12-31"}, {"default": "2026-11-20"}],
    "moment": [{"min": MOMENT}, {"max": MOMENT}, {"oneOf": [MOMENT]}, {"default": MOMENT}],
    "seconds": [{"min": MOMENT}, {"max": MOMENT}],
    "millis": [{"min": "2026-01-01"}, {"max": "2027-01-01"}],
}


@st.composite
def checked_columns(draw: st.DrawFn) -> dict[str, Any]:
    """A column of each type, with some of its checks."""
    return {
        name: column
        | {"path": "c", "required": draw(st.booleans())}
        | draw(st.sampled_from([{}, *CHECKS[name]]))
        for name, column in KINDS.items()
    }


@given(columns=checked_columns(), values=st.lists(VALUES, min_size=30, max_size=60))
# What fails says itself which value it was: to look for a smaller example would take minutes.
@settings(max_examples=40, phases=[Phase.generate])
def test_values_and_reasons_are_those_of_a_plain_oracle(
    session: SparkSession, columns: dict[str, Any], values: list[str]
) -> None:
    """Types and checks meet in ways that nobody thinks of one by one."""
    records = [f'{{"c": {value}}}'.encode() for value in values]

    rows = clean(session, columns, event(0, *records))

    dataset = dataset_of(columns)
    for value, row in zip(map(json.loads, values), rows, strict=True):
        reasons = [
            reason
            for name, column in dataset.columns.items()
            for reason in oracle.reasons(name, value, column)
        ]
        assert row["_reason"] == "; ".join(reasons), value
        for name, column in dataset.columns.items():
            assert_same(row[name], oracle.filled(value, column), column, value)


def assert_same(found: Any, expected: Any, column: Column, value: Any) -> None:
    """Compare what was found; of numbers in a string column, what the engine wrote."""
    if column.kind == "string" and not isinstance(value, str | bool | None):
        assert is_close(json.loads(found), value), (column, value, found)
    else:
        assert (type(found), found) == (type(expected), expected), (column, value)


def is_close(found: Any, value: Any) -> bool:
    """Whether JSON is the same but for the last digit of numbers."""
    if isinstance(value, dict):
        return list(found) == list(value) and is_close([*found.values()], [*value.values()])
    if isinstance(value, list):
        return len(found) == len(value) and all(map(is_close, found, value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return isclose(found, value, rel_tol=1e-15)
    return bool(found == value)
