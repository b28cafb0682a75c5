"""The run as text: durations, what is to be done next, and what programs are told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.run import Planned, Progress, Run, RunKind, RunState
from shared.domain.run_text import SELECTIONS, RunAbsent, next_step, span, summary
from tests.builders import NOON

RUN = Run(
    id="quakes-1",
    dataset="quakes",
    job="transform",
    state=RunState.PLANNED,
    blobs=2,
    events=10,
    planned_at=NOON,
    due_at=NOON,
)
LATE = timedelta(hours=1)
INPUTS = {"quakes": Planned(sequence=7, blob="quakes-0")}


@pytest.mark.parametrize(
    ("changes", "progress", "words"),
    [
        ({}, {}, "nothing: it is launched at the timer's next tick"),
        ({"message": "no job"}, {}, "if it stays planned, mend what the message says"),
        ({"due_at": NOON + timedelta(minutes=2)}, {}, "nothing: it is tried again at 12:02:00 UTC"),
        ({"state": RunState.LAUNCHED}, {}, "nothing: the timer follows it"),
        ({"state": RunState.RUNNING, "job_run": 7}, {}, "nothing: the timer follows it"),
        (
            {"state": RunState.RUNNING, "job_run": 7, "planned_at": NOON - 2 * LATE},
            {},
            "open for longer than 1 h 0 min: look at job run 7; to stop it: millrace runs cancel",
        ),
        (
            {"state": RunState.LAUNCHED, "planned_at": NOON - 2 * LATE},
            {},
            "look at the job service; to stop it",
        ),
        ({"state": RunState.SUCCEEDED}, {}, "nothing"),
        (
            {"state": RunState.SUCCEEDED, "counts": {"quarantined": 1200}},
            {},
            "1,200 records were refused: millrace quarantine list",
        ),
        (
            {"state": RunState.FAILED},
            {},
            "mend what the message says, then: millrace runs retry quakes-1",
        ),
        (
            {"state": RunState.CANCELLED},
            {},
            "not in the table; to bring it in: millrace runs retry quakes-1",
        ),
        (
            {"state": RunState.FAILED},
            {"queued": ("quakes-1",), "run_open": "quakes-2"},
            "nothing: it is tried again after quakes-2",
        ),
        (
            {"state": RunState.CANCELLED},
            {"queued": ("quakes-0", "quakes-1")},
            "nothing: it is tried again after what is queued before it",
        ),
        (
            {"state": RunState.FAILED, "kind": RunKind.MAINTENANCE},
            {},
            "nothing: the table's next maintenance",
        ),
        (
            {"state": RunState.FAILED, "kind": RunKind.CURATED, "inputs": INPUTS},
            {"planned": {"quakes": Planned(sequence=8, blob="quakes-1")}},
            "nothing: a later run of quakes covers",
        ),
        (
            {"state": RunState.FAILED, "kind": RunKind.CURATED, "inputs": INPUTS},
            {"planned": INPUTS},
            "then: millrace runs retry quakes-1",
        ),
    ],
)
def test_next_step_says_what_to_do_and_whether_to_do_anything(
    changes: dict[str, Any], progress: dict[str, Any], words: str
) -> None:
    """At night nobody should have to know how the pipeline works."""
    run = replace(RUN, **changes)

    step = next_step(run, Progress(dataset="quakes", **progress), now=NOON, late_after=LATE)

    assert words in step
    assert step.startswith("nothing") == ("nothing" in words or "stays planned" in words)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(), "0.0 s"),
        (timedelta(seconds=12.34), "12.3 s"),
        (timedelta(seconds=60), "1 min 0 s"),
        (timedelta(minutes=59, seconds=59), "59 min 59 s"),
        (timedelta(hours=2, minutes=5, seconds=59), "2 h 5 min"),
        (timedelta(days=3, hours=4), "3 d 4 h"),
    ],
)
def test_duration_is_in_its_two_largest_units(duration: timedelta, text: str) -> None:
    """Nobody reads 93784 s."""
    assert span(duration) == text


def test_duration_of_an_open_run_is_up_to_now() -> None:
    """What goes on for hours must look like it."""
    later = NOON + timedelta(hours=2)
    ended = replace(RUN, state=RunState.SUCCEEDED, ended_at=NOON + timedelta(seconds=1.5))

    assert summary(RUN, now=later)["durationS"] == 7200
    assert summary(ended, now=later)["durationS"] == 1.5
    assert json.loads(json.dumps(summary(ended, now=later)))["state"] == "succeeded"


def test_every_state_can_be_selected_and_open_ones_together() -> None:
    """A new state must not be one that nobody finds."""
    assert SELECTIONS["all"] == set(RunState)
    assert SELECTIONS["open"] == {state for state in RunState if replace(RUN, state=state).is_open}
    assert {name for name in SELECTIONS if name not in ("all", "open")} == set(RunState)


def test_absent_run_names_the_nearest() -> None:
    """An id is copied, and sometimes not to its end."""
    assert "did you mean 'quakes-1'?" in str(RunAbsent("quakes-", known=["quakes-1", "others-2"]))
    assert "millrace runs list" in str(RunAbsent("x", known=[]))
