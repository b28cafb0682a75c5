"""Local SQL: the views that Synapse has, over real Delta tables on a real Azurite."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # It has no types.
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # The same.
import pytest

from cli.notebook import notebook
from cli.sql_views import DeltaView, columns_in_spark, views_of
from shared.domain import document as documents
from shared.domain.errors import Misconfigured
from shared.domain.sql_types import sql_type
from tests.sql_lake import DOCUMENT, NOON, THINGS, filled_lake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sql_lake import Lake

#: What a person might do in the last cell.
LOOK = """
print('rows', lake.sql('SELECT count(*), max(price) FROM all_things').fetchall())
print('none', lake.sql('SELECT * FROM absent').fetchall())
print('frame', sorted(frame['id']), frame['price'].iloc[0])
print('polars', sorted(rows.collect()['id']))
"""


@pytest.fixture(scope="module")
def lake(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The lake, filled and opened once: nothing here changes it."""
    with filled_lake(azurite, tmp_path_factory.mktemp("lake")) as found:
        yield found


def test_views_show_what_is_not_deleted_as_it_is(lake: Lake) -> None:
    """Deleted rows stay in the table, so that replays in any order end equal; nobody wants them."""
    rows = lake.ask("SELECT id, price, seen, day, big FROM all_things ORDER BY id")

    assert rows == [
        ("a", Decimal("1.10"), NOON, date(2026, 11, 20), 2**40),
        ("b", Decimal("0.90"), NOON, date(2026, 11, 20), 2**40),
        ("c", Decimal("1.10"), NOON, date(2026, 11, 20), 2**40),
        ("e", Decimal("12345678.99"), None, date(2026, 11, 20), 2**40),
    ]
    assert rows[0][2].utcoffset() == timedelta(0)


def test_columns_have_the_types_that_synapse_shows(lake: Lake) -> None:
    """One table of types holds for both, also for a table that is not written yet."""
    document = documents.load(lake.folder / "p.json")
    views = views_of(document, curated_folder=lake.folder).tables

    found = {
        view.name: {row[0]: row[1] for row in lake.ask(f"DESCRIBE {view.name}")} for view in views
    }

    wanted = {
        view.name: {name: sql_type(kind).duckdb for name, kind in view.columns.items()}
        for view in views
        if isinstance(view, DeltaView)
    }
    assert set(wanted) >= {"all_things", "all_things_history", "old", "absent", "totals"}
    assert {name: found[name] for name in wanted} == wanted
    assert found["all_things"]["seen"] == "TIMESTAMP WITH TIME ZONE"
    assert found["good_things"]["dear"] == "BOOLEAN"
    assert found["better_things"] == {"n": "BIGINT", "total": "DECIMAL(38,2)"}


def test_table_that_no_run_has_written_is_empty(lake: Lake) -> None:
    """Questions are written before the first record comes."""
    assert lake.ask("SELECT id, price, _run FROM absent") == []
    assert lake.ask("SELECT count(*) FROM absent_history WHERE isCurrent") == [(0,)]
    assert lake.ask("SELECT count(*), max(record) FROM operations.absent_refused") == [(0, None)]


def test_table_of_an_older_version_lacks_columns_and_loses_no_rows(lake: Lake) -> None:
    """A new column of the document is there before any run has written it."""
    assert lake.ask("SELECT id, added, _enqueued_at FROM old") == [("x", None, None)]


def test_history_answers_as_of_a_moment(lake: Lake) -> None:
    """Versions that only repeat, and deletions, are in the table but are no versions to show."""
    as_of = (
        "SELECT id, count FROM all_things_history WHERE validFrom <= {0} "
        "AND (validTo IS NULL OR validTo > {0})"
    )

    then = lake.ask(as_of.format("TIMESTAMPTZ '2026-11-20 12:30:00+00'"))
    now = lake.ask("SELECT id, count FROM all_things_history WHERE isCurrent")

    assert (then, now) == ([("a", 1)], [("a", 2)])


def test_curated_tables_and_views_are_asked_alike(lake: Lake) -> None:
    """Which of the two it is, is an affair of whoever writes pipeline.json."""
    assert lake.ask("SELECT day, n FROM totals") == [(date(2026, 11, 20), 4)]
    assert lake.ask("SELECT id, dear FROM good_things ORDER BY id") == [
        ("a", True), ("b", False), ("e", True),
    ]  # fmt: skip
    assert lake.ask("SELECT * FROM better_things") == [(2, Decimal("12345680.09"))]


def test_curated_sql_sees_the_columns_that_it_sees_in_spark(lake: Lake) -> None:
    """Otherwise `SELECT *` would have other columns here than in a curated table."""
    document = documents.load(lake.folder / "p.json")

    [things, *_] = views_of(document, curated_folder=lake.folder).tables

    assert isinstance(things, DeltaView)
    assert list(columns_in_spark(things)) == [*THINGS, "_enqueued_at"]


def test_runs_are_a_table(lake: Lake) -> None:
    """What a run did is asked like everything else, and joined with the rows it wrote."""
    rows = lake.ask(
        "SELECT id, dataset, kind, state, planned_at, ended_at, records, deleted, table_version "
        "FROM operations.runs ORDER BY id"
    )
    joined = lake.ask(
        "SELECT r.state, count(*) FROM all_things t JOIN runs r ON r.id = t._run "
        "WHERE r.dataset = 'all-things' GROUP BY r.state"
    )

    ended = NOON + timedelta(minutes=1)
    assert rows == [
        ("run-1", "all-things", "clean", "succeeded", NOON, ended, 40, None, 3),
        ("run-2", "old", "maintenance", "running", NOON, None, None, None, None),
    ]
    assert joined == [("succeeded", 4)]


def test_refused_records_are_a_table(lake: Lake) -> None:
    """Bytes as they were, and text where they are text."""
    rows = lake.ask(
        "SELECT dataset, reason, line, record, body FROM operations.refused ORDER BY line"
    )

    assert rows == [
        ("all-things", "id:missing", 1, '{"n":1}', b'{"n":1}'),
        ("all-things", "not-utf8", 2, None, b"\xff\xfe"),
    ]


def test_rows_that_count_are_those_that_are_shown(lake: Lake) -> None:
    """`millrace status` must not count what nobody can see."""
    assert lake.opened is not None
    assert lake.opened.count() == {"all-things": 4, "old": 1, "absent": 0, "totals": 1}


def test_only_what_a_question_names_is_read(lake: Lake) -> None:
    """With a hundred tables, a question about one must not wait for all."""
    with lake.tables() as tables, _nowhere(lake).tables() as nowhere:
        tables.answer("SELECT 'totals' AS told FROM all_things -- absent")
        made = tables._connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal")

        assert made.fetchall() == [("all_things",)]
        assert nowhere.answer("SELECT 1 AS one") == (["one"], [(1,)])
        assert not nowhere._is_loaded


def _nowhere(lake: Lake) -> Lake:
    """A lake that nobody answers for."""
    parts = [part for part in lake.connection_string.split(";") if "Endpoint=" not in part]
    address = "BlobEndpoint=http://127.0.0.1:9/devstoreaccount1"
    return replace(lake, connection_string=";".join([*parts, address]))


def test_show_tables_shows_all_of_them(lake: Lake) -> None:
    """It is what one asks first."""
    names = {row[0] for row in lake.ask("SHOW TABLES")}

    assert names >= {
        "all_things", "all_things_history", "old", "absent", "absent_history", "totals",
        "good_things", "better_things", "runs", "refused",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT prise FROM all_things", "line 1, column 8: no column is called 'prise'; did you"),
        ("SELECT t.prise FROM all_things t", "column 10: no column is called 'prise'; did you me"),
        ("SELECT zzzzz FROM totals", "no column is called 'zzzzz'; the columns are: day, n"),
        ("SELECT 1 FROM al_things", "column 15: no table is called 'al_things'; did you mean 'all"),
        ("SELECT 1 FROM zzzzz", "no table is called 'zzzzz'; the tables are: all_things, all_thi"),
        ("SELECT 1\nFROM all_things\nWHRE id = 'a'", "line 3, column 6: syntax error at or near"),
        (f"SELECT {'1 + ' * 99}1 FORM all_things", "column 411: syntax error at or near"),
        ("SELECT nofun(id) FROM all_things", "column 8: no function is called 'nofun'"),
        ("SELECT CAST(id AS int) FROM all_things", "Could not convert string 'a' to INT32"),
        ("SELECT id FROM all_things WHERE", "syntax error at end of input"),
        ("  -- nothing", "is empty"),
        ("SELECT 1; SELECT 2", "is 2 statements; ask one at a time"),
    ],
)
def test_error_says_where_and_what_was_meant(lake: Lake, sql: str, problem: str) -> None:
    """One line that helps is worth more than a page that is right."""
    with pytest.raises(Misconfigured) as refused:
        lake.ask(sql)

    assert str(refused.value).startswith("SQL ")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO all_things VALUES (1)",
        "CREATE TABLE mine AS SELECT 1",
        "DROP VIEW all_things",
        "COPY (SELECT 1) TO '{0}/evil.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{0}/evil.csv'",
        "/* a */ EXPLAIN /* b */ ANALYZE COPY (SELECT 1) TO '{0}/evil.csv'",
        "EXPORT DATABASE '{0}/evil.csv'",
        "ATTACH '{0}/evil.csv'",
        "SET TimeZone = 'Europe/Vienna'",
        "CALL duckdb_settings()",
        "SELECT 1; DROP VIEW all_things",
    ],
)
def test_statement_that_writes_is_refused(lake: Lake, tmp_path: Path, sql: str) -> None:
    """Tables are written by runs, and by nobody else."""
    with pytest.raises(Misconfigured, match=r"^SQL "):
        lake.ask(sql.format(tmp_path))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "FROM all_things SELECT id LIMIT 1",
        "WITH x AS (SELECT 1) SELECT * FROM x;",
        "EXPLAIN SELECT id FROM all_things",
        "EXPLAIN ANALYZE SELECT id FROM all_things",
        "SUMMARIZE old",
        "PIVOT (SELECT good, count FROM all_things) ON good USING sum(count)",
    ],
)
def test_everything_that_only_asks_is_answered(lake: Lake, sql: str) -> None:
    """Who explores data asks in many ways."""
    assert lake.ask(sql)


@pytest.mark.parametrize("ending", ["csv", "parquet", "json"])
def test_answer_is_written_into_a_file(lake: Lake, tmp_path: Path, ending: str) -> None:
    """Exact numbers stay exact in every format."""
    target = tmp_path / f"answer.{ending}"
    sql = (
        "SELECT id, price, seen, price, sum(price) OVER () FROM all_things "
        "WHERE id IN ('a', 'e') ORDER BY id DESC"
    )

    done = lake.millrace("query", sql, "--output", str(target))

    assert done.stdout == f"2 rows are in {target}\n", done.output
    rows = {"csv": _csv, "parquet": _parquet, "json": _json}[ending](target)
    assert [row[:3] for row in rows] == [
        ("e", Decimal("12345678.99"), None), ("a", Decimal("1.10"), NOON),
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def _csv(path: Path) -> list[tuple[Any, ...]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["id"], Decimal(row["price"]), _moment(row["seen"])) for row in rows]


def _parquet(path: Path) -> list[tuple[Any, ...]]:
    table = pq.read_table(path)
    assert table.schema.field("price").type == pa.decimal128(10, 2)
    return [tuple(row.values()) for row in table.to_pylist()]


def _json(path: Path) -> list[tuple[Any, ...]]:
    rows = json.loads(path.read_text())
    return [(row["id"], Decimal(row["price"]), _moment(row["seen"])) for row in rows]


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def test_file_is_replaced_only_when_asked_and_only_by_a_whole_answer(
    lake: Lake, tmp_path: Path
) -> None:
    """A question that fails half-way must not cost the answer of yesterday."""
    target = tmp_path / "answer.csv"
    target.write_text("yesterday")
    failing = "SELECT if(range < 999999, range, CAST('a' AS int)) AS n FROM range(1000000)"
    held = target.open()

    kept = lake.millrace("query", "SELECT 1 AS one", "--output", str(target))
    failed = lake.millrace("query", failing, "--output", str(target), "--force")
    after = target.read_text()
    forced = lake.millrace("query", "SELECT 1 AS one", "--output", str(target), "--force")
    unknown = lake.millrace("query", "SELECT 1 AS one", "-o", str(tmp_path / "answer.xlsx"))

    assert (kept.exit_code, failed.exit_code, forced.exit_code) == (1, 1, 0)
    assert "is already there; --force replaces it" in str(kept.exception)
    assert after == "yesterday"
    assert target.read_text() == "one\n1\n"
    with held:
        assert held.read() == "yesterday", "who reads it meanwhile reads one whole answer"
    assert ".csv, .parquet, .json" in str(unknown.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["answer.csv"]


def test_question_comes_from_a_file_or_standard_input(lake: Lake, tmp_path: Path) -> None:
    """Long questions are kept in files, and made by other programs."""
    (tmp_path / "q.sql").write_text("SELECT id FROM all_things ORDER BY id LIMIT 1")

    filed = lake.millrace("query", "--file", str(tmp_path / "q.sql"), "--format", "csv")
    piped = lake.millrace("query", "-", "--format", "json", text="SELECT price FROM all_things")
    absent = lake.millrace("query", "--file", str(tmp_path / "no.sql"))
    neither = lake.millrace("query")

    assert filed.stdout.splitlines() == ["id", "a"]
    assert json.loads(piped.stdout)[0] == {"price": "1.10"}
    assert isinstance(absent.exception, Misconfigured)
    assert "\n" not in str(absent.exception)
    assert neither.exit_code == 2


def test_notebook_cells_run_as_they_are_printed(lake: Lake, tmp_path: Path) -> None:
    """What `millrace sql local` prints is to be copied."""
    plain = DOCUMENT | {"curated": [DOCUMENT["curated"][0]]}
    (tmp_path / "p.json").write_text(json.dumps(plain))

    printed = replace(lake, folder=tmp_path).millrace("sql", "local")
    (tmp_path / "cells.py").write_text(printed.stdout + LOOK)
    done = subprocess.run(
        [sys.executable, "-W", "error", tmp_path / "cells.py"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0, printed.output + done.stderr
    assert "rows [(4, Decimal('12345678.99'))]" in done.stdout
    assert "none []" in done.stdout
    assert "frame ['a', 'b', 'c', 'e'] 1.10" in done.stdout
    assert "polars ['a', 'b', 'c', 'e']" in done.stdout


def test_views_can_be_made_in_another_database(lake: Lake) -> None:
    """A notebook sees curated views, too."""
    with lake.tables() as tables, lake.tables() as other:
        definitions = tables.definitions()
        other._load()
        for statement in definitions:
            other._connection.execute(statement)

        found = other._connection.execute("SELECT n FROM better_things").fetchall()

    assert found == [(2,)]
    assert len(definitions) == 8


def test_key_of_a_real_account_is_not_printed() -> None:
    """A notebook is shown around and committed."""
    account = "AccountName=real;AccountKey=c2VjcmV0;BlobEndpoint=https://real.blob.core.windows.net"

    with pytest.raises(Misconfigured) as refused:
        notebook(account, extensions={}, definitions=[], written={})

    assert "c2VjcmV0" not in str(refused.value)
