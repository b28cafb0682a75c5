"""Incremental: what is new is asked for, what changed is sent, what is gone is deleted, at last."""

from __future__ import annotations

import json
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from shared.adapters.memory import MemoryHub
from shared.domain import seen as seen_module
from shared.domain.cursor_field import CursorField, later
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.poll import Progress, SourcePolled, Wish, wish_of
from shared.domain.seen import Seen
from tests.builders import NOON
from tests.source_tool import FULL, World, items, polling, running

if TYPE_CHECKING:
    from shared.domain.cursor_field import Value


class Table:
    """A tool over a table: what is newer than `since`, up to `until`."""

    def __init__(self, **times: str) -> None:
        """Ids and when each was changed."""
        self.times = dict(times)

    def answer(self, request: web.Request) -> web.Response:
        """Select and sort as such tools do."""
        since, until = request.query.get("since", ""), request.query.get("until", "~")
        rows = [
            {"id": name, "changed": at}
            for name, at in sorted(self.times.items(), key=lambda pair: pair[1])
            if since <= at < until
        ]
        return web.json_response({"items": rows})


CURSOR = {"field": "changed", "parameter": "since", "start": "2026-01-01"}


@pytest.mark.parametrize(
    ("form", "found", "asked"),
    [
        ("iso8601", "2026-11-20T12:00:00.5+01:00", "2026-11-20T11:00:00.500000Z"),
        ("iso8601", "2026-11-20T12:00:00", "2026-11-20T12:00:00Z"),
        ("date", "2026-11-20", "2026-11-20"),
        ("epochSeconds", 1700000000, "1700000000"),
        ("epochSeconds", "1700000000.25", "1700000000"),
        ("epochMilliseconds", 1700000000123, "1700000000123"),
        ("integer", 42, "42"),
        ("integer", "42", "42"),
        ("string", "b-7", "b-7"),
    ],
)
async def test_cursor_field_may_be_written_in_many_ways(
    form: str, found: float | str, asked: str
) -> None:
    """What the source gave is what it is asked for the next time, and no later."""
    cursor = {"field": "meta.at", "form": form, "parameter": "since"}
    async with (
        running(lambda _: web.json_response({"items": [{"id": 1, "meta": {"at": found}}]})) as tool,
        polling(tool.url, cursor=cursor) as world,
    ):
        first = await world.poll()
        await world.poll()

    assert tool.queries == [{}, {"since": asked}]
    assert first.progress.after == asked


async def test_only_what_is_new_is_asked_for_and_the_edge_is_not_sent_twice() -> None:
    """A tool that answers with `>=` gives the last record again, at every poll."""
    table = Table(a="2026-11-01T00:00:00Z", b="2026-11-02T00:00:00Z")
    async with (
        running(table.answer) as tool,
        polling(tool.url, cursor=CURSOR) as world,
    ):
        first = await world.poll()
        table.times["c"] = "2026-11-03T00:00:00Z"
        second = await world.poll()
        third = await world.poll()

    assert [query["since"] for query in tool.queries] == [
        "2026-01-01T00:00:00Z",
        "2026-11-02T00:00:00Z",
        "2026-11-03T00:00:00Z",
    ]
    assert (first.records_sent, second.records_sent, third.records_sent) == (2, 1, 0)
    assert (second.progress.before, second.progress.after) == (
        "2026-11-02T00:00:00Z",
        "2026-11-03T00:00:00Z",
    )
    assert second.progress.lag_s == (NOON - NOON.replace(day=3, hour=0)).total_seconds()


async def test_what_arrives_late_is_found_by_looking_back() -> None:
    """Records are often written down long after they happened."""
    table = Table(a="2026-11-10T00:00:00Z")
    async with (
        running(table.answer) as tool,
        polling(tool.url, cursor={**CURSOR, "lookback": "2 days"}) as world,
    ):
        await world.poll()
        table.times["late"] = "2026-11-08T12:00:00Z"
        report = await world.poll()

    assert world.ids() == ["a", "late"]
    assert report.records_sent == 1


async def test_cursor_never_moves_backwards() -> None:
    """A source that restores a backup would otherwise be read from there again, for ever."""
    table = Table(a="2026-11-10T00:00:00Z")
    async with running(table.answer) as tool, polling(tool.url, cursor=CURSOR) as world:
        await world.poll()
        tool.answer = lambda _: web.json_response(
            {"items": [{"id": "b", "changed": "2026-10-01T00:00:00Z"}]}
        )
        report = await world.poll()

    assert world.ids() == ["a", "b"]
    assert report.progress.after == "2026-11-10T00:00:00Z"


@pytest.mark.parametrize("odd", ["2099-01-01T00:00:00Z", "soon", None, [1], True])
async def test_one_odd_value_does_not_hide_all_that_follows(odd: Any) -> None:
    """A date in 2099 would be the newest for 73 years."""
    rows = [{"id": 1, "changed": "2026-11-10T00:00:00Z"}, {"id": 2, "changed": odd}]
    async with (
        running(lambda _: web.json_response({"items": rows})) as tool,
        polling(tool.url, cursor=CURSOR) as world,
    ):
        report = await world.poll()

    assert report.records_sent == 2
    assert report.progress.after == "2026-11-10T00:00:00Z"


@pytest.mark.parametrize("failing", range(1, 4))
async def test_cursor_does_not_pass_what_the_hub_did_not_take(failing: int) -> None:
    """What is behind the cursor is never asked for again: it must be in the hub."""

    class FailingHub(MemoryHub):
        async def send(self, *arguments: Any) -> None:
            self.begins += 1
            if self.begins == failing:
                raise TryLater("the hub is busy")
            await super().send(*arguments)

    def answer(request: web.Request) -> web.Response:
        world.clock.moment += timedelta(seconds=1)
        after = int(request.query.get("since", 0))
        page = int(request.query["page"])
        rows = [{"id": i, "n": i} for i in range(1, 13) if i >= after]
        return web.json_response({"items": rows[page * 4 - 4 : page * 4]})

    source: dict[str, Any] = {
        "cursor": {"field": "n", "form": "integer", "parameter": "since"},
        "paging": {"kind": "pageNumber"},
    }
    async with running(answer) as tool, polling(tool.url, **source) as world:
        world.hub = FailingHub()
        with pytest.raises(TryLater):
            await world.poll()
        for _ in range(3):
            await world.poll()

    assert world.ids() == list(range(1, 13))


async def test_past_is_read_in_windows() -> None:
    """A tool that gives a year at once gives a time-out."""
    table = Table(**{f"m{month:02d}": f"2026-{month:02d}-05T00:00:00Z" for month in range(1, 12)})
    cursor = {**CURSOR, "until": "until", "window": "P60D"}
    async with running(table.answer) as tool, polling(tool.url, cursor=cursor) as world:
        report = await world.poll()
        asked = len(tool.asked)
        again = await world.poll()

    windows = [(query["since"], query["until"]) for query in tool.queries[:asked]]
    assert len(world.ids()) == 11
    assert asked == 6
    assert [end for _, end in windows[:-1]] == [start for start, _ in windows[1:]]
    assert windows[-1][1] == "2026-11-20T12:00:00Z"
    assert (report.records_sent, again.records_sent) == (11, 0)


async def test_person_may_ask_for_a_window_once_more() -> None:
    """What was lost in a table can be had again without reading everything."""
    table = Table(a="2026-11-01T00:00:00Z", b="2026-11-02T00:00:00Z", c="2026-11-03T00:00:00Z")
    async with (
        running(table.answer) as tool,
        polling(tool.url, cursor={**CURSOR, "until": "until"}) as world,
    ):
        await world.poll()
        source = world.document.sources[0]
        wish = wish_of(source, since="2026-11-02", until="2026-11-03", full=False)
        report = await world.poll(wish)
        after = await world.poll()

    assert tool.queries[1] == {"since": "2026-11-02T00:00:00Z", "until": "2026-11-03T00:00:00Z"}
    assert (report.records_sent, after.records_sent) == (1, 0)
    assert after.progress.before == "2026-11-03T00:00:00Z"
    assert world.ids() == ["a", "b", "b", "c"]


async def test_window_ahead_of_the_cursor_moves_it_not() -> None:
    """What lies between would never be asked for."""
    table = Table(a="2026-11-01T00:00:00Z")
    async with (
        running(table.answer) as tool,
        polling(tool.url, cursor={**CURSOR, "until": "until"}) as world,
    ):
        await world.poll()
        table.times |= {"b": "2026-11-02T00:00:00Z", "c": "2026-11-09T00:00:00Z"}
        source = world.document.sources[0]
        await world.poll(wish_of(source, since="2026-11-08", until="2026-11-10", full=False))
        await world.poll()

    assert set(world.ids()) == {"a", "b", "c"}


async def test_everything_is_asked_for_from_the_start() -> None:
    """Not from where the cursor is."""
    table = Table(a="2026-11-01T00:00:00Z", b="2026-11-02T00:00:00Z")
    async with running(table.answer) as tool, polling(tool.url, cursor=CURSOR) as world:
        await world.poll()
        await world.poll(Wish(full=True))

    assert tool.queries[1] == {"since": "2026-01-01T00:00:00Z"}
    assert world.ids() == ["a", "a", "b", "b"]


async def test_person_may_ask_for_everything_once_more() -> None:
    """After a change of the tables, say."""
    async with running(lambda _: items(0, 3)) as tool, polling(tool.url) as world:
        await world.poll()
        report = await world.poll(Wish(full=True))
        after = await world.poll()

    assert (report.records_sent, after.records_sent) == (3, 0)
    assert world.ids() == [0, 0, 1, 1, 2, 2]


async def test_source_without_a_window_says_so() -> None:
    """Asked for a window, it would give everything."""
    async with polling("http://127.0.0.1:1/") as world:
        source = world.document.sources[0]

        with pytest.raises(Misconfigured, match="cannot be asked for a window"):
            wish_of(source, since="2026-01-01", until="", full=False)


async def test_what_is_gone_is_forgotten_and_news_when_it_comes_back() -> None:
    """A feed of the last day would else be remembered for ever, a day after the other."""
    ids = [1, 2]
    async with (
        running(lambda _: web.json_response({"items": [{"id": each} for each in ids]})) as tool,
        polling(tool.url) as world,
    ):
        await world.poll()
        ids[1] = 3
        await world.poll()
        ids.append(2)
        report = await world.poll()

    assert (report.records_new, report.records_sent) == (1, 1)
    assert world.ids() == [1, 2, 2, 3]


async def test_change_in_an_ignored_field_is_no_change() -> None:
    """A view counter turns every record of every poll into news."""
    rows: list[dict[str, Any]] = [{"id": 1, "v": 1, "meta": {"views": 1, "by": "x"}}]
    async with (
        running(lambda _: web.json_response({"items": rows})) as tool,
        polling(tool.url, ignoreChangesIn=["meta.views"]) as world,
    ):
        await world.poll()
        rows[0]["meta"]["views"] = 2
        ignored = await world.poll()
        rows[0]["meta"]["by"] = "y"
        changed = await world.poll()

    assert (ignored.records_unchanged, ignored.records_sent) == (1, 0)
    assert (changed.records_changed, changed.records_sent) == (1, 1)
    assert world.sent()[-1]["meta"] == {"views": 2, "by": "y"}


async def test_two_records_of_one_key_do_not_look_changed_at_every_poll() -> None:
    """Keys are not always unique, and then every poll would send both."""
    rows = [{"id": 1, "v": 1}, {"id": 1, "v": 2}]
    tail: list[dict[str, Any]] = []
    async with (
        running(lambda _: web.json_response({"items": rows + tail})) as tool,
        polling(tool.url) as world,
    ):
        await world.poll()
        tail.append({"id": 2})
        report = await world.poll()

    assert (report.records_unchanged, report.records_sent) == (2, 1)
    assert [record.get("v") for record in world.sent() if record["id"] == 1] == [1, 2]


@settings(max_examples=40, deadline=None)
@given(
    walks=st.lists(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), max_size=12), max_size=5
    ),
    few=st.sampled_from([0, 3, 100]),
)
def test_few_and_many_fingerprints_tell_the_same(
    walks: list[list[tuple[int, int]]], few: int
) -> None:
    """Where memory counts for more than time, the answers must not change."""
    outcomes = []
    for limit in (few, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seen_module, "FEW", limit)
            seen = Seen()
            told: list[Any] = []
            for walk in walks:
                names = [name.to_bytes(8) for name, _ in walk]
                contents = [content.to_bytes(7) for _, content in walk]
                sifted = seen.sift(names, [b"x" + each[1:] for each in contents], all_=False)
                again = Seen()
                for piece in seen.pieces(20):
                    again.load(piece)
                assert sorted(again.vanished()) == sorted(seen.vanished())
                told.append((list(sifted.fresh), list(sifted.added), sifted.repeated, len(seen)))
                told.append((sorted(seen.vanished()), list(sifted.names)))
                seen.forget_marks()
            outcomes.append(told)

    assert outcomes[0] == outcomes[1]


async def test_parameter_may_be_written_in_another_way_than_the_field() -> None:
    """Records in milliseconds, a parameter in ISO 8601: there are such tools."""
    cursor = {
        "field": "at", "form": "epochMilliseconds", "parameter": "since", "parameterForm": "iso8601"
    }  # fmt: skip
    row = {"id": 1, "at": 1700000000123}
    async with (
        running(lambda _: web.json_response({"items": [row]})) as tool,
        polling(tool.url, cursor=cursor) as world,
    ):
        await world.poll()
        await world.poll()

    assert tool.queries[1] == {"since": "2023-11-14T22:13:20.123000Z"}


@pytest.mark.parametrize(
    ("one", "other", "greater"),
    [(1, 2, 2), ("b", "a", "b"), (None, 1, 1), ("a", None, "a"), (5, "a", "a"), ("z", 1, 1)],
)
def test_later_of_two_values_is_of_the_kind_that_the_source_gives_now(
    one: Value, other: Value, greater: Value
) -> None:
    """Somebody corrected `form` in the document: what was noted before means nothing any more."""
    assert later(one, other) == greater


def test_flag_is_no_number() -> None:
    """True is 1 in Python: a cursor must not take it for progress."""
    cursor = CursorField(field="n", form="integer")

    assert cursor.newest([True, -5], now=NOON) == -5


def events(world: World) -> int:
    """How many events are in the hub."""
    return sum(map(len, world.hub.sent.values()))


async def test_report_tells_what_a_poll_saw_and_did() -> None:
    """What is not in the report is in no metric, and nobody sees it."""
    rows: list[dict[str, Any]] = [
        {"id": number, "at": f"2026-11-20T11:59:{number:02d}Z"} for number in range(4)
    ]
    answers = [web.Response(status=503)]

    def answer(request: web.Request) -> web.Response:
        start = int(request.query["offset"])
        if answers:
            return answers.pop()
        return web.json_response({"items": rows[start : start + 3], "total": len(rows)})

    source: dict[str, Any] = {
        "paging": {"kind": "offset", "size": 5, "total": "total"},
        "cursor": {"field": "at"},
        "dataset": FULL,
    }
    async with running(answer) as tool, polling(tool.url, **source) as world:
        await world.poll()
        events_before = events(world)
        rows[0]["v"] = 1
        rows[1:2] = [{"id": 7, "at": "2026-11-20T12:00:00Z"}]
        answers.append(web.Response(status=500))
        world.clock.moment = NOON + timedelta(seconds=5)
        report = await world.poll()

    bodies = [json.dumps({"items": part, "total": 4}) for part in (rows[:3], rows[3:])]
    assert report == SourcePolled(
        source="tool",
        changed=True,
        requests=3,
        requests_repeated=1,
        pages=2,
        capped_at=3,
        body_bytes=sum(map(len, bodies)),
        records_seen=4,
        records_new=1,
        records_changed=1,
        records_unchanged=2,
        records_deleted=1,
        records_sent=2,
        events_sent=events(world) - events_before,
        statuses={500: 1, 200: 2},
        progress=Progress(before="2026-11-20T11:59:03Z", after="2026-11-20T12:00:00Z", lag_s=5.0),
    )


def test_a_million_fingerprints_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """50 MB for a million records are 50 bytes for each; a dictionary takes five times as much."""
    monkeypatch.setattr(seen_module, "FEW", 1000)
    names = [xxh3_64_digest(number.to_bytes(4)) for number in range(100_000)]
    tracemalloc.start()
    try:
        seen = Seen()
        for at in range(0, len(names), 1000):
            some = names[at : at + 1000]
            seen.sift(some, [name[:7] for name in some], all_=False)
        held, _ = tracemalloc.get_traced_memory()
        pieces = max(map(len, seen.pieces(10_000)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held / len(names) < 100  # Buckets grow by halves: with a million they are full.
    assert pieces < 20_000
    assert peak - held < 1_000_000


def test_newest_value_of_texts_is_compared_as_time() -> None:
    """`…990Z` is later than `…990000Z` as a text, and the same as a time."""
    cursor = CursorField(field="at")

    newest = cursor.newest(["2026-11-20T11:59:59.990Z", "2026-11-20T11:59:59.990500Z"], now=NOON)

    assert newest is not None
    assert cursor.text(newest) == "2026-11-20T11:59:59.990500Z"
