"""HTTP: the third-party tool, asked with GET only, politely, and never told another's secrets."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientTimeout
from yarl import URL

from shared.adapters.http_auth import Authenticator
from shared.adapters.http_body import ACCEPTED, CutOff, decoded
from shared.adapters.http_pace import Pace, retry_after_s
from shared.domain import document
from shared.domain.auth import ApiKey
from shared.domain.errors import BadRecord, Misconfigured, TryLater
from shared.domain.http_outcome import Outcome, outcome_of
from shared.domain.page import Answer, Page
from shared.domain.page_reader import WHOLE_BYTES
from shared.domain.paging import NextLink
from shared.domain.poll import BYTES_KEPT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from aiohttp import ClientResponse, ClientSession

    from shared.domain.page import Request, Validators
    from shared.domain.source import Source
    from shared.ports import Clock

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 5
_UNAUTHORIZED = 401
_PAUSE_MAX_S = 60
_CONNECT_S = 10


@dataclass(slots=True, kw_only=True)
class _Tool:
    """What is remembered of one source for the life of the process."""

    source: Source
    url: URL
    headers: dict[str, str]
    query: dict[str, str]
    pace: Pace
    auth: Authenticator


class HttpSource:
    """SourceReader: one session for all sources, so that connections are used again."""

    def __init__(
        self,
        session: ClientSession,
        settings: Mapping[str, str],
        clock: Clock,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        answered: Callable[[str, int], None] = lambda _, __: None,
        jitter: random.Random | None = None,
    ) -> None:
        """`settings` fill the `%SETTING%`s of a source; `session` decompresses nothing itself.

        `answered` is told the source and the status of each answer, whatever becomes of it.
        """
        self._answered = answered
        self._session = session
        self._settings = dict(settings)
        self._clock = clock
        self._pause = pause
        self._jitter = jitter or random.Random()  # noqa: S311 -- Spreads requests, hides nothing.
        self._tools: dict[str, _Tool] = {}

    async def fetch(
        self,
        source: Source,
        request: Request,
        *,
        query: Mapping[str, str],
        validators: Validators,
        seconds: float,
    ) -> Answer:
        """GET, and again after a pause as long as it is worth it."""
        tool = self._tool(source)
        statuses: Counter[int] = Counter()
        ends = asyncio.get_running_loop().time() + seconds
        refused = False
        for attempt in range(1, source.retries.attempts + 1):
            left = ends - asyncio.get_running_loop().time()
            await self._take_turn(tool, left)
            try:
                answer = await self._try(tool, request, query, validators, statuses, left)
            except _Refused:
                if refused:
                    raise self._stopped(tool, _UNAUTHORIZED) from None
                refused = True
                tool.auth.forget()
            except _Again as again:
                base = source.retries.pause_seconds * 2 ** (attempt - 1)
                pause = min(_PAUSE_MAX_S, base) * self._jitter.uniform(0.5, 1.5)
                wait = pause if again.wait_s is None else again.wait_s
                left = ends - asyncio.get_running_loop().time()
                if attempt == source.retries.attempts or wait > left:
                    message = tool.auth.redact(f"source {source.name} {again.what}")
                    raise TryLater(message, retry_after_s=again.wait_s) from None
                if again.wait_s is None:  # What the tool asked for is waited for by every request.
                    await self._pause(pause)
            else:
                return answer
        raise self._stopped(tool, _UNAUTHORIZED)

    def _tool(self, source: Source) -> _Tool:
        found = self._tools.get(source.name)
        if found and found.source == source:
            return found

        def fill(texts: Mapping[str, str]) -> dict[str, str]:
            return {name: document.fill(text, self._settings) for name, text in texts.items()}

        self._tools[source.name] = _Tool(
            source=source,
            url=URL(document.fill(source.url, self._settings)),
            headers=fill(source.headers),
            query=fill(source.query),
            pace=Pace(source),
            auth=Authenticator(source, self._settings, self._session, self._clock),
        )
        return self._tools[source.name]

    async def _take_turn(self, tool: _Tool, left: float) -> None:
        """Wait until the tool may be asked; too long a wait is left to a later poll."""
        now = self._clock.now()
        wait = tool.pace.wait_s(now)
        if wait > left:
            name = tool.source.name
            raise TryLater(f"source {name} may be asked again in {wait:.0f} s", retry_after_s=wait)
        tool.pace.ask(now + timedelta(seconds=wait))
        if wait:
            await self._pause(wait)

    async def _try(
        self,
        tool: _Tool,
        request: Request,
        query: Mapping[str, str],
        validators: Validators,
        statuses: Counter[int],
        left: float,
    ) -> Answer:
        try:
            response = await self._get(tool, request, query, validators, statuses, left)
        except (ClientError, TimeoutError, ConnectionError) as error:
            what = f"cannot be read: {error or type(error).__name__}"
            raise _Again(what, None) from error
        try:
            return await self._judge(tool, response, validators, statuses)
        except (ClientError, TimeoutError, ConnectionError) as error:
            response.close()
            what = f"broke off its answer: {error or type(error).__name__}"
            raise _Again(what, None) from error
        except BaseException:
            response.close()
            raise

    async def _get(
        self,
        tool: _Tool,
        request: Request,
        query: Mapping[str, str],
        validators: Validators,
        statuses: Counter[int],
        left: float,
    ) -> ClientResponse:
        """GET, following redirects: secrets stay with the source's own host, and with TLS."""
        url = self._address(tool, request, query)
        timeout = ClientTimeout(
            total=max(1.0, left),
            sock_connect=min(_CONNECT_S, tool.source.limits.request_seconds),
            sock_read=tool.source.limits.request_seconds,
        )
        for _ in range(_REDIRECTS_MAX + 1):
            headers = {"Accept-Encoding": ACCEPTED, **validators.conditions}
            target = url
            if url.origin() == tool.url.origin():
                credentials = await tool.auth.credentials()
                headers |= tool.headers | credentials.headers
                target = url.update_query(credentials.query) if credentials.query else url
            response = await self._session.get(
                target, headers=headers, allow_redirects=False, timeout=timeout
            )
            statuses[response.status] += 1
            self._answered(tool.source.name, response.status)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                return response
            response.release()
            url = self._redirected(tool, url, response.headers["Location"])
        raise Misconfigured(f"source {tool.source.name}", "redirects without end: look at its url")

    def _address(self, tool: _Tool, request: Request, query: Mapping[str, str]) -> URL:
        if not request.link:
            # What the walk asks for goes before what is fixed.
            asked = {
                name: text for name, text in query.items() if text != tool.source.query.get(name)
            }
            filled = tool.query | asked
            return tool.url.update_query(filled) if filled else tool.url
        link = tool.url.join(URL(request.link))
        same = (link.host, link.explicit_port) == (tool.url.host, tool.url.explicit_port)
        if same and link.scheme == "http" and tool.url.scheme == "https":
            return link.with_scheme("https")  # Tools behind a proxy do not know that they have TLS.
        check_scheme(tool.source.name, tool.url, link, what="links to")
        return link

    def _redirected(self, tool: _Tool, url: URL, location: str) -> URL:
        target = url.join(URL(location))
        check_scheme(tool.source.name, url, target, what="redirects to")
        return target

    async def _judge(
        self,
        tool: _Tool,
        response: ClientResponse,
        validators: Validators,
        statuses: Counter[int],
    ) -> Answer:
        """What an answer means, by the table of outcomes."""
        now = self._clock.now()
        headers = {name.lower(): value for name, value in response.headers.items()}
        tool.pace.hear(headers, now)
        wait = retry_after_s(headers, now)
        outcome = outcome_of(
            response.status,
            overrides=tool.source.retries.outcomes,
            asked_to_wait=wait is not None or tool.pace.wait_s(now) > 0,
        )
        if response.status == _UNAUTHORIZED and tool.auth.renews:
            response.release()
            raise _Refused
        match outcome:
            case Outcome.READ:
                return await self._answer(tool, response, headers, statuses)
            case Outcome.UNCHANGED if validators.conditions:
                response.release()
                head = Page(
                    etag=validators.etag, last_modified=validators.last_modified,
                    headers=headers, statuses=statuses, unchanged=True,
                )  # fmt: skip
                return Answer(head=head, pieces=_nothing())
            case Outcome.SKIP:
                response.release()
                head = Page(headers=headers, statuses=statuses, skipped=True)
                return Answer(head=head, pieces=_nothing())
            case Outcome.RETRY:
                response.release()
                if wait is not None:
                    tool.pace.rest(now + timedelta(seconds=wait))
                raise _Again(f"answered {response.status}", wait)
            case _:
                response.release()
                raise self._stopped(tool, response.status)

    async def _answer(
        self,
        tool: _Tool,
        response: ClientResponse,
        headers: dict[str, str],
        statuses: Counter[int],
    ) -> Answer:
        """An answer with the beginning of its body: what breaks off in there is asked for again."""
        source = tool.source
        relation = source.paging.relation if isinstance(source.paging, NextLink) else ""
        if relation and (named := response.links.get(relation)):
            headers[f"link;{relation}"] = str(named.get("url") or "")
        hidden = source.auth.name if isinstance(source.auth, ApiKey) else ""
        head = Page(
            etag=headers.get("etag", ""),
            last_modified=headers.get("last-modified", ""),
            url=str(response.url.without_query_params(hidden)),
            headers=headers,
            statuses=statuses,
        )
        rest = _whole(response, source, headers)
        held: list[bytes] = []
        size = 0
        try:
            async for piece in rest:
                held.append(piece)
                size += len(piece)
                if size >= WHOLE_BYTES:
                    return Answer(head=head, pieces=_and_then(held, rest, source.name))
        except CutOff as error:
            raise _Again(f"broke off its answer: {error}", None) from error
        except BadRecord as error:
            return Answer(head=head, pieces=_and_fail(held, error))
        return Answer(head=head, pieces=_and_then(held, None, source.name))

    def _stopped(self, tool: _Tool, status: int) -> Misconfigured:
        return Misconfigured(
            f"source {tool.source.name}", f"answered {status}: see its url and auth"
        )


def check_scheme(name: str, before: URL, after: URL, *, what: str) -> None:
    """Raise `Misconfigured` for an address that leaves TLS, or HTTP."""
    plain = before.scheme == "https" and after.scheme != "https"
    if plain or after.scheme not in ("http", "https"):
        raise Misconfigured(
            f"source {name}", f"{what} {after.scheme}://{after.host}, which nobody can trust"
        )


class _Again(Exception):
    """The request may be made again."""

    def __init__(self, what: str, wait_s: float | None) -> None:
        super().__init__(what)
        self.what = what
        self.wait_s = wait_s


class _Refused(Exception):
    """The credentials no longer hold."""


async def _whole(
    response: ClientResponse, source: Source, headers: Mapping[str, str]
) -> AsyncGenerator[bytes]:
    try:
        async for piece in decoded(
            response.content.iter_any(),
            source,
            encoding=headers.get("content-encoding", ""),
            content_type=headers.get("content-type", ""),
        ):
            yield piece
        response.release()  # Read to its end: the connection can be used again.
    finally:
        if not response.closed and not response.content.at_eof():
            response.close()


async def _and_then(
    held: list[bytes], rest: AsyncGenerator[bytes] | None, name: str
) -> AsyncGenerator[bytes]:
    for piece in held:
        yield piece
    held.clear()
    if rest is None:
        return
    try:
        async for piece in rest:
            yield piece
    except (CutOff, ClientError, TimeoutError, ConnectionError) as error:
        what = str(error) or type(error).__name__
        raise TryLater(f"source {name} broke off its answer: {what}") from error
    finally:
        await rest.aclose()


async def _and_fail(held: list[bytes], error: BadRecord) -> AsyncGenerator[bytes]:
    yield b"".join(held)[:BYTES_KEPT]  # For a person to see.
    raise error


async def _nothing() -> AsyncGenerator[bytes]:
    return
    yield b""
