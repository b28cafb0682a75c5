"""Styles of ingestion: incremental, full and append, each the same after any order of runs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.transforms.lake import DELETIONS, Event, Json, Lake, dataset, deletions, event, thing

READINGS: Json = {
    "ingestion": "append",
    "primaryKey": None,
    "incrementalField": None,
    "columns": {"sensor": {"type": "string", "required": True}, "day": {"type": "date"}},
}


def reading(sensor: str, day: str | None = "2026-11-20") -> Json:
    """A record of an append dataset: it has no key, so two may be the same."""
    return {"sensor": sensor, "day": day}


def test_full_dataset_marks_what_disappeared_as_deleted(lake: Lake) -> None:
    """Whoever asks must not see what the source has no longer; whoever audits must."""
    lake.run_events("r1", event(0, thing("a"), thing("b")), ingestion="full")

    result = lake.run_events("r2", deletions(1, "a"), ingestion="full")

    assert (result.records, result.deleted, result.inserted, result.updated) == (1, 1, 0, 0)
    assert lake.values("id", "value", "_deleted", "_run") == [
        ("a", None, True, "r2"),
        ("b", 1.0, False, "r1"),
    ]


def test_record_after_its_deletion_revives_the_row(lake: Lake) -> None:
    """Things come back to a source, and then they are there, whatever their time stamp says."""
    lake.run_events("r1", event(0, thing("a", updated=9)), ingestion="full")
    lake.run_events("r2", deletions(1, "a"), ingestion="full")

    result = lake.run_events("r3", event(2, thing("a", updated=3, value=3)), ingestion="full")

    assert (result.updated, result.inserted) == (1, 0)
    assert lake.values("id", "updated", "value", "_deleted") == [("a", 3, 3.0, False)]


def test_replayed_record_does_not_undo_its_deletion(lake: Lake) -> None:
    """A replay of last year's raw must not bring back what was deleted since."""
    old = lake.land(event(0, thing("a", updated=9)))
    full = dataset(ingestion="full")
    lake.run("r1", old, dataset=full)
    lake.run_events("r2", deletions(1, "a"), ingestion="full")

    replayed = lake.run("r3", old, dataset=full)

    assert (replayed.older, replayed.updated) == (1, 0)
    assert lake.values("id", "_deleted", "_run") == [("a", True, "r2")]


def test_full_table_is_the_same_after_any_order_of_runs(lake: Lake) -> None:
    """Deletions that come before what they delete must be remembered, or it would come to life."""
    steps: list[Event] = [
        event(0, thing("a", updated=5), thing("b", updated=1)),
        deletions(1, "a", "b", "never-seen"),
        event(2, thing("a", updated=2, value=7)),
        deletions(3, "a"),
    ]
    tables = []

    for number, order in enumerate(itertools.permutations(range(4))):
        if number % 8:  # Every eighth of the 24 orders.
            continue
        one = Lake(session=lake.session, blobs=lake.blobs, name=f"{lake.name}-{number}")
        for step in order:
            one.run_events(f"r{step}", steps[step], ingestion="full")
        tables.append(one.values("id", "updated", "value", "_sequence", "_run", "_deleted"))

    assert tables[0] == [
        ("a", None, None, 3, "r3", True),
        ("b", None, None, 1, "r1", True),
        ("never-seen", None, None, 1, "r1", True),
    ]
    assert tables == [tables[0]] * 3


@pytest.mark.parametrize("style", ["incremental", "append"])
def test_style_that_does_not_follow_deletions_counts_them(lake: Lake, style: str) -> None:
    """Two datasets may be made of one material; what one of them ignores is in its numbers."""
    change: Json = READINGS if style == "append" else {}
    record = reading("a") if style == "append" else thing("a")
    if style == "append":
        change = {**change, "primaryKey": None}
    lake.run_events("r1", event(0, record), **change)

    keys = (
        deletions(1, "a")
        if style == "incremental"
        else Event(sequence=1, body=b'{"sensor":"a"}', type=DELETIONS)
    )
    result = lake.run_events("r2", keys, **change)

    assert (result.records, result.ignored, result.deleted) == (1, 1, 0)
    assert [row["_deleted"] for row in lake.rows()] == [False]


def test_append_keeps_every_record(lake: Lake) -> None:
    """Two equal measurements are two measurements."""
    same = reading("a")
    result = lake.run_events("r1", event(0, same, same), event(1, same), **READINGS)

    assert (result.inserted, result.duplicates) == (3, 0)
    assert lake.values("sensor", "_event_id", "_line") == [
        ("a", "event-0", 1),
        ("a", "event-0", 2),
        ("a", "event-1", 1),
    ]


def test_append_takes_a_repeated_run_s_records_once(lake: Lake) -> None:
    """A retry reads the same raw blobs again."""
    blob = lake.land(event(0, reading("a"), b"bad", reading("b")))
    lake.run("r1", blob, dataset=dataset(**READINGS))

    again = lake.run("r1", blob, dataset=dataset(**READINGS))

    assert (again.inserted, again.older, again.quarantined) == (0, 2, 1)
    assert lake.values("sensor", "_line") == [("a", 1), ("b", 3)]


def test_append_takes_a_repeated_event_s_records_once(lake: Lake) -> None:
    """A poll that was repeated puts its event into the hub twice, with another number."""
    first = event(0, reading("a"), reading("b"), id="poll-1")
    lake.run_events("r1", first, event(1, reading("a"), reading("b"), id="poll-1"), **READINGS)

    result = lake.run_events("r2", event(7, reading("a"), reading("b"), id="poll-1"), **READINGS)

    assert (result.inserted, result.older) == (0, 2)
    assert lake.values("sensor", "_sequence") == [("a", 0), ("b", 0)]


@pytest.mark.parametrize("partition_field", [None, "day"])
def test_append_table_is_the_same_after_any_order_of_runs(
    lake: Lake, partition_field: str | None
) -> None:
    """Of the copies of an event the first one counts, also when it is the last to be read."""
    change = READINGS | {"partitionField": partition_field}
    steps = [
        event(0, reading("a"), reading("b", None), id="x"),
        event(1, reading("c", "2026-11-21"), id="y"),
        event(2, reading("a"), reading("b", None), id="x"),
    ]
    tables = []

    for number, order in enumerate([(0, 1, 2), (2, 0, 1), (1, 2, 0)]):
        one = Lake(session=lake.session, blobs=lake.blobs, name=f"{lake.name}-{number}")
        for step in order:
            one.run_events(f"r{step}", steps[step], **change)
        tables.append(one.values("sensor", "_event_id", "_line", "_sequence", "_run"))

    assert tables[0] == [
        ("a", "x", 1, 0, "r0"),
        ("b", "x", 2, 0, "r0"),
        ("c", "y", 1, 1, "r1"),
    ]
    assert tables == [tables[0]] * 3


def test_row_that_moves_between_folders_is_there_once(lake: Lake) -> None:
    """MERGE looks only into folders it is told of: one too few, and a row would be there twice."""
    columns: dict[str, Any] = {"day": {"type": "date"}, **dataset()["columns"]}
    change = {"columns": columns, "partitionField": "day"}
    days = ["2026-11-19", None, "2026-11-21", "2026-11-19"]
    found = []

    for number, day in enumerate(days):
        moved = thing("a", updated=number) | {"day": day}
        other = thing("b", updated=number) | {"day": "2026-11-18"}
        new = thing(f"c{number}") | {"day": "2026-11-18"}
        lake.run_events(f"r{number}", event(number, moved, other, new), **change)
        found.append([(row["id"], f"{row['day']}", row["updated"]) for row in lake.rows()])

    for number, day in enumerate(days):
        assert found[number] == [
            ("a", f"{day}", number),
            ("b", "2026-11-18", number),
            *((f"c{before}", "2026-11-18", 1) for before in range(number + 1)),
        ]
