"""Drift: what the records of one run have, lack and have changed, against a declared dataset."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.transforms.cleaned import clean_frame, dataset_of
from tests.transforms.lake import Event, Lake, dataset, deletions, event, thing
from transforms import drift
from transforms.drift import NAMES_MAX, find_drift

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from transforms.drift import Drift

COLUMNS = {
    "id": {"type": "string"},
    "town": {"type": "string", "path": "where.town"},
    "n": {"type": "integer", "default": 0},
    "m": {"type": "double"},
}


def drift_of(
    session: SparkSession, folder: Path, *events: Event, look_every: int = 1, **parts: Any
) -> Drift:
    """The drift of some events, staged as a run does it."""
    declared = dataset_of(COLUMNS, **parts)
    url = f"file://{folder / 'records'}"
    clean_frame(session, declared, *events, look_every=look_every).write.parquet(url)
    return find_drift(session.read.parquet(url), declared, sampled=look_every)


@pytest.mark.parametrize("rest", [{}, {"keepRest": True}], ids=["", "kept"])
def test_new_fields_are_counted(
    session: SparkSession, tmp_path: Path, rest: dict[str, Any]
) -> None:
    """A source that says more than it did is noticed before somebody asks for it."""
    records = event(
        0,
        {"id": "a", "where": {"town": "x", "street": "y"}, "n": 1, "m": 1, "new": 1},
        {"id": "b", "where": None, "n": 1, "m": 1, "new": None, "other": {"new": 1}},
        b'{"id":"c","n":1,"m":"x","new":1,"new":2}',
        b'{"n\\u0065w":1',
        b"[]",
    )

    found = drift_of(session, tmp_path, records, **rest)

    assert found == {
        "newFields": {"new": 3, "other": 1},
        "missingColumns": [],
        "typeChanged": {"m": 1},
    }


def test_columns_that_no_record_has_are_missing(session: SparkSession, tmp_path: Path) -> None:
    """A renamed field looks like this: one is new, and one is gone, behind a default or not."""
    found = drift_of(session, tmp_path, event(0, {"id": "a", "N": 1}, {"id": None, "m": None}))

    assert found["missingColumns"] == ["town", "n", "m"]
    assert found["newFields"] == {"N": 1}


def test_column_of_another_type_is_changed_not_missing(
    session: SparkSession, tmp_path: Path
) -> None:
    """A person must know which it is: one is mended in the source, the other in the document."""
    records = [{"id": "a", "where": {"town": "x"}, "n": "one", "m": value} for value in "xyz"]

    found = drift_of(session, tmp_path, event(0, *records, {"id": "b", "n": "two"}))

    assert found["typeChanged"] == {"n": 4, "m": 3}
    assert found["missingColumns"] == []


def test_deletions_and_what_is_no_record_say_nothing(session: SparkSession, tmp_path: Path) -> None:
    """A run of deletions alone must not report that every column is gone."""
    found = drift_of(session, tmp_path, deletions(0, "a"), event(1, b"x", b'{"id":"\xff"}', b""))

    assert found == {"newFields": {}, "missingColumns": [], "typeChanged": {}}


def test_names_are_limited_and_the_most_frequent_stay(
    session: SparkSession, tmp_path: Path
) -> None:
    """A source that uses ids for names would fill the ledger."""
    records = [{f"k{number:03}": 1, "often": 1, "m": "x"} for number in range(NAMES_MAX * 2)]
    long = {"x" * 10_000: 1, "often": 1}

    found = drift_of(session, tmp_path, event(0, *records, long, long))

    assert len(found["newFields"]) == NAMES_MAX
    assert list(found["newFields"].items())[:3] == [("often", 102), ("x" * 200, 2), ("k000", 1)]
    assert found["typeChanged"] == {"m": 100}


@pytest.mark.parametrize("rest", [{}, {"keepRest": True}], ids=["", "kept"])
def test_fields_of_a_large_run_are_counted_in_a_sample(
    session: SparkSession, tmp_path: Path, rest: dict[str, Any]
) -> None:
    """To look through everything would cost the run a third more; the result says it was not."""
    records = event(0, *({"id": "a", "n": "x", "new": 1} for _ in range(100)))

    found = drift_of(session, tmp_path, records, look_every=10, **rest)

    assert found["typeChanged"] == {"n": 100}
    assert found["newFields"] == {"new": 100 if rest else 10}
    assert found.get("sampled") == (None if rest else 10)


def test_result_holds_the_drift_of_the_run(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function app reads it from there, and people through it."""
    blob = lake.land(event(0, thing("a") | {"new": 1}, {"id": "b", "updated": "x", "new": 1}))
    monkeypatch.setattr(drift, "BYTES_LOOKED_AT", blob["bytes"] / 1.5)

    lake.run("r1", blob, dataset=dataset())

    [line] = [
        content
        for name, content in lake.files("state", f"results/{lake.name}/r1").items()
        if name.endswith(".txt")
    ]
    assert json.loads(line)["drift"] == {
        "newFields": {"new": 1},
        "missingColumns": [],
        "typeChanged": {"updated": 1},
        "sampled": 2,
    }


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_exact(session: SparkSession, tmp_path: Path, seed: int) -> None:
    """Somebody compares them with the source's own numbers."""
    rng = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 -- pytest shows it when the test fails.
    names = ["id", "where", "n", "m", "p", "q", "Id"]
    records = [
        {name: rng.choice([1, "x", None]) for name in rng.sample(names, k=rng.randrange(7))}
        for _ in range(200)
    ]

    found = drift_of(session, tmp_path, *(event(n, *records[n::7]) for n in range(7)))

    fields = Counter(name for record in records for name in record)
    wrong = Counter(name for record in records for name in "nm" if record.get(name) == "x")
    assert found["newFields"] == {name: fields[name] for name in ("p", "q", "Id")}
    assert found["typeChanged"] == dict(wrong)
    assert found["missingColumns"] == ["town"]
