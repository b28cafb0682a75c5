"""HTTP: the third-party tool, asked with GET only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from shared.domain import document
from shared.domain.errors import BadRecord, Misconfigured, TryLater
from shared.domain.http_outcome import Outcome, outcome_of
from shared.domain.page import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.source import Source


class HttpSource:
    """SourceReader: streams the answer, up to the source's limit."""

    def __init__(self, client: httpx.AsyncClient, settings: Mapping[str, str]) -> None:
        """`settings` fill the `%SETTING%`s of a source."""
        self._client = client
        self._settings = dict(settings)

    async def fetch(self, source: Source, *, conditions: Mapping[str, str]) -> Page | None:
        """GET once."""
        url = document.fill(source.url, self._settings)
        headers = {
            name: document.fill(value, self._settings) for name, value in source.headers.items()
        }
        query = {name: document.fill(value, self._settings) for name, value in source.query.items()}
        try:
            async with self._client.stream(
                "GET",
                url,
                params=query or None,
                headers={**headers, **conditions},
                timeout=source.limits.seconds,
            ) as response:
                return await _page(response, source)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise TryLater(f"source {source.name} cannot be read: {reason}") from error


async def _page(response: httpx.Response, source: Source) -> Page | None:
    status = response.status_code
    match outcome_of(status):
        case Outcome.UNCHANGED:
            return None
        case Outcome.RETRY:
            wait = _seconds(response.headers.get("Retry-After", ""))
            message = f"source {source.name} answered {status}"
            raise TryLater(message, retry_after_s=wait)
        case Outcome.STOP:
            raise Misconfigured(f"source {source.name}", f"answered {status}: see its url and auth")
        case Outcome.READ:
            body = await _body(response, source)
            return Page(
                body=body,
                etag=response.headers.get("ETag", ""),
                last_modified=response.headers.get("Last-Modified", ""),
            )


async def _body(response: httpx.Response, source: Source) -> bytes:
    chunks = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > source.limits.page_bytes:
            raise BadRecord(
                "page-too-large",
                f"source {source.name} sent over {source.limits.page_bytes} bytes in one page; "
                "raise limits.pageBytes if that is right",
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _seconds(retry_after: str) -> float | None:
    return float(retry_after) if retry_after.isdigit() else None
