"""The stack: starts every local system in order, keeps them running, and stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from local import azurite_process
from local.functions_host.telemetry import watched
from shared.domain.errors import Misconfigured, TryLater
from shared.settings import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

START_LIMIT_S = 60
STOP_LIMIT_S = 15
#: Deaths in a row, each soon after a start: a poisonous batch takes some until it stands alone.
RESTARTS_MAX = 30
YOUNG_S = 3
_TOKEN = "local"  # noqa: S105 -- The jobs emulator listens on loopback and wants some token.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """One port a system, counted up from a base."""

    base: int

    @property
    def numbers(self) -> dict[str, int]:
        """System to port."""
        names = ("source", "functions", "hubs", "jobs", "blob", "queue", "table")
        return {name: self.base + offset for offset, name in enumerate(names)}

    def check(self) -> None:
        """Raise `Misconfigured` naming the first port that another program holds."""
        for name, port in self.numbers.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise Misconfigured(
                        "--ports",
                        f"{self.base}: port {port} ({name}) is taken by another program; "
                        "choose another base, for example --ports 17070",
                    ) from error


@dataclass(slots=True, kw_only=True)
class System:
    """One process of the stack."""

    name: str
    command: list[str]
    process: Process | None = None
    deaths_young: int = 0
    watchers: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class Stack:
    """All processes over one data directory."""

    pipeline: Path
    data: Path
    ports: Ports
    source_seconds: float
    say: Callable[[str], None]
    app: Path = ROOT
    systems: list[System] = field(default_factory=list)
    _stopping: bool = False

    def settings(self) -> dict[str, str]:
        """The app's settings: what `local.settings.json` holds elsewhere."""
        port = self.ports.numbers
        storage = azurite_process.connection_string(
            blob=port["blob"], queue=port["queue"], table=port["table"]
        )
        hubs = os.environ.get("EVENT_HUBS") or (  # noqa: TID251 -- The user's own choice of hub.
            f"Endpoint=sb://127.0.0.1:{port['hubs']};SharedAccessKeyName=local;"
            "SharedAccessKey=local;UseDevelopmentEmulator=true;"
        )
        return {
            "AzureWebJobsStorage": storage,
            "FUNCTIONS_WORKER_RUNTIME": "python",
            "EVENT_HUBS": hubs,
            "LAKE": storage,
            "LEDGER": os.environ.get("LEDGER", ""),  # noqa: TID251 -- The user's own choice, too.
            "DATABRICKS_HOST": f"http://127.0.0.1:{port['jobs']}",
            "DATABRICKS_TOKEN": _TOKEN,
            "EARTHQUAKES_URL": f"http://127.0.0.1:{port['source']}",
            "PIPELINE_FILE": str(self.pipeline),
            "POLL_SCHEDULE": "* * * * * *",  # The sample source tells its week in seconds.
            "RUN_EVERY": "PT1S",  # Rows at once; in Azure runs are what costs most.
            "TRACK_SCHEDULE": "* * * * * *",
            "MAINTENANCE_SCHEDULE": "0 30 2 * * *",
            "MEASURE_SCHEDULE": "*/5 * * * * *" if watched(os.environ) else "0 * * * * *",  # noqa: TID251 -- The user's own choice of where telemetry goes.
            "AzureFunctionsWebHost__hostid": "millrace-local",
        }

    def environment(self) -> dict[str, str]:
        """What the processes see besides the settings."""
        own = dict(os.environ)  # noqa: TID251 -- Children inherit the caller's environment.
        quick = {
            "MILLRACE_HOST_BLOB_SCAN_S": "0.5",
            "MILLRACE_HOST_BALANCE_S": "2",
            # Whoever watches wants events now; in Azure few, large blobs are cheaper.
            "AzureFunctionsJobHost__extensions__eventHubs__minEventBatchSize": "1",
        }
        return (
            quick
            | own
            | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{own.get('PATH', '')}",
                "TZ": "UTC",
                "AZURE_STORAGE_USE_EMULATOR": "true",
                "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{self.ports.numbers['blob']}",
                "RUST_LOG": "error",
                **self.settings(),
            }
        )

    async def start(self) -> None:
        """Start everything; raise `TryLater` naming what did not come up, and its log."""
        storage, *emulators, source, functions = self.systems = self._systems()
        self.say("starting storage, hubs and jobs")
        await asyncio.gather(*map(self._start, (storage, *emulators)), self._provision())
        self.say("starting the source and the function app")
        await asyncio.gather(self._start(source), self._start(functions))
        (self.data / "stack.json").write_text(json.dumps(self.settings(), indent=1))

    async def stop(self) -> None:
        """Stop in reverse: first who sends, last who stores."""
        self._stopping = True
        for system in reversed(self.systems):
            await _end(system)
        (self.data / "stack.json").unlink(missing_ok=True)

    def _systems(self) -> list[System]:
        port = {name: str(number) for name, number in self.ports.numbers.items()}
        document = ["--pipeline", str(self.pipeline)]
        storage = azurite_process.command(
            self.data / "azurite",
            blob=self.ports.numbers["blob"],
            queue=self.ports.numbers["queue"],
            table=self.ports.numbers["table"],
        )
        found = [System(name="storage", command=storage)]
        if self.settings()["EVENT_HUBS"].count("127.0.0.1:" + port["hubs"]):
            found.append(self._module("event_hubs", "hubs", *document))
        found.append(self._module("databricks_jobs", "jobs", *document, "--token", _TOKEN))
        seconds = str(self.source_seconds)
        found.append(self._module("sample_source", "source", "--seconds", seconds))
        host = self._module("functions_host", "functions", "--app", str(self.app))
        if func := shutil.which("func"):
            host = System(name="functions", command=[func, "start", "--port", port["functions"]])
        return [*found, host]

    def _module(self, name: str, port: str, *arguments: str) -> System:
        command = [sys.executable, "-m", f"local.{name}", "--with-parent"]
        command += ["--port", str(self.ports.numbers[port]), *arguments]
        if name != "functions_host":
            command += ["--data", str(self.data / name)]
        return System(name=port, command=command)

    async def _start(self, system: System) -> None:
        """Start a process and wait until it announces itself."""
        log = (self.data / "logs" / f"{system.name}.log").open("ab")
        with log:
            system.process = await asyncio.create_subprocess_exec(
                *system.command, cwd=ROOT, env=self.environment(), stdin=PIPE, stdout=PIPE,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            async with asyncio.timeout(START_LIMIT_S):
                ready = await _announced(system.process)
        except TimeoutError:
            ready = False
        if not ready:
            await _end(system)
            raise TryLater(f"{system.name} did not start: {self._last_words(system)}")
        watcher = asyncio.create_task(self._watch(system, system.process))
        system.watchers.add(watcher)
        watcher.add_done_callback(system.watchers.discard)

    async def _watch(self, system: System, process: Process) -> None:
        """Copy what a process prints to its log, and start it again when it dies unasked."""
        assert process.stdout is not None, "standard output is a pipe"
        started_s = asyncio.get_running_loop().time()
        with (self.data / "logs" / f"{system.name}.log").open("ab") as log:
            async for line in process.stdout:
                log.write(line)
        code = await process.wait()
        await _let_go(process)
        if self._stopping:
            return
        age_s = asyncio.get_running_loop().time() - started_s
        system.deaths_young = system.deaths_young + 1 if age_s < YOUNG_S else 0
        self.say(f"{system.name} ended unasked ({_how(code)}); starting it again")
        while not self._stopping and system.deaths_young <= RESTARTS_MAX:
            try:
                await self._start(system)
            except TryLater as error:
                system.deaths_young += 1
                self.say(str(error))
            else:
                return
        if not self._stopping:
            self.say(f"{system.name} keeps dying: {self._last_words(system)}")
            os.kill(os.getpid(), signal.SIGTERM)

    async def _provision(self) -> None:
        """Create containers and tables as soon as storage answers; Bicep does it in Azure."""
        from azure.core.exceptions import AzureError, ResourceExistsError  # noqa: PLC0415 -- Slow.
        from azure.data.tables.aio import TableServiceClient  # noqa: PLC0415
        from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415

        from shared.adapters.blob_storage import CONTAINERS  # noqa: PLC0415
        from shared.adapters.table_storage import TABLE  # noqa: PLC0415

        storage = self.settings()["LAKE"]
        await _listening(self.ports.numbers["table"])
        try:
            async with BlobServiceClient.from_connection_string(storage) as blobs:
                for container in CONTAINERS:
                    with contextlib.suppress(ResourceExistsError):
                        await blobs.create_container(container)
            async with TableServiceClient.from_connection_string(storage) as tables:
                await tables.create_table_if_not_exists(TABLE)
        except AzureError as error:
            raise TryLater(f"storage does not take containers: {error}") from error

    def _last_words(self, system: System) -> str:
        path = self.data / "logs" / f"{system.name}.log"
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[-1] if lines else 'it said nothing'} (log: {path})"


@contextlib.asynccontextmanager
async def running(stack: Stack) -> AsyncIterator[Stack]:
    """The stack, started, and stopped whatever happens.

    Raises `Misconfigured` when another stack holds the data directory or a port is taken.
    """
    (stack.data / "logs").mkdir(parents=True, exist_ok=True)
    with (stack.data / "lock").open("a+") as lock:
        _hold(lock, stack.data)
        stack.ports.check()
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()


def settings_of(data: Path) -> Mapping[str, str]:
    """The settings of the stack that runs over a data directory; raise `Misconfigured` if none."""
    try:
        found: dict[str, str] = json.loads((data / "stack.json").read_text())
    except FileNotFoundError as error:
        raise Misconfigured(
            "--data", f"{data}: no stack is running here; start one with `make up`"
        ) from error
    return found


def _hold(lock: IO[str], data: Path) -> None:
    """Keep a second stack out; the system lets go of the lock however this process ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        raise Misconfigured(
            "--data",
            f"{data}: a stack is already running here (process {lock.read().strip()}); "
            "look at it with `millrace status`, or stop it first",
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


async def _announced(process: Process) -> bool:
    """Whether the process said that it is listening before it ended."""
    assert process.stdout is not None, "standard output is a pipe"
    async for line in process.stdout:
        if b"listening on" in line or b"Host lock lease acquired" in line:
            return True
    return False


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return


async def _end(system: System) -> None:
    """Ask a process to end, insist when it does not, and let its watcher finish."""
    process = system.process
    if process is not None and process.returncode is None:
        try:
            process.terminate()
            async with asyncio.timeout(STOP_LIMIT_S):
                await process.wait()
        except ProcessLookupError:  # It has ended, and nobody has waited for it yet.
            await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await _let_go(process)
    # A watcher that starts its system again may be the one who asks.
    await asyncio.gather(*(system.watchers - {asyncio.current_task()}))
    if system.process is not process:
        await _end(system)  # It was being started again meanwhile.


async def _let_go(process: Process) -> None:
    """Close our end of the pipe that an ended process held the other end of."""
    assert process.stdin is not None, "standard input is a pipe"
    process.stdin.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.wait_closed()


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
