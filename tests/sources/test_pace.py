"""Pace: how fast a tool is asked, by our own limit and by what it says."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from shared.adapters.http_pace import Pace
from shared.domain.errors import TryLater
from tests.builders import NOON
from tests.source_tool import items, polling, running, tagged

if TYPE_CHECKING:
    from datetime import datetime


@pytest.mark.parametrize("status", [429, 503, 403])
@pytest.mark.parametrize(
    "after", ["7", format_datetime(NOON.replace(second=7), usegmt=True)], ids=["seconds", "date"]
)
async def test_retry_after_is_waited_for(status: int, after: str) -> None:
    """A tool that says when to come back blocks those who do not listen."""
    answers = iter([web.Response(status=status, headers={"Retry-After": after}), items(0, 2)])
    async with running(lambda _: next(answers)) as tool, polling(tool.url) as world:
        report = await world.poll()

    assert world.waits == [7]
    assert (report.records_sent, report.statuses) == (2, {status: 1, 200: 1})


async def test_refusal_with_a_spent_limit_is_a_limit() -> None:
    """GitHub answers 403 without Retry-After to whoever has used up an hour's requests."""
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOON.timestamp()) + 9)}
    answers = iter([web.Response(status=403, headers=spent), items(0, 2)])
    source: dict[str, Any] = {"retries": {"pauseSeconds": 0}}
    async with running(lambda _: next(answers)) as tool, polling(tool.url, **source) as world:
        await world.poll()

    assert sum(world.waits) == 9
    assert world.ids() == [0, 1]


async def test_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """`-0000` says that nobody knows where the tool is; HTTP dates are UTC wherever it is."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    after = {"Retry-After": "Fri, 20 Nov 2026 12:00:07 -0000"}
    answers = iter([web.Response(status=429, headers=after), items(0, 2)])
    try:
        async with running(lambda _: next(answers)) as tool, polling(tool.url) as world:
            await world.poll()
    finally:
        monkeypatch.undo()
        time.tzset()

    assert world.waits == [7]


async def test_pauses_grow_to_a_minute_and_a_half_at_most() -> None:
    """Beyond that a poll would do nothing but wait."""
    answers = iter([web.Response(status=500), items(0, 2)])
    source: dict[str, Any] = {"retries": {"pauseSeconds": 1000}}
    async with running(lambda _: next(answers)) as tool, polling(tool.url, **source) as world:
        await world.poll()

    assert 30 <= world.waits[0] <= 90


async def test_own_rate_that_leaves_no_time_ends_the_poll() -> None:
    """One request an hour: the function must not wait for it."""
    source: dict[str, Any] = {"rate": {"requests": 1, "per": "1h"}}
    async with running(lambda _: items(0, 2)) as tool, polling(tool.url, **source) as world:
        await world.poll()
        with pytest.raises(TryLater, match="may be asked again in 3600 s"):
            await world.poll()

    assert (world.waits, len(tool.asked)) == ([], 1)


async def test_wait_longer_than_the_poll_is_left_to_a_later_one() -> None:
    """Ticks of the timer in between ask nothing."""
    answers = iter([web.Response(status=429, headers={"Retry-After": "600"}), items(0, 2)])
    async with running(lambda _: next(answers)) as tool, polling(tool.url) as world:
        with pytest.raises(TryLater, match="429") as caught:
            await world.poll()
        resting = await world.poll()
        asked_meanwhile = len(tool.asked)
        world.clock.moment += 601 * (NOON.replace(second=1) - NOON)
        report = await world.poll()

    assert caught.value.retry_after_s == 600
    assert (resting.progress.resting_until, asked_meanwhile) == ("2026-11-20T12:10:00.000Z", 1)
    assert report.records_sent == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOON.timestamp()) + 9)},
        {
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(NOON.timestamp()) * 1000 + 9000),
        },
        {"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "9"},
        {"RateLimit-Remaining": "0", "RateLimit-Reset": "9"},
        {"RateLimit": '"default";r=0;t=9'},
        {"RateLimit": "limit=100, remaining=0, reset=9"},
    ],
)
async def test_spent_limit_is_respected_before_the_tool_refuses(headers: dict[str, str]) -> None:
    """Some tools block whoever runs into their limit again and again."""

    def answer(request: web.Request) -> web.Response:
        page = items(0, 0) if request.query["page"] == "2" else items(0, 3)
        page.headers.update(headers)
        return page

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        await world.poll()

    assert world.waits == [9]


async def test_own_rate_is_kept() -> None:
    """Two requests in ten seconds, whatever the tool would allow."""
    source: dict[str, Any] = {
        "paging": {"kind": "pageNumber", "pagesMax": 9},
        "rate": {"requests": 2, "per": "10s"},
    }

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return items(page * 9, page * 9 + (9 if page < 4 else 0))

    async with running(answer) as tool, polling(tool.url, **source) as world:
        await world.poll()

    assert world.waits == [10]


async def test_own_rate_is_kept_by_requests_at_once() -> None:
    """Who waits already is before who comes now; else four would go at the end of one pause."""

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        return items(page * 9, page * 9 + (9 if page < 12 else 0))

    source: dict[str, Any] = {
        "paging": {"kind": "pageNumber", "concurrency": 4},
        "rate": {"requests": 1, "per": "10s"},
    }
    async with running(answer) as tool, polling(tool.url, **source) as world:
        moments: list[timedelta] = []
        ask = Pace.ask

        def noted(pace: Pace, moment: datetime) -> None:
            moments.append(moment - NOON)
            ask(pace, moment)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pace, "ask", noted)
            await world.poll()

    assert len(moments) >= 12
    assert all(b - a >= timedelta(seconds=10) for a, b in itertools.pairwise(moments))


async def test_one_refusal_makes_requests_at_once_wait_as_well() -> None:
    """A tool that asks one request to come back later means all of them."""
    refused: list[int] = []

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        if page == 2 and not refused:
            refused.append(len(tool.asked))
            return web.Response(status=429, headers={"Retry-After": "30"})
        return items(page * 9, page * 9 + (9 if page < 4 else 0))

    async with running(answer) as tool, polling(tool.url, paging={"kind": "pageNumber"}) as world:
        await world.poll()
        source = world.document.sources[0]
        wait_s = world.reader._tool(source).pace.wait_s(NOON)

    assert world.waits == [30]
    assert wait_s == 30


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "1e400"},
        {"Retry-After": "9" * 40},
        {"Retry-After": "Fri, 20 Nov 9999 12:00:00 GMT"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 40},
        {"RateLimit": f"limit=1, remaining=0, reset={'9' * 40}"},
        {"X-Poll-Interval": "9" * 40},
    ],
)
async def test_tool_that_asks_for_ages_is_asked_again_after_a_day(headers: dict[str, str]) -> None:
    """A slip of its pen must neither crash a poll nor silence a source for ever."""

    def answer(_: web.Request) -> web.Response:
        refused = "X-Poll-Interval" not in headers and len(tool.asked) == 1
        return web.Response(status=429, headers=headers) if refused else items(0, 2)

    async with running(answer) as tool, polling(tool.url) as world:
        with suppress(TryLater):
            await world.poll()
        world.clock.moment += timedelta(days=1, seconds=2)
        await world.poll()

    assert world.ids() == [0, 1]


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "soon"},
        {"Retry-After": "nan"},
        {"Retry-After": "-5"},
        {"Retry-After": "Fri, 99 Nov 2026 12:00:00 GMT"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "2026-11-20T12:00:05Z"},
        {"X-RateLimit-Remaining": "few", "X-RateLimit-Reset": "9"},
        {"X-Poll-Interval": "now and then"},
    ],
)
async def test_header_that_makes_no_sense_is_no_wait(headers: dict[str, str]) -> None:
    """Whatever stands there, the next request is made after our own pause."""
    answers = iter([web.Response(status=503, headers=headers), items(0, 2)])
    async with running(lambda _: next(answers)) as tool, polling(tool.url) as world:
        await world.poll()

    assert world.ids() == [0, 1]
    assert sum(world.waits) <= 2


async def test_tool_that_says_how_often_it_may_be_polled_is_left_alone_so_long() -> None:
    """GitHub blocks those who ask for events more often than its X-Poll-Interval says."""

    def answer(request: web.Request) -> web.Response:
        page = tagged(request, items(0, 3), "a")
        page.headers["X-Poll-Interval"] = "60"
        return page

    async with running(answer) as tool, polling(tool.url) as world:
        await world.poll()
        world.clock.moment += timedelta(seconds=30)
        resting = await world.poll()
        world.clock.moment += timedelta(seconds=30)
        unchanged = await world.poll()
        world.clock.moment += timedelta(seconds=30)
        resting_again = await world.poll()

    assert (resting.requests, resting.progress.resting_until) == (0, "2026-11-20T12:00:59.000Z")
    assert (unchanged.pages_unchanged, resting_again.requests) == (1, 0)


async def test_unwell_tool_is_asked_again_with_growing_pauses() -> None:
    """Most 500s are over in a second."""
    statuses = iter([500, 502, 520])

    def answer(_: web.Request) -> web.Response:
        status = next(statuses, 200)
        return items(0, 2) if status == 200 else web.Response(status=status)

    async with running(answer) as tool, polling(tool.url) as world:
        report = await world.poll()

    assert report.requests_repeated == 3
    assert [low <= wait <= 3 * low for low, wait in zip((0.5, 1, 2), world.waits, strict=True)] == [
        True
    ] * 3
