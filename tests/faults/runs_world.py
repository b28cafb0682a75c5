"""The world around runs: raw blobs that keep coming, a job service, a person, and steps killed."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.adapters.memory import (
    MemoryClock,
    MemoryJobs,
    MemoryLedger,
    MemoryRawStore,
    MemoryRunFiles,
)
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.raw_blob import Partition
from shared.domain.run import RunKind, RunState
from shared.flow.maintain_tables import maintain_tables
from shared.flow.operate_runs import cancel_run, retry_run
from shared.flow.raw_to_run import launch_runs
from shared.flow.track_runs import track_runs
from tests.builders import LIFE, blob, document
from tests.faults.faulty_ports import Crash, Guarded, OpenGate, Turns, Violation, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import Any

    from shared.domain.raw_blob import RawHead
    from shared.domain.run import Planned, Run
    from tests.faults.faulty_ports import Gate

_DATASET = {"consumes": "quakes", "primaryKey": ["id"], "columns": {"id": {"type": "string"}}}
DOCUMENT = document(
    datasets=[{"name": "first", "job": "one", **_DATASET}, {"name": "second", **_DATASET}],
    curated=[{"name": "third", "reads": ["first", "second"], "columns": {"id": "string"}}],
    databricks={"jobs": [{"name": name, "notebook": name} for name in ("one", "transform")]},
)
#: Enough ticks for every run to fail, wait, and succeed.
TICKS_MAX = 150


class PatchyRawStore(MemoryRawStore):
    """A listing is no snapshot: it can miss a blob, even one before those that it shows."""

    missed: str = ""

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """Miss one blob, once."""
        missed, self.missed = self.missed, ""
        heads = await super().landed_after(material, planned)
        return [head for head in heads if head.name != missed]


class JobService(MemoryJobs):
    """Runs what it is told to; some runs fail, and some are skipped."""

    def __init__(self, files: MemoryRunFiles) -> None:
        """Results are written to `files`."""
        super().__init__()
        self.files = files
        self.version = 0

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """A new token is a new run, which waits."""
        number = await super().start(job, token=token, parameters=parameters)
        self.states.setdefault(number, JobRun(outcome=JobOutcome.WAITING))
        return number

    async def cancel(self, job_run: int) -> None:
        """A run that has not ended ends at once."""
        if self.is_active(job_run):
            self.states[job_run] = JobRun(outcome=JobOutcome.CANCELLED, message="by a person")

    def is_active(self, number: int) -> bool:
        """Whether a run has not ended."""
        return self.states[number].outcome in {JobOutcome.WAITING, JobOutcome.RUNNING}

    def advance(self) -> None:
        """Let every run come one step further."""
        for token, number in self.tokens.items():
            run, _, attempt = token.rpartition("-")
            patience = 1 if "maintenance" in run else 2
            match self.states[number].outcome:
                case JobOutcome.WAITING if number % 5 == 4:
                    self.states[number] = JobRun(outcome=JobOutcome.SKIPPED, message="full")
                case JobOutcome.WAITING:
                    self.states[number] = JobRun(outcome=JobOutcome.RUNNING)
                case JobOutcome.RUNNING if number % 3 == 1 and int(attempt) <= patience:
                    self.states[number] = JobRun(outcome=JobOutcome.FAILED, message="boom")
                case JobOutcome.RUNNING:
                    self.version += 1
                    self.files.results[run] = {"inserted": 1, "tableVersion": self.version}
                    self.states[number] = JobRun(outcome=JobOutcome.SUCCEEDED)


@dataclass
class RunsWorld:
    """One material in two partitions, two datasets made of it, and a curated table of both."""

    gate: Gate = field(default_factory=OpenGate)
    raw: PatchyRawStore = field(default_factory=PatchyRawStore)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    files: MemoryRunFiles = field(default_factory=MemoryRunFiles)
    clock: MemoryClock = field(default_factory=MemoryClock)

    def __post_init__(self) -> None:
        """Nothing is landed yet."""
        self.jobs = JobService(self.files)

    def land(self, partition: str) -> None:
        """One more blob of two events."""
        place = Partition(material="quakes", id=partition, hub=LIFE)
        first = 2 * sum(each.partition == place for each in self.raw.blobs.values())
        finish(self.raw.land(blob(first, first + 1, partition=place)))

    def launch(self, gate: Gate | None = None) -> Coroutine[Any, Any, object]:
        """What a change of the position triggers."""
        guard = gate or self.gate
        return launch_runs(
            DOCUMENT.tables,
            DOCUMENT,
            raw=Guarded(self.raw, guard),
            ledger=Guarded(self.ledger, guard),
            files=Guarded(self.files, guard),
            jobs=Guarded(self.jobs, guard),
            clock=self.clock,
        )

    def track(self, gate: Gate | None = None) -> Coroutine[Any, Any, object]:
        """What the timer does first."""
        guard = gate or self.gate
        return track_runs(
            DOCUMENT.tables,
            ledger=Guarded(self.ledger, guard),
            files=Guarded(self.files, guard),
            jobs=Guarded(self.jobs, guard),
            clock=self.clock,
        )

    def maintain(self, gate: Gate | None = None) -> Coroutine[Any, Any, object]:
        """What the daily timer does."""
        guard = gate or self.gate
        return maintain_tables(
            DOCUMENT.tables,
            ledger=Guarded(self.ledger, guard),
            files=Guarded(self.files, guard),
            clock=self.clock,
        )

    async def retry(self, gate: Gate | None = None) -> None:
        """What a person does about each run that ended otherwise than well."""
        ledger = Guarded(self.ledger, gate or self.gate)
        for run in self.runs():
            if run.state in {RunState.FAILED, RunState.CANCELLED}:
                with contextlib.suppress(TryLater, Misconfigured):
                    await retry_run(
                        run.id, datasets=DOCUMENT.tables, ledger=ledger, clock=self.clock
                    )

    async def cancel(self, gate: Gate | None = None) -> None:
        """What a person does about the last run that is open."""
        guard = gate or self.gate
        for run in [run for run in self.runs() if run.is_open][-1:]:
            with contextlib.suppress(TryLater, Misconfigured):
                await cancel_run(
                    run.id,
                    datasets=DOCUMENT.tables,
                    ledger=Guarded(self.ledger, guard),
                    jobs=Guarded(self.jobs, guard),
                    clock=self.clock,
                )

    def survive(self, *steps: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Take steps; one that fails is not tried again here, nor are those after it."""
        for step in steps:
            try:
                finish(step())
            except (TryLater, Crash):
                break

    def tick(self) -> None:
        """One round of the timer; a step that fails is not tried again before the next."""
        for run in self.runs():  # Every attempt leaves something behind.
            if run.state is RunState.RUNNING:
                self.files.staging.add(run.id)
        self.survive(self.track, self.launch)
        self.jobs.advance()
        self.clock.moment += timedelta(hours=1)

    def settle(self) -> None:
        """Tick until nothing is open and everything is planned."""
        for _ in range(TICKS_MAX):
            self.tick()
            self.check()
            if all(self._is_settled(table.name) for table in DOCUMENT.tables):
                return
        raise Violation("a blob is never planned or a run never ends")

    def mend(self) -> None:
        """A person tries again whatever failed or was cancelled, until nothing is left of it."""
        for _ in range(5):
            if not any(run.state in {RunState.FAILED, RunState.CANCELLED} for run in self.runs()):
                break
            self.survive(self.retry)
            self.settle()

    def _is_settled(self, table: str) -> bool:
        progress = finish(self.ledger.progress(table))
        if progress.run_open or progress.queued:
            return False
        if table == "third":
            inputs = [finish(self.ledger.progress(name)) for name in ("first", "second")]
            newest = {each.dataset: each.run_succeeded for each in inputs}
            planned = {name: place.blob for name, place in progress.planned.items()}
            return planned == newest or not all(newest.values())
        return {name for run in self._clean(table) for name in self.blobs_of(run)} == set(
            self.raw.blobs
        )

    def runs(self) -> list[Run]:
        """Every run in the ledger."""
        return list(self.ledger.rows.values())

    def _clean(self, table: str) -> list[Run]:
        return [run for run in self.runs() if run.dataset == table and run.kind is RunKind.CLEAN]

    def manifest(self, run: Run) -> dict[str, Any]:
        """What a run was told."""
        if run.id not in self.files.manifests:
            raise Violation(f"run {run.id} has no manifest")
        content: dict[str, Any] = json.loads(self.files.manifests[run.id])
        return content

    def blobs_of(self, run: Run) -> list[str]:
        """What its manifest lists."""
        return [each["name"] for each in self.manifest(run)["blobs"]]

    def check(self) -> None:
        """Every promise that must hold at any moment."""
        for dataset in DOCUMENT.datasets:
            runs = self._clean(dataset.name)
            names = Counter(name for run in runs for name in self.blobs_of(run))
            if twice := [name for name, count in names.items() if count > 1]:
                raise Violation(f"{twice} are in two runs of {dataset.name}")
            progress = finish(self.ledger.progress(dataset.name))
            planned = {
                each.name
                for each in self.raw.blobs.values()
                if each.partition.label in progress.planned
                and each.events[-1].sequence <= progress.planned[each.partition.label].sequence
            }
            if planned != set(names):
                raise Violation(f"progress of {dataset.name} covers what its runs do not")
        for table in DOCUMENT.tables:
            self._check_open_runs(table.name)
        tokens = {f"{run.id}-{attempt}" for run in self.runs() for attempt in range(1, 40)}
        if not set(self.jobs.tokens) <= tokens:
            raise Violation("a job was started for a run that the ledger does not know")

    def _check_open_runs(self, table: str) -> None:
        """A table has at most one run that is not ended, its progress names it, and one job."""
        progress = finish(self.ledger.progress(table))
        named = {progress.run_open} - {""}
        mine = {run.id: run for run in self.runs() if run.dataset == table}
        still_open = {run.id for run in mine.values() if run.is_open}
        # A run that was cancelled before it was launched keeps its place until the next tick.
        cancelled = {each for each in named if mine[each].state is RunState.CANCELLED}
        if still_open != named - cancelled:
            raise Violation(f"of {table} {still_open} are open, {named} is followed")
        active = [
            token
            for token, number in self.jobs.tokens.items()
            if token.rpartition("-")[0] in mine and self.jobs.is_active(number)
        ]
        if len(active) > 1:
            raise Violation(f"{active} write {table} at once")

    def check_end(self) -> None:
        """Every run succeeded, is noted so, has nothing staged, and no job beyond its attempts."""
        self.check()
        made_good = {run.id for run in self.runs() if run.kind is RunKind.CURATED}
        for run in self.runs():
            if run.state is not RunState.SUCCEEDED and run.id not in made_good:
                raise Violation(f"{run.id} did not succeed")
            if self.files.notes[run.id].state is not run.state:
                raise Violation(f"{run.id} is noted as {self.files.notes[run.id].state}")
        attempts = {f"{run.id}-{n + 1}" for run in self.runs() for n in range(run.attempt)}
        if not set(self.jobs.tokens) <= attempts:
            raise Violation("job runs are more than one an attempt")
        finish(self.maintain(OpenGate()))
        if self.files.staging:
            raise Violation(f"{self.files.staging} are never deleted")
        self._check_curated()

    def _check_curated(self) -> None:
        """Whatever a clean run wrote is in a curated run that succeeded."""
        covered = {
            name
            for run in self.runs()
            if run.kind is RunKind.CURATED and run.state is RunState.SUCCEEDED
            for each in self.manifest(run)["inputs"]
            for name in each["runs"]
        }
        wrote = {run.id for name in ("first", "second") for run in self._clean(name)}
        if wrote != covered:
            raise Violation(f"{wrote - covered} never came into the curated table")


class Actor:
    """Somebody who takes a step, a timer or a person, moved call by call."""

    def __init__(self, world: RunsWorld) -> None:
        """It does nothing yet."""
        self.world = world
        self._turns = Turns()
        self._step: Coroutine[Any, Any, object] | None = None

    @property
    def waiting(self) -> str:
        """The call it is about to make; empty when it is idle."""
        return self._turns.waiting if self._step else ""

    def begin(self, step: str) -> None:
        """Begin a step."""
        if not self._step:
            self._step = getattr(self.world, step)(self._turns)
        self.move()

    def move(self) -> None:
        """Go on up to the next call."""
        if self._step:
            try:
                self._step.send(None)
            except StopIteration:
                self._step = None

    def move_to(self, call: str) -> None:
        """Go on until the next call is that one."""
        while self.waiting != call:
            assert self._step, f"it never came to {call}"
            self.move()

    def crash(self) -> None:
        """Die where it stands."""
        if self._step:
            self._step.close()
        self._step = None

    def finish(self) -> None:
        """Go on to the end."""
        while self._step:
            self.move()
