"""The world around runs: raw blobs that keep coming, a job service, and steps that are killed."""

from __future__ import annotations

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
from shared.domain.errors import TryLater
from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.raw_blob import Partition
from shared.domain.run import RunState
from shared.flow.raw_to_run import launch_runs
from shared.flow.track_runs import track_runs
from tests.builders import LIFE, blob, document
from tests.faults.faulty_ports import Crash, Guarded, OpenGate, Turns, Violation, finish

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from typing import Any

    from shared.domain.raw_blob import RawHead
    from shared.domain.run import Planned, Run
    from tests.faults.faulty_ports import Gate

_DATASET = {"consumes": "quakes", "primaryKey": ["id"], "columns": {"id": {"type": "string"}}}
DOCUMENT = document(
    datasets=[{"name": "first", "job": "one", **_DATASET}, {"name": "second", **_DATASET}],
    databricks={"jobs": [{"name": name, "notebook": name} for name in ("one", "transform")]},
)
#: Enough ticks for every run to fail, wait, and succeed.
TICKS_MAX = 60


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
    """Runs what it is told to; every third run fails."""

    def __init__(self, files: MemoryRunFiles) -> None:
        """Results are written to `files`."""
        super().__init__()
        self.files = files

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """A new token is a new run, which waits."""
        number = await super().start(job, token=token, parameters=parameters)
        self.states.setdefault(number, JobRun(outcome=JobOutcome.WAITING))
        return number

    def advance(self) -> None:
        """Let every run come one step further."""
        for token, number in self.tokens.items():
            match self.states[number].outcome:
                case JobOutcome.WAITING:
                    self.states[number] = JobRun(outcome=JobOutcome.RUNNING)
                case JobOutcome.RUNNING if number % 3 == 1:
                    self.states[number] = JobRun(outcome=JobOutcome.FAILED, message="boom")
                case JobOutcome.RUNNING:
                    self.files.results[token.rpartition("-")[0]] = {"inserted": 1}
                    self.states[number] = JobRun(outcome=JobOutcome.SUCCEEDED)


@dataclass
class RunsWorld:
    """One material in two partitions, two datasets made of it."""

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
            DOCUMENT.datasets,
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
            DOCUMENT.datasets,
            ledger=Guarded(self.ledger, guard),
            files=Guarded(self.files, guard),
            jobs=Guarded(self.jobs, guard),
            clock=self.clock,
        )

    def tick(self) -> None:
        """One round of the timer; a step that fails is not tried again before the next."""
        for step in (self.track, self.launch):
            try:
                finish(step())
            except (TryLater, Crash):
                break
        self.jobs.advance()
        self.clock.moment += timedelta(hours=1)

    def settle(self) -> None:
        """Tick until nothing is open and everything is planned."""
        for _ in range(TICKS_MAX):
            self.tick()
            self.check()
            if all(self._is_settled(dataset.name) for dataset in DOCUMENT.datasets):
                return
        raise Violation("a blob is never planned or a run never ends")

    def _is_settled(self, dataset: str) -> bool:
        runs = [run for run in self.runs() if run.dataset == dataset]
        names = {name for run in runs for name in self.blobs_of(run)}
        return names == set(self.raw.blobs) and not finish(self.ledger.progress(dataset)).run_open

    def runs(self) -> list[Run]:
        """Every run in the ledger."""
        return list(self.ledger.rows.values())

    def blobs_of(self, run: Run) -> list[str]:
        """What its manifest lists."""
        if run.id not in self.files.manifests:
            raise Violation(f"run {run.id} has no manifest")
        return [each["name"] for each in json.loads(self.files.manifests[run.id])["blobs"]]

    def check(self) -> None:
        """Every promise that must hold at any moment."""
        for dataset in DOCUMENT.datasets:
            runs = [run for run in self.runs() if run.dataset == dataset.name]
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
        self._check_open_runs()
        tokens = {f"{run.id}-{attempt}" for run in self.runs() for attempt in range(1, 6)}
        if not set(self.jobs.tokens) <= tokens:
            raise Violation("a job was started for a run that the ledger does not know")

    def _check_open_runs(self) -> None:
        """A dataset has at most one run that is not ended, and its progress names it."""
        for dataset in DOCUMENT.datasets:
            progress = finish(self.ledger.progress(dataset.name))
            named = {progress.run_open} - {""}
            mine = [run for run in self.runs() if run.dataset == dataset.name]
            still_open = {run.id for run in mine if run.is_open}
            if still_open != named:
                raise Violation(f"of {dataset.name} {still_open} are open, {named} is followed")

    def check_end(self) -> None:
        """Every run succeeded, and had no job run beyond its attempts."""
        self.check()
        if any(run.state is not RunState.SUCCEEDED for run in self.runs()):
            raise Violation("a run did not succeed")
        attempts = {f"{run.id}-{n + 1}" for run in self.runs() for n in range(run.attempt)}
        if set(self.jobs.tokens) != attempts:
            raise Violation("job runs are not one an attempt")


class Actor:
    """Somebody who launches or tracks, moved call by call."""

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
        """Begin to launch or to track."""
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
