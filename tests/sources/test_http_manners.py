"""HTTP manners: what each status means, and no secret told to a stranger."""

from __future__ import annotations

import asyncio
import socket
import ssl
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.domain.errors import Misconfigured, TryLater
from shared.domain.http_outcome import outcome_of
from tests.builders import NOON
from tests.source_tool import items, polling, running


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
