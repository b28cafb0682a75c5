"""Pruning: which folders a MERGE is told of, and when it is better told of none."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from tests.transforms.lake import Json, Lake, dataset, event, thing
from transforms import clean_table, pruning
from transforms.errors import RunFailed
from transforms.pruning import Value, are_in, values_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize(
    ("values", "condition"),
    [
        (["b", "a"], " and (c in ('a', 'b'))"),
        ([date(2026, 11, 20), None], " and (c in (date'2026-11-20') or c is null)"),
        ([True, False], " and (c in (false, true))"),
        ([7], " and (c in (7))"),
        ([None], " and (c is null)"),
        ([], " and (false)"),
        (None, ""),
    ],
)
def test_condition_names_every_folder(values: list[Value] | None, condition: str) -> None:
    """One folder too few, and a row that lies there would be inserted again."""
    assert are_in("c", values) == condition


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        ("select 1 as c union all select 2 union all select null", {1, 2, None}),
        ('select "it\'s" as c', None),
        (r"select 'a\\b' as c", None),
        ("select 1.5d as c", None),
        ("select timestamp'2026-11-20 12:00:00' as c", None),
    ],
    ids=["plain", "quote", "backslash", "double", "timestamp"],
)
def test_values_that_engines_may_read_differently_are_not_listed(
    session: SparkSession, rows: str, values: set[Value] | None
) -> None:
    """All folders are slow; the wrong ones are wrong."""
    found = values_of(session.sql(rows), "c")

    assert (found if found is None else set(found)) == values


def test_too_many_values_are_not_listed(
    session: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A condition of a thousand folders takes longer to plan than it saves."""
    monkeypatch.setattr(pruning, "FOLDERS_MAX", 3)

    assert values_of(session.range(3), "id") is not None
    assert values_of(session.range(4), "id") is None


def test_merge_that_overlooks_a_row_fails_the_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said to be merged is what the commit says of itself, not what was intended."""
    columns: Json = {"day": {"type": "date"}, **dataset()["columns"]}
    change = {"columns": columns, "partitionField": "day"}
    lake.run_events("r1", event(0, *(thing(key) | {"day": "2026-11-18"} for key in "ab")), **change)
    monkeypatch.setattr(clean_table, "values_of", lambda *_: [date(2026, 11, 19)])
    moved = [thing("a", updated=2) | {"day": "2026-11-19"}, thing("c") | {"day": "2026-11-19"}]

    with pytest.raises(RunFailed, match=r"inserted 3 rows instead of 1 .*; restore version 1"):
        lake.run_events("r2", event(1, *moved, thing("b", updated=2)), **change)


def test_merge_writes_only_into_folders_of_changed_rows(lake: Lake) -> None:
    """A day's changes must not write the years before again."""
    columns: Json = {"day": {"type": "date"}, **dataset()["columns"]}
    change = {"columns": columns, "partitionField": "day"}
    days = ["2026-11-18", "2026-11-19", "2026-11-20"]
    lake.run_events("r1", event(0, *(thing(day) | {"day": day} for day in days)), **change)
    before = lake.files("clean", lake.name).keys()

    lake.run_events("r2", event(1, thing(days[1], updated=2) | {"day": days[1]}), **change)

    new = {name for name in lake.files("clean", lake.name).keys() - before if "=" in name}
    assert {name.split("/")[0] for name in new} == {"day=2026-11-19"}
    log = lake.files("clean", lake.name)[f"_delta_log/{2:020d}.json"].decode()
    assert "2026-11-19" in log.partition("mergePredicate")[2].partition("}")[0]
    assert "2026-11-18" not in log
