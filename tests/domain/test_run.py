"""The run: what it covers, and where it may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.raw_blob import Partition
from shared.domain.run import (
    ATTEMPTS_MAX,
    NEXT,
    Planned,
    Progress,
    Run,
    RunState,
    after_failure,
    follow,
    plan,
)
from tests.builders import LIFE, NOON, document, head

DATASET = document().dataset("quakes")


def run(**changes: Any) -> Run:
    """A run just launched."""
    usual = Run(
        id="quakes-1",
        dataset="quakes",
        job="transform",
        state=RunState.LAUNCHED,
        blobs=1,
        events=1,
        planned_at=NOON,
        due_at=NOON,
        job_run=7,
    )
    return replace(usual, **changes)


def test_only_what_links_up_is_followed() -> None:
    """A listing can miss a blob that was created while it was made."""
    heads = [head(0, 4), head(10, 14)]

    chosen = follow(heads, {})

    assert [each.sequence_first for each in chosen] == [0]


def test_chain_that_forks_is_followed_to_its_end() -> None:
    """Two owners that pass over a loss can land the same events twice; planning must not stop."""
    heads = [
        head(0, 4),
        replace(head(5, 8), sequence_previous=4),
        replace(head(7, 9), sequence_previous=4),
        replace(head(10, 12), sequence_previous=9),
    ]

    chosen = follow(heads, {})

    assert [each.sequence_first for each in chosen] == [0, 5, 7, 10]


@given(st.permutations(range(6)), st.integers(0, 5))
def test_blobs_in_any_order_are_followed_in_theirs(order: list[int], planned: int) -> None:
    """Triggers and listings come in any order."""
    heads = [head(number * 5, number * 5 + 4) for number in order]
    place = {f"0-{LIFE}": Planned(sequence=planned * 5 - 1, blob="x")} if planned else {}

    chosen = follow([each for each in heads if each.sequence_first >= planned * 5], place)

    assert [each.sequence_first for each in chosen] == list(range(planned * 5, 30, 5))


def test_plan_moves_progress_to_the_last_blob_of_each_partition() -> None:
    """Run and progress cover the same blobs, or one would be lost or doubled."""
    other = Partition(material="quakes", id="3", hub=LIFE)
    heads = follow([head(0, 4), head(5, 6), head(0, 9, partition=other)], {})

    planned, progress = plan(heads, dataset=DATASET, progress=Progress(dataset="quakes"), now=NOON)

    assert {key: place.sequence for key, place in progress.planned.items()} == {
        f"0-{LIFE}": 6,
        f"3-{LIFE}": 9,
    }
    assert (progress.run_open, planned.events, planned.blobs) == (planned.id, 17, 3)


def test_same_blobs_make_the_same_run() -> None:
    """Whoever is killed between manifest and ledger finds his own work."""
    heads = [head(0, 4)]
    empty = Progress(dataset="quakes")

    first, _ = plan(heads, dataset=DATASET, progress=empty, now=NOON)
    second, _ = plan(heads, dataset=DATASET, progress=empty, now=NOON + timedelta(hours=1))

    assert first.id == second.id


def test_failed_run_is_tried_again_later_each_time() -> None:
    """Backoff grows; the last attempt gives up with the reason."""
    current = run()
    waits = []
    while current.is_open:
        after = after_failure(current, message="boom", now=NOON)
        waits.append((after.due_at - NOON).total_seconds())
        current = after if not after.is_open else after.to(RunState.LAUNCHED, job_run=1)

    assert current.attempt == ATTEMPTS_MAX
    assert (current.state, current.message) == (RunState.FAILED, "boom")
    assert waits[:-1] == sorted(waits[:-1])


def test_each_attempt_has_a_token_of_its_own() -> None:
    """The service answers a known token with the old run."""
    first = run()

    second = after_failure(first, message="", now=NOON)

    assert first.token != second.token


@pytest.mark.parametrize("state", list(RunState))
def test_step_out_of_the_table_is_a_bug(state: RunState) -> None:
    """A finished run never comes back."""
    for other in set(RunState) - NEXT[state]:
        with pytest.raises(AssertionError):
            run(state=state).to(other)
