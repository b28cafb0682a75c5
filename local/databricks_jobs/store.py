"""What outlives the emulator: one file per run, and beside it the run's output."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from local.databricks_jobs.model import Run

if TYPE_CHECKING:
    from pathlib import Path

#: As much output as the service gives, from the end.
LOG_BYTES_MAX = 5 * 1024 * 1024

_RUN = TypeAdapter(Run)


@dataclass(frozen=True, slots=True)
class Output:
    """What a run wrote, and, if it failed, why: the exception and its traceback."""

    logs: str
    truncated: bool
    error: str | None
    trace: str | None


class RunFolder:
    """A folder of runs. A file is replaced as a whole: killed at any point, it reads back."""

    def __init__(self, folder: Path) -> None:
        """Create the folder if it is not there."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def load(self) -> list[Run]:
        """Every run that was ever written down here."""
        return [_RUN.validate_json(path.read_bytes()) for path in self.folder.glob("*.run.json")]

    def save(self, run: Run) -> None:
        """Write the run down. No fsync: this outlives its process, not the machine."""
        draft = self.folder / f"{run.run_id}.run.new"
        draft.write_bytes(_RUN.dump_json(run, indent=2))
        draft.replace(self.folder / f"{run.run_id}.run.json")

    def log_of(self, run_id: int) -> Path:
        """Where the run's standard output and error go."""
        return self.folder / f"{run_id}.log"

    def failure_of(self, run_id: int) -> Path:
        """Where the run's process says why it failed; absent if it did not, or could not."""
        return self.folder / f"{run_id}.failure.json"

    def note_failure(self, run_id: int, error: str) -> None:
        """Say why the run failed, in place of a process that could not."""
        self.failure_of(run_id).write_text(json.dumps({"error": error, "trace": None}))

    def output_of(self, run_id: int) -> Output:
        """The run's output so far, its end if it is long."""
        log, failure = self.log_of(run_id), self.failure_of(run_id)
        size, tail = 0, b""
        if log.exists():
            with log.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(size - LOG_BYTES_MAX, 0))
                tail = file.read(LOG_BYTES_MAX)
        reason = json.loads(failure.read_text()) if failure.exists() else {}
        return Output(
            logs=tail.decode(errors="replace"),
            truncated=size > LOG_BYTES_MAX,
            error=reason.get("error"),
            trace=reason.get("trace"),
        )
