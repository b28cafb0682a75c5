"""Synapse scripts: what the document says, as a serverless database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from cli.sql_views import REFUSED_COLUMNS, RUN_COLUMNS, views_of
from cli.synapse_sql import database_name, scripts
from shared.domain.errors import Misconfigured
from shared.domain.run import Run, RunState, described
from shared.domain.sql_types import sql_type
from tests.builders import NOON, document
from transforms import quarantine

if TYPE_CHECKING:
    from pathlib import Path

THINGS: dict[str, Any] = {
    "name": "all-things",
    "consumes": "quakes",
    "primaryKey": ["a_string"],
    "keepRest": True,
    "history": True,
    "columns": {
        "a_string": {"type": "string"},
        "an_integer": {"type": "integer"},
        "a_long": {"type": "long"},
        "a_double": {"type": "double"},
        "a_decimal": {"type": "decimal(12,3)"},
        "a_boolean": {"type": "boolean"},
        "a_date": {"type": "date"},
        "a_timestamp": {"type": "timestamp"},
        "a_json": {"type": "json"},
    },
}
CURATED: list[dict[str, Any]] = [
    {"name": "by-day", "reads": ["all-things"], "columns": {"day": "date", "n": "long"}},
    {"name": "positive", "reads": ["all-things"], "kind": "view"},
]


def made(folder: Path, **changes: Any) -> dict[str, str]:
    """The scripts of a document with these parts."""
    (folder / "positive.sql").write_text("SELECT * FROM all_things WHERE an_integer > 0")
    views = views_of(document(**changes), curated_folder=folder)
    return dict(scripts(views, database="test_dev"))


def view(text: str, name: str) -> str:
    """The statement that makes a view."""
    begin = text.index(f"CREATE OR ALTER VIEW {name} AS")
    return text[begin : text.index("\nGO", begin)]


def test_new_dataset_changes_the_scripts_with_no_other_edit(tmp_path: Path) -> None:
    """A dataset needs an entry in pipeline.json, and nothing else."""
    before = made(tmp_path)
    after = made(tmp_path, datasets=[*document().model_dump(by_alias=True)["datasets"], THINGS])

    whole = view(after["03-tables.sql"], "[dbo].[all_things]")

    assert "all_things" not in "".join(before.values())
    assert after["03-tables.sql"].startswith(before["03-tables.sql"])
    assert "BULK 'all-things', DATA_SOURCE = 'clean', FORMAT = 'DELTA'" in whole
    for name, column in THINGS["columns"].items():
        assert f"    [rows].[{name}]," in whole
        assert f"    [{name}] {sql_type(column['type']).synapse}," in whole
    assert "[_rest] VARCHAR(MAX)" in whole


def test_only_rows_that_are_not_deleted_are_shown(tmp_path: Path) -> None:
    """A table of an older version has no mark, which Synapse shows as NULL."""
    tables = made(tmp_path, datasets=[THINGS])["03-tables.sql"]

    whole, history = (view(tables, f"[dbo].[all_things{name}]") for name in ("", "_history"))

    assert "WHERE ([rows].[_deleted] IS NULL OR [rows].[_deleted] = 0);" in whole
    assert "    [_deleted] BIT\n) AS [rows]" in whole
    assert "[rows].[_deleted]" not in whole.partition("FROM")[0]
    assert "([rows].[_repeated] IS NULL OR [rows].[_repeated] = 0)" in history
    assert "[validFrom] DATETIME2(6),\n    [validTo] DATETIME2(6),\n    [isCurrent] BIT" in history
    assert "BULK 'all-things_history'" in history


def test_curated_tables_are_read_and_curated_views_computed(tmp_path: Path) -> None:
    """A view has no rows of its own anywhere, a table has."""
    tables = made(tmp_path, datasets=[THINGS], curated=CURATED)["03-tables.sql"]

    table, computed = (view(tables, f"[dbo].[{name}]") for name in ("by_day", "positive"))

    assert "BULK 'by-day', DATA_SOURCE = 'curated', FORMAT = 'DELTA'" in table
    assert "WITH (\n    [day] DATE,\n    [n] BIGINT\n) AS [rows];" in table
    assert "FROM [dbo].[all_things]" in computed
    assert "AS DATETIME2(6)) AS [_enqueued_at]" in computed
    assert "[_run]" not in computed, "Spark would not show it either"
    assert tables.index("[dbo].[all_things] AS") < tables.index("[dbo].[positive] AS")


def test_runs_are_read_from_the_notes_the_function_app_writes(tmp_path: Path) -> None:
    """A column whose path no note has would be NULL for ever, without a word."""
    run = Run(
        id="r", dataset="d", job="j", state=RunState.PLANNED, blobs=0, events=0,
        planned_at=NOON, due_at=NOON,
    )  # fmt: skip
    noted = described(run)

    runs = view(made(tmp_path)["04-operations.sql"], "[operations].[runs]")

    paths = [path.split(".")[1] for path, _ in RUN_COLUMNS.values()]
    assert set(paths) <= set(noted)
    assert "[planned_at] DATETIMEOFFSET(6) '$.plannedAt'" in runs
    assert "[records] BIGINT '$.counts.records'" in runs
    assert runs.count("'0x0b'") == 3
    assert "BULK 'runs/*/*.json',\n    DATA_SOURCE = 'state'" in runs


def test_refused_records_have_the_columns_that_the_transform_writes(tmp_path: Path) -> None:
    """Both sides name them, so somebody has to compare."""
    refused = made(tmp_path, datasets=[THINGS])["04-operations.sql"]

    written = {name: sql_type(kind).spark for name, kind in REFUSED_COLUMNS.items()}

    assert written == quarantine._TYPES
    assert "BULK 'refused/all-things', DATA_SOURCE = 'quarantine'" in refused
    assert "FROM [operations].[all_things_refused];" in view(refused, "[operations].[refused]")


def test_who_reads_tables_cannot_read_state_and_quarantine(tmp_path: Path) -> None:
    """A right to use a credential is a right to every file behind it, cursors included."""
    found = made(tmp_path)
    sources = dict(re.findall(r"/(\w+)', CREDENTIAL = \[(\w+)\]", found["02-sources.sql"]))
    granted = re.findall(r"CREDENTIAL::\[(\w+)\] TO \[(\w+)\]", found["05-readers.sql"])
    schemas = dict(re.findall(r"SELECT ON SCHEMA::\[(\w+)\] TO \[(\w+)\]", found["05-readers.sql"]))

    assert sources == {
        "clean": "table_reader", "curated": "table_reader",
        "quarantine": "operations_reader", "state": "operations_reader",
    }  # fmt: skip
    assert granted == [("table_reader",) * 2, ("operations_reader",) * 2]
    assert schemas == {"dbo": "table_reader", "operations": "operations_reader"}


def test_every_statement_may_be_run_again(tmp_path: Path) -> None:
    """A deployment runs them all each time."""
    text = "".join(made(tmp_path, datasets=[THINGS], curated=CURATED).values())
    batches = [batch.strip() for batch in text.split("\nGO\n")]

    once = [
        batch
        for batch in batches
        if "CREATE" in batch
        and "CREATE OR ALTER VIEW" not in batch
        and not re.search(r"IF (NOT EXISTS \(|\w+\('\w+'\) IS NULL\n)", batch)
    ]

    assert len(batches) > 15
    assert not once


def test_lake_and_environment_are_given(tmp_path: Path) -> None:
    """One document makes a database for each environment, over a lake of its own."""
    views = views_of(document(), curated_folder=tmp_path)
    lake = "https://lake.dfs.core.windows.net"

    name = database_name(document(), "branch-7")
    found = scripts(views, database=name, lake_url=lake)
    unsaid = scripts(views, database=name)

    assert name == "test_branch_7"
    assert all(f"USE [{name}];" in text for text in list(found.values())[1:])
    assert f"LOCATION = '{lake}/clean'" in found["02-sources.sql"]
    assert "LOCATION = '$(LakeUrl)/clean'" in unsaid["02-sources.sql"]
    with pytest.raises(Misconfigured, match="--environment"):
        database_name(document(), "x]; DROP")


def test_two_tables_of_one_name_are_refused(tmp_path: Path) -> None:
    """One of two views would silently replace the other."""
    other = THINGS | {"name": "all-things-history", "history": False}

    with pytest.raises(Misconfigured, match=r"all.things.history"):
        made(tmp_path, datasets=[THINGS, other])


def test_curated_view_without_its_sql_is_one_readable_line(tmp_path: Path) -> None:
    """The document names a view; the file may not be there yet."""
    curated = [{"name": "absent", "reads": ["quakes"], "kind": "view"}]

    with pytest.raises(Misconfigured, match=r"absent\.sql cannot be read"):
        made(tmp_path, curated=curated)
