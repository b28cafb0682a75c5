"""Validators: a page that has not changed costs a request, and nothing else."""

from __future__ import annotations

import pytest
from aiohttp import web

from tests.source_tool import FULL, items, polling, running, tagged


async def test_unchanged_page_costs_one_request_and_no_write() -> None:
    """A timer polls 1,440 times a day, and almost always nothing has happened."""
    async with (
        running(lambda request: tagged(request, items(0, 3), "a")) as tool,
        polling(tool.url) as world,
    ):
        await world.poll()
        changes = world.cursors.changes
        report = await world.poll()

    assert (report.requests, report.pages_unchanged, report.changed) == (1, 1, False)
    assert report.statuses == {304: 1}
    assert world.cursors.changes == changes


async def test_tool_with_last_modified_only_is_asked_with_it() -> None:
    """Not every tool has ETags."""
    seen: list[str | None] = []

    def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("If-Modified-Since"))
        if seen[-1]:
            return web.Response(status=304)
        page = items(0, 3)
        page.headers["Last-Modified"] = "Fri, 20 Nov 2026 12:00:00 GMT"
        return page

    async with running(answer) as tool, polling(tool.url) as world:
        await world.poll()
        report = await world.poll()

    assert seen == [None, "Fri, 20 Nov 2026 12:00:00 GMT"]
    assert report.pages_unchanged == 1


async def test_each_page_has_its_own_validators() -> None:
    """One ETag for all pages would call page 2 unchanged because page 1 is."""
    second = ["x"]

    def answer(request: web.Request) -> web.Response:
        if request.query["page"] == "1":
            return tagged(request, items(0, 10), "one")
        return tagged(
            request, web.json_response({"items": [{"id": 10, "v": second[0]}]}), second[0]
        )

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        await world.poll()
        unchanged = await world.poll()
        second[0] = "y"
        changed = await world.poll()

    assert (unchanged.pages_unchanged, unchanged.records_sent) == (2, 0)
    assert (changed.pages_unchanged, changed.records_sent) == (1, 1)


@pytest.mark.parametrize("changed", [[], [1], [6], [2, 5]])
@pytest.mark.parametrize("full", [False, True])
async def test_pages_asked_for_at_once_are_asked_with_their_validators(
    changed: list[int], *, full: bool
) -> None:
    """Else a source that is read quickly because it is large costs all its bodies at every poll."""

    def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        tag = f"{page} {page in news}"
        rows = [{"id": page * 10 + i, "v": tag} for i in range(10 if page < 8 else 0)]
        return tagged(request, web.json_response({"items": rows, "total": 70}), tag)

    news: list[int] = []
    paging = {"kind": "pageNumber", "concurrency": 3, "total": "total"}
    dataset = FULL if full else None
    async with running(answer) as tool, polling(tool.url, paging=paging, dataset=dataset) as world:
        await world.poll()
        news += changed
        report = await world.poll()
        after = await world.poll()

    assert (report.records_sent, after.records_sent) == (10 * len(changed), 0)
    assert world.deleted() == []
    if not (full and changed):
        assert (report.pages_unchanged, after.pages_unchanged) == (7 - len(changed), 7)
        assert report.statuses.get(200, 0) == len(changed)


async def test_tool_without_validators_that_says_the_same_sends_nothing() -> None:
    """The bytes themselves tell."""
    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        await world.poll()
        changes = world.cursors.changes
        report = await world.poll()

    assert (report.requests, report.pages_unchanged, report.records_seen) == (1, 1, 0)
    assert world.cursors.changes == changes
