"""Columns: every type, format and path, and what happens to a value that does not fit."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.transforms.cleaned import at, clean, read_one
from tests.transforms.lake import event

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


GOOD_VALUES = [
    ("string", "text", "text"),
    ("string", 7, "7"),
    ("string", True, "true"),
    ("string", "", ""),
    ("string", "naïve 😀", "naïve 😀"),
    ("integer", 7, 7),
    ("integer", "-7", -7),
    ("long", 9_007_199_254_740_993, 9_007_199_254_740_993),
    ("double", 1.25, 1.25),
    ("double", "1e3", 1000.0),
    ("double", 5, 5.0),
    ("decimal(10,2)", 1.5, Decimal("1.50")),
    ("decimal(10, 2)", "12345678.905", Decimal("12345678.91")),
    ("decimal(38,9)", "12345678901234567890.123456789", Decimal("12345678901234567890.123456789")),
    ("decimal(12,4)", 1e-4, Decimal("0.0001")),
    ("decimal(30,8)", 1.5e-7, Decimal("0.00000015")),
    ("decimal(30,0)", "1.5E+22", Decimal(15 * 10**21)),
    ("decimal(4,2)", " 0e999\n", Decimal("0.00")),
    ("decimal(4,2)", f"{'1' * 56}e-54", Decimal("11.11")),
    ("decimal(4,2)", f"{'1' * 60}e-83", Decimal("0.00")),
    ("decimal(4,2)", f"{'0' * 90}1.{'3' * 90}", Decimal("1.33")),
    ("decimal(38,0)", f"{'7' * 38}.{'4' * 60}", Decimal("7" * 38)),
    ("decimal(38,38)", f"0.{'3' * 37}15{'0' * 60}", Decimal(f"0.{'3' * 37}2")),
    ("boolean", True, True),
    ("boolean", "false", False),
    ("boolean", 1, True),
    ("boolean", 0, False),
    ("date", "2026-11-20", date(2026, 11, 20)),
    ("date", "2026-11-20T23:30:00-02:00", date(2026, 11, 21)),
    ("timestamp", "2026-11-20T12:00:00Z", at(2026, 11, 20, 12)),
    ("timestamp", "2026-11-20T12:00:00.123456+02:00", at(2026, 11, 20, 10, 0, 0, 123456)),
    ("timestamp", "2026-11-20 12:00:00", at(2026, 11, 20, 12)),
    ("timestamp", "2026-11-20T12:00Z", at(2026, 11, 20, 12)),
    ("timestamp", "2026-11-20 12:00+0130", at(2026, 11, 20, 10, 30)),
    ("timestamp", "\n2026-1-2 3:04 Europe/Berlin ", at(2026, 1, 2, 2, 4)),
    ("timestamp", "9999-12-31T23:59:59.999999Z", at(9999, 12, 31, 23, 59, 59, 999_999)),
    ("timestamp", "2026-11-20", at(2026, 11, 20)),
    ("json", {"b": 1, "a": [True, None]}, '{"b": 1, "a": [true, null]}'),
    ("json", [1, "x"], '[1, "x"]'),
    ("json", "text", "text"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), GOOD_VALUES)
def test_value_of_a_type_is_read(
    session: SparkSession, kind: str, value: Any, expected: Any
) -> None:
    """A source may write a value in several ways that mean the same."""
    found = read_one(session, {"type": kind}, value)

    assert found == [(expected, "")]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("integer", ["x", "", 1.5, 99_999_999_999, True, [1], {"a": 1}]),
        ("long", ["x", 1.5, 99_999_999_999_999_999_999]),
        ("double", ["x", "", "1,5", True, "NaN", "Inf", "-Infinity", "1e309", "1d", "1_000"]),
        ("decimal(4,2)", ["x", 100, "1,5", "\u0661", "\u00a07", "7 %"]),
        ("boolean", ["x", "", 2, 1.0, "on", "off"]),
        ("date", ["x", "", "20.11.2026", "2026-02-30", 1_795_176_000, 2026]),
        ("timestamp", ["x", "", "12:30", "2026", 1_795_176_000_000, "2026-11-20T25:00:00Z"]),
        ("timestamp", ["2026-11", "2026-11-20T24:00:00Z", "2016-12-31T23:59:60Z"]),
        ("timestamp", ["2026-07-01 12:00 BST", "2026-07-01T12:00:00+18:01", "now"]),
    ],
)
def test_value_of_another_type_is_a_reason(
    session: SparkSession, kind: str, values: list[Any]
) -> None:
    """A guess would be worse than a gap: NULL, wrapped or made-up values mislead for ever."""
    found = read_one(session, {"type": kind}, *values)

    assert found == [(None, f"c:not-a-{kind}")] * len(values)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("epochSeconds", 1_795_176_000, at(2026, 11, 20, 12)),
        ("epochSeconds", 1_795_176_000.25, at(2026, 11, 20, 12, 0, 0, 250_000)),
        ("epochSeconds", "-1", at(1969, 12, 31, 23, 59, 59)),
        ("epochSeconds", 228_061_265_468.086_82, at(9196, 12, 21, 23, 31, 8, 86_820)),
        ("epochMilliseconds", 1_795_176_000_123, at(2026, 11, 20, 12, 0, 0, 123_000)),
        ("epochMilliseconds", 0, at(1970, 1, 1)),
    ],
)
def test_epoch_is_a_time(session: SparkSession, column: str, value: Any, expected: Any) -> None:
    """Half of all sources count seconds or milliseconds since 1970."""
    times = read_one(session, {"type": "timestamp", "format": column}, value)
    dates = read_one(session, {"type": "date", "format": column}, value)

    assert times == [(expected, "")]
    assert dates == [(expected.date(), "")]


@pytest.mark.parametrize("kind", ["date", "timestamp"])
def test_time_that_no_reader_knows_is_a_reason(session: SparkSession, kind: str) -> None:
    """Milliseconds taken for seconds are the year 58,859, on which engines disagree."""
    values = [1_795_176_000_000, 10**25, "2026-11-20", "x"]
    texts = ["0000-12-31", "9999-12-31T23:59:59-01:00"]

    found = read_one(session, {"type": kind, "format": "epochSeconds"}, *values)
    found += read_one(session, {"type": kind}, *texts)

    assert found == [(None, f"c:not-a-{kind}")] * 6


def test_numbers_keep_every_digit_that_fits(session: SparkSession) -> None:
    """Money and measurements must not change on the way; a double would round them."""
    written = [b"99999999999999.9999", b"0.30000000000000001", b"1.000000000000000001", b"-0.10"]
    doubles = [0.9257857896092999, 0.1 + 0.2, 1.3742982921116053e51, 2.5e-300, 100.0]
    as_json = [b'{"c":%s}' % number for number in written]

    exact = clean(session, {"c": {"type": "decimal(38,18)"}}, event(0, *as_json))
    found = read_one(session, {"type": "double"}, *doubles)

    assert [row["c"] for row in exact] == [Decimal(number.decode()) for number in written]
    assert [value for value, _ in found] == doubles


def test_json_keeps_its_numbers_as_they_are_written(session: SparkSession) -> None:
    """Whoever takes a part as JSON wants to read it himself, to the last digit."""
    line = b'{"c": {"n": [1.10, 0.9257857896092999, 12345678901234567890123]}}'

    [row] = clean(session, {"c": {"type": "json"}}, event(0, line))

    assert row["c"] == '{"n": [1.10, 0.9257857896092999, 12345678901234567890123]}'


def test_paths_lead_into_objects_and_arrays(session: SparkSession) -> None:
    """Real records are nested: GeoJSON keeps a place's longitude in an array in an object."""
    columns = {
        "id": {"type": "string"},
        "mag": {"type": "double", "path": "properties.mag"},
        "magnitude_text": {"type": "string", "path": "properties.mag"},
        "longitude": {"type": "double", "path": "geometry.coordinates.0"},
        "depth": {"type": "double", "path": "geometry.coordinates.2"},
        "first_tag": {"type": "string", "path": "tags.0.name"},
        "corner": {"type": "integer", "path": "box.1.0"},
        "spaced": {"type": "string", "path": "odd key.$it's `odd`"},
    }
    record = {
        "id": "a",
        "properties": {"mag": 1.5},
        "geometry": {"coordinates": [10, 20.5]},
        "tags": [{"name": "x"}, {"name": "y"}],
        "box": [[1, 2], [3, 4]],
        "odd key": {"$it's `odd`": "yes"},
    }

    [row] = clean(session, columns, event(0, record))

    assert [row[name] for name in columns] == ["a", 1.5, "1.5", 10.0, None, "x", 3, "yes"]
    assert row["_reason"] == ""


def test_one_path_may_lie_within_another(session: SparkSession) -> None:
    """People keep the whole object beside the values they took out of it."""
    columns = {
        "all": {"type": "json", "path": "p"},
        "one": {"type": "integer", "path": "p.one"},
        "first": {"type": "integer", "path": "p.list.0"},
        "list": {"type": "json", "path": "p.list"},
        "upper": {"type": "integer", "path": "p.ONE"},
    }
    record = {"p": {"one": 1, "list": [5, 6], "ONE": 2}}

    [row] = clean(session, columns, event(0, record))

    assert [json.loads(row[name]) for name in ("all", "list")] == [record["p"], [5, 6]]
    assert [row[name] for name in ("one", "first", "upper")] == [1, 5, 2]


@pytest.mark.parametrize(
    "record",
    [{"p": "text"}, {"p": None}, {"p": [1]}, {"p": {"q": 5}}, {"p": {"q": {"r": None}}}, {"x": 1}],
)
def test_path_that_leads_nowhere_is_a_missing_value(
    session: SparkSession, record: dict[str, Any]
) -> None:
    """A source that changes a part's shape makes the value missing, not the run fail."""
    columns = {"value": {"type": "integer", "path": "p.q.r", "required": True}}

    [row] = clean(session, columns, event(0, record))

    assert (row["value"], row["_reason"]) == (None, "value:missing")


def test_all_reasons_that_apply_are_given(session: SparkSession) -> None:
    """A person who mends a source wants to do it once."""
    columns = {
        "id": {"type": "string", "required": True},
        "at": {"type": "timestamp", "required": True},
        "n": {"type": "integer"},
        "m": {"type": "decimal(4,1)"},
    }

    [row] = clean(session, columns, event(0, {"at": "noon", "n": "one", "m": 1.5}))

    assert row["_reason"] == "id:missing; at:not-a-timestamp; n:not-a-integer"


@pytest.mark.parametrize(
    "line",
    [b"x", b'{"id":"a"', b'{"id":"a"} x', b"[]", b'[{"id":"a"}]', b'"a"', b"5", b"null", b"<html>"],
)
def test_line_that_is_no_object_is_not_json(session: SparkSession, line: bytes) -> None:
    """Cut-off pages and HTML under a JSON content type end here, with their bytes."""
    [row] = clean(session, {"id": {"type": "string"}}, event(0, line))

    assert (row["id"], row["_reason"], bytes(row["_body"])) == (None, "not-json", line)


def test_object_without_any_column_is_a_record(session: SparkSession) -> None:
    """Only what a dataset requires may be missed."""
    rows = clean(session, {"id": {"type": "string"}}, event(0, {"other": 1}, {}))

    assert [(row["id"], row["_reason"]) for row in rows] == [(None, ""), (None, "")]


def test_broken_text_spoils_only_its_own_line(session: SparkSession) -> None:
    """One bad byte in an event of hundreds of records must not cost the others."""
    lines = [b'{"id":"a"}', b'{"id":"\xff\n"}'.replace(b"\n", b""), '{"id":"ÿ"}'.encode(), b"\x0a"]

    rows = clean(session, {"id": {"type": "string"}}, event(0, *lines))

    assert [(row["id"], row["_reason"], row["_line"]) for row in rows] == [
        ("a", "", 1),
        (None, "not-utf8", 2),
        ("ÿ", "", 3),
    ]
    assert [row["_body"] and bytes(row["_body"]) for row in rows] == [None, lines[1], None]


def test_any_column_name_the_document_allows_works(session: SparkSession) -> None:
    """SQL's words and our own short names are column names, too."""
    names = ["s", "t", "order", "select", "name", "_".join("abc"), "A1", "count", "timestamp"]

    [row] = clean(
        session, {name: {"type": "string"} for name in names}, event(0, dict.fromkeys(names, "x"))
    )

    assert [row[name] for name in names] == ["x"] * len(names)
