"""Parity: the same raw events on Sail and on Spark's JVM become equal rows.

    make parity

Needs the interpreter of a virtual environment that has `pyspark` itself, in `PARITY_PYTHON`. That
package has neither an Avro nor a Delta reader, so the JVM is handed the events, and what is
compared is every frame up to what is merged, and what a MERGE of it gives. Known differences must
stay exactly as they are written down in `known.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.parity import known
from tests.parity.curated_inputs import CuratedCase, curated_cases
from tests.parity.inputs import (
    COLUMNS,
    LINES,
    VALUES,
    Case,
    events_case,
    lines_case,
    values_case,
)
from tests.parity.random_inputs import random_case

ROOT = Path(__file__).parents[2]
JVM = os.environ.get("PARITY_PYTHON", "")
#: One of each style of ingestion; more of them find more, at a minute each.
SEEDS = range(int(os.environ.get("PARITY_SEEDS", "3")))
LIMIT_S = 580
ALL_LINES = [*LINES, *known.lines()]

pytestmark = pytest.mark.skipif(not JVM, reason="compared by `make parity`, which needs Java")

type Row = dict[str, Any]
type Frame = dict[str, Any]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which both engines have answered every case."""
    folder = tmp_path_factory.mktemp("parity")
    at_c = {name: {**column, "path": "c"} for name, column in COLUMNS.items()}
    # Two names that differ only in case: the second is read by itself, by another function.
    at_upper_c = {name: {**column, "path": "C"} for name, column in COLUMNS.items()}
    lower_c = {"c": {"type": "long"}}
    cases: list[Case | CuratedCase] = [
        values_case("values", '{"c":VALUE}', **at_c),
        values_case("values-alone", '{"c":0,"C":VALUE}', **lower_c, **at_upper_c),
        lines_case(ALL_LINES),
        events_case(),
        *map(random_case, SEEDS),
        *curated_cases(),
    ]
    for case in cases:
        case.write(folder)
    for engine, python in (("sail", sys.executable), ("jvm", JVM)):
        command = [python, "-m", "tests.parity.engine", engine, str(folder)]
        own = {"TZ": "UTC", "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": python}
        environment = {**os.environ, **own, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1]
            (folder / f"{engine}.log").write_text(done.stderr)
            pytest.fail(f"{engine}: {last} (log: {folder}/{engine}.log)", pytrace=False)
    return folder


@pytest.mark.parametrize(
    ("case", "differences"), [("values", known.TOGETHER), ("values-alone", known.ALONE)]
)
def test_values_become_equal_but_for_known_differences(
    answers: Path, case: str, differences: known.Differences
) -> None:
    """A value that is good here and bad in the cloud is found by the first user, not by us."""
    sail, jvm = (frames["cleaned-0"] for frames in _answers_of(answers, case))

    found = {
        (VALUES[row["_line"] - 1], column)
        for row, columns in _differences(sail, jvm)
        for column in columns
    }

    assert sail["types"] == jvm["types"]
    assert len(sail["rows"]) == len(VALUES)
    assert found == known.cells(differences)


def test_lines_become_equal_but_for_known_differences(answers: Path) -> None:
    """What is no record here must be none in the cloud."""
    sail, jvm = (frames["cleaned-0"] for frames in _answers_of(answers, "lines"))

    found = {
        (ALL_LINES[row["_sequence"]], column)
        for row, columns in _differences(sail, jvm)
        for column in columns
    }

    assert sail["types"] == jvm["types"]
    assert found == set(known.lines().items())


@pytest.mark.parametrize("case", ["events", *(f"random-{seed}" for seed in SEEDS), "curated-0"])
def test_frames_are_equal(answers: Path, case: str) -> None:
    """Records, reasons, what wins, what is merged, tables, histories, drift and curated SQL."""
    sail, jvm = _answers_of(answers, case)

    found = {name: _unlike(frame, jvm[name]) for name, frame in sail.items()}

    assert {name: each.get("types") for name, each in sail.items()} == {
        name: each.get("types") for name, each in jvm.items()
    }
    assert not {name: different for name, different in found.items() if different}
    assert sum(len(frame["rows"]) for frame in sail.values() if "rows" in frame) > 10


def _answers_of(folder: Path, case: str) -> tuple[dict[str, Frame], dict[str, Frame]]:
    """Return the frames that Sail and the JVM made of a case, by their names."""
    sail, jvm = (
        json.loads((folder / f"{case}.{engine}.json").read_text()) for engine in ("sail", "jvm")
    )
    assert sail.keys() == jvm.keys()
    return sail, jvm


def _unlike(sail: Frame, jvm: Frame) -> object:
    """Where two frames differ, in three rows at most; of drift, just whether."""
    if "rows" not in sail:
        return sail != jvm
    return [columns for _, columns in _differences(sail, jvm)][:3]


def _differences(sail: Frame, jvm: Frame) -> list[tuple[Row, set[str]]]:
    """Pair the rows by where their records are, or as they are; return those that differ."""
    left, right = ({_name(row): row for row in frame["rows"]} for frame in (sail, jvm))
    assert len(left) == len(sail["rows"]), "rows of one frame have different names"
    assert left.keys() == right.keys(), sorted(left.keys() ^ right.keys())[:5]
    pairs = [(left[name], right[name]) for name in left]
    return [(one, columns) for one, other in pairs if (columns := _different(one, other))]


def _name(row: Row) -> str:
    place = [row[name] for name in ("_partition", "_sequence", "_line") if name in row]
    return json.dumps(place or _alike(row), sort_keys=True)


def _different(left: Row, right: Row) -> set[str]:
    """The columns that differ; `record` when only one engine takes the line for a record."""
    nothing = [row.get("_reason") in ("not-json", "not-utf8", "blank") for row in (left, right)]
    if any(nothing):
        kept = [(row["_reason"], row["_body"]) for row in (left, right)]
        return {"record"} if kept[0] != kept[1] else set()
    left, right = _alike(left), _alike(right)
    columns = {name for name in left if left[name] != right[name]}
    return columns - {"_reason", "_body"} or columns


def _alike(row: Row) -> Row:
    """The row with its JSON columns parsed: their white space and notation mean nothing.

    So does a history's digest, which is of such texts and only ever compared with its own engine's.
    """
    parsed: Row = {"_content": None} if "_content" in row else {}
    for name in ("json", "json_checked", "part", "whole", "_rest"):
        if row.get(name) is not None:
            try:
                parsed[name] = {"parsed": json.loads(row[name], parse_constant=str)}
            except ValueError:
                parsed[name] = row[name]
    return row | parsed
