"""History: every version of a row with the time it was valid, against a plain model of it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.transforms.lake import NOON, Event, Json, Lake, dataset, deletions, event, thing
from tests.transforms.model import COLUMNS, DERIVED, cut, history_of, rows_of
from transforms import history, raw_to_table
from transforms.errors import RunFailed

_NUMBERS = itertools.count()


def after_noon(seconds: int) -> datetime:
    """A time as Spark gives it: in UTC, without saying so."""
    return (NOON + timedelta(seconds=seconds)).replace(tzinfo=None)


def test_versions_follow_one_another(lake: Lake) -> None:
    """The question a history answers: what was it, and from when to when."""
    lake.run_events("r1", event(0, thing("a", updated=1, value=1)), history=True)
    result = lake.run_events("r2", event(9, thing("a", updated=2, value=2)), history=True)

    assert lake.history("id", "value", "validFrom", "validTo", "isCurrent", "_run") == [
        ("a", 1.0, after_noon(0), after_noon(9), False, "r1"),
        ("a", 2.0, after_noon(9), None, True, "r2"),
    ]
    assert result.history_version == 2


def test_time_of_the_source_says_when_a_version_begins(lake: Lake) -> None:
    """When we heard of a change says little about when it was made, if the source tells."""
    columns = dataset()["columns"] | {"updated": {"type": "timestamp"}}
    change: Json = {"columns": columns, "history": True}
    times = ["2026-11-20T12:00:03Z", "2026-11-20T12:00:07Z", None]
    records = [{"id": "a", "updated": time, "value": n} for n, time in enumerate(times)]

    lake.run_events("r1", event(20, *records), **change)

    assert lake.history("value", "validFrom", "validTo", "isCurrent") == [
        (2.0, after_noon(3), after_noon(3), False),  # Without a time it is the oldest.
        (0.0, after_noon(3), after_noon(7), False),
        (1.0, after_noon(7), None, True),
    ]


def test_snapshot_says_when_a_version_of_a_full_dataset_begins(lake: Lake) -> None:
    """In a snapshot a row's time may go back: then its place in the hub is all there is."""
    columns = dataset()["columns"] | {"updated": {"type": "timestamp"}}
    change: Json = {"columns": columns, "history": True, "ingestion": "full"}
    times = ["2026-11-20T12:00:03Z", "2026-11-20T12:00:01Z"]
    records = [{"id": "a", "updated": time, "value": n} for n, time in enumerate(times)]

    lake.run_events("r1", *(event(20 + n, record) for n, record in enumerate(records)), **change)

    assert lake.history("value", "validFrom", "validTo", "isCurrent") == [
        (1.0, after_noon(21), None, True),
        (0.0, after_noon(20), after_noon(21), False),
    ]


def test_late_version_is_inserted_in_between(lake: Lake) -> None:
    """A replay, or a slow partition, brings what happened before: both neighbours change."""
    lake.run_events("r1", event(0, thing("a", updated=1, value=1)), history=True)
    lake.run_events("r3", event(30, thing("a", updated=3, value=3)), history=True)

    lake.run_events("r2", event(20, thing("a", updated=2, value=2)), history=True)

    assert lake.history("value", "validFrom", "validTo", "isCurrent") == [
        (1.0, after_noon(0), after_noon(20), False),
        (2.0, after_noon(20), after_noon(30), False),
        (3.0, after_noon(30), None, True),
    ]


def test_version_that_came_after_its_successor_was_never_valid(lake: Lake) -> None:
    """At no time may two versions be the row: the later one was it from when it came."""
    lake.run_events("r1", event(0, thing("a", updated=3, value=3)), history=True)

    lake.run_events("r2", event(5, thing("a", updated=2, value=2)), history=True)

    assert lake.history("value", "validFrom", "validTo", "isCurrent") == [
        (2.0, after_noon(0), after_noon(0), False),
        (3.0, after_noon(0), None, True),
    ]


def test_repeated_version_makes_no_new_one(lake: Lake) -> None:
    """Overlapping polls send the same record again and again: nothing has changed."""
    lake.run_events("r1", event(0, thing("a"), thing("b")), event(4, thing("a")), history=True)
    lake.run_events("r2", event(8, thing("a")), history=True)

    assert lake.history("id", "validFrom", "validTo", "isCurrent") == [
        ("a", after_noon(0), None, True),
        ("b", after_noon(0), None, True),
    ]


def test_new_column_without_values_makes_no_new_versions(lake: Lake) -> None:
    """A dataset that grows has not changed every row at once."""
    lake.run_events("r1", event(0, thing("a")), history=True)
    columns = {"note": {"type": "string"}, **dataset()["columns"]}

    lake.run_events("r2", event(1, thing("a")), columns=columns, history=True)
    lake.run_events("r3", event(2, thing("a") | {"note": "n"}), columns=columns, history=True)

    assert lake.history("note", "validFrom", "validTo") == [
        (None, after_noon(0), after_noon(2)),
        ("n", after_noon(2), None),
    ]


def test_deletion_closes_a_row_and_a_record_opens_it_again(lake: Lake) -> None:
    """In between, there was no such row."""
    change: Json = {"ingestion": "full", "history": True}
    lake.run_events("r1", event(0, thing("a", value=1)), **change)
    lake.run_events("r2", deletions(5, "a"), **change)
    lake.run_events("r3", event(9, thing("a", value=1)), **change)

    assert lake.history("value", "validFrom", "validTo", "isCurrent") == [
        (1.0, after_noon(0), after_noon(5), False),
        (1.0, after_noon(9), None, True),
    ]


def test_same_manifest_twice_makes_no_commit(lake: Lake) -> None:
    """A retry must not write a history again."""
    blob = lake.land(event(0, thing("a"), thing("a", updated=2), thing("b")))
    planned = dataset(history=True)
    first = lake.run("r1", blob, dataset=planned)

    second = lake.run("r1", blob, dataset=planned)

    assert (first.history_version, second.history_version) == (1, 1)


@pytest.mark.parametrize("step", ["_write_history", "_write_rows"])
def test_run_killed_between_the_two_tables_is_made_good_by_its_repetition(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Two tables are two commits: a kill between them must not be visible after the next try."""
    planned = dataset(history=True)
    lake.run("r1", lake.land(event(0, thing("a", value=1))), dataset=planned)
    url = lake.plan("r2", lake.land(event(5, thing("a", updated=2, value=2))), dataset=planned)
    original = getattr(raw_to_table, step)

    def killed(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(raw_to_table, step, killed)
        with pytest.raises(KeyboardInterrupt):
            lake.run_planned("r2", url)
    lake.run_planned("r2", url)

    assert lake.values("value") == [(2.0,)]
    assert lake.history("value", "validTo", "isCurrent") == [
        (1.0, after_noon(5), False),
        (2.0, None, True),
    ]


def test_history_found_out_from_an_older_version_of_the_table_is_found_out_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forgotten attempt that wakes up would otherwise leave two versions current."""
    planned = dataset(history=True)
    lake.run("r0", lake.land(event(0, thing("a", value=0))), dataset=planned)
    slow = lake.plan("r1", lake.land(event(1, thing("a", updated=2, value=1))), dataset=planned)
    fast = lake.plan("r2", lake.land(event(2, thing("a", updated=3, value=2))), dataset=planned)
    original = history.find_versions_changed

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(raw_to_table, "find_versions_changed", original)
        found = original(*arguments)
        lake.run_planned("r2", fast)
        return found

    monkeypatch.setattr(raw_to_table, "find_versions_changed", overtaken)
    lake.run_planned("r1", slow)

    assert lake.history("value", "validFrom", "validTo", "isCurrent") == [
        (0.0, after_noon(0), after_noon(1), False),
        (1.0, after_noon(1), after_noon(2), False),
        (2.0, after_noon(2), None, True),
    ]


@st.composite
def plans(draw: st.DrawFn) -> tuple[Json, list[list[Event]], list[int]]:
    """A dataset, the events of three runs, and an order in which those are done, some twice."""
    style = draw(st.sampled_from(["incremental", "full", "plain"]))
    change: Json = {"history": True, "ingestion": "full" if style == "full" else "incremental"}
    if style == "plain":
        change["incrementalField"] = None
    runs = []
    for run in range(3):
        events = []
        for place in range(draw(st.integers(1, 2))):
            sequence, second = run * 10 + place, draw(st.integers(0, 4))
            keys = draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=3))
            if style == "full" and draw(st.booleans()):
                events.append(deletions(sequence, *keys, second=second))
                continue
            records = [
                thing(
                    key,
                    updated=draw(st.sampled_from([None, 1, 2])),
                    value=draw(st.sampled_from([None, 1.0])),
                )
                for key in keys
            ]
            events.append(event(sequence, *records, second=second))
        runs.append(events)
    order = [*draw(st.permutations(range(3))), draw(st.integers(0, 2))]
    return change, runs, order


@given(plan=plans())
@settings(
    max_examples=6,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_history_and_table_equal_a_model_of_all_raw_whatever_the_order_of_runs(
    lake: Lake, plan: tuple[Json, list[list[Event]], list[int]]
) -> None:
    """Runs are retried and replayed in any order: only raw decides what the tables hold."""
    change, runs, order = plan
    one = Lake(session=lake.session, blobs=lake.blobs, name=f"{lake.name}-h{next(_NUMBERS)}")
    blobs = [one.land(*events) for events in runs]

    for number in order:
        one.run(f"r{number}", blobs[number], dataset=dataset(**change))

    history_rows = one.read(f"{one.table_url}_history")
    expected = history_of(runs, change)
    assert cut(history_rows, *COLUMNS, *DERIVED) == cut(expected, *COLUMNS, *DERIVED)
    assert cut(one.rows(), *COLUMNS) == cut(rows_of(runs, change), *COLUMNS)


def test_column_that_the_history_needs_for_itself_is_refused(lake: Lake) -> None:
    """`validTo` of the source and `validTo` of the history cannot both be there."""
    columns = dataset()["columns"] | {"validto": {"type": "timestamp"}}

    with pytest.raises(RunFailed, match="'validto'"):
        lake.run_events("r1", event(0, thing("a")), columns=columns, history=True)


def test_a_history_s_times_are_moments(lake: Lake) -> None:
    """Without a zone, Synapse could not read the table."""
    lake.run_events("r1", event(0, thing("a")), history=True)

    types = dict(lake.session.read.format("delta").load(f"{lake.table_url}_history").dtypes)

    assert types["validFrom"] == types["validTo"] == "timestamp"
    assert NOON.tzinfo is UTC
