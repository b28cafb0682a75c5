"""The job run: what the job service says of one attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobOutcome(StrEnum):
    """What matters of the service's many states."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"  # By a person, at the service or through us.
    SKIPPED = "skipped"  # Never begun: the queue is full or the job is paused.


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One attempt; `message` says why it did not succeed."""

    outcome: JobOutcome
    message: str = ""
