"""raw → table on the real engine and the real storage emulator."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from tests.transforms.lake import Event, Lake, Record, dataset, event, thing
from transforms.errors import RunFailed
from transforms.result import TableWritten


def test_records_become_rows_and_the_result_adds_up(lake: Lake) -> None:
    """The whole point: every record is in the table, or the result says where else it went."""
    blob = lake.land(
        event(0, thing("a", updated=1, value=1.5), thing("b", updated=7)),
        event(1, thing("a", updated=2, value=2.5), {"id": "c", "value": "many"}),
    )

    result = lake.run("r1", blob, dataset=dataset())

    assert lake.values("id", "updated", "value", "_sequence", "_line", "_partition", "_run") == [
        ("a", 2, 2.5, 1, 1, "0", "r1"),
        ("b", 7, 1.0, 0, 2, "0", "r1"),
    ]
    assert result == TableWritten(
        run="r1",
        dataset=lake.name,
        events=2,
        bytes=blob["bytes"],
        records=4,
        duplicates=1,
        older=0,
        inserted=2,
        updated=0,
        deleted=0,
        ignored=0,
        quarantined=1,
        table_version=1,
        lineage=result.lineage,
        drift={"newFields": {}, "missingColumns": [], "typeChanged": {"value": 1}},
    )


@pytest.mark.parametrize("wrong", [{"records": 11}, {"updated": 0}, {"older": 7, "duplicates": -1}])
def test_result_that_does_not_add_up_is_none(wrong: dict[str, int]) -> None:
    """A record that is in no count is lost, one that is in two is doubled: neither may pass."""
    right = TableWritten(
        run="r1",
        dataset="things",
        events=3,
        bytes=99,
        records=10,
        duplicates=2,
        older=4,
        inserted=1,
        updated=1,
        deleted=1,
        ignored=0,
        quarantined=1,
        table_version=1,
    )

    with pytest.raises(AssertionError, match="do not add up"):
        replace(right, **wrong)  # type: ignore[arg-type] # All of them are counts.


def test_result_is_one_line_in_one_file(lake: Lake) -> None:
    """The function app reads exactly one part file, also after a repetition."""
    blob = lake.land(event(0, thing("a")))
    lake.run("r1", blob, dataset=dataset())

    repeated = lake.run("r1", blob, dataset=dataset())

    parts = [
        content
        for name, content in lake.files("state", f"results/{lake.name}/r1").items()
        if not name.startswith("_")
    ]
    assert [json.loads(part) for part in parts] == [json.loads(repeated.to_json())]
    assert parts[0].count(b"\n") == 1


def test_same_manifest_twice_changes_nothing(lake: Lake) -> None:
    """A retried run must not double, lose or touch anything: not even a commit is made."""
    blob = lake.land(event(0, thing("a"), thing("b"), b"broken"), event(1, thing("a", updated=5)))
    first = lake.run("r1", blob, dataset=dataset())
    rows, quarantined = lake.rows(), lake.quarantined()

    second = lake.run("r1", blob, dataset=dataset())

    assert lake.rows() == rows
    assert lake.quarantined() == quarantined
    assert (second.table_version, second.inserted, second.updated) == (first.table_version, 0, 0)
    assert (second.older, second.records) == (2, 4)


def test_late_and_repeated_records_are_harmless(lake: Lake) -> None:
    """Overlapping polls and replays bring old versions again: the newest stays."""
    lake.run_events("r1", event(5, thing("a", updated=9, value=9)))

    late = lake.run_events("r2", event(6, thing("a", updated=8, value=8)))
    again = lake.run_events("r3", event(7, thing("a", updated=9, value=7)))

    assert (late.older, late.inserted, late.updated) == (1, 0, 0)
    assert (again.older, again.inserted, again.updated) == (0, 0, 1)
    assert lake.values("id", "updated", "value", "_run") == [("a", 9, 7.0, "r3")]


def test_version_without_incremental_field_is_the_oldest(lake: Lake) -> None:
    """A record that lost its time stamp must not hide the versions that have one."""
    lake.run_events("r1", event(0, thing("a", updated=None, value=1)))
    lake.run_events("r2", event(1, thing("a", updated=-5, value=2)))

    result = lake.run_events("r3", event(2, thing("a", updated=None, value=3)))

    assert result.older == 1
    assert lake.values("id", "updated", "value") == [("a", -5, 2.0)]


def test_enqueued_time_decides_when_nothing_else_does(lake: Lake) -> None:
    """Without an incremental field the version the hub saw last is the newest."""
    late = event(0, thing("a", value=2), thing("a", value=3), partition="1", second=60)
    early = event(9, thing("a", value=1), partition="0", second=10)

    lake.run_events("r1", late, incrementalField=None)
    result = lake.run_events("r2", early, incrementalField=None)

    assert result.older == 1
    assert lake.values("value", "_partition", "_line") == [(3.0, "1", 2)]


def test_null_is_a_key_like_any_other(lake: Lake) -> None:
    """Two records without a key value are versions of one row, not rows that pile up."""
    columns = {"id": {"type": "string"}, "region": {"type": "integer"}, "value": {"type": "double"}}
    change = {"primaryKey": ["id", "region"], "incrementalField": None, "columns": columns}
    lake.run_events("r1", event(0, {"id": "a", "value": 1}, {"id": "a", "region": 1}), **change)

    result = lake.run_events("r2", event(1, {"id": "a", "value": 2}), **change)

    assert (result.inserted, result.updated) == (0, 1)
    assert lake.values("id", "region", "value") == [("a", 1, None), ("a", None, 2.0)]


def test_quarantined_events_count_but_hold_no_records(lake: Lake) -> None:
    """Landing keeps a bad event's sequence number; its bytes are in quarantine already."""
    bad = Event(sequence=1, body=b'{"id":"z"}', quarantined="expired")

    result = lake.run_events("r1", event(0, thing("a")), bad, event(2, thing("b")))

    assert (result.events, result.records, result.inserted, result.quarantined) == (3, 2, 2, 0)


def test_blank_lines_are_no_records(lake: Lake) -> None:
    """A last line break, CRLF and empty bodies are habits of sources, not faults."""
    body = b'\r\n{"id":"a"}\r\n \t\n{"id":"b"}\n\n'

    result = lake.run_events("r1", Event(sequence=0, body=body), Event(sequence=1, body=b""))

    assert (result.events, result.records, result.quarantined) == (2, 2, 0)
    assert lake.values("id", "_line") == [("a", 2), ("b", 4)]


def test_bad_records_keep_their_bytes_and_origin(lake: Lake) -> None:
    """Whoever fixes a source must see what it sent, byte for byte, and from where."""
    first = lake.land(event(0, thing("a"), b'{"id":"b\xff"}\r', thing("c")))
    second = lake.land(event(7, b" {oops ", partition="3"), event(8, thing("d"), partition="3"))

    result = lake.run("r1", first, second, dataset=dataset())

    assert (result.inserted, result.quarantined) == (3, 2)
    keys = ("run_id", "reason", "blob", "partition", "sequence_number", "line", "body")
    found = [[row[key] for key in keys] for row in lake.quarantined()]
    assert sorted(found) == [
        ["r1", "not-json", second["name"], "3", 7, 1, b" {oops "],
        ["r1", "not-utf8", first["name"], "0", 0, 2, b'{"id":"b\xff"}\r'],
    ]
    assert {row["enqueued_time"].second for row in lake.quarantined()} == {0, 7}


def test_each_run_has_its_own_quarantine(lake: Lake) -> None:
    """Repeating one run must not take away what another one quarantined."""
    first, second = lake.land(event(0, b"x")), lake.land(event(1, b"y"), event(2, b"z"))
    lake.run("r1", first, dataset=dataset())
    lake.run("r2", second, dataset=dataset())

    lake.run("r1", first, dataset=dataset())

    found = sorted((row["run_id"], bytes(row["body"])) for row in lake.quarantined())
    assert found == [("r1", b"x"), ("r2", b"y"), ("r2", b"z")]


def test_record_that_is_good_now_leaves_quarantine(lake: Lake) -> None:
    """After a fix, the same run repeated must not go on calling its records bad."""
    blob = lake.land(event(0, thing("a"), {"id": "b"}))
    columns = dataset()["columns"]
    strict = columns | {"updated": {"type": "long", "required": True}}
    lake.run("r1", blob, dataset=dataset(columns=strict))

    result = lake.run("r1", blob, dataset=dataset(columns=columns))

    assert (result.quarantined, result.inserted, result.older) == (0, 1, 1)
    assert lake.quarantined() == []


@pytest.mark.parametrize("history", [False, True])
def test_blobs_that_repeat_one_another_give_each_row_once(lake: Lake, *, history: bool) -> None:
    """A fork of a chain leaves two blobs with some of the same events."""
    once, again = event(1, thing("a", value=1), thing("b")), event(2, thing("a", value=2))
    blobs = [lake.land(event(0, thing("a")), once), lake.land(once, again)]

    result = lake.run("r1", *blobs, dataset=dataset(history=history))

    assert (result.events, result.records, result.inserted, result.duplicates) == (4, 6, 2, 4)
    assert lake.values("id", "value") == [("a", 2.0), ("b", 1.0)]
    if history:
        assert lake.history("id", "value") == [("a", 1.0), ("a", 2.0), ("b", 1.0)]


def test_record_of_twenty_megabytes_is_a_record_like_any_other(lake: Lake) -> None:
    """Raw holds records whole, however large; what is refused of them keeps every byte."""
    items = [{"sku": number, "text": "x" * 80} for number in range(200_000)]
    columns = dataset()["columns"] | {"items": {"type": "json"}}
    bad = json.dumps(thing("bad") | {"value": "none", "items": items}).encode()
    records: list[Record] = [thing("small"), thing("large") | {"items": items}, bad]

    lake.run("r1", lake.land(event(0, *records)), dataset=dataset(columns=columns, keepRest=True))

    [large, small] = lake.rows()
    assert (small["id"], small["items"]) == ("small", None)
    assert (large["id"], json.loads(large["items"])) == ("large", items)
    assert [bytes(row["body"]) for row in lake.quarantined()] == [bad]


@pytest.mark.parametrize("lost", [0, 1], ids=["first", "second"])
def test_missing_blob_fails_the_run_by_name(lake: Lake, lost: int) -> None:
    """Sail reads a missing blob as no rows: the table would silently lack them for ever."""
    blobs = [lake.land(event(0, thing("a"))), lake.land(event(1, thing("b")))]
    lake.blobs.get_blob_client("raw", blobs[lost]["name"]).delete_blob()

    with pytest.raises(RunFailed) as failure:
        lake.run("r1", *blobs, dataset=dataset())

    assert f"{blobs[lost]['name']} (0 of 1 events)" in str(failure.value)
    assert blobs[1 - lost]["name"] not in str(failure.value)
    assert lake.rows() == []


def test_blob_with_other_events_than_planned_fails_the_run(lake: Lake) -> None:
    """More is as wrong as less: the manifest is a promise about immutable blobs."""
    blob = lake.land(event(0, thing("a")), event(1, thing("b"))) | {"events": 1}

    with pytest.raises(RunFailed, match=r"2 of 1 events"):
        lake.run("r1", blob, dataset=dataset())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "r2"}, "is of run 'r2', not of 'r1'"),
        ({"version": 2}, "version: Input should be 1"),
        ({"blobs": []}, "blobs: Tuple should have at least 1 item"),
    ],
    ids=["other run", "newer version", "no blobs"],
)
def test_wrong_manifest_fails_the_run(lake: Lake, change: dict[str, Any], message: str) -> None:
    """A run over something else than it was planned for must not touch the table."""
    url = lake.plan("r1", lake.land(event(0, thing("a"))), dataset=dataset())
    path = f"manifests/{lake.name}/r1.json"
    content = json.loads(lake.files("state", f"manifests/{lake.name}")["r1.json"])
    lake.put("state", path, json.dumps(content | change).encode())

    with pytest.raises(RunFailed, match=message):
        lake.run_planned("r1", url)


def test_partition_field_makes_folders_and_rows_can_move(lake: Lake) -> None:
    """Queries read only the folders they need; a row that changes its folder exists once."""
    columns = {"day": {"type": "date"}, **dataset()["columns"]}
    change = {"columns": columns, "partitionField": "day"}
    lake.run_events("r1", event(0, thing("a") | {"day": "2026-11-19"}, thing("b")), **change)

    moved = thing("a", updated=2) | {"day": "2026-11-20"}
    result = lake.run_events("r2", event(1, moved), **change)

    assert (result.updated, result.inserted) == (1, 0)
    assert [(name, f"{day}") for name, day in lake.values("id", "day")] == [
        ("a", "2026-11-20"),
        ("b", "None"),
    ]
    folders = {name.split("/")[0] for name in lake.files("clean", lake.name)}
    assert {"day=2026-11-19", "day=2026-11-20"} < folders


@pytest.mark.parametrize("seed", range(3))
def test_table_equals_a_plain_model_after_any_runs(lake: Lake, seed: int) -> None:
    """Newest wins, nothing is doubled or lost, whatever order runs come in and repeat."""
    rng = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 -- pytest shows it when the test fails.
    landed = [_random_events(rng, number) for number in range(3)]
    planned = [(f"r{number}", lake.land(*events)) for number, events in enumerate(landed)]
    order = rng.sample(range(3), k=3) + rng.choices(range(3), k=2)

    results = [lake.run(planned[n][0], planned[n][1], dataset=dataset()) for n in order]

    expected, bad = _model(landed)
    assert {row["id"]: (row["updated"], row["value"], row["_run"]) for row in lake.rows()} == {
        key: (record["updated"], record["value"], f"r{number}")
        for key, (record, number) in expected.items()
    }
    assert len(lake.rows()) == len(expected)
    assert len(lake.quarantined()) == bad
    assert sum(result.inserted for result in results) == len(expected)


def _random_events(rng: random.Random, number: int) -> list[Event]:
    def record() -> Record:
        if rng.random() < 0.1:
            return rng.choice([b"{", b'{"updated":1}', b'{"id":"\xc3\x28"}', b"[]"])
        updated = rng.choice([None, *range(3)])
        return thing(rng.choice("abcdefgh"), updated=updated, value=rng.randrange(1000) / 8)

    partition = rng.choice("01")
    return [
        event(
            number * 10 + offset,
            *(record() for _ in range(rng.randrange(6))),
            partition=partition,
            second=rng.randrange(3),
        )
        for offset in range(rng.randrange(1, 4))
    ]


def _model(landed: list[list[Event]]) -> tuple[dict[str, tuple[dict[str, Any], int]], int]:
    """Return each key's newest record with its run's number, and how many records are bad."""
    newest: dict[str, tuple[Any, ...]] = {}
    bad = 0
    for number, events in enumerate(landed):
        for each in events:
            lines = each.body.split(b"\n") if each.body else []
            for line_number, line in enumerate(lines):
                try:
                    record = json.loads(line)
                    key = record["id"]
                except (ValueError, KeyError, TypeError):
                    bad += 1
                    continue
                updated = record["updated"]
                rank = (updated is not None, updated or 0, each.enqueued_at, each.sequence)
                position = (*rank, line_number, each.partition)
                if key not in newest or position > newest[key][0]:
                    newest[key] = (position, record, number)
    return {key: (record, number) for key, (_, record, number) in newest.items()}, bad
