"""The manifest: what a job is told, for each kind of run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from shared.domain.dataset import Curated
from shared.domain.manifest import (
    Input,
    curated_manifest,
    inputs_of,
    maintenance_manifest,
    manifest_of,
)
from shared.domain.run import Planned, Progress, plan, plan_curated, plan_maintenance
from tests.builders import NOON, document, head

DOCUMENT = document(
    curated=[
        {"name": "latest", "reads": ["quakes"], "kind": "view"},
        {"name": "strong", "reads": ["latest"], "kind": "view"},
        {"name": "daily", "reads": ["strong", "latest"], "columns": {"day": "date"}},
        {"name": "yearly", "reads": ["daily", "quakes"], "columns": {"year": "integer"}},
    ]
)
STORAGE = {"raw": "memory://raw", "clean": "memory://clean"}


def curated(name: str) -> Curated:
    """A curated table of the document."""
    found = DOCUMENT.table(name)
    assert isinstance(found, Curated)
    return found


def test_clean_manifest_lists_blobs_with_their_digests() -> None:
    """An auditor compares what a run read with what was landed."""
    heads = [replace(head(0, 4), digest="abc", size_bytes=9)]
    progress = Progress(dataset="quakes")
    run, _ = plan(heads, dataset=DOCUMENT.dataset("quakes"), progress=progress, now=NOON)

    content = json.loads(manifest_of(run, heads, document=DOCUMENT, storage=STORAGE))

    assert content["kind"] == "clean"
    assert content["run"] == run.id
    assert content["document"] == DOCUMENT.digest
    assert content["storage"] == STORAGE
    assert content["dataset"]["name"] == "quakes"
    assert content["blobs"] == [
        {
            "name": heads[0].name,
            "partition": "0",
            "sequenceFirst": 0,
            "sequenceLast": 4,
            "events": 5,
            "records": heads[0].records,
            "bytes": 9,
            "digest": "abc",
        }
    ]


def test_curated_manifest_names_versions_and_whose_rows_are_new() -> None:
    """The same versions give the same table, whenever the job reads them."""
    inputs = {"quakes": Planned(sequence=7, blob="quakes-1")}
    run, _ = plan_curated(curated("daily"), inputs, progress=Progress(dataset="daily"), now=NOON)
    read = Input(table=DOCUMENT.dataset("quakes"), version=7, runs=("quakes-0", "quakes-1"))

    content = json.loads(
        curated_manifest(run, curated("daily"), [read], document=DOCUMENT, storage=STORAGE)
    )

    assert content["kind"] == "curated"
    assert content["inputs"] == [
        {"name": "quakes", "kind": "clean", "version": 7, "runs": ["quakes-0", "quakes-1"]}
    ]
    assert Curated.model_validate(content["curated"]) == curated("daily")
    assert [view["name"] for view in content["views"]] == ["latest", "strong"]


def test_inputs_of_a_curated_table_are_tables_behind_views_too() -> None:
    """A view has no version: what changes is what it reads."""
    found = {name: [table.name for table in inputs_of(curated(name), DOCUMENT)] for name in
             ("daily", "yearly")}  # fmt: skip

    assert found == {"daily": ["quakes"], "yearly": ["quakes", "daily"]}


def test_maintenance_manifest_names_the_table_and_its_history() -> None:
    """Both grow with every run."""
    dataset: dict[str, Any] = document().dataset("quakes").model_dump(by_alias=True)
    kept = document(datasets=[dataset | {"history": True}])
    run, _ = plan_maintenance(
        kept.dataset("quakes"), "quakes-maintenance-1", progress=Progress(dataset="quakes"),
        now=NOON,
    )  # fmt: skip

    content = json.loads(
        maintenance_manifest(run, kept.dataset("quakes"), document=kept, storage=STORAGE)
    )

    assert content["kind"] == "maintenance"
    assert content["tables"] == [
        {"name": "quakes", "kind": "clean"},
        {"name": "quakes_history", "kind": "clean"},
    ]
    assert content["retainHours"] == 168
