"""docs/sql.md: every command and question in it, run over the recorded earthquakes."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # It has no types.
import pytest

from cli.tables import Tables
from shared.domain.run import Run, RunState, described
from shared.domain.sql_types import sql_type
from shared.settings import Settings
from tests.sql_lake import MOMENT, make_containers, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sql.md").read_text()
FEED = json.loads(gzip.decompress((ROOT / "local/sample_source/earthquakes.json.gz").read_bytes()))
COLUMNS = {
    "id": pa.string(), "occurred": MOMENT, "updated": MOMENT, "magnitude": pa.float64(),
    "place": pa.string(), "kind": pa.string(), "status": pa.string(), "tsunami": pa.bool_(),
    "longitude": pa.float64(), "latitude": pa.float64(), "depth_km": pa.float64(),
    "_enqueued_at": MOMENT, "_run": pa.string(), "_deleted": pa.bool_(),
}  # fmt: skip
HISTORY = {"validFrom": MOMENT, "validTo": MOMENT, "isCurrent": pa.bool_(), "_repeated": pa.bool_()}


def blocks(language: str) -> list[str]:
    """The page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[tuple[str, list[str]]]:
    """Each command of the page, and the lines it is said to print."""
    lines = "".join(blocks("console")).splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    ends = [*starts[1:], len(lines)]
    return [
        (lines[start].removeprefix("$ "), lines[start + 1 : end])
        for start, end in zip(starts, ends, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What `make demo` leaves, but for a history and a refused record of its own."""

    environment: dict[str, str]
    tables: Tables


@pytest.fixture(scope="module")
def demo(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The earthquakes of the recorded feed in their tables, as the pipeline would write them."""
    document = json.loads((ROOT / "pipeline.json").read_text())
    dataset = document["datasets"][0] | {"history": True}
    document = document | {"datasets": [dataset], "curated": []}
    path = tmp_path_factory.mktemp("demo") / "pipeline.json"
    path.write_text(json.dumps(document))
    with make_containers(azurite) as blobs:
        run = Run(
            id="earthquakes-1", dataset="earthquakes", job="transform", state=RunState.SUCCEEDED,
            blobs=1, events=34, planned_at=_moment(0), due_at=_moment(0), ended_at=_moment(60_000),
            counts={"records": 1708, "inserted": 1707, "quarantined": 1},
        )  # fmt: skip
        failed = {"id": "earthquakes-0", "state": "failed", "message": "no", "endedAt": None}
        for note in (described(run), described(run) | failed):
            name = f"runs/earthquakes/{note['id']}.json"
            blobs.get_blob_client("state", name).upload_blob(json.dumps(note), overwrite=True)
    rows = [_row(each) for each in FEED["features"]]
    write_table(azurite, "clean/earthquakes", rows, COLUMNS)
    write_table(azurite, "clean/earthquakes_history", _versions(rows), COLUMNS | HISTORY)
    refused = {"reason": "magnitude:not-a-double", "run_id": run.id, "body": b'{"mag":"x"}'}
    kinds = {"reason": pa.string(), "run_id": pa.string(), "body": pa.binary()}
    write_table(azurite, "quarantine/refused/earthquakes", [refused], kinds)
    environment = {"LAKE": azurite, "PIPELINE_FILE": str(path)}
    with Tables(Settings.read(environment)) as tables:
        yield Demo(environment=environment, tables=tables)


def _moment(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _row(feature: dict[str, Any]) -> dict[str, Any]:
    found = feature["properties"]
    longitude, latitude, depth = feature["geometry"]["coordinates"]
    return {
        "id": feature["id"], "occurred": _moment(found["time"]),
        "updated": _moment(found["updated"]), "magnitude": found["mag"], "place": found["place"],
        "kind": found["type"], "status": found["status"], "tsunami": bool(found["tsunami"]),
        "longitude": longitude, "latitude": latitude, "depth_km": depth,
        "_enqueued_at": _moment(found["updated"]), "_run": "earthquakes-1", "_deleted": False,
    }  # fmt: skip


def _versions(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row as it was first, and as it is."""
    plain = {"validTo": None, "isCurrent": True, "_repeated": False}
    return [
        version
        for row in rows
        for version in (
            row | plain | {"validFrom": row["occurred"], "validTo": row["updated"],
                           "isCurrent": False},
            row | plain | {"validFrom": row["updated"]},
        )
    ]  # fmt: skip


@pytest.mark.parametrize(("command", "printed"), commands(), ids=lambda value: str(value)[:60])
def test_command_prints_what_the_page_says(
    demo: Demo, tmp_path: Path, command: str, printed: list[str]
) -> None:
    """A newcomer copies the first line and compares the rest."""
    there = command.replace(".venv/bin/millrace", f"{sys.executable} -m cli")

    done = subprocess.run(
        ["/bin/sh", "-c", there],
        cwd=tmp_path, env=os.environ | demo.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.stdout + done.stderr).splitlines() == printed
    assert (done.returncode == 0) != any(line.startswith("millrace:") for line in printed)


@pytest.mark.parametrize("question", blocks("sql"), ids=lambda text: text[:40])
def test_question_of_the_page_is_answered(demo: Demo, question: str) -> None:
    """A recipe that gives nothing teaches nothing."""
    assert demo.tables.answer(question)[1]


def test_page_has_the_types_of_the_table() -> None:
    """People believe a page more than code."""
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    types = [row for row in rows if row[0].partition("(")[0] in ("decimal", *_PLAIN)]

    found = {row[0]: row[1:] for row in types}

    kinds = [sql_type(kind) for kind in found]
    assert set(found) == {*_PLAIN, "decimal(10,2)"}
    assert list(found.values()) == [(each.duckdb, each.synapse, each.spark) for each in kinds]


_PLAIN = ("string", "integer", "long", "double", "boolean", "date", "timestamp", "json")
