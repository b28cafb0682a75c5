"""The feed over HTTP, with the conditional requests a polite poller makes."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from local.http_faults import misbehave
from local.sample_source.feed import published

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.faults import Faults
    from local.sample_source.feed import Recording

PATH = "/earthquakes/feed/v1.0/summary/all_week.geojson"

_METHODS = ("GET", "HEAD")
_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """The feed between two steps of growth: bytes, plain and compressed, and their validators."""

    count: int
    plain: bytes
    compressed: bytes
    digest: str
    modified: datetime

    def matches(self, request: web.Request, etag: str) -> bool:
        """Whether the client has this edition already (RFC 9110, section 13.2.2)."""
        if request.if_none_match is not None:
            # Weak comparison: 13.1.2 asks for it, and a proxy may have weakened the tag.
            return any(tag.value in {"*", etag} for tag in request.if_none_match)
        since = request.if_modified_since
        return since is not None and self.modified <= since


class Feed:
    """Answers requests for the feed; keeps the one edition that is current."""

    def __init__(
        self,
        recording: Recording,
        *,
        started: datetime,
        duration: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        """Grow from `started` on, for `duration`."""
        self._recording = recording
        self._started = started
        self._duration = duration
        self._clock = clock
        self._edition = self._edit(self._count())

    async def answer(self, request: web.Request) -> web.Response:
        """Give the current edition, or 304 to whoever has it."""
        if request.method not in _METHODS:
            refusal = _refuse(405, f"{request.method} is not allowed: the feed is read only")
            refusal.headers["Allow"] = ", ".join(_METHODS)
            return refusal
        edition = self._current()
        zipped = _accepts_gzip(request)
        # A strong tag names bytes, so the compressed form needs its own.
        etag = f"{edition.digest}-gzip" if zipped else edition.digest
        headers = {
            "ETag": f'"{etag}"',
            "Last-Modified": format_datetime(edition.modified, usegmt=True),
            "Vary": "Accept-Encoding",
        }
        if edition.matches(request, etag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "application/json; charset=utf-8"
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=edition.compressed if zipped else edition.plain, headers=headers)

    def _current(self) -> Edition:
        count = self._count()
        if count != self._edition.count:
            self._edition = self._edit(count)
        return self._edition

    def _count(self) -> int:
        return published(
            len(self._recording.features),
            elapsed_s=(self._clock() - self._started).total_seconds(),
            duration_s=self._duration.total_seconds(),
        )

    def _edit(self, count: int) -> Edition:
        body = self._recording.body(count)
        return Edition(
            count=count,
            plain=body,
            compressed=gzip.compress(body, compresslevel=1, mtime=0),
            digest=hashlib.sha256(body).hexdigest()[:32],
            # The time the body itself tells, so that the header is as repeatable as the body.
            modified=datetime.fromtimestamp(self._recording.generated_ms(count) // 1000, UTC),
        )


def application(feed: Feed, faults: Faults) -> web.Application:
    """The routes: the feed, a hint at the root, and nothing else."""
    app = web.Application(middlewares=[misbehave(faults, busy=_busy)])
    app.router.add_route("*", PATH, feed.answer)
    app.router.add_get("/", _give_hint)
    app.router.add_route("*", "/{elsewhere:.*}", _miss)
    return app


def _accepts_gzip(request: web.Request) -> bool:
    for choice in request.headers.get("Accept-Encoding", "").lower().split(","):
        name, _, weight = choice.replace(" ", "").partition(";")
        if name == "gzip":
            return weight.rstrip("0.") != "q="  # `q=0`, however long, says: anything but this.
    return False


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)


def _busy(status: int) -> web.Response:
    return _refuse(status, "too many requests" if status == _TOO_MANY else "service unavailable")


async def _give_hint(_: web.Request) -> web.Response:
    return web.Response(text=f"A replayed week of USGS earthquakes: GET {PATH}\n")


async def _miss(request: web.Request) -> web.Response:
    return _refuse(404, f"nothing at {request.path}; the feed is at {PATH}")
