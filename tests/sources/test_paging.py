"""Paging: every record of every page once, and an end."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from shared.adapters.memory import MemoryHub
from shared.domain.errors import BadRecord, Misconfigured, TryLater
from shared.flow import source_page
from tests.builders import document
from tests.source_tool import items, polling, running

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = 25


def at_offset(request: web.Request, *, cap: int = 1000, total: int = ALL) -> web.Response:
    """A tool that pages by offset and limit; it may cut pages silently."""
    offset = int(request.query.get("offset", 0))
    limit = min(cap, int(request.query.get("limit", 10)))
    return items(offset, min(total, offset + limit), total=total)


def by_page(request: web.Request) -> web.Response:
    """A tool that pages by number, ten records a page."""
    page = int(request.query.get("page", 1))
    return items(page * 10 - 10, min(ALL, page * 10), more=page < 3, done=page >= 3, total=ALL)


def by_token(request: web.Request) -> web.Response:
    """A tool that gives tokens, in the body and in a header."""
    start = int(request.query.get("after", "0").removeprefix("t") or 0)
    token = f"t{start + 10}" if start + 10 < ALL else ""
    page = items(start, min(ALL, start + 10), meta={"next": token or None})
    page.headers["X-Next"] = token
    return page


def by_link(request: web.Request) -> web.Response:
    """A tool that links to the next page, in the body and in a header."""
    start = int(request.query.get("from", 0))
    link = f"?from={start + 10}" if start + 10 < ALL else None
    page = items(start, min(ALL, start + 10), links={"next": link})
    if link:
        page.headers["Link"] = f'<{request.url.join(request.url.with_query(link[1:]))}>; rel="next"'
    return page


@pytest.mark.parametrize(
    ("answer", "paging", "requests"),
    [
        (at_offset, {"kind": "offset", "size": 10}, 3),
        (at_offset, {"kind": "offset", "size": 10, "total": "total"}, 3),
        (at_offset, {"kind": "offset", "size": 5}, 6),
        (at_offset, {"kind": "offset", "size": 5, "total": "total"}, 5),
        (at_offset, {"kind": "offset", "size": 10, "concurrency": 4}, None),
        (by_page, {"kind": "pageNumber"}, 3),
        (by_page, {"kind": "pageNumber", "hasMore": "more"}, 3),
        (by_page, {"kind": "pageNumber", "hasMore": "!done"}, 3),
        (by_page, {"kind": "pageNumber", "total": "total"}, 3),
        (by_page, {"kind": "pageNumber", "shortPageEnds": False}, 4),
        (by_page, {"kind": "pageNumber", "concurrency": 3}, None),
        (by_token, {"kind": "cursorToken", "parameter": "after", "path": "meta.next"}, 3),
        (
            by_token,
            {"kind": "cursorToken", "parameter": "after", "in": "header", "path": "X-Next"},
            3,
        ),
        (by_link, {"kind": "nextLink"}, 3),
        (by_link, {"kind": "nextLink", "in": "body", "path": "links.next"}, 3),
    ],
)
async def test_every_page_is_read_once_and_no_more(
    answer: Callable[[web.Request], web.Response], paging: dict[str, Any], requests: int | None
) -> None:
    """Each way of paging, with each sign of the end that it can have."""
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        report = await world.poll()

    assert world.ids() == list(range(ALL))
    assert report.records_sent == ALL
    assert requests in (None, len(tool.asked))


async def test_page_without_records_may_be_one_of_many() -> None:
    """A search that leaves out what one may not see gives empty pages in the middle."""

    def answer(request: web.Request) -> web.Response:
        start = int(request.query.get("after", 0))
        found = items(start, start + 5) if start != 5 else items(0, 0)
        content = json.loads(found.body) if isinstance(found.body, bytes) else {}
        return web.json_response(content | {"next": start + 5 if start < 15 else None})

    paging = {"kind": "cursorToken", "parameter": "after", "path": "next", "emptyPageEnds": False}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert world.ids() == [*range(5), *range(10, 20)]


@pytest.mark.parametrize("last", ["false", "no", 0, "0", None, ""])
async def test_flag_may_be_written_in_many_ways(last: str | int | None) -> None:
    """A flag that is a text is true to every programming language, also when it says no."""

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return items(page * 5, page * 5 + 5, more="true" if page < 3 else last)

    paging = {"kind": "pageNumber", "hasMore": "more"}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert len(tool.asked) == 3


async def test_total_may_be_in_a_header() -> None:
    """A tool whose body is a bare array has no other place for it."""

    def answer(request: web.Request) -> web.Response:
        page = by_page(request)
        page.headers["X-Total-Count"] = "20"
        return page

    paging = {"kind": "pageNumber", "total": "header:X-Total-Count"}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert len(tool.asked) == 2


async def test_numbers_begin_where_the_tool_begins_and_pages_have_the_size_asked_for() -> None:
    """Some count from nought, some from one, pages as well as records."""

    def answer(request: web.Request) -> web.Response:
        first = int(request.query.get("offset", 1)) - 1
        first = int(request.query["p"]) * 10 if "p" in request.query else first
        return items(first, min(21, first + 10), total=21)

    async with running(answer) as tool:
        offset = {"kind": "offset", "first": 1, "size": 10, "total": "total"}
        async with polling(tool.url, paging=offset) as offsets:
            await offsets.poll()
        pages = {"kind": "pageNumber", "parameter": "p", "first": 0, "size": 10}
        async with polling(tool.url, paging={**pages, "sizeParameter": "n"}) as numbers:
            await numbers.poll()

    assert offsets.ids() == numbers.ids() == list(range(21))
    assert tool.queries == [
        *({"offset": str(number), "limit": "10"} for number in (1, 11, 21)),
        *({"p": str(number), "n": "10"} for number in (0, 1, 2)),
    ]


@pytest.mark.parametrize("where", ["header", "body"])
async def test_link_may_be_relative_to_its_page_and_have_another_name(where: str) -> None:
    """The page may have moved, and the link leads on from where it is."""

    def answer(request: web.Request) -> web.Response:
        if request.path == "/old":
            return web.Response(status=301, headers={"Location": "/new/list?page=1"})
        assert request.path == "/new/list"
        page = int(request.query["page"])
        link = f"list?page={page + 1}" if page < 3 else None
        found = items(page * 5, page * 5 + 5, older=link if where == "body" else None)
        if link:
            found.headers["Link"] = f'<https://else/>; rel="next", <{link}>; rel="older"'
        return found

    paging: dict[str, Any] = {"kind": "nextLink", "relation": "older"}
    if where == "body":
        paging = {"kind": "nextLink", "in": "body", "path": "older"}
    async with running(answer) as tool, polling(tool.url + "/old", paging=paging) as world:
        await world.poll()

    assert world.ids() == list(range(5, 20))


@pytest.mark.parametrize("end", [None, "", "absent"])
async def test_token_that_is_empty_is_none(end: str | None) -> None:
    """Asked for with it, most tools begin again at the first page."""

    def answer(request: web.Request) -> web.Response:
        start = int(request.query.get("after", 0))
        more = {} if end == "absent" else {"next": end}
        return items(start, start + 5, **({"next": start + 5} if start < 10 else more))

    paging = {"kind": "cursorToken", "parameter": "after", "path": "next"}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert [query.get("after") for query in tool.queries] == [None, "5", "10"]


async def test_link_is_asked_for_as_it_is() -> None:
    """It holds whatever the tool needs; what is added twice, some tools take for a list."""

    def answer(request: web.Request) -> web.Response:
        page = items(0, 5) if "q" in request.query else items(5, 9)
        if "q" in request.query:
            page.headers["Link"] = '</?page=2&of=%2Ba%2Fb+c>; rel="next"'
        return page

    source: dict[str, Any] = {"paging": {"kind": "nextLink"}, "query": {"q": "x", "n": "5"}}
    async with running(answer) as tool, polling(tool.url, **source) as world:
        await world.poll()

    assert tool.queries == [{"q": "x", "n": "5"}, {"page": "2", "of": "+a/b c"}]


@pytest.mark.parametrize("kind", ["pageNumber", "offset"])
async def test_pages_are_asked_for_at_once(kind: str) -> None:
    """Each page waits until three others have been asked for: one after the other, none would end.

    The first is asked for alone: only from it is known how large pages are.
    """
    together = asyncio.Barrier(3)

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query.get("page", 1))
        page = int(request.query["offset"]) // 5 + 1 if kind == "offset" else page
        if 3 <= page < 6:
            async with asyncio.timeout(5), together:
                pass
        return items(page * 5, page * 5 + (5 if page < 8 else 0))

    paging = {"kind": kind, "concurrency": 3, "size": 5}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert world.ids() == list(range(5, 40))
    assert len(tool.asked) < 8 + 2 * 3


async def test_pages_asked_for_at_once_keep_their_order() -> None:
    """Versions of one record lie on different pages, and the last one must win."""

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return web.json_response({"items": [{"id": 1, "v": page}] if page < 9 else []})

    paging = {"kind": "pageNumber", "concurrency": 4}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert [record["v"] for record in world.sent()] == list(range(1, 9))


async def test_tool_that_cuts_pages_silently_loses_nothing_and_is_reported() -> None:
    """Who asks for 100 and gets 7 must go on at 7, not at 100."""
    paging = {"kind": "offset", "size": 100}
    async with (
        running(lambda request: at_offset(request, cap=7)) as tool,
        polling(tool.url, paging=paging) as world,
    ):
        report = await world.poll()

    assert world.ids() == list(range(ALL))
    assert report.capped_at == 7


async def test_overlapping_pages_send_a_record_once() -> None:
    """A record inserted while the walk goes on pushes others to the next page, again."""

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return items(page * 8, page * 8 + 10) if page < 3 else items(0, 0)

    paging = {"kind": "pageNumber", "first": 0}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        report = await world.poll()

    assert world.ids() == list(range(26))
    assert report.records_repeated == 4


@pytest.mark.parametrize(
    "paging",
    [
        {"kind": "pageNumber"},
        {"kind": "cursorToken", "parameter": "after", "path": "again"},
        {"kind": "nextLink", "in": "body", "path": "link"},
    ],
)
async def test_tool_that_gives_the_same_page_for_ever_is_refused(paging: dict[str, Any]) -> None:
    """It ignores what asks for the next page; without this the poll would never end."""
    async with (
        running(lambda _: items(0, 5, again="same", link="?page=2")) as tool,
        polling(tool.url, paging=paging) as world,
    ):
        with pytest.raises(BadRecord, match="the same records as an earlier page"):
            await world.poll()

    assert len(tool.asked) == 2


async def test_pages_without_records_are_no_loop() -> None:
    """Two empty pages are alike; only the limit of pages ends a walk over too many of them."""

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return items(page, page + 1 if page in (1, 4) else 0, more=page < 5)

    paging = {"kind": "pageNumber", "hasMore": "more", "emptyPageEnds": False}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert world.ids() == [1, 4]


async def test_token_that_stays_the_same_is_fine_while_the_pages_differ() -> None:
    """Crossref's deep paging gives one token for the whole walk."""
    starts = iter((0, 5, 10))

    def answer(_: web.Request) -> web.Response:
        start = next(starts)
        return items(start, start + 5 if start < 10 else 10, again="same")

    paging = {"kind": "cursorToken", "parameter": "cursor", "path": "again", "first": "*"}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert world.ids() == list(range(10))
    assert [query["cursor"] for query in tool.queries] == ["*", "same", "same"]


async def test_walk_without_end_is_refused_at_its_limit() -> None:
    """Pages that always differ and always link on are an endless calendar, not a table."""

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return items(page * 10, page * 10 + 10)

    paging = {"kind": "pageNumber", "pagesMax": 4}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        with pytest.raises(BadRecord, match="pagesMax"):
            await world.poll()

    assert len(tool.asked) == 4


async def test_poll_that_dies_goes_on_at_its_page() -> None:
    """A walk of a thousand pages must not begin again because of one that failed."""
    failing = [3]

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        if page in failing:
            return web.Response(status=500)
        return items(page * 10 - 10, page * 10 if page < 5 else page * 10 - 5)

    source: dict[str, Any] = {"paging": {"kind": "pageNumber"}, "retries": {"attempts": 1}}
    async with running(answer) as tool, polling(tool.url, **source) as world:
        with pytest.raises(TryLater, match="500"):
            await world.poll()
        failing.clear()
        report = await world.poll()

    assert [query["page"] for query in tool.queries] == ["1", "2", "3", "3", "4", "5"]
    assert world.ids() == list(range(45))
    assert report.records_repeated == 0


async def test_hub_that_is_busy_costs_no_page() -> None:
    """The page whose events were not acknowledged is the one the next poll asks for."""

    class BusyHub(MemoryHub):
        async def send(self, *arguments: Any) -> None:
            if len(self.sent) and not self.begins:
                self.begins = 1
                raise TryLater("the hub is busy")
            await super().send(*arguments)

    def answer(request: web.Request) -> web.Response:
        world.clock.moment += timedelta(seconds=1)
        return by_page(request)

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        world.hub = BusyHub()
        with pytest.raises(TryLater, match="busy"):
            await world.poll()
        await world.poll()

    assert [query["page"] for query in tool.queries] == ["1", "2", "2", "3"]
    assert world.ids() == list(range(ALL))


async def test_poll_ends_in_time_and_the_next_one_goes_on() -> None:
    """A function that is cut off by its host reports nothing; one that stops in time does."""

    def answer(request: web.Request) -> web.Response:
        world.clock.moment += timedelta(seconds=2)
        return by_page(request)

    source: dict[str, Any] = {"paging": {"kind": "pageNumber"}, "limits": {"seconds": 3}}
    async with running(answer) as tool, polling(tool.url, **source) as world:
        first = await world.poll()
        second = await world.poll()

    assert (first.unfinished, first.pages, second.unfinished, second.pages) == (True, 2, False, 1)
    assert world.ids() == list(range(ALL))


def test_poll_ends_before_its_function_does() -> None:
    """A function that its host cuts off reports nothing, and repeats what it did."""
    host = json.loads((Path(__file__).parents[2] / "host.json").read_text())
    hours, minutes, seconds = map(int, host["functionTimeout"].split(":"))
    base: dict[str, Any] = {
        "name": "tool", "url": "http://127.0.0.1/", "schedule": "0 * * * * *", "publishes": "quakes"
    }  # fmt: skip

    longest = document(sources=[{**base, "limits": {"seconds": 540}}]).sources[0].limits.seconds
    with pytest.raises(Misconfigured, match="540"):
        document(sources=[{**base, "limits": {"seconds": 541}}])

    assert longest + 60 <= hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(("bytes_max", "sends"), [(1, 3), (10**9, 1)])
async def test_pages_that_come_quickly_are_sent_together_up_to_a_size(
    monkeypatch: pytest.MonkeyPatch, bytes_max: int, sends: int
) -> None:
    """A send a page costs as much as all the rest; a send of everything costs memory."""
    counted: list[int] = []

    class CountingHub(MemoryHub):
        async def send(self, *arguments: Any) -> None:
            counted.append(1)
            await super().send(*arguments)

    monkeypatch.setattr(source_page, "HELD_BYTES", bytes_max)
    async with running(by_page) as tool, polling(tool.url, paging={"kind": "pageNumber"}) as world:
        world.hub = CountingHub()
        await world.poll()

    assert len(counted) == sends
    assert world.ids() == list(range(ALL))


async def test_changing_total_ends_no_walk_early() -> None:
    """Records that arrive while the pages are read are on the last of them."""

    def answer(request: web.Request) -> web.Response:
        offset = int(request.query["offset"])
        return at_offset(request, total=20 if offset == 0 else ALL)

    paging = {"kind": "offset", "size": 10, "total": "total"}
    async with running(answer) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert world.ids() == list(range(ALL))
