"""Recorded tools, polled again; and small twins of what was odd in them, which always run."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from shared.domain.errors import BadRecord, MillraceError, TryLater
from tests import replay_server
from tests.source_tool import FULL, World, items, polling, running

BUOYS = ("cwind", "dart", "drift", "ocean", "rain", "spec", "srad", "supl", "txt")
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


@pytest.mark.parametrize(
    ("name", "every", "outcomes"),
    [
        ("crossref", 1, {"read": 54, "not-json": 13, "Misconfigured": 7, "TryLater": 4}),
        ("gbif", 1, {"read": 191, "not-json": 13, "Misconfigured": 1}),
        ("github3py", 5, {"read": 34, "not-json": 109, "Misconfigured": 2, "TryLater": 1}),
        ("octokit", 5, {"read": 23, "not-json": 48, "Misconfigured": 46, "TryLater": 1}),
        ("prawcore", 1, {"not-json": 1, "Misconfigured": 5, "TryLater": 1}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_every_recorded_answer_is_read_or_refused(
    name: str, every: int, outcomes: dict[str, int]
) -> None:
    """Real answers: none may end in anything but records or a clear reason.

    Most recorded answers are single objects, where a source of ours has an array.
    """
    file, found = f"*{name}*", Counter[str]()
    async with running(lambda _: web.Response()) as tool:
        for cassette in replay_server.cassette_names(file)[::every]:
            played = replay_server.Cassette(file, cassette)
            tool.answer = played.answer
            for path, query in filter(_is_path, played.addresses):
                source: dict[str, Any] = {"records": _records_path(name), "query": dict(query)}
                async with polling(tool.url + path, **source) as world:
                    try:
                        await world.poll()
                    except MillraceError as error:
                        reason = error.reason if isinstance(error, BadRecord) else None
                        found[reason or type(error).__name__] += 1
                    else:
                        found["read"] += 1

    assert found == outcomes


def _is_path(address: tuple[str, Any]) -> bool:
    """Some recordings have placeholders where the host was, or more than a server of ours reads."""
    return address[0].startswith("/") and len(str(address)) < 8000


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


async def test_recorded_links_lead_through_every_page_and_then_nothing_has_changed() -> None:
    """GitHub's stars of a person: seven pages, whose links lead to another path than the first."""
    played = replay_server.Cassette("*github3py*", "tests/cassettes/User_starred_repositories.json")
    source: dict[str, Any] = {
        "records": "", "paging": {"kind": "nextLink"}, "query": {"sort": "50", "per_page": "100"},
    }  # fmt: skip
    async with (
        running(played.answer) as tool,
        polling(tool.url + "/users/sigmavirus24/starred", **source) as world,
    ):
        first = await world.poll()
        again = await world.poll()

    assert (first.pages, again.pages_unchanged, again.statuses) == (7, 7, {304: 7})
    assert first.records_sent == 616
    assert again.records_seen == 0


async def test_recorded_poll_interval_is_kept() -> None:
    """GitHub's events, three pages of them, may be asked for once a minute."""
    name = "tests/cassettes/Repository_network_events.json"
    played = replay_server.Cassette("*github3py*", name)
    source: dict[str, Any] = {
        "records": "", "paging": {"kind": "nextLink"}, "query": {"per_page": "100"},
    }  # fmt: skip
    async with running(played.answer) as tool:
        url = tool.url + "/networks/sigmavirus24/github3.py/events"
        async with polling(url, **source) as world:
            first = await world.poll()
            resting = await world.poll()

    assert (first.pages, world.waits) == (3, [])
    assert resting.progress.resting_until == "2026-11-20T12:00:59.000Z"


async def test_recorded_gateway_time_out_is_tried_again_and_left_to_a_later_poll() -> None:
    """Crossref's, with a page of HTML."""
    played = replay_server.Cassette("crossref*", "tests/fixtures/cr_members_fails_well.yml")
    ((path, query),) = [each for each, (status, *_) in played.statuses().items() if status == 504]
    async with (
        running(played.answer) as tool,
        polling(tool.url + path, query=dict(query)) as world,
    ):
        with pytest.raises(TryLater, match="answered 504"):
            await world.poll()

    assert len(world.waits) == 3
    assert world.quarantine.entries == {}


@pytest.mark.parametrize("path", ["ability", "item", "machine", "type"])
async def test_recorded_list_says_how_many_there_are(path: str) -> None:
    """PokeAPI's lists: `count`, and a link to the next page that is null."""
    body = replay_server.member("pokeapi/*.tar.xz", f"api/v2/{path}/index.json")
    paging = {"kind": "nextLink", "in": "body", "path": "next", "total": "count"}
    source: dict[str, Any] = {"records": "results", "key": "url", "paging": paging}
    file = replay_server.File(body, {})
    async with running(file.answer) as tool, polling(tool.url, **source) as world:
        report = await world.poll()
        again = await world.poll()

    assert report.records_sent == json.loads(body)["count"]
    assert again.statuses == {304: 1}


async def test_recorded_record_within_a_record_is_found() -> None:
    """The Pokémon of a type, each with an object in it, at a path of one answer."""
    body = replay_server.member("pokeapi/*.tar.xz", "api/v2/type/1/index.json")
    source: dict[str, Any] = {"records": "pokemon", "key": "pokemon.name"}
    file = replay_server.File(body, {})
    async with running(file.answer) as tool, polling(tool.url, **source) as world:
        await world.poll()

    rows = json.loads(body)["pokemon"]
    assert sorted(map(repr, world.sent())) == sorted(map(repr, rows))


async def test_recorded_weather_is_read() -> None:
    """The National Weather Service: GeoJSON under JSON-LD, numbers among texts, empty lists."""
    kinds = Counter[str]()
    for path in sorted((replay_server.recordings() / "weather/nws").glob("*.json")):
        file = replay_server.File(path.read_bytes(), {"Content-Type": "application/geo+json"})
        async with running(file.answer) as tool, polling(tool.url, **GEOJSON) as world:
            try:
                report = await world.poll()
            except BadRecord as error:
                kinds[error.reason] += 1
            else:
                kinds["read"] += 1
                features = json.loads(file.body)["features"]
                assert report.records_seen == len(features)

    assert kinds == {"read": 15, "not-json": 11}


@pytest.mark.parametrize("station", ["latest", *(f"realtime_{kind}" for kind in BUOYS)])
async def test_recorded_tables_of_buoys_are_read_and_then_have_not_changed(station: str) -> None:
    """Columns between blanks, in ISO 8859-1, with Last-Modified and no ETag."""
    folder = replay_server.recordings() / "weather/ndbc"
    body = (folder / f"ndbc_{station}.txt").read_bytes()
    told = json.loads((folder / f"ndbc_{station}.headers.json").read_text())
    file = replay_server.File(body, dict(told["headers"]), zipped=True)
    header, _, *lines = body.decode("latin-1").splitlines()
    names = header.removeprefix("#").split()
    source: dict[str, Any] = {"format": "text", "records": "", "key": names[:5]}
    async with running(file.answer) as tool, polling(tool.url, **source) as world:
        await world.poll()
        again = await world.poll()

    rows = [dict(zip(names, line.split(), strict=False)) for line in lines]
    assert sorted(map(repr, world.sent())) == sorted(map(repr, rows))
    assert again.statuses == {304: 1}


@pytest.mark.parametrize("hour", [0, 1])
async def test_recorded_hour_of_events_is_sent_byte_for_byte(hour: int) -> None:
    """GH Archive: a file of gzip, 7,000 lines, some of them no JSON: all reach the hub."""
    (path,) = (replay_server.recordings() / "events").glob(f"gharchive_2015-01-01-{hour}.*")
    file = replay_server.File(path.read_bytes(), {"Content-Type": "application/gzip"})
    source: dict[str, Any] = {"format": "ndjson", "records": ""}
    async with running(file.answer) as tool, polling(tool.url, **source) as world:
        report = await world.poll()

    lines = gzip.decompress(file.body).splitlines()
    events = [event for group in world.hub.sent.values() for event in group]
    assert sorted(line for event in events for line in event.body.split(b"\n")) == sorted(lines)
    assert report.records_sent == len(lines)


async def test_twin_of_an_hour_of_events() -> None:
    """A file of gzip that nobody calls so, with a line that is no JSON."""
    lines = [b'{"id":"1","t":"\\u00e9"}', b'{"id":"2","t":"\\x"}', b'{"id":"3"}']
    file = replay_server.File(gzip.compress(b"\n".join(lines)), {"Content-Type": "text/plain"})
    source: dict[str, Any] = {"format": "ndjson", "records": ""}
    async with running(file.answer) as tool, polling(tool.url, **source) as world:
        await world.poll()

    events = [event for group in world.hub.sent.values() for event in group]
    assert sorted(line for event in events for line in event.body.split(b"\n")) == lines


async def test_twin_of_a_table_of_buoys() -> None:
    """Compressed on its way, in ISO 8859-1, and unchanged the second time."""
    body = "#YY  hh  NAME\n#yr  hr  -\n2018 15 K\u00f8ge\n2018 14  MM \n".encode("latin-1")
    headers = {"Content-Type": "text/plain; charset=ISO-8859-1"}
    file = replay_server.File(body, headers, zipped=True)
    source: dict[str, Any] = {"format": "text", "records": "", "key": ["YY", "hh"]}
    async with running(file.answer) as tool, polling(tool.url, **source) as world:
        await world.poll()
        again = await world.poll()

    assert sorted(row["NAME"] for row in world.sent()) == ["K\u00f8ge", "MM"]
    assert again.statuses == {304: 1}


async def test_twin_of_a_list_with_links_and_a_count() -> None:
    """Next links in the body that end with null, and a count that proves a deletion."""
    ids = list(range(7))

    def answer(request: web.Request) -> web.Response:
        at = int(request.query.get("offset", 0))
        following = f"{request.url.origin()}/?offset={at + 3}" if at + 3 < len(ids) else None
        results = [{"name": f"n{number}", "url": f"/{number}/"} for number in ids[at : at + 3]]
        return web.json_response({"count": len(ids), "next": following, "results": results})

    paging = {"kind": "nextLink", "in": "body", "path": "next", "total": "count"}
    source: dict[str, Any] = {"records": "results", "key": "url", "paging": paging}
    dataset = {
        **FULL, "primaryKey": ["url"], "columns": {"url": {"type": "string"}},
    }  # fmt: skip
    async with running(answer) as tool, polling(tool.url, dataset=dataset, **source) as world:
        await world.poll()
        ids.remove(3)
        await world.poll()

    assert world.deleted() == [{"url": "/3/"}]


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
