"""What runs are given and leave: memory and real Azurite keep the same promises."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient

from shared.adapters import blob_storage
from shared.adapters.blob_storage import BlobRunFiles, read
from shared.adapters.memory import MemoryRunFiles
from shared.domain.run import Progress, RunState, plan
from tests.builders import NOON, document, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.storage.blob.aio import ContainerClient

    from shared.domain.run import Run
    from shared.ports import Kept

TABLE = "quakes"


class Memory:
    """Run files in memory, and a look at what lies there."""

    def __init__(self) -> None:
        """Nothing is there yet."""
        self.files = MemoryRunFiles()

    async def stage(self, run_id: str) -> None:
        """What an attempt of a run leaves."""
        self.files.staging.add(run_id)

    async def state(self, run: Run) -> str:
        """The state in which a run is noted."""
        return str(self.files.notes[run.id].state)


class Azurite:
    """The same in Blob Storage."""

    def __init__(self, service: BlobServiceClient) -> None:
        """The container is there."""
        self.files = BlobRunFiles(service)
        self._state = service.get_container_client("state")

    async def stage(self, run_id: str) -> None:
        """Two attempts, and files in folders of their own."""
        for name in (
            "1f/records/part-0.parquet",
            "1f/newest/part-0.parquet",
            "2e/records/p.parquet",
        ):
            await self._state.upload_blob(f"staging/{run_id}/{name}", b"x")

    async def read(self, run: Run) -> dict[str, Any]:
        """The note as SQL finds it."""
        download = await self._state.download_blob(f"runs/{run.dataset}/{run.id}.json")
        content: dict[str, Any] = json.loads(await download.readall())
        return content

    async def state(self, run: Run) -> str:
        """The state in which a run is noted."""
        return str((await self.read(run))["state"])


@pytest.fixture
async def blobs(azurite: str) -> AsyncIterator[Azurite]:
    """Run files in a real Azurite."""
    async with _opened(azurite) as found:
        yield found


@contextlib.asynccontextmanager
async def _opened(connection: str) -> AsyncIterator[Azurite]:
    async with BlobServiceClient.from_connection_string(connection) as service:
        try:
            await service.create_container("state")
        except ResourceExistsError:
            await _clear(service)
        yield Azurite(service)


async def _clear(service: BlobServiceClient) -> None:
    state = service.get_container_client("state")
    for folder in ("staging/", "runs/"):
        async for name in state.list_blob_names(name_starts_with=folder):
            await state.delete_blob(name)


@pytest.fixture(params=["memory", "azurite"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Memory | Azurite]:
    """One of both."""
    if request.param == "memory":
        yield Memory()
        return
    async with _opened(request.getfixturevalue("azurite")) as found:
        yield found


@pytest.fixture
def run() -> Run:
    """A run just launched."""
    planned, _ = plan(
        [head(0, 4)],
        dataset=document().dataset(TABLE),
        progress=Progress(dataset=TABLE),
        now=NOON,
    )
    return planned.to(RunState.LAUNCHED, job_run=2**40)


async def test_note_goes_on_and_never_back(place: Memory | Azurite, run: Run) -> None:
    """Whoever was held up before noting a run must not undo what came after it."""
    failed = run.to(RunState.FAILED, ended_at=NOON)
    again = failed.to(RunState.PLANNED, attempt=2, ended_at=None).to(RunState.LAUNCHED)
    seen = []
    for each in (run, failed, run, again, failed, again, again.to(RunState.RUNNING)):
        await place.files.note(each)
        seen.append(await place.state(run))

    assert seen == [
        "launched", "failed", "failed", "launched", "launched", "launched", "running",
    ]  # fmt: skip


async def test_note_is_one_json_object_for_sql(blobs: Azurite, run: Run) -> None:
    """Synapse and DuckDB read the folder as a table."""
    ended = run.to(RunState.SUCCEEDED, ended_at=NOON, counts={"records": 5, "tableVersion": 3})
    await blobs.files.note(ended)

    assert await blobs.read(run) == {
        "id": run.id,
        "dataset": TABLE,
        "kind": "clean",
        "job": "transform",
        "state": "succeeded",
        "attempt": 1,
        "failures": 0,
        "blobs": 1,
        "events": 5,
        "plannedAt": "2026-11-20T12:00:00.000Z",
        "endedAt": "2026-11-20T12:00:00.000Z",
        "jobRun": 2**40,
        "message": "",
        "counts": {"records": 5, "tableVersion": 3},
        "manifest": blobs.files.manifest_address(TABLE, run.id),
    }


async def test_two_who_note_at_once_leave_what_is_further_on(
    blobs: Azurite, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both read, both write: the one whose copy is old reads again."""
    await blobs.files.note(run)
    overtaking = [replace(run, attempt=2).to(RunState.SUCCEEDED, ended_at=NOON)]

    async def read_slowly(container: ContainerClient, name: str) -> Kept[bytes] | None:
        kept = await read(container, name)
        while overtaking:
            await blobs.files.note(overtaking.pop())
        return kept

    monkeypatch.setattr(blob_storage, "read", read_slowly)
    await blobs.files.note(run)

    assert overtaking == []
    assert await blobs.state(run) == "succeeded"


async def test_staged_rows_are_listed_by_run_and_deleted(place: Memory | Azurite) -> None:
    """One run's, whatever its attempts are called, and nobody else's."""
    for name in ("quakes-1", "quakes-10"):
        await place.stage(name)
    before = await place.files.staged()
    await place.files.drop_staging("quakes-1")
    await place.files.drop_staging("quakes-1")

    assert list(before) == ["quakes-1", "quakes-10"]
    assert list(await place.files.staged()) == ["quakes-10"]
