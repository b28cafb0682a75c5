"""What both engines are given: values, lines and events that sources really send, and worse."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro

from shared.domain.dataset import Dataset
from shared.domain.raw_blob import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

type Json = dict[str, Any]

DELETIONS = "dev.millrace.deletions"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

#: Every type and format a column may have.
COLUMNS: dict[str, Json] = {
    "text": {"type": "string"},
    "int": {"type": "integer"},
    "long": {"type": "long"},
    "double": {"type": "double"},
    "money": {"type": "decimal(10,2)"},
    "exact": {"type": "decimal(38,9)"},
    "flag": {"type": "boolean"},
    "day": {"type": "date"},
    "day_s": {"type": "date", "format": "epochSeconds"},
    "day_ms": {"type": "date", "format": "epochMilliseconds"},
    "time": {"type": "timestamp"},
    "time_s": {"type": "timestamp", "format": "epochSeconds"},
    "time_ms": {"type": "timestamp", "format": "epochMilliseconds"},
    "json": {"type": "json"},
}

#: JSON texts of one value each, right and wrong.
VALUES = Path(__file__).with_name("values.txt").read_text().splitlines()

#: Whole lines that are alike; some of them are what a broken source or a cut connection leaves.
TEXT_LINES = [
    '{"id":"a","p":{"n":1,"list":[1,2,3]}}', '{"id":"a"', ',{"id":"a"}', '[{"id":"a"}]', '"a"',
    "5", "null", "true", "x", "<html>", "{}", "[]", "{", "}", '{"other":1}', '{id:"a"}', '{"id":a}',
    '{"id":"a",}', '{"id":"a" "p":1}', '{"id":}', '{"id"}', '{"id":"a","id":"b"}', "NaN", "nan",
    '{"id":null,"id":"b"}', '{"id":"a","id":null}', '{"ID":"a"}', '{"Id":"a","id":"b"}', "-", "0",
    '{"id":"a","p":{"n":1},"p":{"n":2}}', '{"p":{"n":1,"n":2}}', '{"p":{"n":{"m":1}}}',
    '{"p":[{"n":1}]}', '{"p":"text"}', '{"p":5}', '{"p":null}', '{"p":[]}', '{"p":{}}',
    '{"p":{"list":[]}}', '{"p":{"list":[1]}}', '{"p":{"list":{"0":1}}}', '{"p":{"list":"ab"}}',
    '{"p":{"list":[null,2]}}', '{"p":{"list":[[1],[2]]}}', '{"p":{"list":["1","2","3"]}}',
    '  {"id":"a"}', '\t{"id":"a"}\t', '{"id":"a"}\r', '{ "id" : "a" }', '\x0b{"id":"a"}',
    '\x00{"id":"a"}', '\u00a0{"id":"a"}', '\ufeff{"id":"a"}', '{"id":"a\x01b"}', '{"id":"a\tb"}',
    '{"id":"a\\tb"}', '{"id":"a\\u0000b"}', '{"id":"\\ud83d\\ude00"}', '{"id":"a"/*c*/}',
    '#{"id":"a"}', '{"id":"\u2028"}', "", " ", "\r", "\t \r", "\x0b", "\u00a0", "[" * 5000,
    '{"id":"' + "x" * 70_000 + '"}', '{"id":"a","deep":' + "[" * 1100 + "]" * 1100 + "}",
    '{"id":"' + "9" * 1000 + '"}', '{"p":{"n":' + "9" * 1001 + "}}", '{"id":"a","n":1',
    '{"id":"a","p":{"n":1', '{"id":"a","p":{"n":1}', '{"p":{"n":x},"id":"a"}',
    '{"id":"a","p":{"list":[1,2', '{"id":"a","other":{"n":tru}}', '{"id":"a","other":[1,2',
    '{"id":"a","tags":[{"v":"x"},{"v":"y"}]}', '{"id":"a","tags":[5,{"v":"y"}]}',
    '{"id":"a","tags":[{"v":"x"},null]}', '{"id":"a","tags":[{"v":"x"},{}]}',
]  # fmt: skip
#: The same, of bytes that are no text.
BROKEN_LINES = [
    b'{"id":"\xff"}', b"\xff\xfe", b'{"id":"\xc3\x28"}', b'{"id":"\xed\xa0\x80"}', b"\x80",
    b'{"id":"\xf4\x90\x80\x80"}', b'{"id":"\xc0\x80"}', b'{"id":"\xe2\x82"}', b'{"id":"caf\xe9"}',
    b'\xff\xfe{\x00"\x00', b"\x1f\x8b\x08\x00\x00",
]  # fmt: skip
LINES = [*(line.encode() for line in TEXT_LINES), *BROKEN_LINES]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvent:
    """An event of a raw blob."""

    sequence: int
    body: bytes
    partition: str = "0"
    enqueued_at: datetime = NOON
    attributes: tuple[tuple[str, str], ...] = (("type", "dev.millrace.records"),)
    quarantined: str = ""

    def to_avro(self) -> Json:
        """Return the event as the blob holds it."""
        return {
            "sequence_number": self.sequence,
            "offset": str(self.sequence),
            "enqueued_time": self.enqueued_at,
            "partition": self.partition,
            "attributes": {"id": f"event-{self.sequence}", **dict(self.attributes)},
            "quarantined": self.quarantined,
            "body": self.body,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A dataset, the events of each of its runs, and perhaps an incremental table made of it."""

    name: str
    dataset: Json
    runs: Sequence[Sequence[RawEvent]]
    increment: Json | None = None

    def write(self, folder: Path) -> None:
        """Write the case, and its raw blobs, where both engines look for them."""
        blobs = []
        for number, events in enumerate(self.runs):
            blobs.append(f"{self.name}-{number}.avro")
            with (folder / blobs[-1]).open("wb") as file:
                rows = [event.to_avro() for event in events]
                fastavro.writer(file, fastavro.parse_schema(SCHEMA), rows, codec="zstandard")
        dataset = {"name": "d", "consumes": "m", **self.dataset}
        Dataset.model_validate(dataset)
        case = {"name": self.name, "dataset": dataset, "runs": blobs}
        case |= {"increment": self.increment} if self.increment else {}
        (folder / f"{self.name}.case.json").write_text(json.dumps(case))


def values_case(name: str, line: str, **columns: Json) -> Case:
    """Every value, put in a line at `VALUE`; the line number says which value it was."""
    lines = [line.replace("VALUE", value).encode() for value in VALUES]
    return Case(
        name=name,
        dataset={"ingestion": "append", "columns": columns},
        runs=[[RawEvent(sequence=0, body=b"\n".join(lines))]],
    )


def lines_case(lines: Sequence[bytes]) -> Case:
    """Lines, each in an event of its own, so that none spoils another."""
    columns = {
        "id": {"type": "string", "required": True},
        "n": {"type": "long", "path": "p.n"},
        "third": {"type": "integer", "path": "p.list.2"},
        "part": {"type": "json", "path": "p"},
        "tag": {"type": "string", "path": "tags.0.v"},
    }
    return Case(
        name="lines",
        dataset={"ingestion": "append", "columns": columns},
        runs=[[RawEvent(sequence=number, body=line) for number, line in enumerate(lines)]],
    )


def events_case() -> Case:
    """Events that hold no records, several, broken ones among good ones, or deletions."""
    good, other, broken = b'{"id":"a","n":1}', b'{"id":"b","n":2}', b'{"id":"\xff"}'
    bodies = [
        b"", b"\n", b"\n\n\n", b" ", b"\r\n", good, good + b"\n", b"\n" + good,
        good + b"\n" + other, good + b"\r\n" + other + b"\r\n", good + b"\n\n" + other,
        good + b"\n" + broken + b"\n" + other, broken, broken + b"\n", b"\n" + broken + b"\n",
        good + b"\n \t\r\n" + broken + b"\n\xe2\x82\n" + other, b"\xff\n" * 3, b"\x0a\xf0\x0a\x0a",
        b"\n".join([good] * 500), b"\n".join([good, broken] * 200), b"\n\xef\xbb\xbf" + good,
    ]  # fmt: skip
    events = [RawEvent(sequence=number, body=body) for number, body in enumerate(bodies)]
    type_of_deletions = (("type", DELETIONS),)
    events += [
        RawEvent(sequence=100, body=good, quarantined="expired"),
        RawEvent(sequence=101, body=b"\xff", quarantined="not-a-cloud-event"),
        RawEvent(sequence=102, body=good, attributes=()),
        RawEvent(sequence=103, body=good, attributes=(("type", "other"),)),
        RawEvent(sequence=104, body=good + b"\n" + other, attributes=type_of_deletions),
        RawEvent(sequence=105, body=broken, attributes=type_of_deletions),
        RawEvent(sequence=0, body=good, partition="1"),
        RawEvent(sequence=2**62, body=good, partition="31", enqueued_at=NOON.replace(year=1970)),
    ]
    columns = {"id": {"type": "string", "required": True}, "n": {"type": "long"}}
    return Case(
        name="events",
        dataset={"primaryKey": ["id"], "incrementalField": "n", "columns": columns},
        runs=[events],
    )
