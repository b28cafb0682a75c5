"""Every adapter of the quarantine keeps the same promises: memory and real Azurite."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient

from shared.adapters.blob_storage import BlobQuarantine
from shared.adapters.memory import MemoryQuarantine
from shared.domain.errors import TryLater
from shared.domain.quarantine import KINDS, Decision, Quarantined, Selection, State
from tests.builders import LIFE, NOON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.ports import Quarantine

REPLAYED = Decision(
    state=State.REPLAYED, at=NOON + timedelta(hours=1), by="cli", repaired=("body", "id")
)
DISCARDED = Decision(state=State.DISCARDED, at=NOON + timedelta(hours=2), by="http")


@pytest.fixture(params=["memory", "azurite"])
async def quarantine(request: pytest.FixtureRequest) -> AsyncIterator[Quarantine]:
    """One adapter of the port."""
    if request.param == "memory":
        yield MemoryQuarantine()
        return
    async with _blobs(request.getfixturevalue("azurite")) as blobs:
        yield BlobQuarantine(blobs)


@asynccontextmanager
async def _blobs(connection: str) -> AsyncIterator[BlobServiceClient]:
    async with BlobServiceClient.from_connection_string(connection) as blobs:
        with suppress(ResourceExistsError):
            await blobs.create_container("quarantine")
        yield blobs


@pytest.fixture
def material(request: pytest.FixtureRequest) -> str:
    """A material of the test's own, because Azurite is shared."""
    return "m" + format(abs(hash(request.node.nodeid)), "x")


def entry(material: str, number: int = 1, **changes: Any) -> Quarantined:
    """An entry that holds what no encoding may touch."""
    bad = Quarantined(
        kind="events",
        material=material,
        origin=f"p0-{LIFE}-{number:020d}",
        reason="expired",
        detail="späť; 'quoted'\nand broken",
        seen_at=NOON,
        attributes={"id": "a", "subject": "東京"},
        body=b"\x00\xff\r\n",
    )
    return replace(bad, **changes)


async def names(quarantine: Quarantine, selection: Selection) -> list[str]:
    """What a selection takes."""
    return [head.name async for head in quarantine.heads(selection)]


async def test_entry_is_read_as_it_was_kept(quarantine: Quarantine, material: str) -> None:
    """Original bytes, or there is nothing to replay."""
    await quarantine.keep(entry(material))

    kept = await quarantine.read(entry(material).name)

    assert kept is not None
    assert kept.value == entry(material)


async def test_absent_entry_is_none(quarantine: Quarantine, material: str) -> None:
    """Neither a name that is not there nor one that cannot be is an error."""
    await quarantine.keep(entry(material, 11))

    for name in (entry(material, 1).name, f"events/{material}", "", "..", f"{material}\n/?#"):
        assert await quarantine.read(name) is None


async def test_listing_tells_the_head_without_the_content(
    quarantine: Quarantine, material: str
) -> None:
    """What a listing does not tell costs a request for each of a million entries."""
    await quarantine.keep(entry(material))

    heads = [head async for head in quarantine.heads(Selection(material=material))]

    assert heads == [entry(material).head]


async def test_selection_takes_what_it_says_and_nothing_else(
    quarantine: Quarantine, material: str
) -> None:
    """A replay of one reason must not send another; materials may begin alike."""
    kept = {
        "plain": entry(material),
        "other reason": entry(material, 2, reason="a:missing; b:not-a-long"),
        "other kind": entry(material, kind="losses"),
        "longer name": entry(material + "2"),
    }
    for each in kept.values():
        await quarantine.keep(each)
    selections = {
        "material": Selection(material=material),
        "reason": Selection(material=material, reason="expired"),
        "one of two reasons": Selection(material=material, reason="b:not-a-long"),
        "both reasons": Selection(material=material, reason="a:missing; b:not-a-long"),
        "kind": Selection(kind="losses", material=material),
        "nothing": Selection(kind="records", material=material),
    }

    found = {
        title: [title for title, each in kept.items() if each.name in chosen]
        for title, selection in selections.items()
        for chosen in [await names(quarantine, selection)]
    }

    assert found == {
        "material": ["plain", "other reason", "other kind"],
        "reason": ["plain", "other kind"],
        "one of two reasons": ["other reason"],
        "both reasons": ["other reason"],
        "kind": ["other kind"],
        "nothing": [],
    }


async def test_every_kind_is_found_without_naming_it(quarantine: Quarantine, material: str) -> None:
    """`list` alone shows all there is."""
    for kind in KINDS:
        await quarantine.keep(entry(material, kind=kind))

    assert len(await names(quarantine, Selection(material=material))) == len(KINDS)
    assert set(await names(quarantine, Selection())) >= {
        entry(material, kind=kind).name for kind in KINDS
    }


async def test_mark_changes_what_was_decided_and_nothing_else(
    quarantine: Quarantine, material: str
) -> None:
    """The evidence stays; listing and reading agree."""
    await quarantine.keep(entry(material))
    kept = await quarantine.read(entry(material).name)
    assert kept is not None
    changed = replace(kept.value.decided(REPLAYED), detail="changed")

    marked = await quarantine.mark(changed, unchanged=kept.version)

    read = await quarantine.read(entry(material).name)
    (head,) = [head async for head in quarantine.heads(Selection(material=material, state=None))]
    assert marked
    assert read is not None
    assert read.value == replace(entry(material), decision=REPLAYED)
    assert head == read.value.head


async def test_only_one_of_two_marks_of_the_same_version_counts(
    quarantine: Quarantine, material: str
) -> None:
    """Two people who read the same state must not both decide."""
    await quarantine.keep(entry(material))
    kept = await quarantine.read(entry(material).name)
    assert kept is not None

    first = await quarantine.mark(kept.value.decided(DISCARDED), unchanged=kept.version)
    second = await quarantine.mark(kept.value.decided(REPLAYED), unchanged=kept.version)

    read = await quarantine.read(kept.value.name)
    assert (first, second) == (True, False)
    assert read is not None
    assert read.value.decision == DISCARDED
    assert await quarantine.mark(read.value.decided(REPLAYED), unchanged=read.version)


async def test_absent_entry_is_not_marked(quarantine: Quarantine, material: str) -> None:
    """Whoever deleted it from the container meant it."""
    await quarantine.keep(entry(material))
    kept = await quarantine.read(entry(material).name)
    assert kept is not None

    absent = replace(kept.value, origin="p0-elsewhere").decided(DISCARDED)

    assert not await quarantine.mark(absent, unchanged=kept.version)
    assert await quarantine.read(absent.name) is None


async def test_keeping_again_changes_neither_content_nor_decision(
    quarantine: Quarantine, material: str
) -> None:
    """Landing may be repeated after somebody decided."""
    await quarantine.keep(entry(material))
    kept = await quarantine.read(entry(material).name)
    assert kept is not None
    await quarantine.mark(kept.value.decided(DISCARDED), unchanged=kept.version)

    await quarantine.keep(entry(material, detail="seen again"))

    read = await quarantine.read(entry(material).name)
    assert read is not None
    assert read.value == replace(entry(material), decision=DISCARDED)


async def test_counts_are_of_what_is_open(quarantine: Quarantine, material: str) -> None:
    """A number that never goes down teaches people not to look."""
    for number, reason in enumerate(["expired", "poison", "expired"]):
        await quarantine.keep(entry(material, number, reason=reason))
    kept = await quarantine.read(entry(material, 0).name)
    assert kept is not None
    await quarantine.mark(kept.value.decided(DISCARDED), unchanged=kept.version)

    assert await quarantine.count("events", material) == 2
    assert await quarantine.count("losses", material) == 0
    assert await quarantine.reasons(Selection(material=material)) == {"expired": 1, "poison": 1}
    everything = Selection(material=material, state=None)
    assert await quarantine.reasons(everything) == {"expired": 2, "poison": 1}


async def test_tables_of_refused_records_are_no_entries(azurite: str, material: str) -> None:
    """They lie in the same folder as polled records of a material that is called like a dataset."""
    async with _blobs(azurite) as blobs:
        container = blobs.get_container_client("quarantine")
        for name in ("_delta_log/00000000000000000000.json", "part-00000.zstd.parquet"):
            await container.upload_blob(f"records/{material}/{name}", b"{}")
        quarantine = BlobQuarantine(blobs)
        await quarantine.keep(entry(material, kind="records"))

        found = await names(quarantine, Selection(material=material))
        read = await quarantine.read(f"records/{material}/_delta_log/00000000000000000000.json")

    assert found == [entry(material, kind="records").name]
    assert read is None


async def test_storage_that_is_gone_is_tried_later(azurite: str, material: str) -> None:
    """A person sees one line, the host tries again; nothing is taken for absent."""
    gone = re.sub(r"BlobEndpoint=http://127.0.0.1:\d+", "BlobEndpoint=http://127.0.0.1:1", azurite)
    async with BlobServiceClient.from_connection_string(gone, retry_total=0) as blobs:
        quarantine = BlobQuarantine(blobs)
        for call in (
            quarantine.read(entry(material).name),
            names(quarantine, Selection()),
            quarantine.mark(entry(material).decided(DISCARDED), unchanged="e"),
            quarantine.count("events", material),
        ):
            with pytest.raises(TryLater):
                await call
