"""The whole pipeline, run as its user runs it: commands, processes, signals."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.local_ports import free_base
from tests.threaded_tool import Answering, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FEED = json.loads(gzip.decompress((ROOT / "local/sample_source/earthquakes.json.gz").read_bytes()))
ROWS = sorted((each["id"], each["properties"]["updated"]) for each in FEED["features"])
QUESTION = "SELECT id, epoch_ms(updated) AS updated FROM earthquakes"
SYSTEMS = {
    "storage": "azurite/start.mjs",
    "hubs": "local.event_hubs",
    "jobs": "local.databricks_jobs",
    "functions": "local.functions_host",
}
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="looks at processes through /proc"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One data directory and its ports."""

    data: Path
    base: int

    def millrace(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments, "--data", str(self.data)],
            cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def up(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the stack and return when it is up."""
        command = [sys.executable, "-m", "cli", "up", "--data", str(self.data)]
        process = subprocess.Popen(
            [*command, "--ports", str(self.base), *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "the pipeline is up" in line:
                return process
        process.communicate()
        raise AssertionError("".join(said))

    def rows(self) -> list[tuple[str, int]]:
        """Every row of the table."""
        done = self.millrace("query", QUESTION, "--format", "json")
        assert done.returncode == 0, done.stderr
        return sorted((row["id"], row["updated"]) for row in json.loads(done.stdout))

    def processes(self) -> dict[int, str]:
        """Process id to command line, of whatever works on the data directory or its ports."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if str(self.data) in line or f"--port {self.base + 1}" in line:
                    found[int(folder.name)] = line
        return found

    def pid(self, system: str) -> int:
        """The process of one system."""
        (found,) = [pid for pid, line in self.processes().items() if SYSTEMS[system] in line]
        return found

    def pid_again(self, system: str) -> int:
        """The process of a system that is being started again, as soon as there is one."""
        until = settle()
        while time.monotonic() < until:
            found = [pid for pid, line in self.processes().items() if SYSTEMS[system] in line]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"{system} was not started again")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine on which nothing ran before, and nothing runs afterwards."""
    fresh = Machine(data=tmp_path / "data", base=free_base())
    yield fresh
    left = fresh.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "a process outlived its stack"


def readme(command: str) -> list[str]:
    """The lines of the README's console block whose command holds a text: it, then its output."""
    blocks = (ROOT / "README.md").read_text().split("```")
    (block,) = [each for each in blocks if each.startswith("console\n$ ") and command in each]
    lines = block.strip().splitlines()[1:]
    return [lines[0].removeprefix("$ "), *lines[1:]]


def stop(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> None:
    """End the stack as Ctrl-C does, and read what it still says."""
    process.send_signal(number)
    process.communicate(timeout=60)


def settle(check: float = 20) -> float:
    """A moment by which something must have happened."""
    return time.monotonic() + check


def test_demo_answers_and_a_second_one_adds_nothing(machine: Machine) -> None:
    """From nothing to a SQL answer: every id of the feed once, in its newest version."""
    command = ("demo", "--ports", str(machine.base), "--source-seconds", "3")
    first = machine.millrace(*command)
    second = machine.millrace(*command)
    process = machine.up()
    rows = machine.rows()
    shown = readme("query")
    asked = machine.millrace(*shlex.split(shown[0])[1:])
    stop(process)

    assert (first.returncode, second.returncode) == (0, 0), first.stdout + first.stderr
    assert rows == ROWS
    assert set(readme("make demo")[-6:]) <= set(first.stdout.splitlines())
    assert asked.stdout.splitlines() == shown[1:]
    assert process.returncode == 0


def test_any_process_may_be_killed_at_work(machine: Machine) -> None:
    """Whatever dies while records are on their way, the table ends with exactly those of the feed.

    The stack starts what was killed again; killed itself, it takes everything with it, and the next
    start goes on.
    """
    process = machine.up("--source-seconds", "8")
    for system in SYSTEMS:
        os.kill(machine.pid(system), signal.SIGKILL)
        time.sleep(1.5)
    os.kill(machine.pid("functions"), signal.SIGKILL)
    os.kill(machine.pid_again("functions"), signal.SIGKILL)  # While it is being started.
    waited = machine.millrace("wait", "--timeout", "100")
    process.kill()
    process.communicate()
    until = settle()
    while machine.processes() and time.monotonic() < until:
        time.sleep(0.1)
    orphans = machine.processes()
    again = machine.up()
    caught_up = machine.millrace("wait", "--timeout", "60")
    rows = machine.rows()
    stop(again, signal.SIGTERM)

    assert waited.returncode == 0, waited.stderr
    assert not orphans
    assert caught_up.returncode == 0, caught_up.stderr
    assert rows == ROWS


def test_record_too_large_for_an_event_becomes_a_row_like_any_other(machine: Machine) -> None:
    """A hub takes 1 MiB an event; the tool knows nothing of that, and nobody should have to."""
    sizes = {"small": 10, "large": 3_000_000}
    columns = {"id": {"type": "string"}, "text": {"type": "string"}}

    class Notes(Answering):
        def answer(self) -> bytes:
            rows = [{"id": name, "text": "x" * size} for name, size in sizes.items()]
            return json.dumps(rows).encode()

    with serving(Notes) as url:
        document = {
            "name": "notes",
            "sources": [{"name": "tool", "url": url, "schedule": "* * * * * *", "key": "id",
                         "publishes": "notes"}],
            "eventhubs": [{"material": "notes", "partitions": 1}],
            "datasets": [{"name": "notes", "consumes": "notes", "primaryKey": ["id"],
                          "columns": columns}],
            "databricks": {"jobs": [{"name": "transform", "entryPoint": "transforms.job:main"}]},
        }  # fmt: skip
        machine.data.mkdir()
        (machine.data / "pipeline.json").write_text(json.dumps(document))
        process = machine.up("--pipeline", str(machine.data / "pipeline.json"))
        waited = machine.millrace("wait", "--timeout", "60")
        question = "SELECT id, length(text) AS size FROM notes"
        asked = machine.millrace("query", question, "--format", "json")
        status = machine.millrace("status", "--json")
        stop(process)

    assert waited.returncode == 0, waited.stderr
    assert {row["id"]: row["size"] for row in json.loads(asked.stdout)} == sizes
    assert json.loads(status.stdout)["pending"] == []


def test_commands_speak_to_people_and_to_machines(machine: Machine) -> None:
    """Errors are one line, exit codes can be trusted, `--json` is JSON."""
    nothing = machine.millrace("status")
    process = machine.up("--source-seconds", "0.5")
    second = machine.millrace("up", "--ports", str(machine.base + 100))
    early = machine.millrace("wait", "--timeout", "0")
    waited = machine.millrace("wait", "--timeout", "90")
    polled = machine.millrace("poll", "usgs-earthquakes", "--json")
    unknown = machine.millrace("poll", "usgs-earthquake")
    status = machine.millrace("status", "--json")
    wrong = machine.millrace("query", "SELECT nothing FROM earthquakes")
    audited = machine.millrace("audit")
    replayed = machine.millrace("replay", "--material", "earthquakes", "--from", "2020-01-01")
    rebuilt = machine.millrace("wait", "--timeout", "60")
    rows = machine.rows()
    nothing_then = machine.millrace("replay", "--material", "earthquakes", "--to", "2020-01-01T05")
    stop(process)

    assert (nothing.returncode, nothing.stderr.count("\n")) == (1, 1)
    assert "no stack is running here" in nothing.stderr
    assert second.returncode == 1
    assert "already running" in second.stderr
    assert early.returncode == 1
    assert "still pending" in early.stderr
    assert waited.returncode == 0, waited.stderr
    assert json.loads(polled.stdout)["changed"] is False
    assert "did you mean 'usgs-earthquakes'?" in unknown.stderr
    content = json.loads(status.stdout)
    assert (content["rows"]["earthquakes"], content["pending"]) == (len(ROWS), [])
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert (audited.returncode, "every sequence number is there once" in audited.stdout) == (
        0,
        True,
    )
    assert (replayed.returncode, rebuilt.returncode) == (0, 0), replayed.stderr + rebuilt.stderr
    assert rows == ROWS
    assert "no raw blob of earthquakes is from that time" in nothing_then.stderr


def test_taken_port_is_one_readable_line(machine: Machine) -> None:
    """The first thing that goes wrong on other people's machines."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", machine.base + 2))
        other.listen()
        done = machine.millrace("up", "--ports", str(machine.base))

    assert done.returncode == 1
    assert f"port {machine.base + 2} (hubs) is taken" in done.stderr
    assert done.stderr.count("\n") == 1
