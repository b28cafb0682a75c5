"""synapse/: the committed scripts are what the document gives, and are T-SQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli.sql_views import views_of
from cli.synapse_sql import database_name, scripts
from cli.tables import CURATED
from shared.domain import document as documents
from tests.builders import document

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
EVERY_TYPE = (
    "string", "integer", "long", "double", "decimal(12,3)", "boolean", "date", "timestamp", "json",
)  # fmt: skip
VIEW = """
WITH strong AS (SELECT id, c1, c3, c5, c7 FROM things WHERE c5 AND c3 > 4)
SELECT s.id, s.c7 AS seen, max(s.c1) AS most, count(*) AS times, s.id LIKE '%x%' AS odd
FROM strong s LEFT JOIN things t ON t.id = s.id AND NOT t.c5
WHERE s.c7 >= '2024-01-01'
GROUP BY s.id, s.c7
"""


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make lint` does with the scripts."""
    return subprocess.run(
        [sys.executable, "-m", "sqlfluff", "lint", "--config", ".sqlfluff", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


def write(folder: Path, found: Mapping[str, str]) -> None:
    """Put scripts where sqlfluff finds them."""
    folder.mkdir()
    for name, text in found.items():
        (folder / name).write_text(text)


def test_committed_scripts_are_what_the_document_gives() -> None:
    """Who reviews a change of pipeline.json sees what it does to SQL.

    After such a change: `millrace sql synapse --folder synapse`.
    """
    found = documents.load(ROOT / "pipeline.json")
    given = scripts(
        views_of(found, curated_folder=CURATED), database=database_name(found, found.environment)
    )

    committed = {path.name: path.read_text() for path in (ROOT / "synapse").glob("*.sql")}

    assert committed == dict(given)


def test_scripts_of_a_document_with_everything_are_t_sql(tmp_path: Path) -> None:
    """The repository's own document uses only some of what a document may hold."""
    columns = {f"c{number}": {"type": kind} for number, kind in enumerate(EVERY_TYPE)}
    dataset = {
        "name": "things",
        "consumes": "quakes",
        "primaryKey": ["id"],
        "history": True,
        "keepRest": True,
        "columns": {"id": {"type": "string"}, **columns},
    }
    curated = [
        {"name": "strong", "reads": ["things"], "kind": "view"},
        {"name": "daily", "reads": ["things"], "columns": {"day": "date"}},
    ]
    (tmp_path / "strong.sql").write_text(VIEW)
    everything = document(datasets=[dataset], curated=curated)
    found = scripts(views_of(everything, curated_folder=tmp_path), database="test_dev")
    write(tmp_path / "good", found)
    wrong = found["03-tables.sql"].replace("CREATE OR ALTER VIEW", "CREATE OR CHANGE VIEW")
    write(tmp_path / "bad", {"03-tables.sql": wrong})

    good, bad = lint(tmp_path / "good"), lint(tmp_path / "bad")

    assert good.returncode == 0, good.stdout
    assert bad.returncode == 1
