"""The run: what it covers, and where it may go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.dataset import Curated, Dataset
from shared.domain.raw_blob import Partition
from shared.domain.run import (
    ATTEMPTS_MAX,
    MAINTENANCE_ATTEMPTS_MAX,
    NEXT,
    Planned,
    Progress,
    Run,
    RunKind,
    RunState,
    after_failure,
    after_skip,
    described,
    follow,
    further_on,
    has_runs,
    maintenance_id,
    plan,
    plan_curated,
    plan_maintenance,
    plan_replay,
    reopen,
    tables_of,
)
from tests.builders import LIFE, NOON, document, head

DATASET = document().dataset("quakes")
CURATED = Curated(name="daily", reads=("quakes",), columns={"day": "date"}, primary_key=("day",))


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


def test_maintenance_is_soon_given_up() -> None:
    """While it is tried, no blob gets into the table; the next one comes tomorrow."""
    current = run(kind=RunKind.MAINTENANCE)
    while current.is_open:
        after = after_failure(current, message="boom", now=NOON)
        current = after if not after.is_open else after.to(RunState.LAUNCHED, job_run=1)

    assert current.attempt == MAINTENANCE_ATTEMPTS_MAX < ATTEMPTS_MAX


def test_skipped_run_waits_without_using_up_an_attempt() -> None:
    """A full queue is nobody's fault, but the service must be asked by a new token."""
    first = run(failures=ATTEMPTS_MAX - 1)

    second = after_skip(first, message="full", now=NOON)

    assert (second.state, second.failures) == (RunState.PLANNED, ATTEMPTS_MAX - 1)
    assert second.token != first.token
    assert second.due_at > NOON
    assert second.message == "full"


def test_retry_by_a_person_gives_all_attempts_again() -> None:
    """The cause is mended; what fails now fails for another reason."""
    failed = run(state=RunState.FAILED, attempt=5, failures=5, ended_at=NOON)

    again, progress = reopen(failed, Progress(dataset="quakes", queued=(failed.id, "x")), now=NOON)

    assert (again.state, again.attempt, again.failures) == (RunState.PLANNED, 6, 0)
    assert (again.ended_at, again.job_run) == (None, None)
    assert (progress.run_open, progress.queued) == (failed.id, ("x",))


@pytest.mark.parametrize("opening", ["plan", "replay", "curated", "maintenance", "reopen"])
def test_second_open_run_is_a_bug(opening: str) -> None:
    """Whatever its kind: two jobs at once would write one table."""
    busy = Progress(dataset="quakes", run_open="quakes-0")
    usual: dict[str, Any] = {"progress": busy, "now": NOON}
    ways = {
        "plan": lambda: plan([head(0, 4)], dataset=DATASET, **usual),
        "replay": lambda: plan_replay([head(0, 4)], dataset=DATASET, **usual),
        "curated": lambda: plan_curated(CURATED, {}, **usual),
        "maintenance": lambda: plan_maintenance(DATASET, "quakes-maintenance-1", **usual),
        "reopen": lambda: reopen(run(state=RunState.FAILED), **usual),
    }

    with pytest.raises(AssertionError, match="at most one open run"):
        ways[opening]()


def test_curated_run_is_named_by_the_versions_it_reads() -> None:
    """The same versions are the same run; a newer one is another."""
    empty = Progress(dataset="daily")
    version = Planned(sequence=7, blob="quakes-1")

    first, progress = plan_curated(CURATED, {"quakes": version}, progress=empty, now=NOON)
    later = plan_curated(
        CURATED, {"quakes": version}, progress=empty, now=NOON + timedelta(hours=1)
    )[0]
    newer = plan_curated(
        CURATED, {"quakes": replace(version, sequence=8)}, progress=empty, now=NOON
    )[0]

    assert first.id == later.id != newer.id
    assert (first.kind, first.inputs) == (RunKind.CURATED, {"quakes": version})
    assert (progress.planned, progress.run_open) == ({"quakes": version}, first.id)


def test_maintenance_is_named_by_its_day() -> None:
    """At most one a day, however often the timer fires."""
    morning = maintenance_id(DATASET, now=NOON)

    assert morning == maintenance_id(DATASET, now=NOON + timedelta(hours=11))
    assert morning != maintenance_id(DATASET, now=NOON + timedelta(hours=12))


def test_progress_remembers_who_wrote_the_table_last() -> None:
    """Curated tables follow it; maintenance changes no row."""
    progress = Progress(dataset="quakes", run_open="quakes-1", run_succeeded="quakes-0")

    wrote = progress.after(run(state=RunState.SUCCEEDED))
    failed = progress.after(run(state=RunState.FAILED))
    maintained = progress.after(run(state=RunState.SUCCEEDED, kind=RunKind.MAINTENANCE))

    assert [each.run_succeeded for each in (wrote, failed, maintained)] == [
        "quakes-1",
        "quakes-0",
        "quakes-0",
    ]
    assert not any(each.run_open for each in (wrote, failed, maintained))


def test_run_is_looked_for_where_its_id_says() -> None:
    """Names hold hyphens, too: `quakes-daily-…` may be of `quakes` or of `quakes-daily`."""
    tables: list[Dataset | Curated] = [DATASET, CURATED]
    tables.append(DATASET.model_copy(update={"name": "quakes-daily"}))

    found = tables_of("quakes-daily-0123", tables)

    assert [table.name for table in found] == ["quakes", "quakes-daily"]


def test_view_has_no_runs() -> None:
    """Nothing is ever written for it."""
    view = Curated(name="latest", reads=("quakes",), kind="view")

    assert [has_runs(table) for table in (DATASET, CURATED, view)] == [True, True, False]


def test_later_attempt_and_end_are_further_on() -> None:
    """Whoever is late with a note must not take back what is there."""
    steps = [
        run(),
        run(state=RunState.FAILED),
        run(attempt=2),
        run(attempt=2, state=RunState.SUCCEEDED),
    ]

    places = [further_on(each) for each in steps]

    assert places == sorted(set(places))


def test_note_has_every_key_in_every_state() -> None:
    """SQL guesses types from what it reads first."""
    opened = described(run())
    ended = described(run(state=RunState.SUCCEEDED, ended_at=NOON, counts={"records": 3}))

    assert opened.keys() == ended.keys()
    assert (opened["endedAt"], ended["endedAt"]) == (None, "2026-11-20T12:00:00.000Z")
    assert (opened["counts"], ended["counts"]) == ({}, {"records": 3})


@pytest.mark.parametrize("attempt", [1, 9, 10])
def test_token_is_never_longer_than_the_service_takes(attempt: int) -> None:
    """A long name with a replay's moment would be refused, again and again."""
    long = run(id=f"{'x' * 50}-replay-20261120T120000-0123456789ab", attempt=attempt)

    assert len(long.token) <= 64
    assert long.token != replace(long, attempt=attempt + 1).token
    assert run(attempt=attempt).token == f"quakes-1-{attempt}"


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
