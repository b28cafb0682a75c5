"""The page: one answer of a source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Body (decoded from its transfer encoding) and the validators for the next request."""

    body: bytes
    etag: str = ""
    last_modified: str = ""
