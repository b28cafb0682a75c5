"""The run: one piece of work on one table, done by a job run and tried until it succeeds.

There are three kinds. A *clean* run brings an exact list of raw blobs into a dataset's table. A
*curated* run makes a curated table from exact versions of other tables. A *maintenance* run
compacts a table and forgets its old files. A table has at most one open run, of whatever kind.

A table's *progress* says up to where its inputs are planned into runs, which run is open, and which
runs come next. Plan and progress move together or not at all, so no blob is ever in two runs or in
none. A run that failed or was cancelled keeps what it covers: later blobs go into later runs, and
`retry` brings the rest in, because the newest version of a row wins in whatever order they come.
A curated run covers everything since the last one that *succeeded*: the next one makes good for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.domain.cloud_event import rfc3339
from shared.domain.dataset import Curated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.dataset import Dataset
    from shared.domain.raw_blob import RawHead

ATTEMPTS_MAX = 5
MAINTENANCE_ATTEMPTS_MAX = 2  # While it is tried, no blob gets into the table; tomorrow it is due.
BACKOFF_FIRST_S = 2
BACKOFF_LONGEST_S = 600
SKIPPED_WAIT_S = 60  # The service's queue is full, or the job is paused: no fault of the run.
_TOKEN_LENGTH_MAX = 64  # The service refuses longer ones.
_MAINTENANCE = "-maintenance-"


class RunKind(StrEnum):
    """What a run does to its table."""

    CLEAN = "clean"
    CURATED = "curated"
    MAINTENANCE = "maintenance"


class RunState(StrEnum):
    """Where a run is; `NEXT` says where it may go.

    `launched` is noted before the service is asked, so that nothing runs of a planned run.
    """

    PLANNED = "planned"
    LAUNCHED = "launched"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
#: Back to planned goes what is tried again: by itself, or because a person says so.
NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset({RunState.LAUNCHED, RunState.CANCELLED}),
    RunState.LAUNCHED: _ENDS | {RunState.RUNNING, RunState.PLANNED},
    RunState.RUNNING: _ENDS | {RunState.PLANNED},
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset({RunState.PLANNED}),
    RunState.CANCELLED: frozenset({RunState.PLANNED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Up to where one input is planned.

    Of a partition of raw: a sequence number and the blob that ends with it. Of a table that a
    curated one reads: a Delta version and the run that wrote it.
    """

    sequence: int
    blob: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of the ledger; `dataset` is the name of the table, clean or curated.

    `attempt` counts launches, `failures` those that failed since a person last asked for a retry.
    `job_run` is the number the service gave the current attempt, None until it is known. `inputs`
    are what a curated run reads. `traceparent` is where in a trace the run was planned. `version`
    is the store's, to replace the row only if unchanged.
    """

    id: str
    dataset: str
    kind: RunKind = RunKind.CLEAN
    job: str
    state: RunState
    attempt: int = 1
    failures: int = 0
    blobs: int
    events: int
    inputs: Mapping[str, Planned] = field(default_factory=dict)
    planned_at: datetime
    due_at: datetime
    job_run: int | None = None
    ended_at: datetime | None = None
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    traceparent: str = ""
    version: str = field(default="", compare=False)

    @property
    def is_open(self) -> bool:
        """Whether something is still to happen to the run by itself."""
        return self.state not in _ENDS

    @property
    def token(self) -> str:
        """Idempotency token: the same attempt, the same job run, however often it is launched."""
        token = f"{self.id}-{self.attempt}"
        if len(token) <= _TOKEN_LENGTH_MAX:
            return token
        return hashlib.sha256(token.encode()).hexdigest()

    @property
    def table_version(self) -> int:
        """The Delta version that the run left its table at; 0 while it has not said."""
        return self.counts.get("tableVersion", 0)

    def to(self, state: RunState, **changes: Any) -> Run:  # noqa: ANN401 -- Any field.
        """The run in its next state; a step out of the table is a bug."""
        assert state in NEXT[self.state], f"a run cannot go from {self.state} to {state}"
        return replace(self, state=state, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A table's progress; `version` is the store's, to replace only if unchanged.

    `run_succeeded` is the run that last wrote the table, maintenance left out. `queued` are ids of
    runs that come next, before anything new is planned: retries, and maintenance that is due.
    """

    dataset: str
    planned: Mapping[str, Planned] = field(default_factory=dict)
    run_open: str = ""
    run_succeeded: str = ""
    queued: tuple[str, ...] = ()
    version: str = ""

    def covers(self, partition: str, sequence: int) -> bool:
        """Whether a partition's blobs are planned as far as a sequence number."""
        return partition in self.planned and self.planned[partition].sequence >= sequence

    def without_run(self) -> Progress:
        """The progress once its run has ended."""
        return replace(self, run_open="")

    def after(self, run: Run) -> Progress:
        """The progress once `run` has ended as it did."""
        if run.state is RunState.SUCCEEDED and run.kind is not RunKind.MAINTENANCE:
            return replace(self, run_open="", run_succeeded=run.id)
        return self.without_run()

    def with_queued(self, run_id: str) -> Progress:
        """The progress with one more run that comes next."""
        return replace(self, queued=(*self.queued, run_id))

    def without_queued(self, run_id: str) -> Progress:
        """The progress once that run need not come any more."""
        return replace(self, queued=tuple(each for each in self.queued if each != run_id))


def has_runs(table: Dataset | Curated) -> bool:
    """Whether anything is ever written for a table; a view never is."""
    return not isinstance(table, Curated) or table.kind == "table"


def tables_of[T: Dataset | Curated](run_id: str, tables: Iterable[T]) -> list[T]:
    """The tables that a run may belong to, by its id, which begins with the table's name."""
    return [table for table in tables if run_id.startswith(f"{table.name}-")]


def follow(heads: Iterable[RawHead], planned: Mapping[str, Planned]) -> list[RawHead]:
    """The blobs that come next, each linked to one that is planned.

    A listing is not a snapshot: it can show a blob and miss its predecessor that was created
    meanwhile. What does not link up is left for the next plan. A blob that repeats some of what is
    planned is taken for the rest of it: tables do not mind repeats.
    """
    reached = {partition: place.sequence for partition, place in planned.items()}
    chosen = []
    for head in sorted(heads, key=lambda head: (head.partition, head.sequence_first)):
        if head.sequence_previous <= reached.get(head.partition.label, -1) < head.sequence_last:
            reached[head.partition.label] = head.sequence_last
            chosen.append(head)
    return chosen


def plan(
    heads: list[RawHead], *, dataset: Dataset, progress: Progress, now: datetime
) -> tuple[Run, Progress]:
    """A new run over `heads` and the progress that goes with it; the id is a function of both."""
    run = _run_over(heads, dataset=dataset, now=now, prefix="")
    last = {
        head.partition.label: Planned(sequence=head.sequence_last, blob=head.name) for head in heads
    }
    return run, _opened(progress, run, planned=last)


def plan_replay(
    heads: list[RawHead], *, dataset: Dataset, progress: Progress, now: datetime
) -> tuple[Run, Progress]:
    """A run over blobs that were planned before: only the open run of the progress changes."""
    run = _run_over(heads, dataset=dataset, now=now, prefix=f"replay-{now:%Y%m%dT%H%M%S}-")
    return run, _opened(progress, run)


def plan_curated(
    curated: Curated, inputs: Mapping[str, Planned], *, progress: Progress, now: datetime
) -> tuple[Run, Progress]:
    """A run that makes a curated table from its inputs as they are now."""
    names = [f"{name} {place.sequence} {place.blob}" for name, place in sorted(inputs.items())]
    run = Run(
        id=f"{curated.name}-{_digest(curated.name, *names)}",
        dataset=curated.name,
        kind=RunKind.CURATED,
        job=curated.job,
        state=RunState.PLANNED,
        blobs=0,
        events=0,
        inputs=inputs,
        planned_at=now,
        due_at=now,
    )
    return run, _opened(progress, run, planned=inputs)


def maintenance_id(table: Dataset | Curated, *, now: datetime) -> str:
    """The id of the day's maintenance of a table, so that there is at most one a day."""
    return f"{table.name}{_MAINTENANCE}{now:%Y%m%d}"


def is_maintenance(run_id: str) -> bool:
    """Whether an id is that of a maintenance run."""
    return _MAINTENANCE in run_id


def plan_maintenance(
    table: Dataset | Curated, run_id: str, *, progress: Progress, now: datetime
) -> tuple[Run, Progress]:
    """A run that compacts a table; only the open run of the progress changes."""
    run = Run(
        id=run_id,
        dataset=table.name,
        kind=RunKind.MAINTENANCE,
        job=table.job,
        state=RunState.PLANNED,
        blobs=0,
        events=0,
        planned_at=now,
        due_at=now,
    )
    return run, _opened(progress, run)


def reopen(run: Run, progress: Progress, *, now: datetime) -> tuple[Run, Progress]:
    """A failed or cancelled run as it is tried again because a person said so."""
    again = run.to(
        RunState.PLANNED,
        attempt=run.attempt + 1,
        failures=0,
        job_run=None,
        due_at=now,
        ended_at=None,
    )
    return again, _opened(progress, again)


def _opened(
    progress: Progress, run: Run, *, planned: Mapping[str, Planned] | None = None
) -> Progress:
    assert not progress.run_open, "a table has at most one open run"
    moved = replace(progress, planned={**progress.planned, **(planned or {})}, run_open=run.id)
    return moved.without_queued(run.id)


def _run_over(heads: list[RawHead], *, dataset: Dataset, now: datetime, prefix: str) -> Run:
    assert heads, "a run has at least one blob"
    return Run(
        id=f"{dataset.name}-{prefix}{_digest(dataset.name, *(head.name for head in heads))}",
        dataset=dataset.name,
        job=dataset.job,
        state=RunState.PLANNED,
        blobs=len(heads),
        events=sum(head.events for head in heads),
        planned_at=now,
        due_at=now,
    )


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def after_failure(run: Run, *, message: str, now: datetime) -> Run:
    """Plan the next attempt with exponential backoff, or give up; what the run covers is kept."""
    failures = run.failures + 1
    maintains = run.kind is RunKind.MAINTENANCE
    if failures >= (MAINTENANCE_ATTEMPTS_MAX if maintains else ATTEMPTS_MAX):
        return run.to(RunState.FAILED, failures=failures, message=message, ended_at=now)
    wait_s = min(BACKOFF_FIRST_S * 4 ** (failures - 1), BACKOFF_LONGEST_S)
    return _again(run, failures=failures, message=message, due_at=now + timedelta(seconds=wait_s))


def after_skip(run: Run, *, message: str, now: datetime) -> Run:
    """Plan the next attempt for later: the service did not even begin this one."""
    due_at = now + timedelta(seconds=SKIPPED_WAIT_S)
    return _again(run, failures=run.failures, message=message, due_at=due_at)


def _again(run: Run, *, failures: int, message: str, due_at: datetime) -> Run:
    """The next attempt: by its number it has a token of its own."""
    return run.to(
        RunState.PLANNED,
        attempt=run.attempt + 1,
        failures=failures,
        job_run=None,
        message=message,
        due_at=due_at,
    )


def further_on(run: Run) -> tuple[int, bool]:
    """What grows as a run goes on, so that whoever is late does not take its note back."""
    return run.attempt, not run.is_open


def described(run: Run) -> dict[str, Any]:
    """The run as SQL sees it: every key always there, names in camel case."""
    return {
        "id": run.id,
        "dataset": run.dataset,
        "kind": str(run.kind),
        "job": run.job,
        "state": str(run.state),
        "attempt": run.attempt,
        "failures": run.failures,
        "blobs": run.blobs,
        "events": run.events,
        "plannedAt": rfc3339(run.planned_at),
        "endedAt": rfc3339(run.ended_at) if run.ended_at else None,
        "jobRun": run.job_run,
        "message": run.message,
        "counts": dict(run.counts),
    }
