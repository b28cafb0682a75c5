"""Where runs run: processes in place of clusters, one always started ahead of its run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local.databricks_jobs.model import CANCELED, FAILED, SUCCEEDED, TIMED_OUT, LifeCycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.databricks_jobs.model import Ending, Run, Workspace
    from local.databricks_jobs.store import RunFolder

#: How long a cancelled run may tidy up between SIGTERM and SIGKILL.
GRACE_S = 5.0

_ROOT = Path(__file__).parents[2]

_log = logging.getLogger("databricks_jobs")


@dataclass(slots=True)
class Worker:
    """An interpreter that waits for its one run, or has it; leader of its own process group."""

    entry_point: str
    process: asyncio.subprocess.Process
    log: Path

    @classmethod
    async def start(cls, entry_point: str, log: Path) -> Worker:
        """Start an interpreter in the repository's root; its output goes to `log`."""
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-u", "-m", "local.databricks_jobs.worker", entry_point),
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(entry_point, process, log)

    @property
    def lives(self) -> bool:
        """Whether the process has not ended, as far as is known."""
        return self.process.returncode is None

    async def assign(self, arguments: list[str], *, log: Path, failure: Path) -> None:
        """Hand over the run; a process that is gone shows when it is waited for."""
        self.log.rename(log)
        self.log = log
        line = json.dumps({"arguments": arguments, "failure": str(failure)})
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.process.stdin.write(line.encode() + b"\n")
            await self.process.stdin.drain()

    async def stop(self, *, grace_s: float = 0) -> None:
        """End the process and all it started: asked first if there is grace, then made to."""
        if grace_s:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), grace_s)
        self._signal(signal.SIGKILL)
        await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        # Gone already; macOS says so of a group of zombies in other words.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


class Pool:
    """The warm spare: the next run's interpreter, started and warmed up before there is a run."""

    def __init__(self, folder: Path) -> None:
        """Spares write to files in `folder` until a run names them."""
        self._folder = folder
        self._spare: Worker | None = None
        self._numbers = itertools.count(1)
        self._refilling = asyncio.Lock()
        for leftover in folder.glob("spare-*.log"):
            leftover.unlink()

    async def refill(self, entry_point: str) -> None:
        """See that a spare waits."""
        async with self._refilling:
            if self._spare is None:
                self._spare = await self._start(entry_point)

    async def take(self, entry_point: str) -> Worker:
        """The spare if it lives and fits, otherwise an interpreter that starts now."""
        spare = self._spare
        if spare is not None and not spare.lives:
            _log.info("the warm spare ended by itself (%s)", spare.process.returncode)
            await self.empty()
        elif spare is not None and spare.entry_point == entry_point:
            self._spare = None
            return spare
        return await self._start(entry_point)

    async def empty(self) -> None:
        """End the spare, if there is one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.stop()
            spare.log.unlink()

    async def _start(self, entry_point: str) -> Worker:
        return await Worker.start(entry_point, self._folder / f"spare-{next(self._numbers)}.log")


class Runner:
    """Carries out what the workspace decides, and writes every step down."""

    def __init__(
        self,
        workspace: Workspace,
        store: RunFolder,
        *,
        clock_ms: Callable[[], int],
        timeout_s: float | None,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """A run that fails unforeseen fails `tasks`, and with it the emulator: loudly."""
        self.workspace = workspace
        self.timeout_s = timeout_s
        self._store = store
        self._clock_ms = clock_ms
        self._tasks = tasks
        self._pool = Pool(store.folder)
        self._active: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}

    async def open(self) -> None:
        """End what an earlier life lost, go on with its queue, and warm up the first spare."""
        for run in self.workspace.lose(self._clock_ms()):
            self._keep(run)
        self.place()
        jobs = self.workspace.jobs.values()
        entry_point = next((job.entry_point for job in jobs if job.entry_point), None)
        if entry_point is not None:
            await self._pool.refill(entry_point)

    async def close(self) -> None:
        """End every process; runs under way stay as they are written, for `open` to find."""
        tasks = [task for task, _ in self._active.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.empty()

    def submit(
        self, job_id: int, *, token: str | None, parameters: dict[str, str], queue: bool
    ) -> Run:
        """Create a run, or find the one that has the token; it is on disk before this returns."""
        run = self.workspace.run_now(
            job_id, token=token, parameters=parameters, queue=queue, now_ms=self._clock_ms()
        )
        self._store.save(run)
        self.place()
        return self.workspace.run(run.run_id)

    def cancel(self, run_id: int) -> None:
        """Ask a run to end."""
        before = self.workspace.run(run_id)
        run = self.workspace.cancel(run_id, self._clock_ms())
        if run is not before:
            self._keep(run)
        if run_id in self._active:
            self._active[run_id][1].set()

    def place(self) -> None:
        """Start as many waiting runs as there are free places."""
        for run in self.workspace.place(self._clock_ms()):
            self._keep(run)
            cancelled = asyncio.Event()
            task = self._tasks.create_task(self._execute(run, cancelled))
            self._active[run.run_id] = (task, cancelled)

    async def _execute(self, run: Run, cancelled: asyncio.Event) -> None:
        entry_point = run.job.entry_point
        assert entry_point is not None, "a job without an entry point is never placed"
        worker = await self._pool.take(entry_point)
        try:
            ending = CANCELED
            if not cancelled.is_set():
                await self._begin(run, worker)
                await self._pool.refill(entry_point)
                ending = await self._watch(run, worker, cancelled)
        finally:
            await worker.stop()
            del self._active[run.run_id]
        self._keep(self.workspace.end(run.run_id, ending, self._clock_ms()))
        self.place()

    async def _begin(self, run: Run, worker: Worker) -> None:
        await worker.assign(
            [f"--{name}={value}" for name, value in run.parameters.items()],
            log=self._store.log_of(run.run_id),
            failure=self._store.failure_of(run.run_id),
        )
        if self.workspace.run(run.run_id).life_cycle is LifeCycle.PENDING:
            self._keep(self.workspace.begin(run.run_id, self._clock_ms()))

    async def _watch(self, run: Run, worker: Worker, cancelled: asyncio.Event) -> Ending:
        """Wait for the process, but not past a cancellation or the time limit."""
        ended = asyncio.create_task(worker.process.wait())
        told = asyncio.create_task(cancelled.wait())
        try:
            await asyncio.wait(
                {ended, told}, timeout=self.timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                return self._judge(run, ended.result())
            await worker.stop(grace_s=GRACE_S)
            return CANCELED if told.done() else TIMED_OUT
        finally:
            ended.cancel()
            told.cancel()

    def _judge(self, run: Run, code: int) -> Ending:
        if code == 0:
            return SUCCEEDED
        if not self._store.failure_of(run.run_id).exists():
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._store.note_failure(run.run_id, f"the run's process ended with {how}")
        return FAILED

    def _keep(self, run: Run) -> None:
        self._store.save(run)
        if run.life_cycle is LifeCycle.RUNNING:
            _log.info("run %d of %s begins", run.run_id, run.job.name)
        elif run.ending is not None and not run.is_active:
            _log.info("run %d of %s: %s", run.run_id, run.job.name, run.ending.result)
