"""The rules of the Jobs service: runs, their states, their order, and what a token promises.

Pure: no I/O and no clock. A moment is an argument, in milliseconds since 1970 as the service
counts them; every change returns the run as it is now, for the caller to write down.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.domain.document import Document

#: From the service's documentation of `idempotency_token`.
TOKEN_LENGTH_MAX = 64

#: The service's ids are longs; 53 bits survive every JSON reader, as its own ids do.
_ID_BITS = 53


class LifeCycle(enum.StrEnum):
    """Where a run is, in the service's words (`state.life_cycle_state`)."""

    QUEUED = "QUEUED"
    BLOCKED = "BLOCKED"
    WAITING_FOR_RETRY = "WAITING_FOR_RETRY"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    SKIPPED = "SKIPPED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


#: The allowed steps; a state that leads nowhere is terminal. Only fated runs are ever blocked, or
#: waiting for a retry.
NEXT: dict[LifeCycle, frozenset[LifeCycle]] = {
    LifeCycle.BLOCKED: frozenset({LifeCycle.TERMINATED}),
    LifeCycle.WAITING_FOR_RETRY: frozenset({LifeCycle.TERMINATED}),
    LifeCycle.QUEUED: frozenset({LifeCycle.PENDING, LifeCycle.TERMINATING}),
    LifeCycle.PENDING: frozenset(
        {LifeCycle.RUNNING, LifeCycle.TERMINATING, LifeCycle.INTERNAL_ERROR}
    ),
    LifeCycle.RUNNING: frozenset({LifeCycle.TERMINATING, LifeCycle.INTERNAL_ERROR}),
    LifeCycle.TERMINATING: frozenset({LifeCycle.TERMINATED, LifeCycle.INTERNAL_ERROR}),
    LifeCycle.TERMINATED: frozenset(),
    LifeCycle.SKIPPED: frozenset(),
    LifeCycle.INTERNAL_ERROR: frozenset(),
}

#: States in which a run holds one of the places where processes run.
_PLACED = frozenset({LifeCycle.PENDING, LifeCycle.RUNNING, LifeCycle.TERMINATING})


class Result(enum.StrEnum):
    """How a run ended (`state.result_state`)."""

    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    TIMEDOUT = "TIMEDOUT"
    MAXIMUM_CONCURRENT_RUNS_REACHED = "MAXIMUM_CONCURRENT_RUNS_REACHED"
    DISABLED = "DISABLED"
    EXCLUDED = "EXCLUDED"
    SUCCESS_WITH_FAILURES = "SUCCESS_WITH_FAILURES"
    UPSTREAM_CANCELED = "UPSTREAM_CANCELED"
    UPSTREAM_FAILED = "UPSTREAM_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a run ended: for callers that read `state`, and for those that read `status`."""

    result: Result
    code: str
    type: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a test wants of the next run: it is in this state from the start, and stays in it."""

    life_cycle: LifeCycle
    ending: Ending | None


SUCCEEDED = Ending(result=Result.SUCCESS, code="SUCCESS", type="SUCCESS")
FAILED = Ending(
    result=Result.FAILED,
    code="RUN_EXECUTION_ERROR",
    type="CLIENT_ERROR",
    message="Workload failed, see run output for details",
)
CANCELED = Ending(
    result=Result.CANCELED, code="USER_CANCELED", type="CLIENT_ERROR", message="Run cancelled."
)
TIMED_OUT = Ending(
    result=Result.TIMEDOUT, code="CANCELED", type="CLIENT_ERROR", message="Run timed out."
)
CROWDED_OUT = Ending(
    result=Result.MAXIMUM_CONCURRENT_RUNS_REACHED,
    code="MAX_CONCURRENT_RUNS_EXCEEDED",
    type="CLIENT_ERROR",
    message="All places are taken and the request asked not to be queued.",
)
NOT_EMULATED = Ending(
    result=Result.FAILED,
    code="FEATURE_DISABLED",
    type="CLIENT_ERROR",
    message="notebooks are not emulated: give the job an entryPoint in pipeline.json, "
    "or run it on Databricks",
)
LOST = Ending(
    result=Result.FAILED,
    code="CLUSTER_ERROR",
    type="CLOUD_FAILURE",
    message="the emulator stopped while this run was active, and its process with it, "
    "as when a cluster is lost: run it again",
)


class Refused(Exception):
    """The service refuses a request: HTTP status, error code and message are its own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """`code` is what the official clients turn into an exception type."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the document describes it."""

    job_id: int
    name: str
    task_key: str
    entry_point: str | None
    notebook: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a job as the job was; `number` counts all runs: the order of their creation."""

    run_id: int
    job: Job
    number: int
    token: str | None
    parameters: dict[str, str]
    life_cycle: LifeCycle
    created_ms: int
    placed_ms: int = 0
    began_ms: int = 0
    ended_ms: int = 0
    ending: Ending | None = None
    fated: bool = False

    @property
    def task_run_id(self) -> int:
        """The id of the run's only task, which is another one, as in the service."""
        return derive_id("task", str(self.run_id))

    @property
    def is_active(self) -> bool:
        """Whether the run can still change."""
        return bool(NEXT[self.life_cycle])

    def step(self, life_cycle: LifeCycle, **changes: object) -> Run:
        """Go to the next state; a step that the table lacks is a bug."""
        assert life_cycle in NEXT[self.life_cycle], f"{self.life_cycle} never becomes {life_cycle}"
        return dataclasses.replace(self, life_cycle=life_cycle, **changes)  # type: ignore[arg-type] # Named as the fields are.


def derive_id(*parts: str) -> int:
    """An id from what it stands for, so that a restart and a retry arrive at the same one."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return int.from_bytes(digest[:8]) >> (64 - _ID_BITS)


def jobs_of(document: Document) -> tuple[Job, ...]:
    """The document's jobs, named as they are in the service."""
    prefix = f"{document.name}-{document.environment}"
    return tuple(
        Job(
            job_id=derive_id("job", f"{prefix}-{job.name}"),
            name=f"{prefix}-{job.name}",
            task_key=job.name,
            entry_point=job.entry_point,
            notebook=job.notebook,
        )
        for job in document.databricks.jobs
    )


class Workspace:
    """All jobs and runs, and how many runs may hold a place at once."""

    def __init__(self, jobs: Iterable[Job], runs: Iterable[Run] = (), *, places: int) -> None:
        """`runs` are those an earlier life wrote down."""
        self.jobs = {job.job_id: job for job in jobs}
        self.places = places
        self._runs = {run.run_id: run for run in runs}
        self._run_ids = {run.task_run_id: run.run_id for run in self._runs.values()}
        self._number = max((run.number for run in self._runs.values()), default=0)
        self._fates: deque[Fate] = deque()

    def job(self, job_id: int) -> Job:
        """The job, or the service's refusal."""
        if job_id not in self.jobs:
            raise Refused(400, "INVALID_PARAMETER_VALUE", f"Job {job_id} does not exist.")
        return self.jobs[job_id]

    def run(self, run_id: int) -> Run:
        """The run, or the service's refusal."""
        if run_id not in self._runs:
            raise Refused(400, "INVALID_PARAMETER_VALUE", f"Run {run_id} does not exist.")
        return self._runs[run_id]

    def run_of_task(self, task_run_id: int) -> Run | None:
        """The run whose only task has this id, if there is one."""
        return self._runs.get(self._run_ids.get(task_run_id, 0))

    def newest_first(self) -> list[Run]:
        """Every run, the latest created first."""
        return sorted(self._runs.values(), key=lambda run: -run.number)

    def lose(self, now_ms: int) -> list[Run]:
        """End what was under way when an earlier life ended; the queue outlives it."""
        return [
            self._keep(run.step(LifeCycle.INTERNAL_ERROR, ending=LOST, ended_ms=now_ms))
            for run in self._placed()
        ]

    def ordain(self, fate: Fate) -> None:
        """Decide what becomes of the next run that nobody's fate is yet; no process will run."""
        self._fates.append(fate)

    def run_now(
        self,
        job_id: int,
        *,
        token: str | None,
        parameters: dict[str, str],
        queue: bool,
        now_ms: int,
    ) -> Run:
        """Create a run; the same token finds the same run, whatever else the request says."""
        job = self.job(job_id)
        if token is not None and len(token) > TOKEN_LENGTH_MAX:
            problem = f"idempotency_token has {len(token)} characters, more than {TOKEN_LENGTH_MAX}"
            raise Refused(400, "INVALID_PARAMETER_VALUE", problem)
        run_id = derive_id("run", token) if token else derive_id("run", "", str(self._number + 1))
        if run_id in self._runs:
            return self._runs[run_id]
        self._number += 1
        run = Run(
            run_id=run_id,
            job=job,
            number=self._number,
            token=token,
            parameters=parameters,
            life_cycle=LifeCycle.QUEUED,
            created_ms=now_ms,
        )
        if self._fates:
            return self._keep(_fated(run, self._fates.popleft()))
        if job.entry_point is None:
            return self._keep(_stillborn(run, LifeCycle.INTERNAL_ERROR, NOT_EMULATED))
        if not queue and len(self._placed()) >= self.places:
            return self._keep(_stillborn(run, LifeCycle.SKIPPED, CROWDED_OUT))
        return self._keep(run)

    def place(self, now_ms: int) -> list[Run]:
        """Move runs from the queue to free places, the longest waiting first."""
        queued = [run for run in self.newest_first() if run.life_cycle is LifeCycle.QUEUED]
        queue = [run for run in queued if not run.fated]
        free = max(self.places - len(self._placed()), 0)
        chosen = queue[::-1][:free]
        return [self._keep(run.step(LifeCycle.PENDING, placed_ms=now_ms)) for run in chosen]

    def begin(self, run_id: int, now_ms: int) -> Run:
        """The run's process has its arguments."""
        return self._keep(self.run(run_id).step(LifeCycle.RUNNING, began_ms=now_ms))

    def cancel(self, run_id: int, now_ms: int) -> Run:
        """Ask a run to end; one that waits ends at once, one that has ended is left as it is."""
        run = self.run(run_id)
        if run.fated and run.is_active:
            fate = Fate(life_cycle=LifeCycle.TERMINATED, ending=CANCELED)
            return self._keep(_fated(run, fate, now_ms=now_ms))
        if not run.is_active or run.life_cycle is LifeCycle.TERMINATING:
            return run
        waited = run.life_cycle is LifeCycle.QUEUED
        run = self._keep(run.step(LifeCycle.TERMINATING, ending=CANCELED))
        return self.end(run_id, CANCELED, now_ms) if waited else run

    def end(self, run_id: int, ending: Ending, now_ms: int) -> Run:
        """The run's process is gone."""
        run = self.run(run_id)
        if run.life_cycle is not LifeCycle.TERMINATING:
            run = run.step(LifeCycle.TERMINATING)
        return self._keep(run.step(LifeCycle.TERMINATED, ending=ending, ended_ms=now_ms))

    def _placed(self) -> list[Run]:
        runs = [run for run in self._runs.values() if not run.fated]
        return [run for run in runs if run.life_cycle in _PLACED]

    def _keep(self, run: Run) -> Run:
        self._runs[run.run_id] = run
        self._run_ids[run.task_run_id] = run.run_id
        return run


def _stillborn(run: Run, life_cycle: LifeCycle, ending: Ending) -> Run:
    """A run that was over when it was created: it never waited and never held a place."""
    return dataclasses.replace(run, life_cycle=life_cycle, ending=ending, ended_ms=run.created_ms)


def _fated(run: Run, fate: Fate, *, now_ms: int | None = None) -> Run:
    """A run in a state that no process brought it to."""
    moment_ms = run.created_ms if now_ms is None else now_ms
    return dataclasses.replace(
        run,
        life_cycle=fate.life_cycle,
        ending=fate.ending,
        ended_ms=0 if NEXT[fate.life_cycle] else moment_ms,
        fated=True,
    )
