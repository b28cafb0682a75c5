"""Runs as their user works with them: commands and requests, real storage, a real job service."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from cli.__main__ import commands, main
from shared import wiring
from shared.adapters.blob_storage import CONTAINERS
from shared.adapters.table_storage import TABLE
from shared.domain import document as documents
from shared.domain.run import Run, RunState
from shared.flow.raw_to_run import launch_runs
from shared.flow.track_runs import track_runs
from shared.settings import Settings
from tests.builders import NOON
from tests.local_functions_host import ROOT, Process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DATASETS = (f"operated{number}" for number in count())
_PATIENCE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command did."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One pipeline with a dataset of its own, whose job goes on until it is cancelled."""

    dataset: str
    settings: dict[str, str]

    def millrace(self, *arguments: str) -> Done:
        """Run a command about runs to its end, in this process: a new one takes seconds."""
        out, problems = io.StringIO(), io.StringIO()
        code = 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(problems):
            patch.setattr(sys, "argv", ["millrace", "runs", *arguments])
            for name, value in self.settings.items():
                patch.setenv(name, value)
            try:
                main()
            except SystemExit as error:
                code = int(error.code or 0)
        return Done(returncode=code, stdout=out.getvalue(), stderr=problems.getvalue())

    def add(self, number: int, state: RunState, **changes: Any) -> str:
        """Add a run; its id. Of an open one, the table is told."""
        run = Run(
            id=f"{self.dataset}-{number}",
            dataset=self.dataset,
            job="transform",
            state=state,
            blobs=2,
            events=1700,
            planned_at=NOON + timedelta(minutes=number),
            due_at=NOON,
        )
        asyncio.run(self._add(replace(run, **changes)))
        return run.id

    def leave(self, run_id: str, **content: Any) -> None:
        """Write what a transform leaves beside its manifest."""
        with BlobServiceClient.from_connection_string(self.settings["LAKE"]) as blobs:
            name = f"results/{self.dataset}/{run_id}/part-0.txt"
            blobs.get_blob_client("state", name).upload_blob(json.dumps(content))

    def tick(self) -> None:
        """What the timer does."""
        asyncio.run(self._tick())

    def tick_until(self, run_id: str, state: str) -> None:
        """Let the timer tick until a run is as expected."""
        for _ in range(_PATIENCE):
            self.tick()
            if self.state(run_id) == state:
                return
        pytest.fail(f"{run_id} is {self.state(run_id)}, not {state}")

    def state(self, run_id: str) -> str:
        """The state that the ledger has."""
        return str(asyncio.run(self._state(run_id)))

    async def _add(self, run: Run) -> None:
        async with wiring.connected(*self._opened()) as app:
            progress = await app.ledger.progress(run.dataset)
            opened = replace(progress, run_open=run.id if run.is_open else progress.run_open)
            assert await app.ledger.open_run(run, opened)

    async def _tick(self) -> None:
        async with wiring.connected(*self._opened()) as app:
            await track_runs(
                app.document.tables, ledger=app.ledger, files=app.files, jobs=app.jobs,
                clock=app.clock,
            )  # fmt: skip
            await launch_runs(
                app.document.tables, app.document, raw=app.raw, ledger=app.ledger,
                files=app.files, jobs=app.jobs, clock=app.clock,
            )  # fmt: skip

    async def _state(self, run_id: str) -> RunState | None:
        async with wiring.connected(*self._opened()) as app:
            run = await app.ledger.run(self.dataset, run_id)
            return run.state if run else None

    def _opened(self) -> tuple[Settings, documents.Document]:
        settings = Settings.read(self.settings)
        return settings, documents.load(settings.pipeline_file)


@pytest.fixture
def lab(azurite: str, tmp_path: Path) -> Iterator[Lab]:
    """A ledger without runs, and a job service."""
    dataset = next(_DATASETS)
    document = {
        "name": "lab",
        "eventhubs": [{"material": dataset}],
        "datasets": [
            {
                "name": dataset,
                "consumes": dataset,
                "primaryKey": ["id"],
                "columns": {"id": {"type": "string"}},
            }
        ],
        "databricks": {"jobs": [{"name": "transform", "entryPoint": "signal:pause"}]},
    }
    pipeline = tmp_path / "pipeline.json"
    pipeline.write_text(json.dumps(document))
    with BlobServiceClient.from_connection_string(azurite) as blobs:
        for container in CONTAINERS:
            with suppress(ResourceExistsError):
                blobs.create_container(container)
    with TableServiceClient.from_connection_string(azurite) as tables:
        tables.create_table_if_not_exists(TABLE)
    jobs = Process(
        [sys.executable, "-m", "local.databricks_jobs", "--pipeline", str(pipeline),
         "--data", str(tmp_path / "jobs"), "--port", "0", "--token", "local", "--with-parent"],
        environment={}, log=tmp_path / "jobs.log",
    )  # fmt: skip
    try:
        settings = {
            "LAKE": azurite,
            "EVENT_HUBS": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=local;"
            "SharedAccessKey=local;UseDevelopmentEmulator=true;",
            "DATABRICKS_HOST": f"http://127.0.0.1:{jobs.port}",
            "DATABRICKS_TOKEN": "local",
            "PIPELINE_FILE": str(pipeline),
        }
        yield Lab(dataset=dataset, settings=settings)
    finally:
        jobs.stop()


def test_runs_are_listed_and_shown(lab: Lab) -> None:
    """Whoever is called at night begins here."""
    counts = {"tableVersion": 0, "older": 0, "quarantined": 7, "records": 1707, "inserted": 1700}
    good = lab.add(
        1, RunState.SUCCEEDED, ended_at=NOON + timedelta(minutes=1, seconds=12.5), counts=counts
    )
    lab.leave(good, records=1707, lineage={"run": good, "code": "c0de", "document": "d0c"})
    bad = lab.add(
        2, RunState.FAILED, attempt=5, failures=5, message="no such column:\n\x1b[31mmag",
        ended_at=NOON + timedelta(minutes=5), job_run=77,
    )  # fmt: skip

    listed = lab.millrace("list")
    newest = lab.millrace("list", "--limit", "1", "--format", "json")
    table = lab.millrace("list", "--dataset", lab.dataset, "--state", "succeeded", "--format=csv")
    none = lab.millrace("list", "--state", "cancelled")
    shown = lab.millrace("show", good)
    failed = json.loads(lab.millrace("show", bad, "--json").stdout)

    lines = listed.stdout.splitlines()
    assert lines[0].split() == [
        "planned", "(UTC)", "kind", "state", "took", "attempt", "events", "records", "run",
    ]  # fmt: skip
    assert [line.split()[-1] for line in lines[1::2]] == [bad, good]
    assert lines[2] == r"    no such column: \x1b[31mmag"
    assert lines[3].split()[2:] == ["clean", "succeeded", "12.5", "s", "1", "1,700", "1,707", good]
    assert [each["id"] for each in json.loads(newest.stdout)] == [bad]
    (row,) = csv.DictReader(io.StringIO(table.stdout))
    assert (row["id"], row["durationS"], json.loads(row["counts"])) == (good, "12.5", counts)
    assert none.stdout == "no run is cancelled\n"
    facts = dict(re.split("  +", line, maxsplit=1) for line in shown.stdout.splitlines())
    assert facts["counts"] == "records 1,707, inserted 1,700, quarantined 7, tableVersion 0"
    assert facts["lineage"] == "code c0de, document d0c"
    assert facts["manifest"].endswith(f"/manifests/{lab.dataset}/{good}.json")
    assert facts["next step"].startswith("7 records were refused: millrace quarantine")
    assert (failed["state"], failed["jobRun"], failed["failures"]) == ("failed", 77, 5)
    assert failed["nextStep"] == f"mend what the message says, then: millrace runs retry {bad}"


def test_run_is_cancelled_and_brought_in_again(lab: Lab) -> None:
    """The whole way of a run that went wrong, with a job service that really runs it."""
    failed = lab.add(1, RunState.FAILED, ended_at=NOON, failures=5, message="bad day")
    stuck = lab.add(2, RunState.PLANNED)
    lab.tick_until(stuck, "running")

    queued = lab.millrace("retry", failed)
    waiting = lab.millrace("show", failed)
    cancelled = lab.millrace("cancel", stuck)
    lab.tick_until(stuck, "cancelled")
    lab.tick_until(failed, "running")
    repeated = lab.millrace("cancel", stuck)
    refused = lab.millrace("cancel", failed + "x")
    listed = lab.millrace("list", "--state", "open", "--format", "json")
    again = lab.millrace("cancel", failed)
    lab.tick_until(failed, "cancelled")
    retried = lab.millrace("retry", stuck)

    assert queued.stdout == (
        f"{failed} is tried again when the open run of {lab.dataset} has ended\n"
    )
    assert f"nothing: it is tried again after {stuck}" in waiting.stdout
    assert cancelled.stdout.startswith(f"{stuck} is being cancelled; ")
    assert repeated.stdout == f"{stuck} is cancelled\n"
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        f"millrace: run '{failed}x' is no run's id; did you mean '{failed}'?\n"
    )
    assert [each["id"] for each in json.loads(listed.stdout)] == [failed]
    assert again.returncode == 0
    assert retried.stdout == f"{stuck} is planned; follow it with millrace wait\n"
    assert lab.state(stuck) == "planned"


def test_what_a_state_forbids_is_one_line(lab: Lab) -> None:
    """A traceback at night helps nobody."""
    good = lab.add(1, RunState.SUCCEEDED, ended_at=NOON)

    for arguments, problem in (
        (("retry", good), "has succeeded"),
        (("cancel", good), "has succeeded already"),
        (("show", "none"), "is no run's id"),
        (("list", "--dataset", "nones"), "nones"),
    ):
        done = lab.millrace(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert problem in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("list", "--state", "done"), ("list", "--limit", "0"), ("retry",), ("show", "a", "b")],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    """A script sees the difference to a failure."""
    assert CliRunner().invoke(commands, ["runs", *arguments]).exit_code == 2


def test_requests_reach_the_functions_through_the_real_host(lab: Lab, tmp_path: Path) -> None:
    """A run's actions lie below its own route: only a host knows whether that works."""
    failed = lab.add(1, RunState.FAILED, ended_at=NOON, message="bad day")
    functions = ("list_runs", "show_run", "retry_run", "cancel_run")
    host = Process(
        [sys.executable, "-m", "local.functions_host", "--with-parent", "--app", str(ROOT),
         "--port", "0", "--functions", *functions],
        environment={
            **lab.settings,
            "AzureWebJobsStorage": lab.settings["LAKE"],
            "AzureFunctionsWebHost__hostid": lab.dataset,
        },
        log=tmp_path / "host.log",
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{host.port}/api/", timeout=30) as client:
            listed = client.get("runs", params={"dataset": lab.dataset, "state": "failed"})
            shown = client.get(f"runs/{failed}")
            retried = client.post(f"runs/{failed}/retry")
            cancelled = client.post(f"runs/{failed}/cancel")
            absent = client.post("runs/none/retry")
    finally:
        host.stop()

    answers = (listed, shown, retried, cancelled, absent)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404]
    assert [each["id"] for each in listed.json()["runs"]] == [failed]
    assert shown.json()["message"] == "bad day"
    assert retried.json() == {"run": failed, "dataset": lab.dataset, "state": "planned"}
    assert cancelled.json()["state"] == "cancelled"
    assert lab.state(failed) == "cancelled"
