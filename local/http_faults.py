"""Faults of an HTTP service: late, busy, cut off or gone, drawn anew for every request."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
from random import Random
from typing import TYPE_CHECKING

from aiohttp import web

from local.faults import Fault, Faults, crash

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

#: What a busy answer asks for: the shortest wait the header can express.
RETRY_AFTER_S = 1


def misbehave(faults: Faults, *, busy: Callable[[int], web.Response]) -> Middleware:
    """Let requests meet `faults`; `busy` words the service's own 429 and 503, which alternate."""
    chance = Random(faults.seed)  # noqa: S311 -- Repeatable by seed, which is the point.
    statuses = itertools.cycle((429, 503))

    @web.middleware
    async def meet_fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = faults.draw(chance)
        await asyncio.sleep(faults.delay_s)
        if fault is Fault.BUSY:
            response = busy(next(statuses))
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
            return response
        if fault is Fault.DROP_BEFORE:
            return _reset(request)
        if fault is Fault.CRASH_BEFORE:
            crash()
        answer = await handler(request)
        if fault is Fault.CRASH_AFTER:
            crash()
        return await _cut(request, answer) if fault is Fault.DROP_AFTER else answer

    return meet_fault


def _reset(request: web.Request) -> web.StreamResponse:
    """Reset the connection: the client learns nothing, not even that it was closed in order."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()  # Goes nowhere: aiohttp wants one, and finds the connection closed.


async def _cut(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
    """Send the head and half of the body, then close; reset where there is no body to cut."""
    body = getattr(answer, "body", None)
    if not isinstance(body, bytes) or request.method == "HEAD":
        return _reset(request)
    half = web.StreamResponse(status=answer.status, headers=answer.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return half
