"""A run that is killed between any two of its steps and repeated, or overtaken by another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from azure.storage.blob import BlobClient
from pyspark.sql.functions import lit, udf

from tests.transforms.lake import Lake, dataset, event, thing
from transforms import clean_table, raw_to_table
from transforms.clean_table import find_rows_changed
from transforms.delta import Overtaken, merge_rows, table_version, update_clause

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = (
    "prepare_table",
    "find_rows_changed",
    "quarantine_records",
    "merge_until_settled",
    "write_line",
)


class Killed(BaseException):
    """What ends a run as SIGKILL does: nothing catches it."""


def killed_after(step: Callable[..., Any]) -> Callable[..., Any]:
    """Let a step have its effect, but nothing after it."""

    def killed(*arguments: Any, **options: Any) -> Any:
        step(*arguments, **options)
        raise Killed

    return killed


@pytest.mark.parametrize("step", STEPS)
def test_run_killed_after_any_step_and_repeated_ends_alike(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A cluster can vanish at any moment: the table and quarantine must not show it."""
    lake.run_events("r0", event(0, thing("a", value=0), thing("b", value=0), b"old"))
    blob = lake.land(
        event(1, thing("b", updated=2, value=1), thing("c", value=1), b"new"),
        event(2, thing("b", updated=2, value=2), thing("a", updated=0, value=2)),
    )
    url = lake.plan("r1", blob, dataset=dataset())
    with monkeypatch.context() as patch:
        patch.setattr(raw_to_table, step, killed_after(getattr(raw_to_table, step)))
        with pytest.raises(Killed):
            lake.run_planned("r1", url)

    result = lake.run_planned("r1", url)

    merged_before = step in ("merge_until_settled", "write_line")
    assert (result.inserted, result.updated, result.older) == (
        (0, 0, 3) if merged_before else (1, 1, 1)
    )
    assert (result.duplicates, result.quarantined) == (1, 1)
    assert lake.values("id", "updated", "value", "_run") == [
        ("a", 1, 0.0, "r0"),
        ("b", 2, 2.0, "r1"),
        ("c", 1, 1.0, "r1"),
    ]
    assert sorted(bytes(row["body"]) for row in lake.quarantined()) == [b"new", b"old"]


@pytest.mark.parametrize("step", ["find_rows_changed", "merge_until_settled"])
def test_run_overtaken_by_another_puts_nothing_back(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A forgotten attempt may wake up after newer rows are in: the table keeps the newer."""
    lake.run_events("r0", event(0, thing("a", updated=0)))
    slow = lake.plan("r1", lake.land(event(1, thing("a"), thing("b"))), dataset=dataset())
    newer = lake.land(event(2, thing("a", updated=2, value=2), thing("b", updated=2, value=2)))
    fast = lake.plan("r2", newer, dataset=dataset())
    original = getattr(raw_to_table, step)

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(raw_to_table, step, original)
        lake.run_planned("r2", fast)
        return original(*arguments, **options)

    monkeypatch.setattr(raw_to_table, step, overtaken)
    lake.run_planned("r1", slow)

    assert lake.values("id", "updated", "value", "_run") == [
        ("a", 2, 2.0, "r2"),
        ("b", 2, 2.0, "r2"),
    ]


def test_forgotten_attempt_of_the_same_run_is_harmless(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attempts of one run at once must not read each other's half-written rows."""
    blob = lake.land(event(0, thing("a"), b"bad", thing("b")))
    url = lake.plan("r1", blob, dataset=dataset())
    original = find_rows_changed

    def overtaken(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(raw_to_table, "find_rows_changed", original)
        lake.run_planned("r1", url)
        return original(*arguments, **options)

    monkeypatch.setattr(raw_to_table, "find_rows_changed", overtaken)
    lake.run_planned("r1", url)

    assert lake.values("id", "_run") == [("a", "r1"), ("b", "r1")]
    assert [bytes(row["body"]) for row in lake.quarantined()] == [b"bad"]


def test_merge_that_is_refused_is_found_out_anew(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else commits while the statement runs: what it was made of is no longer so."""
    lake.run_events("r0", event(0, thing("a", updated=0)))
    newer = lake.land(event(2, thing("a", updated=2, value=2)))
    fast = lake.plan("r2", newer, dataset=dataset())

    def refused(*_: Any, **__: Any) -> None:
        monkeypatch.setattr(clean_table, "merge_rows", merge_rows)
        lake.run_planned("r2", fast)
        raise Overtaken

    monkeypatch.setattr(clean_table, "merge_rows", refused)
    result = lake.run_events("r1", event(1, thing("a"), thing("b")))

    assert (result.inserted, result.updated, result.older) == (1, 0, 1)
    assert lake.values("id", "updated", "_run") == [("a", 2, "r2"), ("b", 1, "r1")]


def test_merge_that_came_after_another_is_looked_at_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were new: this MERGE inserts only, and passes over the row that is there by now."""
    lake.run_events("r0", event(0, thing("c")))
    older = lake.plan("r2", lake.land(event(1, thing("a", updated=0))), dataset=dataset())

    def late(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(clean_table, "merge_rows", merge_rows)
        lake.run_planned("r2", older)
        merge_rows(*arguments, **options)

    monkeypatch.setattr(clean_table, "merge_rows", late)
    lake.run_events("r1", event(2, thing("a"), thing("b")))

    assert lake.values("id", "updated", "_run") == [("a", 1, "r1"), ("b", 1, "r1"), ("c", 1, "r0")]


def test_commit_of_somebody_else_refuses_a_merge(lake: Lake, azurite: str) -> None:
    """The engine's own words for it are all that tells it from any other failure."""
    lake.run_events("r0", event(0, thing("a")))
    log = f"{lake.name}/_delta_log"
    next_version = f"{log}/{table_version(lake.session, lake.table_url) + 1:020d}.json"

    def meanwhile(text: str) -> str:
        with BlobClient.from_connection_string(azurite, "clean", next_version) as blob:
            blob.upload_blob(b'{"commitInfo":{"operation":"WRITE"}}\n', overwrite=True)
        return text

    run = udf(meanwhile, "string", useArrow=True)(lit("r1"))
    rows = lake.session.range(1).select(lit("a").alias("id"), run.alias("_run"))

    with pytest.raises(Overtaken):
        merge_rows(
            lake.session, lake.table_url, rows, on="s.id = t.id", clauses=[update_clause(["_run"])]
        )

    assert lake.values("id", "_run") == [("a", "r0")]
