"""What the tests of the functions host share: services as processes, and the sample apps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ROOT = Path(__file__).parents[1]
APPS = Path(__file__).parent / "local" / "apps"
_START_S = 60


class Process:
    """A local service that announced itself."""

    def __init__(self, command: list[str], *, environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self._log = log
        assert self._process.stdout is not None
        self.announcement = self._process.stdout.readline().decode()
        if "listening on" not in self.announcement:
            self.stop()
            pytest.fail(f"{command} did not start: {self.log}")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.announcement.rpartition(":")[2])

    @property
    def log(self) -> str:
        """What it said on standard error."""
        return self._log.read_text()

    def tell(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and return at once."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it and return its exit code."""
        if self._process.poll() is None:
            self.tell()
        return self.wait()

    def wait(self) -> int:
        """Wait for an end it was told of and return its exit code."""
        try:
            return self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                stream.close()


class App:
    """A sample app, its settings, and what it recorded."""

    def __init__(self, name: str, *, folder: Path, storage: str, **settings: str) -> None:
        self.folder = APPS / name
        self.gates = folder
        self.id = f"{name}-{abs(hash(folder)) % 10**9}"
        self.settings = {
            "AzureWebJobsStorage": storage,
            "AzureFunctionsWebHost__hostid": self.id,
            "GATES": str(folder),
            "MILLRACE_HOST_BLOB_SCAN_S": "0.2",
            "MILLRACE_HOST_BALANCE_S": "1",
            **settings,
        }

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[Process]:
        """The host with this app, stopped at the end if the test did not do so."""
        command = [sys.executable, "-m", "local.functions_host", "--with-parent"]
        command += ["--app", str(self.folder), "--port", "0", *arguments]
        host = Process(command, environment=self.settings, log=self.gates / "host.log")
        try:
            yield host
        finally:
            host.stop()

    def refused(self, *arguments: str) -> tuple[int, str]:
        """Exit code and standard error of a host that should not start."""
        command = [sys.executable, "-m", "local.functions_host"]
        command += ["--app", str(self.folder), "--port", "0", *arguments]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | self.settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
            check=False,
        )
        return done.returncode, done.stderr

    def open(self, gate: str) -> None:
        """Let the app go on where it waits."""
        (self.gates / gate).touch()

    def recorded(self, **wanted: Any) -> list[dict[str, Any]]:
        """What the app wrote so far with these values."""
        path = self.gates / "record"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [line for line in found if wanted.items() <= line.items()]


async def eventually[T](look: Callable[[], T | None], *, within_s: float = 30) -> T:
    """Look until there is something; fail when there is nothing in time."""

    async def looked() -> T | None:
        return look()

    return await eventually_there(looked, within_s=within_s)


async def eventually_there[T](
    look: Callable[[], Awaitable[T | None]], *, within_s: float = 30
) -> T:
    """Look until there is something, where looking takes a while itself."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline_s, f"nothing within {within_s} s"
        await asyncio.sleep(0.05)
