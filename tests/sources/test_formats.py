"""Formats: records out of every kind of page, as the source wrote them, or a clear refusal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain import page_reader
from shared.domain.errors import BadRecord, Misconfigured
from shared.domain.json_page import JsonPaths, slice_page
from shared.domain.page_reader import JsonReader, LineReader, PageReader, TableReader
from tests.source_tool import polling, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATHS = JsonPaths(records="items", keys=("id",), beside=("next",))
LINES = JsonPaths(keys=("id",))


def read(reader: PageReader, pieces: Iterable[bytes]) -> tuple[list[bytes], dict[str, Any], int]:
    """All bodies, what is beside them, and in how many batches they came."""
    batches = [records for piece in pieces for records in reader.feed(piece)]
    last, beside = reader.finish()
    batches.append(last)
    return [body for records in batches for body in records.bodies], beside, len(batches)


def cut(text: bytes, size: int) -> list[bytes]:
    """A text in pieces, as a network gives it."""
    return [text[at : at + size] for at in range(0, len(text), size)]


async def answered(body: bytes | str, *, content_type: str = "", **source: Any) -> list[Any]:
    """The records that a poll of this answer sends."""
    content = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": content_type or "application/json"}
    async with (
        running(lambda _: web.Response(body=content, headers=headers)) as tool,
        polling(tool.url, **source) as world,
    ):
        try:
            await world.poll()
        except BadRecord:
            entries = world.quarantine.entries.values()
            assert [entry.body for entry in entries] == [content[: 64 * 1024]]
            assert not world.sent() or source.get("format") == "ndjson"
            raise
        return world.sent()


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("indent", [None, 2])
def test_large_json_page_is_cut_into_pieces(
    monkeypatch: pytest.MonkeyPatch, size: int, indent: int | None
) -> None:
    """A page larger than memory has records that are not."""
    monkeypatch.setattr(page_reader, "WHOLE_BYTES", 500)
    monkeypatch.setattr(page_reader, "_PIECE_BYTES", 300)
    records = [
        {"id": number, "t": '},{"é\\', "n": [{"x": 1}, {"y": []}], "u": "x" * (number % 37)}
        for number in range(60)
    ]
    text = json.dumps({"a": [{}], "items": records, "next": "u"}, indent=indent, ensure_ascii=False)

    bodies, beside, batches = read(JsonReader(PATHS), cut(text.encode(), size))

    assert [json.loads(body) for body in bodies] == records
    assert beside == {"next": "u"}
    assert batches > 5


def test_large_json_page_that_is_cut_off_is_refused_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came before is sent; that the page is not whole must still be known."""
    monkeypatch.setattr(page_reader, "WHOLE_BYTES", 100)
    monkeypatch.setattr(page_reader, "_PIECE_BYTES", 100)
    text = json.dumps({"items": [{"id": number} for number in range(100)]}).encode()

    with pytest.raises(BadRecord, match="not-json"):
        read(JsonReader(PATHS), cut(text[:-3], 50))


@pytest.mark.parametrize(
    "record",
    [
        '{"id":1,"n":[' + ",".join(['{"x":1}'] * 50) + "]}",
        '{"id":1,"x":NaN}',
        "12",
        '"},{"',
        "[[]]",
    ],
    ids=["many objects inside", "odd value", "numbers", "texts", "arrays"],
)
def test_large_json_page_is_cut_whatever_its_records_are(
    monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    """Else a page of such records would be held in memory whole, however large it is."""
    monkeypatch.setattr(page_reader, "WHOLE_BYTES", 3000)
    monkeypatch.setattr(page_reader, "_PIECE_BYTES", 3000)
    text = f'{{"items":[{",".join([record] * 1000)}],"next":"u"}}'

    bodies, beside, batches = read(JsonReader(PATHS), cut(text.encode(), 1000))

    assert bodies == [record.encode()] * 1000
    assert beside == {"next": "u"}
    assert batches > len(text) / 7000


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (b'{"id":"\xff"}]}', "not-utf8"),
        (b'{"id":"\xff"},' + b'{"id":1},' * 50 + b"{}]}", "not-utf8"),
        (b"]}", "not-json"),
        (b"\n]}", "not-json"),
    ],
)
def test_large_json_page_is_judged_as_a_small_one_is(
    monkeypatch: pytest.MonkeyPatch, end: bytes, reason: str
) -> None:
    """What is cut into pieces must not become right by it: no comma, no byte may be forgotten."""
    monkeypatch.setattr(page_reader, "WHOLE_BYTES", 100)
    monkeypatch.setattr(page_reader, "_PIECE_BYTES", 100)
    text = b'{"items":[' + b'{"id":"1"},' * 50 + b" " * 500 + end  # Blanks: the comma is cut off.

    with pytest.raises(BadRecord, match=reason):
        slice_page(text, PATHS)
    with pytest.raises(BadRecord, match=reason):
        read(JsonReader(PATHS), cut(text, 50))


odd_texts = st.sampled_from(['},{"', '"\\', "]}", "\r\n", "é\u2028", "\ud83d", "[", ""])
odd_values = st.recursive(
    odd_texts | st.none() | st.integers() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "items", "},{"]), inner, max_size=3)
    ),
    max_leaves=6,
)
#: A page may be hurt anywhere: nothing, a piece of it gone, something in it.
wounds = st.tuples(
    st.sampled_from([b"", b"", b"cut", b"<", b"\xff", b",", b"}", b"NaN"]), st.floats(0, 0.99)
)


def in_pieces(text: bytes, cuts: list[float]) -> list[bytes]:
    """A text cut at these parts of its length."""
    ends = sorted(int(each * len(text)) for each in cuts)
    return [text[a:b] for a, b in zip([0, *ends], [*ends, len(text)], strict=True)]


def outcome(of: Callable[[], tuple[list[bytes], dict[str, Any]]]) -> object:
    """What was read, or why nothing was."""
    try:
        return of()
    except BadRecord as error:
        return error.reason


@settings(max_examples=200)
@given(
    records=st.lists(
        odd_values | st.fixed_dictionaries({"id": odd_values, "v": odd_values}), max_size=12
    ),
    around=st.tuples(odd_values, odd_values),
    layout=st.tuples(
        st.sampled_from([None, 1, 70]), st.sampled_from(["\n", "\r\n"]), st.booleans()
    ),
    wound=wounds,
    cuts=st.lists(st.floats(0, 1), max_size=12),
)
def test_page_in_pieces_is_read_as_the_whole_page_is(
    records: list[Any],
    around: tuple[Any, Any],
    layout: tuple[int | None, str, bool],
    wound: tuple[bytes, float],
    cuts: list[float],
) -> None:
    """Where a network cuts an answer is chance: it may change no record and no refusal."""
    paths = JsonPaths(records="a.items", keys=("id",), beside=("a.next", "total"))
    page = {"z": around[0], "a": {"items": records, "next": around[1]}, "total": len(records)}
    text = json.dumps(page, indent=layout[0]).replace("\n", layout[1]).encode()
    text = b"\xef\xbb\xbf" * layout[2] + text
    kind, at = wound[0], int(wound[1] * len(text))
    text = text[:at] if kind == b"cut" else text[:at] + kind + text[at:]

    def whole() -> tuple[list[bytes], dict[str, Any]]:
        found, beside = slice_page(text, paths)
        return list(found.bodies), beside

    def pieces() -> tuple[list[bytes], dict[str, Any]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page_reader, "WHOLE_BYTES", 60)
            patch.setattr(page_reader, "_PIECE_BYTES", 40)
            return read(JsonReader(paths), in_pieces(text, cuts))[:2]

    assert outcome(pieces) == outcome(whole)


@settings(max_examples=200)
@given(
    rows=st.lists(
        st.lists(st.sampled_from(["a", '"b,\n""c"', "é", "", '"\r\n"', '"},{"']), max_size=4),
        max_size=12,
    ),
    ending=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.floats(0, 1), max_size=12),
    form=st.sampled_from([",", "\t", "", "lines"]),
)
def test_lines_and_rows_in_pieces_are_read_as_whole_ones_are(
    rows: list[list[str]], ending: str, cuts: list[float], form: str
) -> None:
    """The same of formats whose records end at line breaks, but not at every one."""
    joined = [("," if form == "lines" else form or " ").join(row) for row in rows]
    text = ending.join(["#id x" if not form else '{"id":1}' if form == "lines" else f"id{form}x"])
    text += ending + ending.join(joined)

    def reader() -> PageReader:
        return LineReader(LINES) if form == "lines" else TableReader(LINES, delimiter=form)

    def of(pieces: list[bytes]) -> object:
        return outcome(lambda: read(reader(), pieces)[:2])

    assert of(in_pieces(text.encode(), cuts)) == of([text.encode()])


def test_blanks_may_stand_between_the_fields_of_a_table() -> None:
    """Buoys and weather stations have been written like this since there were line printers."""
    text = "#STN   LAT  hh\n#text  deg  hr\n22101 37.24 21\n22102    MM 09 x\n"

    bodies, _, _ = read(TableReader(LINES, delimiter=""), cut(text.encode(), 7))

    assert [json.loads(body) for body in bodies] == [
        {"STN": "22101", "LAT": "37.24", "hh": "21"},
        {"STN": "22102", "LAT": "MM", "hh": "09", "_extra": ["x"]},
    ]


def test_quote_in_the_middle_of_a_field_is_only_a_character() -> None:
    """Inches are written like this; the rows behind them come later, but they come."""
    text = 'id,size\n1,5" pipe\n' + "".join(f"{number},x\n" for number in range(2, 5000))

    bodies, _, _ = read(TableReader(LINES, delimiter=","), cut(text.encode(), 10))

    assert len(bodies) == 4999
    assert json.loads(bodies[0]) == {"id": "1", "size": '5" pipe'}


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_lines_are_records(size: int) -> None:
    """NDJSON comes as it came; only line ends and empty lines go."""
    text = b'{"id":1,"t":"\xc3\xa9"}\r\n\n {"id": 2}\n{"id":3.50}'

    bodies, _, _ = read(LineReader(LINES), cut(text, size))

    assert bodies == [b'{"id":1,"t":"\xc3\xa9"}', b'{"id": 2}', b'{"id":3.50}']


def test_line_that_is_no_json_is_passed_on_and_harms_no_other() -> None:
    """The transform refuses it with its reason, and a person can repair it."""
    text = b'{"id":1}\n{"id":2\n"x":3}\n{"id":4}\n'

    ((records,), last) = list(LineReader(LINES).feed(text)), text.split(b"\n")[:4]

    assert records.bodies == last
    assert records.names() == [b"1", *last[1:3], b"4"]


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_rows_of_a_table_become_objects(size: int) -> None:
    """Quotes may hold separators, quotes and line breaks; an empty field is nothing."""
    text = 'id,name,note\r\n1,"a, b","say ""hi""\nthere"\r\n2,é,\r\n3,x,y,z\r\n4,last,'

    bodies, _, _ = read(TableReader(LINES, delimiter=","), cut(text.encode(), size))

    assert [json.loads(body) for body in bodies] == [
        {"id": "1", "name": "a, b", "note": 'say "hi"\nthere'},
        {"id": "2", "name": "é", "note": None},
        {"id": "3", "name": "x", "note": "y", "_extra": ["z"]},
        {"id": "4", "name": "last", "note": None},
    ]


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("csv", 'id,t\n1,"x y"\n'),
        ("tsv", "id\tt\n1\tx y\n"),
        ("text", "# id  t \n#  -  -\n   1  x\n"),
        ("ndjson", '{"id":"1","t":"x y"}\n'),
    ],
)
async def test_format_is_what_the_document_says(form: str, body: str) -> None:
    """Whatever the tool calls it."""
    sent = await answered(body, content_type="text/plain", format=form, records="")

    assert sent == [{"id": "1", "t": "x" if form == "text" else "x y"}]


@pytest.mark.parametrize("path", ["", "data.now"])
async def test_page_may_be_one_record(path: str) -> None:
    """Current conditions and exchange rates come alone; the bytes stay as they are."""
    record = '{"id": 7,\n "rate": 1.10}'
    body = record if not path else f'{{"data": {{"now": {record}, "then": null}}}}'

    async with (
        running(lambda _: web.Response(text=body)) as tool,
        polling(tool.url, format="object", records=path) as world,
    ):
        first = await world.poll()
        again = await world.poll()
        (event,) = [each for group in world.hub.sent.values() for each in group]

    assert event.body == b'{"id": 7,  "rate": 1.10}'
    assert (first.records_sent, again.records_sent) == (1, 0)


@pytest.mark.parametrize(
    "body",
    ['[{"id":1}]', '{"data":{"now":[{"id":1}]}}', '{"data":{}}', '{"data":7}', '"id"',
     '{"data":{"now":{"id"', '{"data":{"now":{"id":1}}} x', "<html>"],
)  # fmt: skip
async def test_page_without_the_one_record_is_refused(body: str) -> None:
    """An answer of another shape is not the record with all its fields missing."""
    with pytest.raises(BadRecord, match=r"the page is (HTML|without an object at 'data.now')"):
        await answered(body, format="object", records="data.now")


async def test_geojson_has_its_records_in_features() -> None:
    """Nobody should have to write it down."""
    body = '{"type":"FeatureCollection","features":[{"id":"a"},{"id":"b"}]}'

    sent = await answered(body, format="geojson", records="")

    assert sorted(record["id"] for record in sent) == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "content_type", "more"),
    [
        ('[{"id":1,"t":"café"}]'.encode("latin-1"), "application/json; charset=ISO-8859-1", {}),
        ('[{"id":1,"t":"café"}]'.encode("cp1252"), "application/json", {"charset": "cp1252"}),
        ('[{"id":1,"t":"café"}]'.encode("utf-16"), "application/json", {}),
        ('\ufeff[{"id":1,"t":"café"}]'.encode(), "application/json", {}),
        ('[{"id":1,"t":"café"}]'.encode(), "application/json; charset=unheard-of", {}),
        ('[{"id":1,"t":"café"}]'.encode(), "application/json; charset=zip", {}),
        ('[{"id":1,"t":"café"}]'.encode("utf-16-be"), "text/plain; charset='UTF-16BE'", {}),
    ],
    ids=[
        "declared",
        "corrected",
        "byte order mark",
        "utf-8 with one",
        "unknown",
        "no text",
        "wide",
    ],
)
async def test_other_character_sets_are_converted(
    body: bytes, content_type: str, more: dict[str, str]
) -> None:
    """Everything behind the poll is UTF-8."""
    sent = await answered(body, content_type=content_type, records="", **more)

    assert sent == [{"id": 1, "t": "café"}]


@pytest.mark.parametrize(
    ("body", "source", "reason", "tells"),
    [
        ("", {}, "empty-body", "empty body"),
        ("  \n", {}, "empty-body", "empty body"),
        ("<html>busy</html>", {}, "not-json", "HTML"),
        ('{"kind": "Listing", "items": [{"id": 1}]', {}, "not-json", "cut off"),
        ('{"error": "busy"}', {}, "not-json", "'items' is missing"),
        ('{"items": {"id": 1}}', {}, "not-json", "not an array"),
        (b'{"items":[{"id":"\xff"}]}', {}, "not-utf8", "byte 17"),
        ("<html>busy</html>", {"format": "ndjson", "records": ""}, "not-json", "HTML"),
        ('{"id":1}\n{"id":', {"format": "ndjson", "records": ""}, "not-json", "cut off"),
        ("", {"format": "ndjson", "records": ""}, "empty-body", "empty body"),
        ("<html>\n", {"format": "csv", "records": ""}, "not-csv", "HTML"),
        ("id,id\n1,2\n", {"format": "csv", "records": ""}, "not-csv", "one twice"),
        ("id,b,c\n1,2", {"format": "csv", "records": ""}, "not-csv", "cut off"),
        ("<html>\n", {"format": "text", "records": ""}, "not-csv", "HTML"),
        ("", {"format": "csv", "records": ""}, "empty-body", "empty body"),
        ('<html>\n<p>\n{"id":1}', {"format": "ndjson", "records": ""}, "not-json", "HTML"),
        ('{"items":[' + "[" * 9_000_000, {}, "not-json", "recursion"),
        ("[" * 200_000, {"format": "ndjson", "records": ""}, "not-json", "recursion"),
        ('{"z":' + "[" * 9_000_000, {}, "not-json", "recursion"),
        ('{"items":[],"z":' + "[" * 200_000, {}, "not-json", "recursion"),
    ],
)
async def test_page_that_is_not_what_it_claims_is_kept_and_explained(
    body: str, source: dict[str, str], reason: str, tells: str
) -> None:
    """The first bytes and the reason are what a person needs to see what happened."""
    with pytest.raises(BadRecord, match=tells) as caught:
        await answered(body, **source)

    assert caught.value.reason == reason


async def test_body_in_another_character_set_than_it_claims_is_refused() -> None:
    """Replaced by question marks, its names would be wrong in the table for ever, and unnoticed."""
    body = '{"items":[{"id":"Кремль"}]}'.encode()

    with pytest.raises(BadRecord, match=r"not in the character set.*set `charset`") as caught:
        await answered(body, content_type="application/json; charset=shift_jis")

    assert caught.value.reason == "wrong-charset"


async def test_character_set_that_nobody_knows_is_refused_in_the_document() -> None:
    """Rather than not converted."""
    with pytest.raises(Misconfigured, match=r"charset.*latin-17"):
        async with polling("http://127.0.0.1:1/", charset="latin-17"):
            pass


async def test_odd_value_in_one_record_holds_up_no_page() -> None:
    """Texts cut in the middle of an emoji are common; strict parsers refuse them."""
    body = '{"items":[{"id":1,"t":"\\ud83d"},{"id":2,"x":NaN}]}'

    async with (
        running(lambda _: web.Response(text=body)) as tool,
        polling(tool.url) as world,
    ):
        report = await world.poll()

    assert report.records_sent == 2


async def test_records_travel_byte_for_byte() -> None:
    """1.50 is not 1.5 to everybody, and a signature covers blanks too."""
    body = '{"items": [ {"id": 1, "price": 1.50,  "t": "\\u00e9"} ,{"id":2e0}]}'

    async with (
        running(lambda _: web.Response(text=body)) as tool,
        polling(tool.url) as world,
    ):
        await world.poll()

    events = [event for group in world.hub.sent.values() for event in group]
    lines = {line for event in events for line in event.body.split(b"\n")}
    assert lines == {b'{"id": 1, "price": 1.50,  "t": "\\u00e9"}', b'{"id":2e0}'}
