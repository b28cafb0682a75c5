"""Lineage: from a version of a table back to the raw blobs, and to the code that read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.transforms.lake import Json, Lake, event, thing
from transforms.lineage import code_version

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_result_leads_back_to_the_manifest(lake: Lake) -> None:
    """The manifest names the raw blobs with their digests; the result names the manifest."""
    result = lake.run_events("r1", event(0, thing("a")))

    folder = lake.files("state", f"results/{lake.name}/r1")
    [content] = [json.loads(part) for name, part in folder.items() if not name.startswith("_")]
    assert content["lineage"] == {
        "run": "r1",
        "manifest": lake.url("state", f"manifests/{lake.name}/r1.json"),
        "document": "0" * 64,
        "code": code_version(),
    }
    assert content["tableVersion"] == result.table_version == 1


def test_row_leads_back_to_its_run_and_its_place_in_raw(lake: Lake) -> None:
    """Of any row one can ask which run, which partition, which event and which line."""
    lake.run_events("r1", event(7, thing("x"), thing("a"), partition="3"))

    [row] = [row for row in lake.rows() if row["id"] == "a"]

    origin = [row[name] for name in ("_run", "_partition", "_sequence", "_line")]
    assert origin == ["r1", "3", 7, 2]


def test_commit_bears_the_lineage_where_the_engine_takes_a_note(lake: Lake) -> None:
    """MERGE takes none on Sail; a new table, and one that is widened, say who made them so."""
    lake.run_events("r1", event(0, thing("a")))

    [line] = [line for line in _commit(lake, 0) if "commitInfo" in line]

    assert json.loads(line["commitInfo"]["userMetadata"])["run"] == "r1"


def _commit(lake: Lake, version: int) -> list[Json]:
    name = f"_delta_log/{version:020d}.json"
    return [json.loads(line) for line in lake.files("clean", lake.name)[name].splitlines()]


def test_code_version_is_that_of_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed formula is another code; where the same files lie does not matter."""
    for package in ("transforms", "shared/domain"):
        shutil.copytree(ROOT / package, tmp_path / package)
    folders = {name: tmp_path / name.replace(".", "/") for name in ("transforms", "shared.domain")}
    here = code_version()
    monkeypatch.setattr("transforms.lineage.resources.files", folders.__getitem__)
    copied = code_version()

    (tmp_path / "transforms/curated/new.sql").write_text("select 1 as one")

    assert copied == here
    assert code_version() != here


def test_code_version_of_a_wheel_is_the_wheel_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks for the code of a table finds the file that was installed."""
    monkeypatch.setattr("transforms.lineage.metadata.version", {"millrace_transforms": "1+a"}.get)

    assert code_version() == "1+a"
