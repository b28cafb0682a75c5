"""The clean stage beyond columns: deletions, event ids, and the fields that no column names."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.cleaned import clean, clean_frame, dataset_of
from tests.transforms.lake import Event, Record, deletions, event
from transforms.clean import clean_schema
from transforms.rest import rest_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEYED = {
    "region": {"type": "string", "path": "where.region", "default": "EU"},
    "id": {"type": "integer", "min": 5, "path": "id"},
    "name": {"type": "string", "required": True, "matches": "[a-z]+"},
    "size": {"type": "double", "default": 1},
}
KEY = {"primaryKey": ["region", "id"]}


def deletion(*records: Record) -> Event:
    """An event of records that are gone from the source."""
    return replace(event(0, *records), type="dev.millrace.deletions")


@pytest.mark.parametrize("rest", [{}, {"keepRest": True}], ids=["", "kept"])
def test_of_a_deletion_only_the_key_is_read(session: SparkSession, rest: dict[str, Any]) -> None:
    """What is gone has a name and nothing else: no default, no check may speak for it."""
    gone = {"id": 7, "where": {"region": "US"}, "name": "UPPER", "size": 2, "extra": 1}

    [row] = clean(session, KEYED, deletion(gone), **KEY, **rest)

    assert (row["_deleted"], row["_reason"]) == (True, "")
    assert [row[name] for name in KEYED] == ["US", 7, None, None]
    assert (row.get("_rest"), row["_unknown"]) == (None, None)


def test_key_of_a_deletion_is_read_like_that_of_a_record(session: SparkSession) -> None:
    """A record without a region became a row of the default's: so does its deletion."""
    rows = clean(session, KEYED, deletion({"id": "7"}, {"id": 3}), **KEY)

    assert [(row["region"], row["id"], row["_reason"]) for row in rows] == [
        ("EU", 7, ""),
        ("EU", 3, ""),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"where":{"region":"US"},"name":"a"}', "id:missing"),
        (b'{"id":"x"}', "id:not-a-integer"),
        (b"{oops", "not-json"),
        (b'{"id":\xff}', "not-utf8"),
    ],
)
def test_deletion_of_nothing_that_has_a_name_is_refused(
    session: SparkSession, line: bytes, reason: str
) -> None:
    """A deletion that hits the wrong row, or none, must not pass for done."""
    [row] = clean(session, KEYED, deletion(line), **KEY)

    assert (row["_deleted"], row["_reason"], bytes(row["_body"])) == (True, reason, line)


def test_deletion_without_any_key_to_read_is_no_fault(session: SparkSession) -> None:
    """A dataset that keeps every record has no use for deletions, and nothing against them."""
    [row] = clean(session, {"id": {"type": "string", "required": True}}, deletion({"id": 1}))

    assert (row["id"], row["_deleted"], row["_reason"]) == (None, True, "")


def test_events_say_what_they_are(session: SparkSession) -> None:
    """One material carries both kinds, and an old event may not say a type at all."""
    untyped = replace(event(2, {"id": "c"}), type="")

    rows = clean(
        session,
        {"id": {"type": "string"}},
        event(0, {"id": "a"}, {"id": "b"}),
        replace(deletions(1, "a"), id="gone"),
        untyped,
        primaryKey=["id"],
    )

    assert [(row["id"], row["_deleted"]) for row in rows] == [
        ("a", False),
        ("b", False),
        ("a", True),
        ("c", False),
    ]


@pytest.mark.parametrize(
    ("parts", "ids"), [({}, ["e7", "e7"]), ({"primaryKey": ["id"]}, [None] * 2)]
)
def test_event_id_is_staged_where_it_names_a_row(
    session: SparkSession, parts: dict[str, Any], ids: list[str | None]
) -> None:
    """Without a key, the event and the line are what makes a record one and the same."""
    sent = event(0, {"id": "a"}, {"id": "b"}, id="e7")

    rows = clean(session, {"id": {"type": "string"}}, sent, **parts)

    assert [row["_event_id"] for row in rows] == ids


def test_rows_have_the_schema_they_are_read_back_with(session: SparkSession) -> None:
    """A staged file that is read with another schema gives NULL without a word."""
    dataset = dataset_of(KEYED, **KEY, keepRest=True)

    frame = clean_frame(session, dataset, event(0, {"id": 7}))

    expected = session.createDataFrame([], clean_schema(dataset)).schema
    assert frame.columns == expected.names


def test_rest_is_what_no_column_names(session: SparkSession) -> None:
    """Nothing that a source says is lost, to the last digit and blank."""
    line = '{"id": 1, "where": {"town": "x"}, "a": 1.10, "b" : {"q": [1, "}"]}, "ü": null, "id": 2}'
    columns = {"id": {"type": "integer"}, "region": {"type": "string", "path": "where.region"}}

    rows = clean(session, columns, event(0, line.encode(), {"id": 3}, b"{"), keepRest=True)

    assert [row["_rest"] for row in rows[:2]] == [
        '{"a":1.10,"b":{"q": [1, "}"]},"ü":null}',
        None,
    ]
    assert [row["_unknown"] for row in rows[:2]] == [["a", "b", "ü"], None]
    assert rows[2]["_reason"] == "not-json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(
    record=st.dictionaries(st.text(max_size=3) | st.sampled_from("abc"), JSON, max_size=6),
    named=st.frozensets(st.text(max_size=2) | st.sampled_from("abc")),
    depth=st.integers(0, 6),
    style=st.fixed_dictionaries(
        {
            "separators": st.sampled_from([(",", ":"), (" ,\t", " : ")]),
            "ensure_ascii": st.booleans(),
        }
    ),
)
@settings(max_examples=300)
def test_rest_of_any_record_is_what_a_parser_finds(
    record: dict[str, Any], named: frozenset[str], depth: int, style: dict[str, Any]
) -> None:
    """The text is cut by hand: every way of writing JSON must come out right."""
    deep: Any = "]}"
    for _ in range(depth):
        deep = [{"deep": deep}]
    record = record | {"deep": deep}
    text = json.dumps(record, **style)

    rest = rest_of(f" {text} ", named)

    expected = {name: value for name, value in record.items() if name not in named}
    assert (json.loads(rest) if rest else {}) == expected


@given(text=st.text('{}[]",:\\ aé1', max_size=30))
@settings(max_examples=300)
def test_rest_of_what_is_no_record_is_no_error(text: str) -> None:
    """A line that is refused anyway must not end the run that refuses it."""
    assert isinstance(rest_of(text, frozenset("a")), str | None)
