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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One attempt; `message` says why it failed."""

    outcome: JobOutcome
    message: str = ""
