"""The job as the function app starts it: a process with two arguments."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pysail.spark import SparkConnectServer  # type: ignore[import-untyped] # It carries no types.

from tests.transforms.lake import Lake, dataset, event, thing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]


def run_job(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the job with nothing in its environment but what Sail needs."""
    command = [sys.executable, "-m", "transforms.job", *arguments]
    return subprocess.run(
        command,
        env=dict(environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_job_writes_the_table_and_says_what_it_did(lake: Lake, emulator: dict[str, str]) -> None:
    """This is the contract with Databricks and the local stack: arguments in, exit status out."""
    url = lake.plan("r1", lake.land(event(0, thing("a"))), dataset=dataset())

    finished = run_job("--run", "r1", "--manifest", url, environment=emulator)

    assert (finished.returncode, finished.stderr) == (0, "")
    assert json.loads(finished.stdout)["inserted"] == 1
    assert lake.values("id") == [("a",)]


def test_time_without_a_zone_is_utc_on_any_machine(lake: Lake, emulator: dict[str, str]) -> None:
    """A table must not depend on where it was made."""
    columns = {"id": {"type": "string"}, "at": {"type": "timestamp"}, "on": {"type": "date"}}
    record = {"id": "a", "at": "2026-11-20T12:00:00", "on": "2026-11-20T23:00:00Z"}
    planned = dataset(columns=columns, incrementalField=None)
    url = lake.plan("r1", lake.land(event(0, record)), dataset=planned)

    in_tokyo = {**emulator, "TZ": "Asia/Tokyo"}
    finished = run_job("--run", "r1", "--manifest", url, environment=in_tokyo)

    assert finished.returncode == 0
    [(at, on)] = lake.values("at", "on")
    assert (f"{at}", f"{on}") == ("2026-11-20 12:00:00", "2026-11-20")


def test_failure_is_one_readable_line(lake: Lake, emulator: dict[str, str]) -> None:
    """Whoever looks at the terminal needs the reason, not the way to it."""
    url = lake.url("state", "manifests/nowhere.json")

    finished = run_job("--run", "r1", "--manifest", url, environment=emulator)

    assert finished.returncode == 1
    assert finished.stderr == f"run r1 failed: there is no manifest at {url}\n"


def test_databricks_session_is_used_there(lake: Lake, emulator: dict[str, str]) -> None:
    """A cluster has its session already; the job must not look for Sail, which is not installed."""
    url = lake.plan("r1", lake.land(event(0, thing("a"))), dataset=dataset())
    with like_databricks(emulator) as environment:
        finished = run_job("--run", "r1", "--manifest", url, environment=environment)

    assert (finished.returncode, finished.stderr) == (0, "")
    assert lake.values("id") == [("a",)]


def test_failure_on_databricks_is_an_exception(lake: Lake, emulator: dict[str, str]) -> None:
    """Databricks shows the exception, with its way there, as the run's result."""
    url = lake.url("state", "manifests/nowhere.json")
    with like_databricks(emulator) as environment:
        finished = run_job("--run", "r1", "--manifest", url, environment=environment)

    assert finished.returncode == 1
    assert finished.stderr.startswith("Traceback")
    assert finished.stderr.endswith(f"RunFailed: there is no manifest at {url}\n")


@contextlib.contextmanager
def like_databricks(environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Lend an environment in which a session exists already: a Spark Connect server runs."""
    server = SparkConnectServer()
    server.start(background=True)
    host, port = server.listening_address
    yield {
        **environment,
        "DATABRICKS_RUNTIME_VERSION": "17.3",
        "SPARK_REMOTE": f"sc://{host}:{port}",
    }
    server.stop()
