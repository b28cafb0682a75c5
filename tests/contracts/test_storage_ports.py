"""Every adapter of a storage port keeps the same promises: memory and real Azurite."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableServiceClient
from azure.storage.blob.aio import BlobServiceClient

from shared.adapters import memory
from shared.adapters.blob_storage import (
    CONTAINERS,
    BlobCursorStore,
    BlobQuarantine,
    BlobRawStore,
    BlobRunFiles,
)
from shared.adapters.raw_avro import encode
from shared.adapters.table_storage import TABLE, TableLedger
from shared.domain.cursor import Cursor
from shared.domain.quarantine import Quarantined
from shared.domain.raw_blob import SCHEMA, HubBatch, Partition
from shared.domain.run import Planned, Progress, plan
from tests.builders import NOON, blob, document, event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import CursorStore, Ledger, Quarantine, RawStore, RunFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The storage ports, all of one kind."""

    raw: RawStore
    cursors: CursorStore
    quarantine: Quarantine
    ledger: Ledger
    files: RunFiles


@pytest.fixture(params=["memory", "azurite"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """One kind of store."""
    if request.param == "memory":
        yield Store(
            raw=memory.MemoryRawStore(),
            cursors=memory.MemoryCursorStore(),
            quarantine=memory.MemoryQuarantine(),
            ledger=memory.MemoryLedger(),
            files=memory.MemoryRunFiles(),
        )
        return
    connection: str = request.getfixturevalue("azurite")
    async with (
        BlobServiceClient.from_connection_string(connection) as blobs,
        TableServiceClient.from_connection_string(connection) as tables,
    ):
        for container in CONTAINERS:
            try:
                await blobs.create_container(container)
            except ResourceExistsError:
                continue
        await tables.create_table_if_not_exists(TABLE)
        yield Store(
            raw=BlobRawStore(blobs),
            cursors=BlobCursorStore(blobs),
            quarantine=BlobQuarantine(blobs),
            ledger=TableLedger(tables.get_table_client(TABLE)),
            files=BlobRunFiles(blobs),
        )


@pytest.fixture
def material(request: pytest.FixtureRequest) -> str:
    """A material of the test's own, because Azurite is shared."""
    return "m" + format(abs(hash(request.node.nodeid)), "x")


async def test_blob_is_created_once_and_the_second_writer_reads_it(
    store: Store, material: str
) -> None:
    """Create if absent is all that exactly once rests on."""
    partition = Partition(material=material, id="0")

    first = await store.raw.land(blob(0, 9, partition=partition))
    second = await store.raw.land(blob(0, 4, partition=partition))

    assert first is None
    assert second is not None
    assert (second.sequence_first, second.sequence_last, second.events) == (0, 9, 10)


async def test_position_only_moves_forward(store: Store, material: str) -> None:
    """A late writer must not take back what is landed."""
    partition = Partition(material=material, id="0")
    await store.raw.remember(partition, sequence=9, blob="b")
    await store.raw.last_landed(partition)
    await store.raw.remember(partition, sequence=4, blob="a")

    assert await store.raw.last_landed(partition) == 9
    assert await store.raw.positions(material) == {"0": 9}


async def test_position_that_is_missing_is_read_from_the_blobs(store: Store, material: str) -> None:
    """Blobs are the truth; the position saves a listing."""
    partition = Partition(material=material, id="0")
    nothing = await store.raw.last_landed(partition)
    for first, last in ((0, 9), (10, 4000), (4001, 9000)):
        await store.raw.land(blob(first, last, partition=partition))
    await store.raw.land(blob(0, 1, partition=Partition(material=material, id="1")))

    assert nothing == -1
    assert await store.raw.last_landed(partition) == 9000


async def test_landed_blobs_are_listed_from_what_is_planned(store: Store, material: str) -> None:
    """A plan costs what is new, not what is old."""
    partition = Partition(material=material, id="0")
    blobs = [blob(first, first + 3599, partition=partition) for first in range(0, 18000, 3600)]
    for each in blobs:
        await store.raw.land(each)
    await store.raw.remember(partition, sequence=17999, blob=blobs[-1].name)
    planned = {"0": Planned(sequence=7199, blob=blobs[1].name)}

    everything = await store.raw.landed_after(material, {})
    rest = await store.raw.landed_after(material, planned)

    assert sorted(head.sequence_first for head in everything) == [0, 3600, 7200, 10800, 14400]
    assert sorted(head.sequence_first for head in rest) == [7200, 10800, 14400]


async def test_cursor_is_replaced_only_if_unchanged(store: Store, material: str) -> None:
    """Two polls at once must not take back what the other noted."""
    absent = await store.cursors.read(material)
    created = await store.cursors.replace(material, Cursor(etag="1"), unchanged=None)
    twice = await store.cursors.replace(material, Cursor(etag="2"), unchanged=None)
    kept = await store.cursors.read(material)
    assert kept is not None
    moved = await store.cursors.replace(
        material, Cursor(etag="3", seen=frozenset({b"12345678"})), unchanged=kept.version
    )
    late = await store.cursors.replace(material, Cursor(etag="4"), unchanged=kept.version)
    last = await store.cursors.read(material)

    assert absent is None
    assert (created, twice, moved, late) == (True, False, True, False)
    assert last is not None
    assert last.value == Cursor(etag="3", seen=frozenset({b"12345678"}))


async def test_quarantine_keeps_the_first_entry_of_an_origin(store: Store, material: str) -> None:
    """A repeated step finds its entry there."""
    entry = Quarantined(
        kind="events", material=material, origin="p0-1", reason="expired", detail="late",
        seen_at=NOON, attributes={}, body=b"\xff",
    )  # fmt: skip
    await store.quarantine.keep(entry)
    await store.quarantine.keep(replace(entry, detail="later"))

    assert await store.quarantine.count("events", material) == 1
    assert await store.quarantine.count("records", material) == 0


async def test_run_and_progress_change_together_or_not_at_all(store: Store, material: str) -> None:
    """Whoever planned with an old progress gets nothing done."""
    dataset = document().dataset("quakes").model_copy(update={"name": material})
    empty = await store.ledger.progress(material)
    heads = [blob(0, 9).head]
    run, moved = plan(heads, dataset=dataset, progress=empty, now=NOON)
    elsewhere = blob(0, 4, partition=Partition(material="quakes", id="1")).head
    other, other_moved = plan([elsewhere], dataset=dataset, progress=empty, now=NOON)

    first = await store.ledger.open_run(run, moved)
    second = await store.ledger.open_run(other, other_moved)

    kept = await store.ledger.progress(material)
    assert (first, second) == (True, False)
    assert kept.run_open == run.id
    assert kept.planned == {"0": Planned(sequence=9, blob=heads[0].name)}
    assert await store.ledger.run(material, other.id) is None
    assert await store.ledger.runs(material) == [run]


async def test_run_closes_with_its_progress(store: Store, material: str) -> None:
    """The next run may open only when this one has ended."""
    dataset = document().dataset("quakes").model_copy(update={"name": material})
    run, moved = plan(
        [blob(0, 9).head], dataset=dataset, progress=Progress(dataset=material), now=NOON
    )
    await store.ledger.open_run(run, moved)
    launched = run.to(run.state.LAUNCHED, job_run=2**40)
    await store.ledger.update_run(launched)
    ended = launched.to(run.state.SUCCEEDED, ended_at=NOON, counts={"inserted": 3})

    progress = await store.ledger.progress(material)
    closed = await store.ledger.close_run(ended, progress.without_run())
    again = await store.ledger.close_run(ended, progress.without_run())

    assert (closed, again) == (True, False)
    assert await store.ledger.run(material, run.id) == ended
    assert (await store.ledger.progress(material)).run_open == ""


async def test_run_without_result_has_none(store: Store, material: str) -> None:
    """A result that is not there is not an error."""
    await store.files.put_manifest(material, "r1", b"{}")
    await store.files.put_manifest(material, "r1", b"{}")

    assert await store.files.result(material, "r1") is None
    assert store.files.manifest_address(material, "r1")


def test_raw_blob_reads_back_as_it_was_written() -> None:
    """Raw is complete: everything downstream can be rebuilt from it."""
    batch = HubBatch(
        partition=Partition(material="m", id="7"),
        events=(event(3, body=b"\x00\xff\n"), replace(event(4, body=b""), quarantined="expired")),
    )
    written = replace(blob(3, 4, partition=batch.partition), events=batch.events)

    reader = fastavro.reader(io.BytesIO(encode(written)))
    rows: list[Any] = list(reader)

    assert reader.codec == "zstandard"
    assert SCHEMA["name"] in json.dumps(reader.writer_schema)
    assert [(row["sequence_number"], row["quarantined"], row["body"]) for row in rows] == [
        (3, "", b"\x00\xff\n"),
        (4, "expired", b""),
    ]
    assert rows[0]["attributes"] == batch.events[0].attributes
    assert rows[0]["enqueued_time"] == batch.events[0].enqueued_at
    assert rows[0]["partition"] == "7"
