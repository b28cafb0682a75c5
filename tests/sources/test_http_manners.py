"""HTTP manners: conditions, patience, limits, and no secret told to a stranger."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import time
from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.adapters.http_pace import Pace
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.http_outcome import outcome_of
from tests.builders import NOON
from tests.source_tool import FULL, items, polling, running

if TYPE_CHECKING:
    from datetime import datetime


def tagged(request: web.Request, page: web.Response, tag: str) -> web.Response:
    """The page, or 304 to whoever has it."""
    if request.headers.get("If-None-Match") == f'"{tag}"':
        return web.Response(status=304)
    page.headers["ETag"] = f'"{tag}"'
    return page


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


def test_every_status_has_the_outcome_that_the_documentation_says() -> None:
    """Whoever reads the table must be able to rely on it, row by row."""
    expected = {
        "read": {200, 203},
        "unchanged": {304},
        "skip": {204},
        "retry": {202, 408, 425, 429, 500, 502, 503, 504, *range(520, 525)},
    }

    outcomes = {status: outcome_of(status, overrides={}) for status in range(200, 600)}

    for outcome, statuses in expected.items():
        assert {status for status, found in outcomes.items() if found == outcome} == statuses


async def test_nothing_can_be_unchanged_that_was_never_read() -> None:
    """A 304 to whoever asked without conditions is a mistake of the tool, and no empty table."""
    async with running(lambda _: web.Response(status=304)) as tool, polling(tool.url) as world:
        with pytest.raises(Misconfigured, match="answered 304"):
            await world.poll()


@pytest.mark.parametrize("status", [400, 401, 404, 410, 451])
async def test_refusal_stops_the_poll_and_tells_a_person(status: int) -> None:
    """Asking again would change nothing."""
    async with (
        running(lambda _: web.Response(status=status)) as tool,
        polling(tool.url) as world,
    ):
        with pytest.raises(Misconfigured, match=f"answered {status}"):
            await world.poll()

    assert len(tool.asked) == 1


async def test_row_of_the_status_table_can_be_replaced() -> None:
    """One tool answers 404 for no records yet, another 418 when it is busy."""
    answers = iter([web.Response(status=418), web.Response(status=404)])
    source: dict[str, Any] = {"retries": {"outcomes": {"404": "skip", "418": "retry"}}}
    async with running(lambda _: next(answers)) as tool, polling(tool.url, **source) as world:
        report = await world.poll()

    assert (report.records_seen, report.statuses) == (0, {418: 1, 404: 1})


async def test_redirect_to_another_host_carries_no_credentials() -> None:
    """Whoever runs that host would have them."""
    source: dict[str, Any] = {
        "auth": {"kind": "apiKey", "name": "X-Key", "value": "%KEY%"},
        "headers": {"X-Team": "%KEY%"},
    }
    async with running(lambda _: items(0, 2)) as stranger:

        def answer(_: web.Request) -> web.Response:
            return web.Response(
                status=302, headers={"Location": stranger.url.replace("127.0.0.1", "localhost")}
            )

        async with (
            running(answer) as tool,
            polling(tool.url, {"KEY": "geheim"}, **source) as world,
        ):
            report = await world.poll()

    assert report.records_sent == 2
    assert tool.asked[0].headers["X-Key"] == "geheim"
    assert "geheim" not in str(stranger.asked[0].headers) + str(stranger.asked[0].url)


async def test_link_to_another_host_carries_no_credentials() -> None:
    """A page may link wherever it wants."""
    source: dict[str, Any] = {
        "auth": {"kind": "apiKey", "in": "query", "name": "key", "value": "%KEY%"},
        "paging": {"kind": "nextLink", "in": "body", "path": "next"},
    }
    async with running(lambda _: items(2, 4)) as stranger:
        next_page = stranger.url.replace("127.0.0.1", "localhost")
        async with (
            running(lambda _: items(0, 2, next=next_page)) as tool,
            polling(tool.url, {"KEY": "geheim"}, **source) as world,
        ):
            await world.poll()

    assert world.ids() == [0, 1, 2, 3]
    assert tool.queries == [{"key": "geheim"}]
    assert stranger.queries == [{}]


async def test_redirects_within_the_host_are_followed_and_end() -> None:
    """A moved address is normal; one that moves for ever is not."""

    def answer(request: web.Request) -> web.Response:
        if request.path == "/new":
            return items(0, 2)
        target = "/new" if request.path == "/old" else request.path
        return web.Response(status=301, headers={"Location": target})

    async with running(answer) as tool:
        async with polling(tool.url + "/old") as world:
            await world.poll()
        async with polling(tool.url + "/round") as round_world:
            with pytest.raises(Misconfigured, match="redirects without end"):
                await round_world.poll()

    assert world.ids() == [0, 1]
    assert len([request for request in tool.asked if request.path == "/round"]) == 6


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """TLS with a certificate that nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(NOON - timedelta(days=999))
        .not_valid_after(NOON + timedelta(days=9999))
        .sign(key, hashes.SHA256())
    )
    pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    kept = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, none)
    path.write_bytes(kept + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.mark.parametrize("way", ["redirect", "link", "file"])
async def test_https_is_never_left(tls: ssl.SSLContext, way: str) -> None:
    """What follows would go over the line in the open, and anybody could have answered."""
    paging = {"kind": "nextLink", "in": "body", "path": "next"}
    async with running(lambda _: items(2, 4)) as plain:
        target = "file:///etc/passwd" if way == "file" else plain.url

        def answer(_: web.Request) -> web.Response:
            if way == "redirect":
                return web.Response(status=302, headers={"Location": target})
            return items(0, 2, next=target)

        async with running(answer, tls=tls) as tool, polling(tool.url, paging=paging) as world:
            with pytest.raises(Misconfigured, match="nobody can trust"):
                await world.poll()

    assert tool.url.startswith("https:")
    assert plain.asked == []


async def test_link_to_the_tool_itself_keeps_to_https(tls: ssl.SSLContext) -> None:
    """Tools behind a proxy do not know that they are asked over TLS, and link to plain HTTP."""

    def answer(request: web.Request) -> web.Response:
        last = "page" in request.query
        link = tool.url.replace("https", "http") + "/?page=2"
        return items(2, 4) if last else items(0, 2, next=link)

    paging = {"kind": "nextLink", "in": "body", "path": "next"}
    async with running(answer, tls=tls) as tool, polling(tool.url, paging=paging) as world:
        await world.poll()

    assert world.ids() == [0, 1, 2, 3]


async def test_plain_http_may_be_left_for_https(tls: ssl.SSLContext) -> None:
    """That is how most tools move there."""
    async with running(lambda _: items(0, 2), tls=tls) as new:
        moved = web.Response(status=301, headers={"Location": new.url})
        async with running(lambda _: moved) as tool, polling(tool.url) as world:
            await world.poll()

    assert world.ids() == [0, 1]


async def test_answer_that_stalls_is_given_up() -> None:
    """A tool that has forgotten one request must not cost the poll: it may answer the next."""
    stalled = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if len(tool.asked) > 1:
            return items(0, 2)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        await stalled.wait()
        return response

    async with (
        running(answer) as tool,
        polling(tool.url, limits={"requestSeconds": 0.3}) as world,
        asyncio.timeout(20),
    ):
        await world.poll()
        stalled.set()

    assert world.ids() == [0, 1]


async def test_connection_that_nobody_takes_is_given_up() -> None:
    """A machine that is gone answers nothing at all, not even that it is gone."""
    limits = {"requestSeconds": 0.3, "seconds": 60}
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for waiting in (first, second):  # They fill its queue.
            waiting.settimeout(0)
            waiting.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with polling(url, limits=limits, retries={"attempts": 1}) as world:
            with pytest.raises(TryLater, match="cannot be read"):
                async with asyncio.timeout(20):
                    await world.poll()


async def test_tool_that_is_not_there_is_tried_later() -> None:
    """A person need not act because a server restarts."""
    async with running(lambda _: items(0, 1)) as tool:
        url = tool.url
    async with polling(url, retries={"attempts": 2}) as world:
        with pytest.raises(TryLater, match="cannot be read"):
            await world.poll()

    assert len(world.waits) == 1


async def test_one_connection_carries_many_requests() -> None:
    """A handshake a page would cost more than the page."""
    ports: set[Any] = set()

    def answer(request: web.Request) -> web.Response:
        assert request.transport
        ports.add(request.transport.get_extra_info("peername"))
        page = int(request.query["page"])
        return items(page * 9, page * 9 + (9 if page < 6 else 0))

    async with (
        running(answer) as tool,
        polling(tool.url, paging={"kind": "pageNumber"}) as world,
    ):
        await world.poll()

    assert len(ports) == 1
