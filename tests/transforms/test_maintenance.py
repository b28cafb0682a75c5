"""Maintenance: fewer files, the same rows, and nothing left of what nobody needs."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # It has no stubs.
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # As above.
import pytest
from deltalake import DeltaTable

from tests.transforms.lake import Json, Lake, event, thing
from transforms import maintenance
from transforms.errors import RunFailed
from transforms.job import do_run
from transforms.result import TablesMaintained
from transforms.session import emulator_options


def maintain(
    lake: Lake, run: str = "m1", *, retain_hours: int = 0, history: bool = True
) -> TablesMaintained:
    """Do a maintenance run over the lake's table, and its history."""
    names = [lake.name, f"{lake.name}_history"] if history else [lake.name]
    listed = [{"name": name, "kind": "clean"} for name in names]
    url = lake.plan_any(run, kind="maintenance", tables=listed, retainHours=retain_hours)
    done = do_run(lake.session, run=run, manifest_url=url)
    assert isinstance(done, TablesMaintained)
    return done


@pytest.fixture
def worn(lake: Lake) -> Lake:
    """A lake after some small runs: a table, its history and its quarantine."""
    for number in range(4):
        records = event(number, thing("a", updated=number), thing(f"b{number}"), b"bad")
        lake.run_events(f"r{number}", records, history=True)
    return lake


def files_of(lake: Lake, container: str, folder: str) -> list[str]:
    """The data files of a table that are there, needed or not."""
    return [
        name
        for name in lake.files(container, folder)
        if name.endswith(".parquet") and "_delta_log" not in name
    ]


def test_tables_have_fewer_files_and_the_same_rows(worn: Lake) -> None:
    """Every run leaves a file or two; a reader opens each of them."""
    history_url = f"{worn.table_url}_history"
    rows, versions, bad = worn.rows(), worn.read(history_url), worn.quarantined()

    done = maintain(worn)

    assert (worn.rows(), worn.read(history_url), worn.quarantined()) == (rows, versions, bad)
    names = [worn.name, f"{worn.name}_history", f"refused/{worn.name}"]
    assert list(done.tables) == names
    assert {done.tables[name]["files_after"] for name in names} == {1}
    assert done.files_before > done.files_after == 3


def test_compacted_files_are_small_and_no_others_are_left(worn: Lake) -> None:
    """What is paid for is what lies there; Zstandard takes half of what Snappy does."""
    before = files_of(worn, "clean", worn.name)

    done = maintain(worn)

    [name] = files_of(worn, "clean", worn.name)
    content = worn.files("clean", worn.name)[name]
    assert (
        pq.ParquetFile(pa.BufferReader(content)).metadata.row_group(0).column(0).compression
        == "ZSTD"
    )
    assert name not in before
    assert done.files_deleted >= len(before)


def test_files_are_kept_as_long_as_the_manifest_says(worn: Lake) -> None:
    """Time travel, and queries that are under way, need what the newest version does not."""
    before = set(files_of(worn, "clean", worn.name))

    done = maintain(worn, retain_hours=168)

    assert before < set(files_of(worn, "clean", worn.name))
    assert done.files_deleted == 0
    first = worn.session.read.format("delta").option("versionAsOf", 1).load(worn.table_url)
    assert {row["id"] for row in first.collect()} == {"a", "b0"}


def test_second_maintenance_in_a_row_changes_nothing(worn: Lake) -> None:
    """It runs every day, also over tables that nobody writes."""
    first = maintain(worn)

    second = maintain(worn, "m2")

    assert second.table_version == first.table_version
    assert (second.files_before, second.files_after, second.files_deleted) == (3, 3, 0)


def test_runs_go_on_after_maintenance(worn: Lake) -> None:
    """Another program wrote the files and the checkpoint: Sail must read and merge them."""
    done = maintain(worn)

    result = worn.run_events("r9", event(9, thing("a", updated=9), thing("new")), history=True)

    assert (result.inserted, result.updated) == (1, 1)
    assert result.table_version == done.table_version + 1
    assert worn.values("id") == [("a",), ("b0",), ("b1",), ("b2",), ("b3",), ("new",)]
    assert len(worn.history("id")) == 10


def test_result_is_where_the_function_app_looks(worn: Lake) -> None:
    """Numbers go into the ledger; curated runs read the version that maintenance left."""
    done = maintain(worn)

    folder = worn.files("state", f"results/{worn.name}/m1")
    [content] = [json.loads(part) for name, part in folder.items() if not name.startswith("_")]
    assert content == json.loads(done.to_json())
    assert (
        content["tableVersion"]
        == DeltaTable(worn.table_url, storage_options=emulator_options()).version()
    )


def test_table_that_reads_differently_afterwards_fails_the_run(
    worn: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compaction that loses a row must be heard of while the version before is still there."""

    def lose(keeper: maintenance._Deltalake, **_: Any) -> None:
        keeper._table().delete("id = 'b1'")

    monkeypatch.setattr(maintenance._Deltalake, "compact", lose)

    with pytest.raises(RunFailed, match=r"5 rows at version 4, 4 at version 5; restore version 4"):
        maintain(worn)

    restored = DeltaTable(worn.table_url, storage_options=emulator_options())
    restored.restore(4)
    assert len(worn.rows()) == 5


def test_partitioned_table_is_compacted_folder_by_folder(lake: Lake) -> None:
    """A row stays in the folder where queries look for it."""
    columns: Json = {"id": {"type": "string"}, "day": {"type": "date"}}
    change = {"columns": columns, "incrementalField": None, "partitionField": "day"}
    for number in range(3):
        records = [{"id": f"{number}{day}", "day": day} for day in ("2026-11-19", None)]
        lake.run_events(f"r{number}", event(number, *records), **change)

    done = maintain(lake, history=False)

    assert (done.files_before, done.files_after) == (6, 2)
    assert len(lake.rows()) == 6


def test_manifest_of_tables_that_are_not_there_fails_the_run(lake: Lake) -> None:
    """Somebody renamed a dataset: better to hear of it."""
    with pytest.raises(RunFailed, match="none of the tables of m1 is there"):
        maintain(lake)


class Statements:
    """Stands for a Databricks session, of which there is none here: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def sql(self, statement: str) -> Statements:
        """Note the statement."""
        self.asked.append(statement)
        return self

    def collect(self) -> list[str]:
        """Answer as a dry run that found one file."""
        return ["file"]


def test_databricks_is_asked_in_its_own_words() -> None:
    """There, SQL does it; this is all that can be seen of it without a workspace."""
    session: Any = Statements()

    keeper = maintenance._Databricks(session, "abfss://clean@lake/things")
    keeper.compact(note="")
    found = keeper.vacuum(retain_hours=168, note="")

    assert found == 1
    assert session.asked == [
        "optimize delta.`abfss://clean@lake/things`",
        "vacuum delta.`abfss://clean@lake/things` retain 168 hours dry run",
        "vacuum delta.`abfss://clean@lake/things` retain 168 hours",
    ]
