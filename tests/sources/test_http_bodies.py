"""HTTP bodies: unpacked and converted while they come, within limits, and whole or not at all."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import TYPE_CHECKING, Any

import brotli  # type: ignore[import-untyped]  # It comes without types.
import pytest
from aiohttp import web
from backports import zstd

from shared.domain.errors import BadRecord, TryLater
from tests.source_tool import items, polling, running

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("gzip", lambda body: gzip.compress(body[:20]) + gzip.compress(body[20:])),
        ("deflate", zlib.compress),
        ("br", brotli.compress),
        ("zstd", zstd.compress),
        ("zstd", lambda body: zstd.compress(body[:20]) + zstd.compress(body[20:])),
        ("gzip", bytes),
        ("deflate", lambda body: zlib.compress(body, wbits=-zlib.MAX_WBITS)),
        ("", gzip.compress),
        ("", zstd.compress),
    ],
    ids=[
        "gzip",
        "gzip members",
        "deflate",
        "br",
        "zstd",
        "zstd frames",
        "gzip that is none",
        "bare deflate",
        "a file of gzip",
        "a file of zstd",
    ],
)
async def test_compressed_answers_are_read(
    encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    """Whatever is asked for must be understood; and a header may lie."""
    body = items(0, 100).body
    assert isinstance(body, bytes)

    def answer(request: web.Request) -> web.Response:
        assert encoding in request.headers["Accept-Encoding"]
        return web.Response(
            body=compress(body), headers={"Content-Encoding": encoding} if encoding else {}
        )

    async with running(answer) as tool, polling(tool.url) as world:
        await world.poll()

    assert world.ids() == list(range(100))


@pytest.mark.parametrize("encoding", ["", "gzip", "zstd", "utf-16"])
async def test_answer_that_comes_byte_by_byte_is_read_alike(encoding: str) -> None:
    """What a body is shows in its first bytes, and slow tools send only one of them at first."""
    body = items(0, 9).body
    assert isinstance(body, bytes)
    ways: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        "gzip": gzip.compress,
        "zstd": zstd.compress,
        "utf-16": lambda content: content.decode().encode("utf-16"),
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in ways[encoding](body)[:5]:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.002)
        await response.write(ways[encoding](body)[5:])
        return response

    async with running(answer) as tool, polling(tool.url) as world:
        await world.poll()

    assert world.ids() == list(range(9))


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)],
)
async def test_bomb_is_not_unpacked(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """A kilobyte that becomes a gigabyte ends a process that believes it."""
    bomb = compress(b" " * 30_000_000)

    def answer(_: web.Request) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": encoding})

    async with (
        running(answer) as tool,
        polling(tool.url, limits={"pageBytes": 2_000_000}) as world,
    ):
        with pytest.raises(BadRecord, match="page-too-large"):
            await world.poll()


async def test_compressed_nothing_without_end_is_refused() -> None:
    """It unpacks to nothing, so that only what was sent can tell."""
    async with (
        running(lambda _: web.Response(body=gzip.compress(b"") * 1000)) as tool,
        polling(tool.url, limits={"pageBytes": 5000}) as world,
    ):
        with pytest.raises(BadRecord, match="sent over 5000 bytes"):
            await world.poll()


async def test_page_larger_than_its_limit_is_refused() -> None:
    """An answer without end must end."""
    async with (
        running(lambda _: items(0, 1000)) as tool,
        polling(tool.url, limits={"pageBytes": 1000}) as world,
    ):
        with pytest.raises(BadRecord, match=r"over 1000 bytes.*limits.pageBytes"):
            await world.poll()


@pytest.mark.parametrize(
    "damage", ["cut", "corrupt", "cut br", "cut zstd", "cut text", "short", "reset"]
)
async def test_answer_that_breaks_off_is_asked_for_again(damage: str) -> None:
    """Lines break; half a page is no page."""
    body = items(0, 200).body
    assert isinstance(body, bytes)
    zipped = gzip.compress(body)
    broken = {
        "cut": zipped[:-20],
        "corrupt": zipped[:40] + b"\0" * 20 + zipped[60:],
        "cut br": brotli.compress(body)[:-3],
        "cut zstd": zstd.compress(body)[:-3],
        "cut text": body.decode().encode("utf-16")[:-1],
    }
    encodings = {"cut br": "br", "cut zstd": "zstd", "cut text": "identity"}
    failed: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Encoding": encodings.get(damage, "gzip")}
        if failed:
            return web.Response(body=zipped, headers={"Content-Encoding": "gzip"})
        failed.append(1)
        if damage in broken:
            return web.Response(body=broken[damage], headers=headers)
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[:50])
        assert request.transport
        if damage == "reset":
            request.transport.abort()
        else:
            request.transport.close()
        return response

    async with running(answer) as tool, polling(tool.url) as world:
        await world.poll()

    assert world.ids() == list(range(200))
    assert len(tool.asked) == 2


async def test_slow_drip_ends_at_the_time_of_the_poll() -> None:
    """A byte now and then keeps every time-out between two bytes from ever coming."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b" ")
            await asyncio.sleep(0.1)
        return response

    source: dict[str, Any] = {"limits": {"seconds": 0.5}, "retries": {"attempts": 1}}
    async with running(answer) as tool, polling(tool.url, **source) as world:
        with pytest.raises(TryLater, match="broke off its answer"):
            async with asyncio.timeout(8):
                await world.poll()
