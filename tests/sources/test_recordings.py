"""Recorded tools, polled again; and small twins of what was odd in them, which always run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from shared.domain.errors import BadRecord, MillraceError, TryLater
from tests import replay_server
from tests.source_tool import World, items, polling, running

GEOJSON: dict[str, Any] = {"format": "geojson", "records": "features"}


def newest(versions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The table that follows from versions in their order: the later `updated`, then the later."""
    table: dict[str, dict[str, Any]] = {}
    for version in versions:
        known = table.get(version["id"])
        if known is None or version["properties"]["updated"] >= known["properties"]["updated"]:
            table[version["id"]] = version
    return table


async def follow(world: World, feed: replay_server.Feed, bodies: list[bytes]) -> list[int]:
    """Poll each edition twice; how many records each first poll sent."""
    sent = []
    for body in bodies:
        feed.body = body
        first = await world.poll()
        again = await world.poll()
        assert again.records_sent == 0
        sent.append(first.records_sent)
    return sent


async def test_recorded_feed_ends_in_the_table_that_it_tells() -> None:
    """1,524 real polls: changes without a new `updated`, ids that come back, counts that lie."""
    bodies = list(replay_server.polls())
    feed = replay_server.Feed()
    async with running(feed.answer) as tool, polling(tool.url, **GEOJSON) as world:
        sent = await follow(world, feed, bodies)

    versions = [each for body in bodies for each in json.loads(body)["features"]]
    assert newest(world.sent()) == newest(versions)
    assert sum(sent) < len(versions) / 10


async def test_flicker_between_two_spellings_can_be_ignored() -> None:
    """Most of what changed in the recorded feed were places in two spellings."""
    bodies = list(replay_server.polls())[:300]
    feed = replay_server.Feed()
    ignored = ["properties.place", "properties.title"]
    async with running(feed.answer) as tool:
        async with polling(tool.url, **GEOJSON) as plain:
            everything = sum(await follow(plain, feed, bodies))
        async with polling(tool.url, **GEOJSON, ignoreChangesIn=ignored) as calm:
            less = sum(await follow(calm, feed, bodies))

    assert less < everything


async def test_twin_of_the_recorded_feed() -> None:
    """An edit without a new `updated`, one that goes back, an id that goes and returns."""

    def edition(*rows: tuple[str, int, str]) -> bytes:
        features = [
            {"id": name, "properties": {"updated": updated, "place": place}}
            for name, updated, place in rows
        ]
        return json.dumps({"metadata": {"count": 99}, "features": features}).encode()

    bodies = [
        edition(("a", 1, "x"), ("b", 1, "x")),
        edition(("a", 1, "y"), ("b", 2, "x")),
        edition(("a", 1, "x")),
        edition(("b", 1, "late"), ("a", 1, "x"), ("c", 3, "x")),
    ]
    feed = replay_server.Feed()
    async with running(feed.answer) as tool, polling(tool.url, **GEOJSON) as world:
        sent = await follow(world, feed, bodies)

    versions = [each for body in bodies for each in json.loads(body)["features"]]
    assert newest(world.sent()) == newest(versions)
    assert sent == [2, 2, 1, 2]


@pytest.mark.parametrize("name", ["crossref", "gbif", "github3py", "octokit", "prawcore"])
async def test_every_recorded_answer_is_read_or_refused(name: str) -> None:
    """Thousands of real answers: none may end in anything but records or a clear reason."""
    file = f"*{name}*"
    refused: dict[str, int] = {}
    read = 0
    async with running(lambda _: web.Response()) as tool:
        for cassette in replay_server.cassette_names(file)[::5]:
            played = replay_server.Cassette(file, cassette)
            tool.answer = played.answer
            for path, query in filter(_is_path, played.addresses):
                source: dict[str, Any] = {"records": _records_path(name), "query": dict(query)}
                async with polling(tool.url + path, **source) as world:
                    try:
                        report = await world.poll()
                    except MillraceError as error:
                        reason = error.reason if isinstance(error, BadRecord) else str(error)[:40]
                        refused[reason] = refused.get(reason, 0) + 1
                    else:
                        read += report.pages

    assert read + sum(refused.values()) > 0


def _is_path(address: tuple[str, Any]) -> bool:
    """Some recordings have placeholders where the host was."""
    return address[0].startswith("/")


def _records_path(name: str) -> str:
    return {"crossref": "message.items", "gbif": "results", "prawcore": "data.children"}.get(
        name, ""
    )


async def test_recorded_limit_is_waited_for() -> None:
    """A 429 that says 31 seconds, and then the answer, as GBIF gave them."""
    played = replay_server.Cassette("gbif*", "tests/fixtures/gbif_get_wait.yml")
    limited = [address for address, statuses in played.statuses().items() if 429 in statuses]
    for path, query in limited:
        async with (
            running(played.answer) as tool,
            polling(tool.url + path, records="results", query=dict(query)) as world,
        ):
            await world.poll()

        assert world.waits == [31]
    assert len(limited) == 5


async def test_recorded_tokens_lead_on_although_they_are_all_the_same() -> None:
    """Crossref's walk, cut after three pages by the end of the recording."""
    name = "tests/fixtures/cr_members_with_cursor.yml"
    played = replay_server.Cassette("crossref*", name)
    paging = {
        "kind": "cursorToken",
        "parameter": "cursor",
        "path": "message.next-cursor",
        "first": "*",
    }
    source: dict[str, Any] = {"records": "message.items", "key": "DOI", "paging": paging}
    async with running(played.answer) as tool:
        url = tool.url + "/members/10/works"
        async with polling(url, query={"rows": "100"}, **source) as world:
            with pytest.raises(MillraceError):  # The recording ends before the walk does.
                await world.poll()

    assert len(world.sent()) >= 200 - 1


async def test_twins_of_recorded_refusals() -> None:
    """A 502 without a body under a JSON type, a 429 of HTML, a 200 without its last brace."""
    answers = [
        web.Response(status=502, body=b"", content_type="application/json"),
        web.Response(status=429, text="<!doctype html>", headers={"retry-after": "4"}),
        web.Response(status=504),
        items(0, 2),
    ]
    async with running(lambda _: answers.pop(0)) as tool, polling(tool.url) as world:
        report = await world.poll()
        tool.answer = lambda _: web.Response(text='{"kind": "Listing", "items": [{"id": 3}]')
        with pytest.raises(BadRecord, match="cut off"):
            await world.poll()
        tool.answer = lambda _: web.Response(status=503)
        with pytest.raises(TryLater, match="503"):
            await world.poll()

    assert report.records_sent == 2
    assert world.waits[1] == 4
