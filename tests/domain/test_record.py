"""The record: found byte for byte, or the page refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import BadRecord
from shared.domain.json_page import records_of
from shared.domain.record import pack

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(json_values, max_size=6), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_records_are_slices_of_the_page(
    values: list[object],
    indent: int | str | None,
    ascii_only: bool,  # noqa: FBT001 -- Hypothesis passes it by position.
) -> None:
    """However a page is laid out, each record reads as it did, and holds no line break."""
    text = json.dumps({"a": {"b": values}, "z": 1}, indent=indent, ensure_ascii=ascii_only)

    found = records_of(text.encode(), path="a.b", key="id")

    assert [json.loads(record.body) for record in found] == values
    assert not any(b"\n" in record.body for record in found)


def test_bytes_of_a_record_are_not_rewritten() -> None:
    """Number text, escapes and blanks are the source's own."""
    body = b'[ {"id": 1.50, "t":"\\u00e9" },{"id":2e3}]'

    found = records_of(body, path="", key="id")

    assert [record.body for record in found] == [b'{"id": 1.50, "t":"\\u00e9" }', b'{"id":2e3}']


@pytest.mark.parametrize(
    ("body", "path", "reason"),
    [
        (b"", "items", "empty-body"),
        (b"  \n", "items", "empty-body"),
        (b"<html>busy</html>", "items", "not-json"),
        (b'{"items":[{"id":1},{"id":2}', "items", "not-json"),
        (b'{"items":[{"id":1}]', "items", "not-json"),
        (b'{"items":[{"id":1}', "items", "not-json"),
        (b'{"items":[{"id":1}]} trailing', "items", "not-json"),
        (b'{"things":[]}', "items", "not-json"),
        (b'{"items":{}}', "items", "not-json"),
        (b'["\xff"]', "", "not-utf8"),
        (b"[" * 100_000, "", "not-json"),
    ],
)
def test_page_that_is_not_whole_is_refused(body: bytes, path: str, reason: str) -> None:
    """What is missing from a broken page is unknown, so none of it is used."""
    with pytest.raises(BadRecord) as caught:
        records_of(body, path=path, key="id")

    assert caught.value.reason == reason


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_refused(body: bytes) -> None:
    """A source can send anything; nothing but a refusal may come of it."""
    try:
        records_of(body, path="", key="id")
    except BadRecord as error:
        assert error.reason in {"empty-body", "not-json", "not-utf8"}  # noqa: PT017 -- Either way is right.


def test_one_key_stays_in_one_group() -> None:
    """Versions of one record must keep their order."""
    first, second = records_of(b'[{"id":7,"v":1},{"id":7,"v":2}]', path="", key="id")

    assert first.group(32) == second.group(32)
    assert first.fingerprint != second.fingerprint


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=30), st.integers(10, 100))
def test_packing_keeps_every_record_in_order(bodies: list[bytes], bytes_max: int) -> None:
    """Packing is for price; it must not be seen in the result."""
    clean = [body.replace(b"\n", b" ") for body in bodies]

    packed = list(pack(clean, bytes_max=bytes_max))

    assert [line for body, _ in packed for line in body.split(b"\n")] == clean
    assert all(len(body) <= bytes_max or count == 1 for body, count in packed)
