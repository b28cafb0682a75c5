"""Curated views: the words for DuckDB mean what the Spark SQL means on Sail."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa  # type: ignore[import-untyped]  # It has no types.
import pytest

from cli.curated_dialect import translate
from cli.sql_views import CuratedView

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

KNOWN = {
    "things": {
        "id": "string",
        "kind": "string",
        "size": "double",
        "n": "integer",
        "price": "decimal(10,2)",
        "good": "boolean",
        "seen": "timestamp",
    },
    "kinds": {"kind": "string", "name": "string"},
}
THINGS = pa.table(
    {
        "id": pa.array(["a", "b", "c", "d", "e"]),
        "kind": pa.array(["x", "x", "y", None, "y"]),
        "size": pa.array([1.5, -2.5, 4.25, None, 7.0]),
        "n": pa.array([7, -3, None, 2_000_000_000, 2_000_000_000], pa.int32()),
        "price": pa.array(
            [Decimal("1.10"), Decimal("99999999.99"), None, Decimal("0.01"), Decimal("2.00")],
            pa.decimal128(10, 2),
        ),
        "good": pa.array([True, False, None, True, True]),
        "seen": pa.array(
            [datetime(2026, 11, 20 + day, 23, 59, 59, tzinfo=UTC) for day in range(5)],
            pa.timestamp("us", "UTC"),
        ),
    }
)
KINDS = pa.table({"kind": ["x", "z"], "name": ["ex", "zed"]})


QUESTIONS = """
SELECT kind, count(*) AS c, count(n) AS n, sum(n) AS s, avg(n) AS a FROM things GROUP BY 1;
SELECT sum(price) AS s, min(price) AS l, max(seen) AS m FROM things;
SELECT id, n / 2 AS h, size / n AS q, n % 2 AS r, -n AS m, abs(size) AS b FROM things;
SELECT id, size > 2 AS big, NOT good AS bad, good AND size > 2 AS both FROM things;
SELECT id FROM things WHERE good OR size > 4;
SELECT id, if(good, n, 0) AS i, coalesce(good, false) AS g, nullif(kind, 'x') AS k FROM things;
SELECT count_if(good) AS g, count(DISTINCT kind) AS d FROM things;
SELECT id, upper(kind) || '!' AS u, concat(kind, id) AS c, substring(id, 1, 1) AS s FROM things;
SELECT id, floor(size) AS f, ceil(size) AS c, round(size, 1) AS r FROM things;
SELECT id, year(seen) AS y, month(seen) AS m, day(seen) AS d, cast(seen AS date) AS t FROM things;
SELECT t.id, k.name FROM things t LEFT JOIN kinds k ON k.kind = t.kind;
SELECT kind, name FROM things JOIN kinds USING (kind);
SELECT id, row_number() OVER (ORDER BY size DESC, id) AS r, lag(n) OVER (ORDER BY id) AS l,
  sum(n) OVER (PARTITION BY kind ORDER BY id) AS s FROM things;
SELECT id, rank() OVER (ORDER BY kind) AS r FROM things;
SELECT kind FROM things UNION SELECT name FROM kinds;
WITH good AS (SELECT * FROM things WHERE good) SELECT max(id) AS m FROM good HAVING m > 'a';
SELECT id FROM things WHERE seen >= '2026-11-22' AND seen < TIMESTAMP '2026-11-24 00:00:00';
SELECT id FROM things WHERE kind IN (SELECT kind FROM kinds) OR kind LIKE 'y%' OR n IS NULL;
SELECT id, CASE WHEN size < 0 THEN 'neg' WHEN size < 5 THEN 'pos' ELSE 'none' END AS c,
  CASE kind WHEN 'x' THEN 1 END AS k FROM things;
SELECT id, cast(n AS string) AS s, cast(n AS double) AS d, cast(price AS double) AS p FROM things
"""


@pytest.mark.parametrize("sql", QUESTIONS.strip().split(";\n"))
def test_view_shows_here_what_spark_would_show(
    session: SparkSession, tmp_path: Path, sql: str
) -> None:
    """A view that is read by a curated table is run by Spark; the same view is asked here."""
    (tmp_path / "v.sql").write_text(sql)
    view = CuratedView(name="v", path=tmp_path / "v.sql", reads=("things", "kinds"))
    translated = translate(view, known=KNOWN, dialect="duckdb", schema="main")
    session.createDataFrame(THINGS).createOrReplaceTempView("things")
    session.createDataFrame(KINDS).createOrReplaceTempView("kinds")

    in_spark = session.sql(sql).toArrow().to_pylist()
    with duckdb.connect() as here:
        here.execute("SET TimeZone = 'UTC'")
        here.register("things", THINGS)
        here.register("kinds", KINDS)
        answer = here.execute(translated.sql.replace('"main".', ""))
        names = [column[0] for column in answer.description]
        found = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    assert in_spark
    assert _comparable(found) == _comparable(in_spark)


def _comparable(rows: list[dict[str, Any]]) -> list[str]:
    """Rows in an order of their own; a number is one number in whatever type."""
    return sorted(str({name: _plain(value) for name, value in row.items()}) for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | date) or value is None:
        return value.astimezone(UTC) if isinstance(value, datetime) else value
    return float(value) if isinstance(value, int | float) else str(value)
