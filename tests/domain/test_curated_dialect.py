"""Curated views: Spark SQL said again for who serves it, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.curated_dialect import translate
from cli.sql_views import CuratedView
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from cli.curated_dialect import Dialect

KNOWN = {
    "quakes": {
        "id": "string",
        "Mag": "double",
        "kind": "string",
        "seen": "boolean",
        "occurred": "timestamp",
        "price": "decimal(10,2)",
        "n": "integer",
        "extra": "json",
    },
    "places": {"id": "string", "name": "string"},
}


def curated(folder: Path, sql: str) -> CuratedView:
    """A view whose file says this."""
    (folder / "v.sql").write_text(sql)
    return CuratedView(name="v", path=folder / "v.sql", reads=("quakes", "places"))


def said(folder: Path, sql: str, dialect: Dialect = "tsql") -> str:
    """The inner query of a translated view, on one line, without brackets and qualifiers."""
    found = translate(curated(folder, sql), known=KNOWN, dialect=dialect, schema="dbo")
    line = " ".join(found.sql.split())
    inner = line[line.rindex("answer] AS (" if dialect == "tsql" else 'answer" AS (') :]
    inner = inner[inner.index("(") + 2 : inner.rindex(" ) SELECT")]
    for mark in ("[", "]", '"', "dbo."):
        inner = inner.replace(mark, "")
    return inner.replace("quakes.", "").replace("places.", "").replace(" AS quakes", "")


@pytest.mark.parametrize(
    ("spark", "synapse"),
    [
        ("SELECT count(*) AS c FROM quakes", "SELECT COUNT_BIG(*) AS c FROM quakes"),
        ("SELECT sum(n) AS s FROM quakes", "SELECT SUM(CAST(n AS BIGINT)) AS s FROM quakes"),
        ("SELECT avg(n) AS a FROM quakes", "SELECT AVG(CAST(n AS FLOAT)) AS a FROM quakes"),
        (
            "SELECT sum(price) AS s FROM quakes",
            "SELECT SUM(CAST(price AS NUMERIC(38, 2))) AS s FROM quakes",
        ),
        (
            "SELECT n / 2 AS h FROM quakes",
            "SELECT CAST(n AS FLOAT) / NULLIF(2, 0) AS h FROM quakes",
        ),
        (
            "SELECT Mag > 3 AS big FROM quakes",
            "SELECT CASE WHEN Mag > 3 THEN 1 WHEN NOT ( Mag > 3 ) THEN 0 END AS big FROM quakes",
        ),
        (
            "SELECT id FROM quakes WHERE seen AND NOT (seen OR n = 1)",
            "SELECT id AS id FROM quakes WHERE seen = 1 AND NOT ( seen = 1 OR n = 1 )",
        ),
        (
            "SELECT if(seen, 'a', 'b') AS x FROM quakes",
            "SELECT IIF(seen = 1, 'a', 'b') AS x FROM quakes",
        ),
        (
            "SELECT coalesce(seen, false) AS s FROM quakes",
            "SELECT COALESCE(seen, 0) AS s FROM quakes",
        ),
        (
            "SELECT count_if(seen) AS c FROM quakes",
            "SELECT COUNT_BIG(CASE WHEN seen = 1 THEN 1 END) AS c FROM quakes",
        ),
        (
            "SELECT kind AS k, max(Mag) AS m FROM quakes GROUP BY 1 HAVING m > 2",
            "SELECT kind AS k, MAX(Mag) AS m FROM quakes GROUP BY kind HAVING MAX(Mag) > 2",
        ),
        (
            "SELECT name FROM quakes JOIN places USING (id)",
            "SELECT name AS name FROM quakes JOIN places AS places ON id = id",
        ),
        (
            "SELECT kind || '!' AS k, concat(kind, id) AS c FROM quakes",
            "SELECT kind + '!' AS k, kind + id AS c FROM quakes",
        ),
        (
            "SELECT id FROM quakes WHERE occurred >= TIMESTAMP '2024-01-01'",
            "SELECT id AS id FROM quakes WHERE occurred >= CAST('2024-01-01' AS DATETIME2(6))",
        ),
        (
            "SELECT row_number() OVER (PARTITION BY kind ORDER BY Mag DESC) AS r FROM quakes",
            "SELECT ROW_NUMBER() OVER (PARTITION BY kind ORDER BY Mag DESC) AS r FROM quakes",
        ),
        (
            "SELECT floor(Mag) AS f FROM quakes",
            "SELECT CAST(FLOOR(Mag) AS BIGINT) AS f FROM quakes",
        ),
        (
            "SELECT year(occurred) AS y, to_date(occurred) AS d FROM quakes",
            "SELECT YEAR(occurred) AS y, TRY_CAST(occurred AS DATE) AS d FROM quakes",
        ),
    ],
)
def test_same_question_in_the_words_of_synapse(tmp_path: Path, spark: str, synapse: str) -> None:
    """Taken over word by word, these would mean something else in T-SQL, or nothing."""
    assert said(tmp_path, spark) == synapse


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT date_trunc('day', occurred) AS d FROM quakes", "not what every engine knows"),
        ("SELECT my_function(id) AS d FROM quakes", "MY_FUNCTION(quakes.id) is not what every"),
        ("SELECT price * 2 AS d FROM quakes", "quakes.price * 2 is of decimals"),
        ("SELECT avg(price) AS d FROM quakes", "is of decimals"),
        ("SELECT cast(Mag AS int) AS i FROM quakes", "a cast that the engines do not do alike"),
        ("SELECT max(seen) AS m FROM quakes", "is of a boolean"),
        ("SELECT coalesce(Mag > 3, true) AS c FROM quakes", "a condition where a value is wanted"),
        ("SELECT id FROM quakes WHERE n = '1'", "mixes types"),
        ("SELECT id FROM quakes ORDER BY id", "rows have an order only in the answer"),
        ("SELECT id FROM quakes LIMIT 3", "LIMIT 3 is not what every engine knows"),
        ("SELECT id FROM quakes WHERE kind LIKE 'a[b%'", "without [ and \\"),
        ("SELECT upper(extra) AS e FROM quakes", "is not of strings only"),
        ("SELECT id FROM quakes LEFT ANTI JOIN places USING (id)", "not every engine knows"),
        ("SELECT id FROM quakes GROUP BY ALL", "groups in a way"),
        ("SELECT count(*) FROM quakes", "COUNT(*) needs a name"),
        ("SELECT id, kind AS ID FROM quakes", "two of its columns are called 'id'"),
        ("SELECT mag AS m FROM quakes", "line 1, column 10: Column 'mag' could not be resolved"),
        ("SELECT mag AS m FROM quakes", "did you mean 'Mag'?"),
        ("SELECT id FROM quake", "reads 'quake', which is not in its reads; did you mean 'quakes'"),
        ("SELECT id FORM quakes", "line 1, column"),
        (
            "SELECT id, n FROM quakes UNION SELECT id, name FROM places",
            "different types in column 'n'",
        ),
        ("SELECT null AS x FROM quakes", "has no type that is known"),
        ("DELETE FROM quakes", "has to be one SELECT"),
        ("SELECT 1 AS a; SELECT 2 AS b", "has to be one SELECT"),
        ("-- nothing", "has to be one SELECT"),
    ],
)
def test_what_does_not_mean_the_same_everywhere_is_refused(
    tmp_path: Path, sql: str, problem: str
) -> None:
    """A view that gives other numbers in Synapse than here is worse than none."""
    with pytest.raises(Misconfigured) as refused:
        said(tmp_path, sql)

    assert str(refused.value).startswith("v.sql cannot be a view: ")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_columns_have_the_same_types_in_both_engines(tmp_path: Path) -> None:
    """Whoever moves a question from here to Synapse must not stumble over types."""
    sql = (
        "WITH some AS (SELECT * FROM quakes WHERE seen) "
        "SELECT id, n, count(*) OVER (PARTITION BY id) AS c, price, occurred, n > 1 AS b, extra "
        "FROM some UNION ALL "
        "SELECT id, 1, CAST(1 AS bigint), NULL, NULL, true, NULL FROM places"
    )
    view = curated(tmp_path, sql)

    synapse = translate(view, known=KNOWN, dialect="tsql", schema="dbo")
    here = translate(view, known=KNOWN, dialect="duckdb", schema="main")

    assert synapse.columns == here.columns == {
        "id": "string", "n": "integer", "c": "long", "price": "decimal(10,2)",
        "occurred": "timestamp", "b": "boolean", "extra": "json",
    }  # fmt: skip
    assert "CAST([answer].[occurred] AS DATETIME2(6)) AS [occurred]" in synapse.sql
    assert "CAST([answer].[extra] AS VARCHAR(MAX)) AS [extra]" in synapse.sql
    assert 'CAST("answer"."occurred" AS TIMESTAMPTZ) AS "occurred"' in here.sql
    assert synapse.sql.index("WITH [some] AS") < synapse.sql.index("[answer] AS")


def test_tables_are_named_with_their_schema_and_own_names_are_not(tmp_path: Path) -> None:
    """A table expression of the view's own may be called like a table."""
    view = curated(tmp_path, "WITH places AS (SELECT id FROM quakes) SELECT id FROM places")

    whole = translate(view, known=KNOWN, dialect="duckdb", schema="main").sql

    assert 'FROM "main"."quakes"' in whole
    assert '"main"."places"' not in whole
