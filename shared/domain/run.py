"""The run: one job run over an exact list of raw blobs, for one dataset.

A dataset's *progress* says up to where its raw blobs are planned into runs, partition by partition,
and which run is open. Plan and progress move together or not at all, so no blob is ever in two runs
or in none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shared.domain.cloud_event import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.dataset import Dataset
    from shared.domain.document import Document
    from shared.domain.raw_blob import RawHead

ATTEMPTS_MAX = 5
BACKOFF_FIRST_S = 2
BACKOFF_LONGEST_S = 600


class RunState(StrEnum):
    """Where a run is; `NEXT` says where it may go."""

    PLANNED = "planned"
    LAUNCHED = "launched"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.PLANNED: frozenset({RunState.LAUNCHED, RunState.FAILED}),
    RunState.LAUNCHED: frozenset(
        {RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED, RunState.PLANNED}
    ),
    RunState.RUNNING: frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.PLANNED}),
    RunState.SUCCEEDED: frozenset(),
    RunState.FAILED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One row of the ledger.

    `job_run` is the number the service gave the current attempt; `version` is the store's, to
    replace the row only if it is unchanged.
    """

    id: str
    dataset: str
    job: str
    state: RunState
    attempt: int = 1
    blobs: int
    events: int
    planned_at: datetime
    due_at: datetime
    job_run: int | None = None
    ended_at: datetime | None = None
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    version: str = field(default="", compare=False)

    @property
    def is_open(self) -> bool:
        """Whether something is still to happen to the run."""
        return bool(NEXT[self.state])

    @property
    def token(self) -> str:
        """Idempotency token: the same attempt, the same job run, however often it is launched."""
        return f"{self.id}-{self.attempt}"

    def to(self, state: RunState, **changes: Any) -> Run:  # noqa: ANN401 -- Any field.
        """The run in its next state; a step out of the table is a bug."""
        assert state in NEXT[self.state], f"a run cannot go from {self.state} to {state}"
        return replace(self, state=state, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """Up to where one partition is planned: a sequence number and the blob that ends with it."""

    sequence: int
    blob: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A dataset's progress through raw; `version` is the store's, to replace only if unchanged."""

    dataset: str
    planned: Mapping[str, Planned] = field(default_factory=dict)
    run_open: str = ""
    version: str = ""

    def without_run(self) -> Progress:
        """The progress once its run has ended."""
        return replace(self, run_open="")


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
    assert not progress.run_open, "a dataset has at most one open run"
    return run, replace(progress, planned={**progress.planned, **last}, run_open=run.id)


def plan_replay(
    heads: list[RawHead], *, dataset: Dataset, progress: Progress, now: datetime
) -> tuple[Run, Progress]:
    """A run over blobs that were planned before: only the open run of the progress changes."""
    assert not progress.run_open, "a dataset has at most one open run"
    run = _run_over(heads, dataset=dataset, now=now, prefix=f"replay-{now:%Y%m%dT%H%M%S}-")
    return run, replace(progress, run_open=run.id)


def _run_over(heads: list[RawHead], *, dataset: Dataset, now: datetime, prefix: str) -> Run:
    assert heads, "a run has at least one blob"
    names = "\n".join(head.name for head in heads)
    digest = hashlib.sha256(f"{dataset.name}\n{names}".encode()).hexdigest()[:12]
    return Run(
        id=f"{dataset.name}-{prefix}{digest}",
        dataset=dataset.name,
        job=dataset.job,
        state=RunState.PLANNED,
        blobs=len(heads),
        events=sum(head.events for head in heads),
        planned_at=now,
        due_at=now,
    )


def manifest_of(
    run: Run, heads: list[RawHead], *, document: Document, storage: Mapping[str, str]
) -> bytes:
    """The manifest: all a transform needs to know, as JSON."""
    dataset = document.dataset(run.dataset)
    content = {
        "version": 1,
        "run": run.id,
        "document": document.digest,
        "plannedAt": rfc3339(run.planned_at),
        "dataset": dataset.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "storage": dict(storage),
        "blobs": [
            {
                "name": head.name,
                "partition": head.partition.id,
                "sequenceFirst": head.sequence_first,
                "sequenceLast": head.sequence_last,
                "events": head.events,
                "records": head.records,
                "bytes": head.size_bytes,
            }
            for head in heads
        ],
    }
    return json.dumps(content).encode()


def after_failure(run: Run, *, message: str, now: datetime) -> Run:
    """Plan the next attempt with exponential backoff, or give the run up; its blobs are kept."""
    if run.attempt >= ATTEMPTS_MAX:
        return run.to(RunState.FAILED, message=message, ended_at=now)
    wait_s = min(BACKOFF_FIRST_S * 4 ** (run.attempt - 1), BACKOFF_LONGEST_S)
    return run.to(
        RunState.PLANNED,
        attempt=run.attempt + 1,
        job_run=None,
        message=message,
        due_at=now + timedelta(seconds=wait_s),
    )
