"""The Jobs emulator's processes: warm, apart from one another, gone when they should be; faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from local.databricks_jobs import store
from local.faults import CRASH_EXIT_CODE
from tests.local_databricks_jobs import (
    PATIENCE_S,
    ROOT,
    TOKEN,
    Emulator,
    finish,
    lives,
    looks_at_processes,
    output_of,
    pipeline,
    result_of,
    until,
)


def test_each_run_has_an_interpreter_of_its_own_warmed_up_before(tmp_path: Path) -> None:
    """Nothing of one run may reach the next one: no module state, no open session."""
    with contextlib.closing(Emulator(tmp_path)) as emulator:
        client = emulator.connect()
        outputs = [output_of(client, finish(client, emulator.start("succeed"))) for _ in range(3)]

    told = [json.loads(str(output.logs)) for output in outputs]
    assert len({one["pid"] for one in told}) == 3
    assert all(one["warmed"] == [one["pid"]] for one in told)


@looks_at_processes
def test_next_run_is_the_spares_and_a_dead_spare_is_replaced(tmp_path: Path) -> None:
    """The spare saves the start-up of an engine; losing it must cost time, never a run."""
    with contextlib.closing(Emulator(tmp_path)) as emulator:
        client = emulator.connect()

        spare = find_worker(emulator)
        first = json.loads(str(output_of(client, finish(client, emulator.start("succeed"))).logs))
        dying = find_worker(emulator)
        os.kill(dying, signal.SIGKILL)
        until(lambda: not lives(dying))
        second = json.loads(str(output_of(client, finish(client, emulator.start("succeed"))).logs))

    assert first["pid"] == spare
    assert second["pid"] not in {spare, dying}


def find_worker(emulator: Emulator) -> int:
    """The only child of the emulator: its spare."""
    own = emulator.process.pid
    children = Path(f"/proc/{own}/task/{own}/children")
    [pid] = until(lambda: len(found := children.read_text().split()) == 1 and found)
    return int(pid)


@looks_at_processes
def test_edited_code_runs_although_the_spare_had_loaded_the_old(tmp_path: Path) -> None:
    """Whoever edits a transform and runs it again must not debug yesterday's code."""
    source = tmp_path / "edited.py"
    source.write_text("def succeed():\n    print('old')\n")
    pipeline(tmp_path, module="edited")
    with contextlib.closing(Emulator(tmp_path, path=tmp_path)) as emulator:
        client = emulator.connect()
        before = output_of(client, finish(client, emulator.start("succeed")))
        until(lambda: b"edited" in Path(f"/proc/{find_worker(emulator)}/cmdline").read_bytes())
        time.sleep(0.5)  # Give the spare the chance to load the old code; either way it must work.

        source.write_text("def succeed():\n    print('newer')\n")
        after = output_of(client, finish(client, emulator.start("succeed")))

    assert (before.logs, after.logs) == ("old\n", "newer\n")


def test_run_past_its_time_limit_is_ended(tmp_path: Path) -> None:
    """A run that hangs must not hold its place for ever, where a limit is set."""
    with contextlib.closing(Emulator(tmp_path, "--timeout", "0.3")) as emulator:
        run = finish(emulator.connect(), emulator.start("wait", gate=str(tmp_path / "never")))

    assert result_of(run) == ("TERMINATED", "TIMEDOUT", "CANCELED")


@looks_at_processes
def test_killed_emulator_leaves_no_process_and_tells_what_was_lost(tmp_path: Path) -> None:
    """A lost cluster is a case the tracker must retry; a lost token would run a batch twice."""
    emulator = Emulator(tmp_path, "--places", "1")
    lost, pids = emulator.hold("wait", "lost")
    done_token, queued_token = "d" * 8, "q" * 8
    queued = emulator.start("succeed", queued_token)
    spare_and_run = children_of(emulator.process.pid)

    emulator.close()
    until(lambda: not any(lives(pid) for pid in [*pids, *spare_and_run]))
    with contextlib.closing(Emulator(tmp_path, "--places", "1")) as restarted:
        client = restarted.connect()
        ended = finish(client, lost)
        served = finish(client, queued)
        again = restarted.start("succeed", queued_token)
        retried = finish(client, restarted.start("succeed", done_token))
        output = output_of(client, ended)

    assert result_of(ended) == ("INTERNAL_ERROR", "FAILED", "CLUSTER_ERROR")
    assert "run it again" in str(output.error)
    assert result_of(served) == result_of(retried) == ("TERMINATED", "SUCCESS", "SUCCESS")
    assert again == queued
    assert len({lost, queued, retried.run_id}) == 3


def children_of(pid: int) -> list[int]:
    """The processes a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@looks_at_processes
@pytest.mark.parametrize("how", ["terminated", "left alone"])
def test_emulator_that_is_told_to_stop_takes_its_runs_along(tmp_path: Path, how: str) -> None:
    """`stop` must mean stopped, for everything, and end with success."""
    with contextlib.closing(Emulator(tmp_path, "--with-parent")) as emulator:
        _, pids = emulator.hold("wait", "stopped")
        spare_and_run = children_of(emulator.process.pid)

        if how == "terminated":
            emulator.process.terminate()
        else:
            assert emulator.process.stdin
            emulator.process.stdin.close()
        code = emulator.process.wait(PATIENCE_S)

        until(lambda: not any(lives(pid) for pid in [*pids, *spare_and_run]))
        assert code == 0


def test_busy_service_answers_in_its_own_shape(tmp_path: Path) -> None:
    """The launcher must be tried against both ways the service says: not now."""
    with contextlib.closing(Emulator(tmp_path, "--faults", "busy=1")) as emulator:
        answers = [emulator.ask("GET", "/api/2.2/jobs/list") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [429, 503]
    assert [answer.json()["error_code"] for answer in answers] == [
        "REQUEST_LIMIT_EXCEEDED",
        "TEMPORARILY_UNAVAILABLE",
    ]
    assert all(answer.headers["Retry-After"] == "1" for answer in answers)


def test_run_asked_for_until_answered_is_one_run(tmp_path: Path) -> None:
    """Answers get lost after the effect as well as before it: this is what the token is for."""
    failures: set[type[Exception]] = set()
    with contextlib.closing(Emulator(tmp_path, "--faults", "drop=0.8,seed=3")) as emulator:

        def persist() -> int | None:
            try:
                return emulator.start("succeed", "token")
            except httpx.TransportError as error:
                failures.add(type(error))
                return None

        answers = {until(persist) for _ in range(6)}
    runs = store.RunFolder(tmp_path / "data" / "runs").load()

    assert failures == {httpx.ReadError, httpx.RemoteProtocolError}
    assert len(answers) == len(runs) == 1


def test_crash_on_request_is_sudden(tmp_path: Path) -> None:
    """The stack's recovery can only be tried if the emulator can die without goodbye."""
    with contextlib.closing(Emulator(tmp_path, "--faults", "crash=1")) as emulator:
        with pytest.raises(httpx.TransportError):
            emulator.ask("GET", "/api/2.2/jobs/list")

        assert emulator.process.wait(PATIENCE_S) == CRASH_EXIT_CODE


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--token", TOKEN, "--pipeline", "absent.json"], "absent.json cannot be read"),
        (["--token", "", "--pipeline", "pipeline.json"], "--token is needed"),
        (["--token", TOKEN, "--pipeline", "pipeline.json", "--faults", "x=1"], "--faults knows"),
    ],
)
def test_wrong_option_is_one_readable_line(
    tmp_path: Path, options: list[str], complaint: str
) -> None:
    """A person who mistypes a switch needs the switch's name, not a traceback."""
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "local.databricks_jobs",
            "--data",
            tmp_path,
            "--port",
            "0",
            *options,
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "DATABRICKS_TOKEN"},
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"databricks_jobs: {complaint}")
    assert ended.stderr.count("\n") == 1
