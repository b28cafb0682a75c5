"""Curated tables: SQL over exact versions of other tables, whole or only what changed."""

from __future__ import annotations

import contextlib
import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.domain.document import parse
from tests.transforms.curated import run_curated
from tests.transforms.lake import Json, Lake, deletions, event, thing
from transforms import curated_sql, curated_table
from transforms.errors import RunFailed
from transforms.job import do_run
from transforms.result import CuratedWritten

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SUMS: Json = {"reads": ["things"], "columns": {"updated": "long", "total": "double"}}
BIG: Json = {
    "reads": ["things"],
    "columns": {"id": "string", "double_value": "double"},
    "primaryKey": ["id"],
    "incremental": True,
}
EARTHQUAKES_DAILY: Json = {
    "name": "earthquakes-daily",
    "reads": ["earthquakes"],
    "columns": {
        "day": "date",
        "magnitude_class": "string",
        "earthquakes": "long",
        "magnitude_max": "double",
        "tsunami_warnings": "long",
    },
}
PIPELINE = Path(__file__).parents[2] / "pipeline.json"


@pytest.fixture
def sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of the transform's own SQL."""
    monkeypatch.setattr(curated_sql, "FOLDER", tmp_path)
    return tmp_path


class Curating:
    """One curated table of a lake."""

    def __init__(self, lake: Lake, sql: Path, text: str, **declared: Any) -> None:
        """`things` in the text is the lake's dataset."""
        self.lake = lake
        self.name = f"{lake.name}-out"
        self.table = lake.name.replace("-", "_")
        self.declared = {"name": self.name, **declared, "reads": [lake.name]}
        self.write(sql, text)

    def write(self, sql: Path, text: str) -> None:
        """Replace the SQL."""
        (sql / f"{self.name}.sql").write_text(text.replace("things", self.table))

    def plan(self, run: str, *runs: str, version: int, **changes: Any) -> str:
        """Write the manifest of a curated run."""
        inputs = [{"name": self.lake.name, "kind": "clean", "version": version, "runs": runs}]
        content = {"curated": self.declared, "inputs": inputs, **changes}
        return self.lake.plan_any(run, kind="curated", **content)

    def run(self, run: str, *runs: str, version: int, **changes: Any) -> CuratedWritten:
        """Plan a curated run and do it."""
        url = self.plan(run, *runs, version=version, **changes)
        written = do_run(self.lake.session, run=run, manifest_url=url)
        assert isinstance(written, CuratedWritten)
        return written

    def values(self, *names: str) -> list[tuple[Any, ...]]:
        """Some columns of the table."""
        rows = self.lake.read(self.lake.url("curated", self.name))
        return [tuple(row[name] for name in names) for row in rows]


SUM_SQL = "select updated, sum(value) as total from things group by updated"


def test_table_is_what_the_sql_says_of_the_rows_that_are_not_deleted(lake: Lake, sql: Path) -> None:
    """A deleted row is still in the table; nobody who counts should meet it."""
    records = [thing("a", updated=1, value=1), thing("b", updated=1, value=2), thing("c")]
    lake.run_events("r1", event(0, *records), deletions(1, "c"), ingestion="full")
    curating = Curating(lake, sql, SUM_SQL, **SUMS)

    written = curating.run("c1", "r1", version=1)

    assert curating.values("updated", "total") == [(1, 3.0)]
    assert (written.rows, written.table_version) == (1, 1)


def test_version_in_the_manifest_is_the_one_that_is_read(lake: Lake, sql: Path) -> None:
    """A run that is repeated tomorrow must make what it made today."""
    lake.run_events("r1", event(0, thing("a", value=1)))
    lake.run_events("r2", event(1, thing("b", value=5)))
    curating = Curating(lake, sql, SUM_SQL, **SUMS)

    curating.run("c1", "r1", version=1)
    first = curating.values("total")
    curating.run("c2", "r2", version=2)

    assert (first, curating.values("total")) == ([(1.0,)], [(6.0,)])


def test_nothing_new_makes_no_commit(lake: Lake, sql: Path) -> None:
    """Readers keep what they have cached, and the log stays short."""
    lake.run_events("r1", event(0, thing("a", value=1)))
    curating = Curating(lake, sql, SUM_SQL, **SUMS)
    first = curating.run("c1", "r1", version=1)

    again = curating.run("c2", "r1", version=1)

    assert again.table_version == first.table_version == 1


def test_table_that_becomes_empty_is_emptied(lake: Lake, sql: Path) -> None:
    """No rows is an answer, too."""
    lake.run_events("r1", event(0, thing("a")), ingestion="full")
    curating = Curating(lake, sql, SUM_SQL, **SUMS)
    curating.run("c1", "r1", version=1)
    lake.run_events("r2", deletions(1, "a"), ingestion="full")

    written = curating.run("c2", "r2", version=2)

    assert (written.rows, curating.values("total")) == (0, [])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("select updated from things", "column 'total' is missing"),
        ("select *, 1 as more from things", "column 'more' is not declared"),
        ("select updated, count(*) as total from things group by 1", "'total' is bigint, not doub"),
        ("select updated, total from things", "-out.sql is wrong"),
        ("select updated, value as total from elsewhere", "-out.sql is wrong"),
    ],
)
def test_sql_that_gives_something_else_fails_the_run_and_says_what(
    lake: Lake, sql: Path, text: str, complaint: str
) -> None:
    """Views and reports rely on what is declared; the table stays as it was."""
    lake.run_events("r1", event(0, thing("a", value=1)))
    curating = Curating(lake, sql, SUM_SQL, **SUMS)
    curating.run("c1", "r1", version=1)
    curating.write(sql, text)

    with pytest.raises(RunFailed, match=complaint):
        curating.run("c2", "r1", version=1)

    assert curating.values("total") == [(1.0,)]


def test_version_that_is_gone_fails_the_run_and_says_so(lake: Lake, sql: Path) -> None:
    """Reading whatever is there instead would make a table nobody can make again."""
    lake.run_events("r1", event(0, thing("a")))
    curating = Curating(lake, sql, SUM_SQL, **SUMS)

    with pytest.raises(RunFailed, match=r"version 7 of the table at .* is gone"):
        curating.run("c1", "r1", version=7)


def test_declared_columns_may_change_at_any_time(lake: Lake, sql: Path) -> None:
    """A curated table is made anew, so there is nothing to be kept."""
    lake.run_events("r1", event(0, thing("a", value=1)))
    curating = Curating(lake, sql, SUM_SQL, **SUMS)
    curating.run("c1", "r1", version=1)
    curating.write(sql, "select cast(sum(value) as decimal(9,2)) as total, 'x' as note from things")
    curating.declared |= {"columns": {"total": "decimal(9,2)", "note": "string"}}

    curating.run("c2", "r1", version=1)

    assert [f"{total} {note}" for total, note in curating.values("total", "note")] == ["1.00 x"]


def test_sql_can_ask_the_history(lake: Lake, sql: Path) -> None:
    """How often did it change? Repetitions and deletions are no versions."""
    change: Json = {"history": True, "ingestion": "full"}
    events = [event(0, thing("a", value=1)), event(1, thing("a", value=1)), deletions(2, "a")]
    lake.run_events("r1", *events, event(3, thing("a", value=2)), **change)
    text = "select id, count(*) as versions from things_history group by id"
    columns = {"id": "string", "versions": "long"}
    curating = Curating(lake, sql, text, columns=columns)

    curating.run("c1", "r1", version=1)

    assert curating.values("id", "versions") == [("a", 2)]


def test_view_stands_between_a_table_and_the_sql(lake: Lake, sql: Path) -> None:
    """A view is never written; who reads it reads what it says."""
    lake.run_events("r1", event(0, thing("a", value=1), thing("b", value=9)))
    curating = Curating(lake, sql, "select id from small", columns={"id": "string"})
    text = "select * from things where value < 5;\n".replace("things", curating.table)
    (sql / "small.sql").write_text(text)
    curating.declared |= {"reads": ["small"]}
    views = [{"name": "small", "reads": [lake.name], "kind": "view"}]

    curating.run("c1", "r1", version=1, views=views)

    assert curating.values("id") == [("a",)]


BIG_SQL = "select id, value * 2 as double_value from things where value > 1"


def test_increment_follows_every_change_of_the_rows_it_reads(lake: Lake, sql: Path) -> None:
    """Added, changed, deleted, or left out by the SQL now: as if it were written as a whole."""
    keys = ("added", "changed", "deleted", "shrunk", "same")
    first = [thing(key, value=2) for key in keys if key != "added"]
    lake.run_events("r1", event(0, *first), ingestion="full")
    curating = Curating(lake, sql, BIG_SQL, **BIG)
    curating.run("c1", "r1", version=1)
    then = [thing("added", value=3), thing("changed", value=4), thing("shrunk", value=0)]
    lake.run_events("r2", event(1, *then), deletions(2, "deleted", "other"), ingestion="full")

    written = curating.run("c2", "r2", version=2)

    assert curating.values("id", "double_value") == [
        ("added", 6.0),
        ("changed", 8.0),
        ("same", 4.0),
    ]
    assert (written.rows, written.inserted, written.updated, written.deleted) == (2, 1, 1, 2)


def test_increment_reads_only_what_the_named_runs_changed(lake: Lake, sql: Path) -> None:
    """What nobody touched is not read again: that is what incremental is for."""
    lake.run_events("r1", event(0, thing("a", value=2)))
    curating = Curating(lake, sql, BIG_SQL, **BIG)
    curating.run("c1", "r1", version=1)
    lake.run_events("r2", event(1, thing("b", value=3)))
    lake.run_events("r3", event(2, thing("c", value=4)))

    written = curating.run("c2", "r3", version=3)
    again = curating.run("c2", "r3", version=3)

    assert curating.values("id") == [("a",), ("c",)]
    assert (written.rows, written.inserted) == (1, 1)
    assert (again.inserted, again.table_version) == (0, written.table_version)


@pytest.mark.parametrize("step", ["prepare_table", "_note", "merge_until_settled", "write_line"])
@pytest.mark.parametrize("run", ["c1", "c2"])
def test_curated_run_killed_after_any_step_and_repeated_ends_alike(
    lake: Lake, sql: Path, monkeypatch: pytest.MonkeyPatch, step: str, run: str
) -> None:
    """The first run makes the whole table, the second an increment: neither may be half done."""
    lake.run_events("r1", event(0, thing("a", value=2), thing("b", value=2)), ingestion="full")
    lake.run_events("r2", event(1, thing("c", value=3)), deletions(2, "b"), ingestion="full")
    curating = Curating(lake, sql, BIG_SQL, **BIG)
    original = getattr(curated_table, step)

    def killed(*arguments: Any, **options: Any) -> Any:
        original(*arguments, **options)
        raise KeyboardInterrupt

    for name, version in (("c1", 1), ("c2", 2)):
        with monkeypatch.context() as patch:
            if name == run:
                patch.setattr(curated_table, step, killed)
            with contextlib.suppress(KeyboardInterrupt):
                curating.run(name, f"r{version}", version=version)
        if name == run:
            curating.run(name, f"r{version}", version=version)

    assert curating.values("id", "double_value") == [("a", 4.0), ("c", 6.0)]


def test_increment_after_another_sql_writes_the_whole_table(lake: Lake, sql: Path) -> None:
    """Rows that nobody changed must follow a new formula, too."""
    lake.run_events("r1", event(0, thing("a", value=2), thing("b", value=3)))
    curating = Curating(lake, sql, BIG_SQL, **BIG)
    curating.run("c1", "r1", version=1)
    curating.write(sql, BIG_SQL.replace("* 2", "* 20"))

    curating.run("c2", "nobody", version=1)

    assert curating.values("id", "double_value") == [("a", 40.0), ("b", 60.0)]


@pytest.mark.parametrize(
    ("text", "changes", "complaint"),
    [
        (BIG_SQL, {"primaryKey": ["double_value"]}, "has no column 'double_value'"),
        (f"{BIG_SQL} union all {BIG_SQL}", {}, "two rows have the key"),
        ("select 'x' as id, 1.0d as double_value from things", {}, "no changed row has the key"),
    ],
)
def test_sql_that_cannot_be_incremental_fails_the_run(
    lake: Lake, sql: Path, text: str, changes: Json, complaint: str
) -> None:
    """A curated row whose origin is unknown could never be taken away again."""
    lake.run_events("r1", event(0, thing("a", value=2)))
    curating = Curating(lake, sql, text, **(BIG | changes))
    curating.run("c1", "r1", version=1)

    with pytest.raises(RunFailed, match=complaint):
        curating.run("c2", "r1", version=1)


def test_increment_of_two_tables_fails_the_run(lake: Lake, sql: Path) -> None:
    """Of a join, nobody knows which rows a change of the other table touches."""
    lake.run_events("r1", event(0, thing("a", value=2)))
    curating = Curating(lake, sql, BIG_SQL, **BIG)
    curating.run("c1", "r1", version=1)
    inputs = [
        {"name": name, "kind": "clean", "version": 1, "runs": []} for name in (lake.name, "other")
    ]

    with pytest.raises(RunFailed, match="one dataset and nothing else, not"):
        curating.run("c2", version=1, inputs=inputs)


def test_earthquakes_of_each_day_by_how_strong_they_were(session: SparkSession) -> None:
    """The example that comes with the pipeline, over a handful of rows."""
    noon = datetime(2026, 11, 20, 12)  # noqa: DTZ001 -- Spark's times are UTC without saying so.
    rows = [
        {"occurred": noon, "kind": "earthquake", "magnitude": magnitude, "tsunami": magnitude == 7}
        for magnitude in (1.0, 2.4, 7.0, None)
    ]
    blast = {"occurred": noon, "kind": "quarry blast", "magnitude": 1.5}

    content = json.loads(PIPELINE.read_text()) | {"curated": [EARTHQUAKES_DAILY]}
    document = parse(json.dumps(content))

    found = run_curated(session, document, "earthquakes-daily", earthquakes=[*rows, blast])

    day = {"day": date(2026, 11, 20)}
    assert sorted(found, key=lambda row: row["magnitude_class"]) == [
        day | _class("minor", 2, 2.4, 0),
        day | _class("strong", 1, 7.0, 1),
        day | _class("unknown", 1, None, 0),
    ]


def _class(name: str, count: int, strongest: float | None, warnings: int) -> Json:
    return {
        "magnitude_class": name,
        "earthquakes": count,
        "magnitude_max": strongest,
        "tsunami_warnings": warnings,
    }
