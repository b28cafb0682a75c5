"""Memory of a poll, and its journal: neither grows with the pages and polls that are over."""

from __future__ import annotations

import gc
import json
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shared.adapters.memory import MemoryClock, MemoryHub, MemoryQuarantine
from shared.adapters.memory_source import MemoryCursorStore, MemorySource
from shared.domain.page import Answer, Page
from shared.flow import journal, source_page, source_to_hub
from shared.flow.source_to_hub import poll_source
from tests.builders import document, page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from shared.domain.page import Request, Validators
    from shared.domain.source import Source


@pytest.mark.parametrize("limit", ["_SLACK_BYTES", "_FRAMES_MAX"])
async def test_journal_does_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """It is read at every poll that has news; and an append blob takes 50,000 appends."""
    monkeypatch.setattr(journal, limit, 20 if limit == "_FRAMES_MAX" else 1000)
    described, source = document(), MemorySource(page=page())
    cursors, hub, sizes = MemoryCursorStore(), MemoryHub(), []
    for number in range(60):
        source.page = page({"id": 1, "v": number}, {"id": 2})
        await poll_source(
            described.sources[0], described, reader=source, hub=hub, cursors=cursors,
            quarantine=MemoryQuarantine(), clock=MemoryClock(),
        )  # fmt: skip
        sizes.append(sum(map(len, cursors.journals.values())))

    assert len(cursors.journals) == 1
    assert max(sizes) < 12_000
    assert cursors.kept["tool"].value.journal >= 2
    assert sum(map(len, hub.sent.values())) == 61  # Two at first, then one that changed.


@dataclass(kw_only=True)
class EndlessTable:
    """Pages of the same ten records, changed each time; notes what is held at the last one."""

    pages: int
    tagged: bool
    held: int = 0

    async def fetch(
        self,
        source: Source,  # noqa: ARG002 -- There is one.
        request: Request,
        *,
        query: Mapping[str, str],  # noqa: ARG002
        validators: Validators,  # noqa: ARG002
        seconds: float,  # noqa: ARG002
    ) -> Answer:
        """A page that is larger than what is held back."""
        number = request.page
        if number == self.pages:
            gc.collect()
            self.held, _ = tracemalloc.get_traced_memory()
        rows = [{"id": i, "v": number} for i in range(10 if number <= self.pages else 0)]
        tag = f'"{number:030d}"' if self.tagged else ""
        return Answer(head=Page(etag=tag), pieces=self._pieces(rows))

    async def _pieces(self, rows: list[dict[str, int]]) -> AsyncGenerator[bytes]:
        yield json.dumps({"items": rows}).encode()


class Abyss(MemoryHub):
    """A hub whose events are elsewhere."""

    async def send(self, *_: object) -> None:
        """Gone."""


class Elsewhere(MemoryCursorStore):
    """A store whose journals are elsewhere."""

    async def append(self, *_: object, **__: object) -> bool:
        """Gone."""
        return True


async def held(pages: int, *, tagged: bool, **paging: Any) -> int:
    """Bytes that a poll holds at the last of so many pages."""
    source = {
        "name": "tool", "url": "http://127.0.0.1:1/", "schedule": "0 * * * * *", "records": "items",
        "publishes": "quakes", "paging": {"kind": "pageNumber", **paging},
    }  # fmt: skip
    described, table = document(sources=[source]), EndlessTable(pages=pages, tagged=tagged)
    tracemalloc.start()
    try:
        await poll_source(
            described.sources[0], described, reader=table, hub=Abyss(), cursors=Elsewhere(),
            quarantine=MemoryQuarantine(), clock=MemoryClock(),
        )  # fmt: skip
    finally:
        tracemalloc.stop()
    return table.held


@pytest.mark.parametrize(
    ("tagged", "concurrency"), [(False, 1), (True, 4)], ids=["without ETag", "with ETags"]
)
async def test_memory_is_flat_in_the_number_of_pages(
    monkeypatch: pytest.MonkeyPatch, *, tagged: bool, concurrency: int
) -> None:
    """A walk over 10,000 pages must cost what one over 100 does, but for a hash of each page.

    That hash (41 bytes and its place in a set) tells that a tool gives its pages again. What
    grows with the records is measured in `benchmarks/poll.py`.
    """
    monkeypatch.setattr(source_page, "HELD_BYTES", 1)
    monkeypatch.setattr(source_to_hub, "ANSWERS_MAX", 20)
    await held(40, tagged=tagged, concurrency=concurrency)  # What is made once is made by now.
    few = await held(340, tagged=tagged, concurrency=concurrency)

    many = await held(640, tagged=tagged, concurrency=concurrency)

    assert (many - few) / 300 < 200
