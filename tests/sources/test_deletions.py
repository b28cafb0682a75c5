"""Deletions: what is gone from a `full` source is deleted, once all is proven to be read."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from shared.adapters.memory import MemoryHub
from shared.domain.errors import BadRecord, TryLater
from tests.source_tool import FULL, items, polling, running

if TYPE_CHECKING:
    from collections.abc import Callable

    type Pages = list[Callable[[], web.Response]]


async def test_record_that_is_gone_is_deleted_once() -> None:
    """The event names it by its key at its path, and nothing else."""
    dataset = {**FULL, "columns": {"id": {"type": "string", "path": "ref.key"}}}
    rows = [{"ref": {"key": key}, "v": 1} for key in "abc"]
    async with (
        running(lambda _: web.json_response({"items": rows})) as tool,
        polling(tool.url, dataset=dataset, key="ref.key") as world,
    ):
        await world.poll()
        gone = rows.pop(1)
        report = await world.poll()
        rows[0]["v"] = 2
        after = await world.poll()
        rows.append(gone)
        back = await world.poll()

    assert world.deleted() == [{"ref": {"key": "b"}}]
    assert (report.records_deleted, after.records_deleted, back.records_sent) == (1, 0, 1)


@pytest.mark.parametrize(
    "second",
    [
        lambda: web.Response(status=404),
        lambda: web.Response(text=""),
        lambda: web.Response(text="<html>"),
        lambda: items(0, 0),
        lambda: items(0, 2, total=3),
        lambda: web.json_response({"items": [{"id": 0}]}),
        lambda: web.Response(status=204),
        lambda: web.json_response({"items": [{"id": 0}], "total": 1}, status=206),
        lambda: web.json_response({"items": [{"id": 0}], "total": 1}, status=203),
    ],
    ids=["404", "empty", "html", "no records", "count differs", "no count", "204", "206", "203"],
)
async def test_nothing_is_deleted_unless_all_is_proven_to_be_read(
    second: Callable[[], web.Response],
) -> None:
    """A tool on a bad day must not empty a table."""
    whole: Callable[[], web.Response] = lambda: items(0, 3, total=3)  # noqa: E731 -- Short.
    answers = iter([whole, second, whole])
    source: dict[str, Any] = {
        "retries": {"outcomes": {"404": "skip", "206": "read"}},
        "paging": {"kind": "none", "total": "total"},
    }
    async with (
        running(lambda _: next(answers)()) as tool,
        polling(tool.url, dataset=FULL, **source) as world,
    ):
        await world.poll()
        with suppress(BadRecord):
            await world.poll()
        report = await world.poll()

    assert world.deleted() == []
    assert report.records_sent == 0


@pytest.mark.parametrize(("total", "deleted"), [("total", [{"id": 7}]), ("", [])])
async def test_walk_over_pages_deletes_only_what_its_count_proves(
    total: str, deleted: list[dict[str, int]]
) -> None:
    """A record deleted while the walk goes on shifts another one out of sight."""
    ids = list(range(12))

    def answer(request: web.Request) -> web.Response:
        offset = int(request.query["offset"])
        rows = [{"id": number} for number in ids[offset : offset + 5]]
        return web.json_response({"items": rows, "total": len(ids)})

    paging = {"kind": "offset", "size": 5, "total": total}
    async with (
        running(answer) as tool,
        polling(tool.url, dataset=FULL, paging=paging) as world,
    ):
        await world.poll()
        ids.remove(7)
        await world.poll()

    assert world.deleted() == deleted


async def test_page_that_left_doubt_is_read_again_although_it_is_the_same() -> None:
    """Its count was wrong; what it says of the records that are gone is still open."""
    async with (
        running(lambda _: items(0, 2, total=3)) as tool,
        polling(tool.url, dataset=FULL, paging={"kind": "none", "total": "total"}) as world,
    ):
        await world.poll()
        again = await world.poll()

    assert (again.records_seen, again.pages_unchanged) == (2, 0)


async def test_pages_that_are_unchanged_are_read_when_another_is_not() -> None:
    """Only a walk that met every record can tell which one is gone."""
    ids = list(range(12))

    def answer(request: web.Request) -> web.Response:
        offset = int(request.query["offset"])
        page = web.json_response({"items": [{"id": each} for each in ids[offset : offset + 5]]})
        page.headers["ETag"] = f'"{hash(page.text)}"'
        page.headers["X-Total"] = str(len(ids))
        if request.headers.get("If-None-Match") == page.headers["ETag"]:
            return web.Response(status=304)
        return page

    paging = {"kind": "offset", "size": 5, "total": "header:X-Total"}
    async with (
        running(answer) as tool,
        polling(tool.url, dataset=FULL, paging=paging) as world,
    ):
        await world.poll()
        unchanged = await world.poll()
        ids.remove(11)
        changed = await world.poll()

    assert (unchanged.pages_unchanged, unchanged.requests) == (3, 3)
    assert changed.statuses == {304: 2, 200: 4}  # Two in vain, and then all from the first.
    assert world.deleted() == [{"id": 11}]


async def test_deletion_that_failed_is_sent_again_even_if_the_record_came_back() -> None:
    """Between the hub's acknowledgement and our note of it anything can happen."""

    class HalfHub(MemoryHub):
        async def send(self, *arguments: Any) -> None:
            await super().send(*arguments)
            if self.begins:
                self.begins = 0
                raise TryLater("the acknowledgement was lost")

    ids = [1, 2]
    async with (
        running(lambda _: web.json_response({"items": [{"id": each} for each in ids]})) as tool,
        polling(tool.url, dataset=FULL) as world,
    ):
        world.hub = HalfHub()
        await world.poll()
        ids.remove(2)
        world.hub.begins = 1
        with pytest.raises(TryLater):
            await world.poll()
        ids.append(2)
        await world.poll()

    events = [event for group in world.hub.sent.values() for event in group]
    about_two = [event.attributes["type"] for event in events if json.loads(event.body)["id"] == 2]
    assert about_two == [
        "dev.millrace.records",
        "dev.millrace.deletions",
        "dev.millrace.records",
    ]


async def test_walk_in_several_polls_still_proves_what_is_gone() -> None:
    """A source of a million records cannot be read within one poll."""
    ids = list(range(20))
    step = timedelta(seconds=2)

    def answer(request: web.Request) -> web.Response:
        world.clock.moment += step
        offset = int(request.query["offset"])
        rows = [{"id": number} for number in ids[offset : offset + 5]]
        return web.json_response({"items": rows, "total": len(ids)})

    source: dict[str, Any] = {
        "paging": {"kind": "offset", "size": 5, "total": "total"},
        "limits": {"seconds": 3},
    }
    async with running(answer) as tool, polling(tool.url, dataset=FULL, **source) as world:
        for _ in range(2):
            await world.poll()
        ids.remove(3)
        polls = [await world.poll() for _ in range(2)]

    assert [report.unfinished for report in polls] == [True, False]
    assert world.deleted() == [{"id": 3}]


@pytest.mark.parametrize(
    ("pages", "deleted"),
    [
        ([lambda: items(0, 5, total=9), lambda: items(5, 9, total=9)], [9]),
        ([lambda: items(0, 5, total=10), lambda: items(4, 9, total=10)], []),
        ([lambda: items(0, 5, total=10), lambda: items(5, 9, total=9)], []),
        ([lambda: items(0, 5, total=9), lambda: items(5, 9)], []),
        ([lambda: items(0, 5, total=9), lambda: items(5, 8, total=9), lambda: items(0, 0)], []),
        ([lambda: items(0, 5, total=9), lambda: web.Response(status=404)], []),
        ([lambda: items(0, 5, total=5)], [5, 6, 7, 8, 9]),
    ],
    ids=["whole", "overlap", "total changes", "total missing", "too few", "page missing", "less"],
)
async def test_walk_proves_only_what_its_count_says_from_first_to_last(
    pages: Pages, deleted: list[int]
) -> None:
    """The table has ten records; whatever leaves open whether one is gone deletes none."""
    queue: Pages = [lambda: items(0, 5, total=10), lambda: items(5, 10, total=10), *pages]
    source: dict[str, Any] = {
        "retries": {"outcomes": {"404": "skip"}},
        "paging": {"kind": "pageNumber", "total": "total"},
    }
    async with (
        running(lambda _: queue.pop(0)()) as tool,
        polling(tool.url, dataset=FULL, **source) as world,
    ):
        await world.poll()
        await world.poll()

    assert sorted(record["id"] for record in world.deleted()) == deleted
    assert queue == []


@pytest.mark.parametrize(
    ("left", "query", "address", "deleted"),
    [
        (4, {}, "", 6),
        (0, {}, "", 0),
        (4, {"limit": "4"}, "", 0),
        (4, {}, "?limit=4", 0),
        (4, {"limit": "100"}, "?per_page=50", 6),
    ],
    ids=["whole", "nothing", "as many as asked for", "the same in the address", "fewer"],
)
async def test_single_page_proves_itself_unless_it_may_be_cut(
    left: int, query: dict[str, str], address: str, deleted: int
) -> None:
    """A page that is as full as it may be says nothing of what would have come next."""
    answers = iter([items(0, 10), items(0, left)])
    async with (
        running(lambda _: next(answers)) as tool,
        polling(tool.url + address, dataset=FULL, query=query) as world,
    ):
        await world.poll()
        await world.poll()

    assert len(world.deleted()) == deleted
