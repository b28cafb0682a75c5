"""Auth: credentials reach the tool, and nothing and nobody else."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from shared.domain.errors import MillraceError, Misconfigured, TryLater
from tests.builders import document
from tests.source_tool import items, polling, running

SECRETS = {"KEY": "s3cr3t/+ k&y", "USER": "anna"}


@pytest.mark.parametrize(
    ("auth", "where", "value"),
    [
        ({"kind": "apiKey", "name": "X-Key", "value": "%KEY%"}, "X-Key", SECRETS["KEY"]),
        (
            {"kind": "apiKey", "name": "Authorization", "value": "Token %KEY%"},
            "Authorization",
            f"Token {SECRETS['KEY']}",
        ),
        ({"kind": "apiKey", "in": "query", "name": "key", "value": "%KEY%"}, "?", SECRETS["KEY"]),
        ({"kind": "bearer", "token": "%KEY%"}, "Authorization", f"Bearer {SECRETS['KEY']}"),
        (
            {"kind": "basic", "username": "%USER%", "password": "%KEY%"},
            "Authorization",
            "Basic " + base64.b64encode(f"anna:{SECRETS['KEY']}".encode()).decode(),
        ),
    ],
)
async def test_credentials_reach_the_tool(auth: dict[str, str], where: str, value: str) -> None:
    """Every kind, exactly as the tool wants it."""
    async with (
        running(lambda _: items(0, 2)) as tool,
        polling(tool.url, SECRETS, auth=auth) as world,
    ):
        report = await world.poll()

    (request,) = tool.asked
    found = request.query["key"] if where == "?" else request.headers[where]
    assert (found, report.records_sent) == (value, 2)


class TokenTool:
    """Gives tokens for a minute, and refuses all but the newest."""

    def __init__(self) -> None:
        """No token is given yet."""
        self.forms: list[dict[str, Any]] = []
        self.refuse = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Tokens at /token, records elsewhere."""
        if request.path == "/token":
            self.forms.append(dict(await request.post()))
            token = f"token-{len(self.forms)}"
            return web.json_response({"access_token": token, "expires_in": 60})
        newest = f"Bearer token-{len(self.forms)}"
        if request.headers.get("Authorization") != newest or self.refuse:
            self.refuse = max(0, self.refuse - 1)
            return web.Response(status=401)
        return items(0, 2)


def oauth(**more: str) -> dict[str, Any]:
    """How the tool is signed in to."""
    return {
        "kind": "oauth2ClientCredentials",
        "tokenUrl": "%TOOL%/token",
        "clientId": "%USER%",
        "clientSecret": "%KEY%",
        "scope": "read",
        **more,
    }


async def test_token_is_fetched_once_and_renewed_before_it_ends() -> None:
    """A token a request is twice the requests."""
    tokens = TokenTool()
    async with running(tokens.answer) as tool:
        settings = {**SECRETS, "TOOL": tool.url}
        async with polling("%TOOL%/items", settings, auth=oauth()) as world:
            await world.poll()
            await world.poll()
            fetched = len(tokens.forms)
            world.clock.moment += timedelta(seconds=40)
            await world.poll()

    assert (fetched, len(tokens.forms)) == (1, 2)
    assert tokens.forms[0] == {
        "grant_type": "client_credentials",
        "scope": "read",
        "client_id": "anna",
        "client_secret": SECRETS["KEY"],
    }


async def test_token_that_is_refused_is_renewed_once() -> None:
    """Tools take tokens back; but one that refuses a new one refuses us."""
    tokens = TokenTool()
    async with running(tokens.answer) as tool:
        settings = {**SECRETS, "TOOL": tool.url}
        async with polling("%TOOL%/items", settings, auth=oauth()) as world:
            tokens.refuse = 1
            report = await world.poll()
            tokens.refuse = 2
            with pytest.raises(Misconfigured, match="answered 401"):
                await world.poll()

    assert report.statuses == {401: 1, 200: 1}
    assert len(tokens.forms) == 3


async def test_client_may_sign_in_by_header() -> None:
    """RFC 6749 prefers it, and some token addresses know nothing else."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/token":
            seen.append(request.headers["Authorization"])
            assert "client_secret" not in await request.post()
            return web.json_response({"access_token": "t"})
        return items(0, 2)

    async with running(answer) as tool:
        settings = {"USER": "anna", "KEY": "k", "TOOL": tool.url}
        auth = oauth(credentialsIn="header")
        async with polling("%TOOL%/items", settings, auth=auth) as world:
            await world.poll()

    assert seen == ["Basic " + base64.b64encode(b"anna:k").decode()]


async def test_token_address_is_asked_for_what_it_wants_and_not_left() -> None:
    """Credentials go where the document says: whoever it redirects to would have them."""
    forms: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        forms.append(dict(await request.post()))
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with running(answer) as tool:
        settings = {**SECRETS, "TOOL": tool.url}
        auth = {**oauth(), "parameters": {"audience": "api", "code": "%KEY%"}}
        async with polling("%TOOL%/items", settings, auth=auth) as world:
            with pytest.raises(Misconfigured, match="token address answered 307"):
                await world.poll()

    assert [request.path for request in tool.asked] == ["/token"]
    assert (forms[0]["audience"], forms[0]["code"]) == ("api", SECRETS["KEY"])


async def test_token_address_that_is_busy_is_tried_later() -> None:
    """A person can do nothing about it."""
    async with running(lambda _: web.Response(status=503)) as tool:
        settings = {**SECRETS, "TOOL": tool.url}
        async with polling("%TOOL%/items", settings, auth=oauth()) as world:
            with pytest.raises(TryLater, match="token address of source tool answered 503"):
                await world.poll()


@pytest.mark.parametrize("where", ["tool", "token"])
async def test_answer_that_is_no_http_tells_no_secret(where: str) -> None:
    """The client's message about it holds the whole address."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 nonsense\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    auth: dict[str, Any] = {"kind": "apiKey", "in": "query", "name": "key", "value": "%KEY%"}
    if where == "token":
        auth = {**oauth(), "tokenUrl": "%TOOL%/token?code=%KEY%"}
    settings = {**SECRETS, "KEY": "s3cr3t", "TOOL": url}
    async with server, polling("%TOOL%/items", settings, auth=auth) as world:
        with pytest.raises(TryLater, match="cannot be read") as caught:
            await world.poll()

    text = "".join(traceback.format_exception(caught.value))
    assert "s3cr3t" not in text
    assert "***" in text


@pytest.mark.parametrize(
    "part",
    [
        {"auth": {"kind": "bearer", "token": "abc123"}},
        {"headers": {"Authorization": "Bearer abc123"}},
        {"headers": {"x-api-key": "abc123"}},
    ],
)
def test_secret_in_the_document_is_refused(part: dict[str, Any]) -> None:
    """The document is in a repository, for everybody to read."""
    source: dict[str, Any] = {
        "name": "tool", "url": "http://127.0.0.1/", "schedule": "0 * * * * *",
        "publishes": "quakes", **part,
    }  # fmt: skip

    with pytest.raises(Misconfigured, match="name a setting") as caught:
        document(sources=[source])

    assert "abc123" not in str(caught.value)


@pytest.mark.parametrize("trouble", ["refused", "unwell", "gone", "redirect", "link", "html"])
@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "apiKey", "name": "X-Key", "value": "%KEY%"},
        {"kind": "apiKey", "in": "query", "name": "key", "value": "%KEY%"},
        {"kind": "bearer", "token": "%KEY%"},
        {"kind": "basic", "username": "%USER%", "password": "%KEY%"},
    ],
    ids=["header", "query", "bearer", "basic"],
)
async def test_no_secret_is_in_anything_for_people(
    auth: dict[str, str], trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors go to logs, logs to dashboards, dashboards to screenshots."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, "aiohttp.access")  # The tool's own log.
    texts: list[str] = []

    def answer(request: web.Request) -> web.Response:
        echo = str(request.url)
        return {
            "refused": web.Response(status=403, text=echo),
            "unwell": web.Response(status=500, text=echo),
            "gone": web.Response(status=410),
            "redirect": web.Response(status=302, headers={"Location": echo}),
            "link": items(0, 2, next=echo + ("&" if "?" in echo else "?") + f"p={len(tool.asked)}"),
            "html": web.Response(text="<html>busy</html>"),
        }[trouble]

    paging = {"kind": "nextLink", "in": "body", "path": "next", "pagesMax": 2}
    async with running(answer) as tool:
        source: dict[str, Any] = {"auth": auth, "paging": paging, "retries": {"attempts": 2}}
        async with polling(tool.url, SECRETS, **source) as world:
            with pytest.raises(MillraceError) as caught:
                await world.poll()
            texts += ["".join(traceback.format_exception(caught.value)), caplog.text]
            # What the tool itself writes into its pages is its own business.
            entries = [replace(entry, body=b"") for entry in world.quarantine.entries.values()]
            texts += [repr(world.cursors), repr(entries)]

    encoded = base64.b64encode(SECRETS["KEY"].encode()).decode()
    for text in texts:
        for secret in (SECRETS["KEY"], "s3cr3t", encoded, encoded[4:12]):
            assert secret not in text


async def test_token_address_tells_no_secret_either() -> None:
    """What it answers may hold what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"error": str(await request.post())}, status=400)

    async with running(answer) as tool:
        settings = {**SECRETS, "TOOL": tool.url}
        async with polling("%TOOL%/items", settings, auth=oauth()) as world:
            with pytest.raises(Misconfigured, match="token address answered 400") as caught:
                await world.poll()

    assert json.dumps(SECRETS["KEY"])[1:-1] not in "".join(traceback.format_exception(caught.value))
