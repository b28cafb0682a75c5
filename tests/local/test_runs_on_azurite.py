"""raw → run on a real Azurite: a burst of blobs, and hints that come all at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from shared.adapters.blob_storage import CONTAINERS, BlobRunFiles
from shared.adapters.memory import MemoryClock, MemoryJobs
from shared.adapters.raw_blobs import BlobRawStore
from shared.adapters.table_storage import TABLE, TableLedger
from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.raw_blob import Partition
from shared.domain.run import RunKind, RunState
from shared.flow.maintain_tables import maintain_tables
from shared.flow.raw_to_run import launch_runs
from shared.flow.track_runs import track_runs
from tests.builders import LIFE, blob, document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.run import Run

MATERIAL = "bursts"
_COLUMNS = {"columns": {"id": {"type": "string"}}, "primaryKey": ["id"], "consumes": MATERIAL}
DOCUMENT = document(
    eventhubs=[{"material": "quakes"}, {"material": MATERIAL}],
    datasets=[{"name": "burst", **_COLUMNS}],
    curated=[{"name": "burst-daily", "reads": ["burst"], "columns": {"day": "date"}}],
)


class Place:
    """The ports in Azurite; jobs end when they are told to."""

    def __init__(self, blobs: BlobServiceClient, tables: TableServiceClient) -> None:
        """Containers and the table are there."""
        self.raw = BlobRawStore(blobs)
        self.files = BlobRunFiles(blobs)
        self.ledger = TableLedger(tables.get_table_client(TABLE))
        self.state = blobs.get_container_client("state")
        self.jobs = MemoryJobs()
        self.clock = MemoryClock()

    async def launch(self) -> None:
        """A hint."""
        await launch_runs(
            DOCUMENT.tables,
            DOCUMENT,
            raw=self.raw,
            ledger=self.ledger,
            files=self.files,
            jobs=self.jobs,
            clock=self.clock,
        )

    async def land(self, numbers: range) -> None:
        """Blobs of one event each in two partitions, each followed by a hint, many at once."""
        for partition in ("0", "1"):
            place = Partition(material=MATERIAL, id=partition, hub=LIFE)
            for number in numbers:
                each = blob(number, number, partition=place)
                head, _ = await self.raw.land(each)
                await self.raw.remember(place, head.tip)
        await asyncio.gather(*(self.launch() for _ in range(4)))

    async def end(self) -> None:
        """Every job succeeds and leaves its result; two timers note it at once."""
        for name in ("burst", "burst-daily"):
            for run in await self.ledger.runs(name):
                if run.is_open and run.job_run:
                    path = f"results/{name}/{run.id}/part-0.txt"
                    result = json.dumps({"inserted": 1, "tableVersion": run.job_run})
                    await self.state.upload_blob(path, result.encode(), overwrite=True)
                    self.jobs.states[run.job_run] = JobRun(outcome=JobOutcome.SUCCEEDED)
        await asyncio.gather(*(self._track() for _ in range(2)))
        await self.launch()

    async def _track(self) -> None:
        await track_runs(
            DOCUMENT.tables,
            ledger=self.ledger,
            files=self.files,
            jobs=self.jobs,
            clock=self.clock,
        )

    async def manifest(self, run: Run) -> list[str]:
        """The blobs that a run covers."""
        download = await self.state.download_blob(f"manifests/{run.dataset}/{run.id}.json")
        return [each["name"] for each in json.loads(await download.readall())["blobs"]]


@contextlib.asynccontextmanager
async def opened(connection: str) -> AsyncIterator[Place]:
    """The ports over an Azurite."""
    async with (
        BlobServiceClient.from_connection_string(connection) as blobs,
        TableServiceClient.from_connection_string(connection) as tables,
    ):
        for container in CONTAINERS:
            with contextlib.suppress(ResourceExistsError):
                await blobs.create_container(container)
        await tables.create_table_if_not_exists(TABLE)
        yield Place(blobs, tables)


async def test_burst_becomes_a_handful_of_runs_that_cover_every_blob_once(azurite: str) -> None:
    """Real ETags and transactions decide who of many hints plans, and who notes an end."""
    async with opened(azurite) as place:
        for first in (0, 10, 20):
            await place.land(range(first, first + 10))
        await place.end()
        await place.end()
        await maintain_tables(
            DOCUMENT.tables, ledger=place.ledger, files=place.files, clock=place.clock
        )
        for _ in range(3):
            await place.end()
        runs = [run for name in ("burst", "burst-daily") for run in await place.ledger.runs(name)]
        clean = [run for run in runs if run.kind is RunKind.CLEAN]
        covered = [name for run in clean for name in await place.manifest(run)]
        notes = [name async for name in place.state.list_blob_names(name_starts_with="runs/burst")]

    kinds = sorted(run.kind for run in runs if run.kind is not RunKind.CLEAN)
    assert len(clean) <= 3
    assert len(covered) == len(set(covered)) == 60
    assert {run.state for run in runs} == {RunState.SUCCEEDED}
    assert kinds == ["curated"] * len(clean) + ["maintenance"] * 2
    assert len(notes) == len(runs)
    assert len(place.jobs.tokens) == len(runs)
