"""Runs that are really killed, or launched twice at once: in the end, only raw decides."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.transforms.lake import Event, Json, Lake, dataset, deletions, event, thing
from tests.transforms.model import COLUMNS, DERIVED, cut, history_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
STYLES: dict[str, Json] = {
    "incremental": {"history": True},
    "full": {"ingestion": "full", "history": True},
    "append": {"ingestion": "append", "primaryKey": None, "incrementalField": None},
}
KILLS = 2
#: A run is about so many statements; the repetition of one that was killed late is fewer.
STATEMENTS = 18


def random_runs(rng: random.Random, style: str) -> list[list[Event]]:
    """Two runs of some events, which meet in keys and, for an append dataset, in ids."""
    runs = []
    for number in range(2):
        events = []
        for place in range(3):
            sequence = number * 10 + place
            keys = rng.choices("abcd", k=rng.randrange(1, 4))
            if style == "full" and rng.random() < 0.4:
                events.append(deletions(sequence, *keys))
                continue
            if style == "append":
                keys = ["a", "b"]  # One id is one body.
            records = [thing(key, updated=rng.randrange(3), value=rng.randrange(2)) for key in keys]
            if style == "append":
                records = [thing(key) for key in keys]
            events.append(event(sequence, *records, id=f"id-{rng.randrange(4)}"))
        runs.append(events)
    return runs


def command(*arguments: str, run: str, url: str) -> list[str]:
    """The command that does a run."""
    return [sys.executable, "-m", *arguments, "--run", run, "--manifest", url]


def assert_only_raw_decided(lake: Lake, runs: list[list[Event]], change: Json) -> None:
    """The tables are what the model says of all of raw."""
    assert cut(lake.rows(), *COLUMNS) == cut(rows_of(runs, change), *COLUMNS)
    if change.get("history"):
        history = lake.read(f"{lake.table_url}_history")
        expected = history_of(runs, change)
        assert cut(history, *COLUMNS, *DERIVED) == cut(expected, *COLUMNS, *DERIVED)


@pytest.mark.parametrize("style", STYLES)
def test_run_killed_anywhere_and_repeated_leaves_what_raw_says(
    lake: Lake, emulator: Mapping[str, str], style: str
) -> None:
    """A machine that is switched off asks nobody whether it is a good moment."""
    rng = random.Random(style)
    change = STYLES[style]
    runs = random_runs(rng, style)
    blobs = [lake.land(*events) for events in runs]
    lake.run("r0", blobs[0], dataset=dataset(**change))
    url = lake.plan("r1", blobs[1], dataset=dataset(**change))

    for _ in range(KILLS):
        statement, wait_ms = rng.randrange(2, STATEMENTS), rng.choice([0, 0, 5, 20, 60])
        print(f"dies {wait_ms} ms into statement {statement}")  # noqa: T201 -- Shown on failure.
        mortal = command(
            "tests.transforms.mortal_job", str(statement), str(wait_ms), run="r1", url=url
        )
        died = subprocess.run(mortal, env=dict(emulator), cwd=ROOT, timeout=90, check=False)
        assert died.returncode in (0, -signal.SIGKILL)
    lake.run_planned("r1", url)

    assert_only_raw_decided(lake, runs, change)


@pytest.mark.parametrize("style", STYLES)
def test_run_launched_twice_at_once_leaves_what_raw_says(
    lake: Lake, emulator: Mapping[str, str], style: str
) -> None:
    """A launch whose answer was lost is made again, and now two of them are under way."""
    change = STYLES[style]
    runs = random_runs(random.Random(7), style)
    blobs = [lake.land(*events) for events in runs]
    lake.run("r0", blobs[0], dataset=dataset(**change))
    url = lake.plan("r1", blobs[1], dataset=dataset(**change))

    both = [
        subprocess.Popen(
            command("transforms.job", run="r1", url=url),
            env=dict(emulator),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=90)[1] for process in both]

    assert errors == [b"", b""]
    assert_only_raw_decided(lake, runs, change)
