"""Every adapter of a storage port keeps the same promises: memory and real Azurite."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
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
    BlobQuarantine,
    BlobRunFiles,
)
from shared.adapters.claim_check import BlobClaims
from shared.adapters.cursor_blobs import BlobCursorStore
from shared.adapters.memory_source import MemoryCursorStore
from shared.adapters.raw_avro import encode
from shared.adapters.raw_blobs import BlobAttempts, BlobRawStore
from shared.adapters.table_storage import TABLE, TableLedger
from shared.domain.claim import reference_of
from shared.domain.cursor import Cursor, Known
from shared.domain.page import Request, Validators
from shared.domain.quarantine import Quarantined
from shared.domain.raw_blob import SCHEMA, START, Partition
from shared.domain.run import Planned, Progress, Run, plan
from tests.builders import LIFE, NOON, blob, document, event, head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import Attempts, Claims, CursorStore, Ledger, Quarantine, RawStore, RunFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """The storage ports, all of one kind."""

    raw: RawStore
    attempts: Attempts
    claims: Claims
    cursors: CursorStore
    quarantine: Quarantine
    ledger: Ledger
    files: RunFiles


@pytest.fixture(params=["memory", "azurite"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of store."""
    return str(request.param)


@pytest.fixture
def blobs_in_memory() -> memory.MemoryRawStore:
    """What all stores in memory share."""
    return memory.MemoryRawStore()


@pytest.fixture
def tries_in_memory() -> dict[Partition, tuple[int, int]]:
    """The same of tries."""
    return {}


@pytest.fixture
async def store(
    request: pytest.FixtureRequest,
    kind: str,
    blobs_in_memory: memory.MemoryRawStore,
    tries_in_memory: dict[Partition, tuple[int, int]],
) -> AsyncIterator[Store]:
    """One process's store."""
    async with _opened(request, kind, blobs_in_memory, tries_in_memory) as opened:
        yield opened


@pytest.fixture
async def other_store(
    request: pytest.FixtureRequest,
    kind: str,
    blobs_in_memory: memory.MemoryRawStore,
    tries_in_memory: dict[Partition, tuple[int, int]],
) -> AsyncIterator[Store]:
    """Another process's store of the same things."""
    async with _opened(request, kind, blobs_in_memory, tries_in_memory) as opened:
        yield opened


@asynccontextmanager
async def _opened(
    request: pytest.FixtureRequest,
    kind: str,
    blobs_in_memory: memory.MemoryRawStore,
    tries_in_memory: dict[Partition, tuple[int, int]],
) -> AsyncIterator[Store]:
    if kind == "memory":
        yield Store(
            raw=blobs_in_memory,
            attempts=memory.MemoryAttempts(tries=tries_in_memory),
            claims=memory.MemoryClaims(),
            cursors=MemoryCursorStore(),
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
        await _containers(blobs)
        await tables.create_table_if_not_exists(TABLE)
        yield Store(
            raw=BlobRawStore(blobs),
            attempts=BlobAttempts(blobs),
            claims=BlobClaims(blobs),
            cursors=BlobCursorStore(blobs),
            quarantine=BlobQuarantine(blobs),
            ledger=TableLedger(tables.get_table_client(TABLE)),
            files=BlobRunFiles(blobs),
        )


async def _containers(blobs: BlobServiceClient) -> None:
    for container in CONTAINERS:
        try:
            await blobs.create_container(container)
        except ResourceExistsError:
            continue


@pytest.fixture
def material(request: pytest.FixtureRequest) -> str:
    """A material of the test's own, because Azurite is shared."""
    return "m" + format(abs(hash(request.node.nodeid)), "x")


async def test_blob_is_created_once_and_the_second_writer_reads_it(
    store: Store, material: str
) -> None:
    """Create if absent is all that exactly once rests on."""
    partition = Partition(material=material, id="0", hub=LIFE)

    first, created = await store.raw.land(blob(0, 9, partition=partition))
    second, created_again = await store.raw.land(blob(0, 4, partition=partition))

    assert (created, created_again) == (True, False)
    assert second.tip == first.tip
    assert (second.sequence_first, second.sequence_last, second.events) == (0, 9, 10)


async def test_position_only_moves_forward(store: Store, material: str) -> None:
    """A late writer must not take back what is landed."""
    partition = Partition(material=material, id="0", hub=LIFE)
    late, early = (head(0, last, partition=partition).tip for last in (9, 4))
    await store.raw.remember(partition, late)
    await store.raw.tip(partition)
    await store.raw.remember(partition, early)

    assert await store.raw.tip(partition) == late
    assert await store.raw.tips(material) == {partition: late}


async def test_writer_with_an_old_position_does_not_take_it_back(
    store: Store, material: str, other_store: Store
) -> None:
    """Two owners of a partition both remember; the further one wins."""
    partition = Partition(material=material, id="0", hub=LIFE)
    await store.raw.remember(partition, head(0, 4, partition=partition).tip)
    await other_store.raw.tip(partition)
    await store.raw.remember(partition, head(0, 9, partition=partition).tip)
    await other_store.raw.remember(partition, head(0, 7, partition=partition).tip)

    assert (await store.raw.tip(partition)).sequence == 9


async def test_position_deleted_under_its_writer_is_written_anew(
    azurite: str, material: str
) -> None:
    """The partition must not be stuck until somebody restarts the app."""
    partition = Partition(material=material, id="0", hub=LIFE)
    async with BlobServiceClient.from_connection_string(azurite) as blobs:
        await _containers(blobs)
        raw = BlobRawStore(blobs)
        await raw.remember(partition, head(0, 4, partition=partition).tip)
        state = blobs.get_container_client("state")
        await state.delete_blob(f"landed/{material}/{partition.label}.json")
        await raw.remember(partition, head(0, 9, partition=partition).tip)

        assert (await BlobRawStore(blobs).tip(partition)).sequence == 9


async def test_position_that_is_missing_is_read_from_the_blobs(store: Store, material: str) -> None:
    """Blobs are the truth; the position saves a listing."""
    partition = Partition(material=material, id="0", hub=LIFE)
    nothing = await store.raw.tip(partition)
    for first, last in ((0, 9), (10, 4000), (4001, 9000)):
        landed, _ = await store.raw.land(blob(first, last, partition=partition))
    await store.raw.land(blob(0, 1, partition=Partition(material=material, id="1", hub=LIFE)))

    assert nothing == START
    assert await store.raw.tip(partition) == landed.tip


async def test_lives_of_a_hub_do_not_meet(store: Store, material: str) -> None:
    """A hub made anew counts from 0 again."""
    partition = Partition(material=material, id="0", hub=LIFE)
    later = Partition(material=material, id="0", hub="20261121T000000")
    await store.raw.land(blob(0, 9, partition=partition))

    _, created = await store.raw.land(blob(0, 4, partition=later))

    assert created
    assert (await store.raw.tip(later)).sequence == 4
    assert (await store.raw.tip(partition)).sequence == 9


async def test_tries_are_counted_until_one_ends(
    store: Store, material: str, other_store: Store
) -> None:
    """Only what a process could not end, and the next one begins with again, is suspicious."""
    partition = Partition(material=material, id="0", hub=LIFE)
    first = await store.attempts.begin(partition, sequence=5)
    repeated = await store.attempts.begin(partition, sequence=5)
    after_a_death = await other_store.attempts.begin(partition, sequence=5)
    unended = await store.attempts.unended(partition)
    elsewhere = await other_store.attempts.begin(partition, sequence=6)
    await other_store.attempts.end(partition)
    proven = await other_store.attempts.begin(partition, sequence=6)

    assert (first, repeated, after_a_death, elsewhere, proven) == (0, 0, 1, 0, 0)
    assert unended == 2


async def test_landed_blobs_are_listed_from_what_is_planned(store: Store, material: str) -> None:
    """A plan costs what is new, not what is old."""
    partition = Partition(material=material, id="0", hub=LIFE)
    blobs = [blob(first, first + 3599, partition=partition) for first in range(0, 18000, 3600)]
    for each in blobs:
        await store.raw.land(each)
    await store.raw.remember(partition, blobs[-1].head(digest="d").tip)
    planned = {partition.label: Planned(sequence=7199, blob=blobs[1].name)}

    everything = await store.raw.landed_after(material, {})
    rest = await store.raw.landed_after(material, planned)

    assert sorted(each.sequence_first for each in everything) == [0, 3600, 7200, 10800, 14400]
    assert sorted(each.sequence_first for each in rest) == [7200, 10800, 14400]


async def test_claim_gives_back_what_was_put(store: Store, material: str) -> None:
    """A sender that is killed puts it again; what nobody put is absent."""
    body = b"x" * 2_000_000

    reference = await store.claims.put(material, body)
    again = await store.claims.put(material, body)

    assert reference == again == reference_of(material, body)
    assert await store.claims.get(reference) == body
    assert await store.claims.get(reference_of(material, b"never put")) is None


async def test_cursor_is_replaced_only_if_unchanged(store: Store, material: str) -> None:
    """Two polls at once must not take back what the other noted."""
    known = Known(validators=Validators(etag="e"), records=2, following=Request(page=2))
    absent = await store.cursors.read(material)
    created = await store.cursors.replace(material, Cursor(digest="1"), unchanged=None)
    twice = await store.cursors.replace(material, Cursor(digest="2"), unchanged=None)
    kept = await store.cursors.read(material)
    assert kept is not None
    third = Cursor(value=3, answers={"a": known}).claimed(NOON, goes_on=True)
    moved = await store.cursors.replace(material, third, unchanged=kept.version)
    late = await store.cursors.replace(material, Cursor(digest="4"), unchanged=kept.version)
    last = await store.cursors.read(material)

    assert absent is None
    assert (created, twice, late) == (kept.version, "", "")
    assert last is not None
    assert (last.value, last.version) == (third, moved)


async def test_journal_grows_only_where_its_writer_thinks_that_it_ends(
    store: Store, material: str
) -> None:
    """A poll that another has overtaken must find out before it sends more."""
    first = await store.cursors.append(material, 1, b"one", position=0)
    again = await store.cursors.append(material, 1, b"one", position=0)
    second = await store.cursors.append(material, 1, b"two", position=3)
    late = await store.cursors.append(material, 1, b"too", position=3)
    nowhere = await store.cursors.append(material, 2, b"far", position=3)
    pieces = [piece async for piece in store.cursors.journal(material, 1)]
    await store.cursors.drop_journal(material, 1)
    await store.cursors.drop_journal(material, 1)
    dropped = [piece async for piece in store.cursors.journal(material, 1)]

    assert (first, again, second, late, nowhere) == (True, False, True, False, False)
    assert b"".join(pieces) == b"onetwo"
    assert b"".join(dropped) == b""


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
    heads = [head(0, 9)]
    run, moved = plan(heads, dataset=dataset, progress=empty, now=NOON)
    elsewhere = head(0, 4, partition=Partition(material="quakes", id="1", hub=LIFE))
    other, other_moved = plan([elsewhere], dataset=dataset, progress=empty, now=NOON)

    first = await store.ledger.open_run(run, moved)
    second = await store.ledger.open_run(other, other_moved)

    kept = await store.ledger.progress(material)
    assert (first, second) == (True, False)
    assert kept.run_open == run.id
    assert kept.planned == {f"0-{LIFE}": Planned(sequence=9, blob=heads[0].name)}
    assert await store.ledger.run(material, other.id) is None
    assert await store.ledger.runs(material) == [run]


async def test_run_closes_with_its_progress(store: Store, material: str) -> None:
    """The next run may open only when this one has ended."""
    dataset = document().dataset("quakes").model_copy(update={"name": material})
    run, moved = plan([head(0, 9)], dataset=dataset, progress=Progress(dataset=material), now=NOON)
    await store.ledger.open_run(run, moved)
    opened = await _run(store, material, run.id)
    updated = await store.ledger.update_run(opened.to(run.state.LAUNCHED, job_run=2**40))
    launched = await _run(store, material, run.id)
    late = await store.ledger.update_run(opened.to(run.state.LAUNCHED, job_run=1))
    ended = launched.to(run.state.SUCCEEDED, ended_at=NOON, counts={"inserted": 3})

    progress = await store.ledger.progress(material)
    closed = await store.ledger.close_run(ended, progress.without_run())
    again = await store.ledger.close_run(ended, progress.without_run())

    assert (updated, late, closed, again) == (True, False, True, False)
    assert launched.job_run == 2**40
    assert await store.ledger.run(material, run.id) == ended
    assert (await store.ledger.progress(material)).run_open == ""


async def _run(store: Store, dataset: str, run_id: str) -> Run:
    found = await store.ledger.run(dataset, run_id)
    assert found is not None
    return found


async def test_run_without_result_has_none(store: Store, material: str) -> None:
    """A result that is not there is not an error."""
    await store.files.put_manifest(material, "r1", b"{}")
    await store.files.put_manifest(material, "r1", b"{}")

    assert await store.files.result(material, "r1") is None
    assert store.files.manifest_address(material, "r1")


def test_raw_blob_reads_back_as_it_was_written() -> None:
    """Raw is complete: everything downstream can be rebuilt from it."""
    partition = Partition(material="m", id="7", hub=LIFE)
    events = (event(3, body=b"\x00\xff\n"), replace(event(4, body=b""), quarantined="expired"))
    written = replace(blob(3, 4, partition=partition), events=events)

    reader = fastavro.reader(encode(written))
    rows: list[Any] = list(reader)

    assert reader.codec == "zstandard"
    assert SCHEMA["name"] in json.dumps(reader.writer_schema)
    assert reader.metadata["millrace.digest_previous"] == "d"
    assert [(row["sequence_number"], row["quarantined"], row["body"]) for row in rows] == [
        (3, "", b"\x00\xff\n"),
        (4, "expired", b""),
    ]
    assert rows[0]["attributes"] == events[0].attributes
    assert rows[0]["enqueued_time"] == events[0].enqueued_at
    assert rows[0]["partition"] == "7"


def test_same_events_make_the_same_bytes() -> None:
    """A digest says something only if nothing random is in the content."""
    assert encode(blob(3, 9)).getvalue() == encode(blob(3, 9)).getvalue()
