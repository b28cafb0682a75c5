"""What the Jobs emulator's tests share: the emulator as the stack starts it, and its client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.jobs import RunLifeCycleState

from local.databricks_jobs import model

if TYPE_CHECKING:
    from collections.abc import Callable

    from databricks.sdk.service.jobs import Run, RunOutput

ROOT = Path(__file__).parents[1]
ENTRY_POINTS = ROOT / "tests" / "local" / "entry_points"
TOKEN = "local-token"  # noqa: S105 -- Opens nothing but an emulator.
PATIENCE_S = 30.0

looks_at_processes = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="there is no /proc to find processes in"
)


ENDED = {
    RunLifeCycleState.TERMINATED,
    RunLifeCycleState.SKIPPED,
    RunLifeCycleState.INTERNAL_ERROR,
}
JOBS = (
    "succeed",
    "fail",
    "exit-with-three",
    "exit-with-nothing",
    "crash",
    "chatter",
    "wait",
    "refuse-to-end",
)


def pipeline(folder: Path, *, module: str = "emulated_jobs") -> Path:
    """A document with a job for every entry point, one that is absent, and a notebook."""
    jobs: list[dict[str, str]] = [
        {"name": name, "entryPoint": f"{module}:{name.replace('-', '_')}"} for name in JOBS
    ]
    jobs.append({"name": "absent", "entryPoint": "no_such_module:main"})
    jobs.append({"name": "notebook", "notebook": "/Shared/transform"})
    path = folder / "pipeline.json"
    content = {"name": "quakes", "environment": "test", "databricks": {"jobs": jobs}}
    path.write_text(json.dumps(content))
    return path


def until(happened: Callable[[], Any]) -> Any:
    """What `happened` returns as soon as it is true, well before anybody's patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if outcome := happened():
            return outcome
        time.sleep(0.02)
    pytest.fail("did not happen in time")


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Emulator:
    """The emulator as the stack starts it, and the official client."""

    def __init__(self, folder: Path, *options: str, path: Path = ENTRY_POINTS) -> None:
        """Start it; `path` is where its runs find their entry points."""
        self.folder = folder
        described = folder / "pipeline.json"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "local.databricks_jobs", "--port", "0"),
                *("--pipeline", str(described if described.exists() else pipeline(folder))),
                *("--data", str(folder / "data"), "--token", TOKEN, *options),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("databricks_jobs listening on 127.0.0.1:"), line
        self.url = f"http://{line.split()[-1]}"

    def connect(self, token: str = TOKEN) -> WorkspaceClient:
        """The SDK's client of this emulator."""
        return self.connect_to(self.url, token)

    def connect_to(self, url: str, token: str = TOKEN) -> WorkspaceClient:
        """The same by another way, past something that listens."""
        return WorkspaceClient(host=url, token=token, auth_type="pat")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request that the SDK would not send, or would repeat."""
        headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=20, **options)

    def job_id(self, name: str) -> int:
        """The id of a job of the test document."""
        return model.derive_id("job", f"quakes-test-{name}")

    def start(self, name: str, token: str | None = None, **parameters: str) -> int:
        """Ask for a run; return its id."""
        body: dict[str, Any] = {"job_id": self.job_id(name), "job_parameters": parameters}
        if token:
            body["idempotency_token"] = token
        answer = self.ask("POST", "/api/2.2/jobs/run-now", json=body)
        return int(answer.raise_for_status().json()["run_id"])

    def hold(self, name: str, gate: str) -> tuple[int, list[int]]:
        """Start a run that waits for its gate; return its id and its processes."""
        run_id = self.start(name, gate=str(self.folder / gate))
        note = self.folder / f"{gate}.pids"
        return run_id, [
            int(pid) for pid in until(lambda: note.exists() and note.read_text().split())
        ]

    def close(self) -> None:
        """Take its standard input away, and everything else with it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.kill()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()


def finish(client: WorkspaceClient, run_id: int) -> Run:
    """Wait until a run has ended."""

    def ended() -> Run | None:
        run = client.jobs.get_run(run_id)
        return run if run.state and run.state.life_cycle_state in ENDED else None

    run: Run = until(ended)
    return run


def output_of(client: WorkspaceClient, run: Run) -> RunOutput:
    """The output of a run's only task."""
    assert run.tasks is not None
    [task] = run.tasks
    assert task.run_id is not None
    return client.jobs.get_run_output(task.run_id)


def result_of(run: Run) -> tuple[str, str, str]:
    """How a run ended: life cycle, result, and the reason in the newer `status`."""
    assert run.state
    assert run.state.life_cycle_state
    assert run.state.result_state
    assert run.status
    assert run.status.termination_details
    assert run.status.termination_details.code
    code = run.status.termination_details.code.value
    return run.state.life_cycle_state.value, run.state.result_state.value, code
