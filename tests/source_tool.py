"""A tool that only answers HTTP GET, and a poll of it: real HTTP, everything else in memory."""

from __future__ import annotations

import asyncio
import inspect
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.adapters.http_source import HttpSource
from shared.adapters.memory import MemoryClock, MemoryHub, MemoryQuarantine
from shared.adapters.memory_source import MemoryCursorStore
from shared.domain.poll import NOTHING_SPECIAL, SourcePolled, Wish
from shared.flow.source_to_hub import poll_source
from tests.builders import document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from ssl import SSLContext

    from shared.domain.document import Document

    type Answer = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass
class Tool:
    """Answers with whatever `answer` returns, and keeps what it was asked."""

    answer: Answer
    url: str = ""
    asked: list[web.Request] = field(default_factory=list)

    @property
    def queries(self) -> list[dict[str, str]]:
        """The query of each request."""
        return [dict(request.query) for request in self.asked]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        answer = self.answer(request)
        return await answer if inspect.isawaitable(answer) else answer


@asynccontextmanager
async def running(answer: Answer, *, tls: SSLContext | None = None) -> AsyncIterator[Tool]:
    """A tool on a port of its own."""
    tool = Tool(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", tool._answer)
    server = TestServer(app, host="127.0.0.1", scheme="https" if tls else "http")
    await server.start_server(ssl=tls)
    async with server:
        tool.url = str(server.make_url("")).rstrip("/")
        yield tool


@dataclass
class World:
    """Polls of one source; `waits` are the pauses that were asked for: only the clock made them."""

    document: Document
    reader: HttpSource
    hub: MemoryHub = field(default_factory=MemoryHub)
    cursors: Any = field(default_factory=MemoryCursorStore)
    quarantine: MemoryQuarantine = field(default_factory=MemoryQuarantine)
    clock: MemoryClock = field(default_factory=MemoryClock)
    waits: list[float] = field(default_factory=list)

    async def poll(self, wish: Wish = NOTHING_SPECIAL) -> SourcePolled:
        """Poll once."""
        return await poll_source(
            self.document.sources[0],
            self.document,
            reader=self.reader,
            hub=self.hub,
            cursors=self.cursors,
            quarantine=self.quarantine,
            clock=self.clock,
            wish=wish,
        )

    def sent(self, kind: str = "dev.millrace.records") -> list[dict[str, Any]]:
        """Every record in the hub, in the order of each partition."""
        return [
            json.loads(line)
            for events in self.hub.sent.values()
            for event in events
            if event.attributes["type"] == kind
            for line in event.body.split(b"\n")
        ]

    def ids(self) -> list[Any]:
        """The ids of the records sent, sorted."""
        return sorted(record["id"] for record in self.sent())

    def deleted(self) -> list[dict[str, Any]]:
        """The keys in deletion events."""
        return self.sent("dev.millrace.deletions")


@asynccontextmanager
async def polling(
    url: str,
    settings: Mapping[str, str] | None = None,
    *,
    dataset: dict[str, Any] | None = None,
    **source: Any,
) -> AsyncIterator[World]:
    """A source at `url`; what is given replaces the usual."""
    usual = {
        "name": "tool",
        "url": url,
        "schedule": "0 * * * * *",
        "records": "items",
        "publishes": "quakes",
    }
    parts: dict[str, Any] = {"sources": [usual | source]}
    if dataset:
        parts["datasets"] = [dataset]
    clock = MemoryClock()
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        clock.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=False),  # Tests sign for themselves.
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        reader = HttpSource(session, settings or {}, clock, pause=pause)
        yield World(document=document(**parts), reader=reader, clock=clock, waits=waits)


def tagged(request: web.Request, page: web.Response, tag: str) -> web.Response:
    """The page, or 304 to whoever has it."""
    if request.headers.get("If-None-Match") == f'"{tag}"':
        return web.Response(status=304)
    page.headers["ETag"] = f'"{tag}"'
    return page


def items(first: int, last: int, **more: Any) -> web.Response:
    """A page of the records `first` to `last`, without `last`."""
    return web.json_response({"items": [{"id": number} for number in range(first, last)], **more})


FULL = {
    "name": "quakes",
    "consumes": "quakes",
    "ingestion": "full",
    "primaryKey": ["id"],
    "columns": {"id": {"type": "long"}},
}
