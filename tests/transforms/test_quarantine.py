"""Refused records: each is in quarantine once, under the blob it came in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.transforms.lake import Event, dataset, event, thing
from transforms import quarantine

if TYPE_CHECKING:
    from tests.transforms.lake import Lake


def test_record_that_two_blobs_hold_is_refused_once(lake: Lake) -> None:
    """Two writers of one partition may land an event twice: a person decides about it once."""
    events = [event(number, b"bad", thing(f"k{number}")) for number in range(4)]
    first, second = lake.land(*events[:3]), lake.land(*events[1:])

    result = lake.run("r1", first, second, dataset=dataset())

    found = sorted((row["sequence_number"], row["blob"]) for row in lake.quarantined())
    assert found == [(n, first["name"]) for n in range(3)] + [(3, second["name"])]
    assert (result.events, result.inserted, result.duplicates) == (6, 4, 2)


def test_records_of_two_lives_of_a_hub_are_both_refused(lake: Lake) -> None:
    """A hub that was made again counts from 0 again: equal numbers, different records."""
    old = [event(n, b"old", second=n) for n in range(2)]
    new = [event(n, b"new", second=60 + n) for n in range(2)]
    blobs = [
        lake.land(*new, hub="20261120T120030"),
        lake.land(*old, hub="20261120T110000"),
    ]

    lake.run("r1", *blobs, dataset=dataset())

    found = sorted((bytes(row["body"]), row["blob"]) for row in lake.quarantined())
    assert found == [(b"new", blobs[0]["name"])] * 2 + [(b"old", blobs[1]["name"])] * 2


def test_refused_record_is_described_whole(lake: Lake) -> None:
    """What was wrong, the bytes, and the way back to them."""
    bad = {"id": None, "updated": "noon", "value": 1}
    blob = lake.land(Event(sequence=3, body=b"\n" + event(0, bad).body + b"\r", partition="2"))
    columns = dataset()["columns"] | {"value": {"type": "double", "max": 0.5}}

    lake.run("r1", blob, dataset=dataset(columns=columns))

    [row] = lake.quarantined()
    assert row["reason"] == "id:missing; updated:not-a-long; value:above-max"
    assert bytes(row["body"]) == b'{"id": null, "updated": "noon", "value": 1}\r'
    assert (row["blob"], row["partition"], row["sequence_number"], row["line"], row["run_id"]) == (
        blob["name"],
        "2",
        3,
        2,
        "r1",
    )
    assert row["enqueued_time"].second == 3


def test_record_that_does_not_reach_quarantine_fails_the_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said to be refused is what is there, not what was intended."""
    located = quarantine._located
    monkeypatch.setattr(quarantine, "_located", lambda *of: located(*of).where("_line > 1"))

    with pytest.raises(AssertionError, match="2 records are refused, 1 are in quarantine"):
        lake.run_events("r1", event(0, b"bad", b"bad"))

    assert lake.rows() == []
