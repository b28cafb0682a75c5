"""Polling now: what a person asks over HTTP, and what comes back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest
from aiohttp import web

from shared.adapters.http_poll import poll_now
from shared.adapters.memory import MemoryHub
from shared.adapters.memory_source import MemoryCursorStore, ReadOnlyCursors
from shared.domain.errors import TryLater
from tests.source_tool import World, items, polling, running

if TYPE_CHECKING:
    from shared.domain.poll import SourcePolled


async def ask(
    world: World, body: dict[str, Any] | None = None, *, name: str = "tool"
) -> tuple[int, dict[str, Any], list[SourcePolled]]:
    """Status, answer, and what became telemetry."""
    emitted: list[SourcePolled] = []
    request = func.HttpRequest(
        method="POST",
        url=f"/api/sources/{name}/poll",
        route_params={"name": name},
        body=json.dumps(body).encode() if body else b"",
    )
    response = await poll_now(
        request,
        document=world.document,
        reader=world.reader,
        hub=world.hub,
        cursors=world.cursors,
        quarantine=world.quarantine,
        clock=world.clock,
        emit=emitted.append,
    )
    return response.status_code, json.loads(response.get_body()), emitted


async def test_person_polls_as_the_timer_does() -> None:
    """An empty request is the same poll, now."""
    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        status, answer, emitted = await ask(world)

    assert (status, answer["records_sent"], answer["dryRun"]) == (200, 3, False)
    assert [report.records_sent for report in emitted] == [3]
    assert world.ids() == [0, 1, 2]


async def test_dry_run_tells_and_changes_nothing() -> None:
    """Whoever tries out a new source must not fill a hub."""
    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        status, answer, emitted = await ask(world, {"dryRun": True})
        sent = dict(world.hub.sent)
        again = await world.poll()
        tool.answer = lambda _: web.Response(text="<html>")
        bad, _, _ = await ask(world, {"dryRun": True})

    assert (status, answer["records_sent"], emitted, sent) == (200, 3, [], {})
    assert again.records_sent == 3
    assert (bad, world.quarantine.entries) == (500, {})


async def test_dry_run_does_not_wait_for_another_poll() -> None:
    """It sends nothing, so it is in nobody's way."""
    answers: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        if page == 2 and not answers:
            answers.append(0)
            answers[0], _, _ = await ask(world, {"dryRun": True})
        return items(page * 5, page * 5 + (5 if page < 3 else 0))

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        await world.poll()

    assert answers == [200]


async def test_person_asks_for_a_window_or_for_everything() -> None:
    """The words of the request are those of the command."""
    source = {"cursor": {"field": "at", "form": "integer", "parameter": "from", "until": "to"}}
    row = {"id": 1, "at": 5}
    async with (
        running(lambda _: web.json_response({"items": [row]})) as tool,
        polling(tool.url, **source) as world,
    ):
        await world.poll()
        _, window, _ = await ask(world, {"from": "2", "to": "9"})
        _, full, _ = await ask(world, {"full": True})
        both, problem, _ = await ask(world, {"from": "2", "full": True})

    assert tool.queries == [{}, {"from": "2", "to": "9"}, {}]
    assert (window["records_sent"], full["records_sent"]) == (1, 1)
    assert (both, "not for both at once" in problem["detail"]) == (500, True)


async def test_second_poll_at_once_says_so() -> None:
    """Timer and person must not ask one source at the same time."""
    answers: list[tuple[int, dict[str, Any], list[SourcePolled]]] = []

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        if page == 2 and not answers:
            answers.append(await ask(world))
        return items(page * 5, page * 5 + (5 if page < 3 else 0))

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        report = await world.poll()

    ((status, content, _),) = answers
    assert (status, report.records_sent) == (503, 10)
    assert "another poll of tool is running" in content["detail"]
    assert len(tool.asked) == 3


async def test_long_poll_keeps_its_turn() -> None:
    """A claim lasts 20 seconds, so that a kill costs no more; a poll at work renews it."""
    statuses: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        page = int(request.query["page"])
        world.clock.moment += timedelta(seconds=8)
        if page == 5 and not statuses:
            statuses.append(0)
            statuses[0], _, _ = await ask(world)
        return items(page * 5, page * 5 + (5 if page < 6 else 0))

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        report = await world.poll()

    assert (statuses, report.records_sent) == ([503], 25)


async def test_poll_that_was_overtaken_sends_nothing_more() -> None:
    """It was asleep while its turn ended; what it would send is old by now."""

    class Sleepy(MemoryCursorStore):
        appends = 0

        async def append(self, *arguments: Any, **more: Any) -> bool:
            self.appends += 1
            if self.appends == 2:
                world.clock.moment += timedelta(seconds=21)
                await world.poll()
                sent.append(events(world))
            return await super().append(*arguments, **more)

    def answer(request: web.Request) -> web.Response:
        world.clock.moment += timedelta(seconds=1)
        page = int(request.query["page"])
        return items(page * 5, page * 5 + (5 if page < 4 else 0))

    sent: list[int] = []
    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        world.cursors = Sleepy()
        with pytest.raises(TryLater, match="another poll of tool moved the cursor"):
            await world.poll()

    assert sent == [events(world)]


def events(world: World) -> int:
    """How many events are in the hub."""
    return sum(map(len, world.hub.sent.values()))


async def test_claim_of_a_poll_that_was_killed_ends() -> None:
    """Nobody should have to unlock a source by hand."""

    class Killed(BaseException):
        """The process is gone."""

    class DeadlyHub(MemoryHub):
        async def send(self, *_: object) -> None:
            raise Killed

    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        world.hub = DeadlyHub()
        with pytest.raises(Killed):
            await world.poll()
        world.hub = MemoryHub()
        held_up, _, _ = await ask(world)
        world.clock.moment += timedelta(seconds=21)
        report = await world.poll()

    assert (held_up, report.records_sent) == (503, 3)


async def test_request_that_makes_no_sense_is_explained() -> None:
    """A typing error must not poll everything."""
    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        unknown, problem, _ = await ask(world, {"form": "2026-01-01"})
        nobody, _, _ = await ask(world, name="tol")
        window, window_problem, _ = await ask(world, {"from": "2026-01-01"})
        tool.answer = lambda _: web.Response(text="<html>")
        bad, bad_problem, _ = await ask(world)

    assert (unknown, nobody, window, bad) == (400, 500, 500, 500)
    assert "form" in problem["detail"]
    assert "cannot be asked for a window" in window_problem["detail"]
    assert "the page is HTML" in bad_problem["detail"]


async def test_poll_that_may_not_write_reads_what_is_there() -> None:
    """Who asks what a poll would send, asks it of the state as it is."""
    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        await world.poll()
        tool.answer = lambda _: items(0, 4)
        real, world.cursors = world.cursors, ReadOnlyCursors(world.cursors)
        kept = (dict(real.kept), dict(real.journals))
        report = await world.poll()

    assert report.records_sent == 1
    assert (real.kept, real.journals) == kept
