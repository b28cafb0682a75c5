"""A pipeline of runs in memory: raw blobs, the steps that cover them, and jobs that end as told."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.adapters.memory import (
    MemoryClock,
    MemoryJobs,
    MemoryLedger,
    MemoryRawStore,
    MemoryRunFiles,
)
from shared.domain.job_run import JobOutcome, JobRun
from shared.flow.maintain_tables import maintain_tables
from shared.flow.operate_runs import cancel_run, retry_run
from shared.flow.raw_to_run import launch_runs
from shared.flow.track_runs import track_runs
from tests.builders import blob, document

if TYPE_CHECKING:
    from shared.domain.document import Document
    from shared.domain.run import Run
    from shared.flow.maintain_tables import TablesMaintained
    from shared.flow.operate_runs import RunOperated
    from shared.flow.raw_to_run import RunsLaunched
    from shared.flow.track_runs import RunsTracked


class World:
    """Everything runs touch, in memory."""

    def __init__(self, described: Document | None = None) -> None:
        """Nothing is landed yet."""
        self.document = described or document()
        self.raw = MemoryRawStore()
        self.ledger = MemoryLedger()
        self.files = MemoryRunFiles()
        self.jobs = MemoryJobs()
        self.clock = MemoryClock()
        self.versions = Counter[str]()
        self.held: set[str] = set()

    async def land(self, first: int, last: int) -> None:
        """Land one blob."""
        await self.raw.land(blob(first, last))

    async def launch(self) -> RunsLaunched:
        """What the blob trigger does, for every table."""
        return await launch_runs(
            self.document.tables,
            self.document,
            raw=self.raw,
            ledger=self.ledger,
            files=self.files,
            jobs=self.jobs,
            clock=self.clock,
        )

    async def track(self) -> RunsTracked:
        """What the timer does first."""
        return await track_runs(
            self.document.tables,
            ledger=self.ledger,
            files=self.files,
            jobs=self.jobs,
            clock=self.clock,
        )

    async def tick(self) -> RunsTracked:
        """What the timer does, so slowly that whatever waits is due."""
        self.clock.moment += timedelta(hours=1)
        tracked = await self.track()
        self.clock.moment += timedelta(hours=1)
        await self.launch()
        return tracked

    async def maintain(self) -> TablesMaintained:
        """What the daily timer does."""
        return await maintain_tables(
            self.document.tables, ledger=self.ledger, files=self.files, clock=self.clock
        )

    async def retry(self, run_id: str) -> RunOperated:
        """What a person does about a failed run."""
        return await retry_run(
            run_id, datasets=self.document.tables, ledger=self.ledger, clock=self.clock
        )

    async def cancel(self, run_id: str) -> RunOperated:
        """What a person does about a run that nobody wants."""
        return await cancel_run(
            run_id,
            datasets=self.document.tables,
            ledger=self.ledger,
            jobs=self.jobs,
            clock=self.clock,
        )

    def end_jobs(self, outcome: JobOutcome, message: str = "", **counts: int) -> None:
        """Let every job run that has not ended end, with a result when it succeeded.

        Those of tables that are `held` go on. A run that succeeds writes a new version of its
        table, unless `counts` say otherwise.
        """
        for run in self.ledger.rows.values():
            number = self.jobs.tokens.get(run.token)
            if number is None or not run.is_open:
                continue
            if run.dataset in self.held:
                self.jobs.states[number] = JobRun(outcome=JobOutcome.RUNNING)
                continue
            self.jobs.states[number] = JobRun(outcome=outcome, message=message)
            if outcome is JobOutcome.SUCCEEDED:
                self.versions[run.dataset] += 1
                usual = {"inserted": 1, "updated": 1, "tableVersion": self.versions[run.dataset]}
                self.files.results[run.id] = usual | counts

    async def finish(self, outcome: JobOutcome = JobOutcome.SUCCEEDED, **counts: int) -> None:
        """End what runs, note it, and launch what is next."""
        self.end_jobs(outcome, "boom", **counts)
        await self.tick()

    def runs(self, table: str) -> list[Run]:
        """The runs of a table in the order in which they were planned."""
        return [run for run in self.ledger.rows.values() if run.dataset == table]

    def manifest(self, run: Run) -> dict[str, Any]:
        """What a run was told."""
        content: dict[str, Any] = json.loads(self.files.manifests[run.id])
        return content

    def covered(self) -> list[str]:
        """Every blob in every manifest."""
        return [
            each["name"]
            for manifest in self.files.manifests.values()
            for each in json.loads(manifest).get("blobs", [])
        ]
