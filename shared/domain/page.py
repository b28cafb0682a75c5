"""The page: one answer of a source, and what may be asked of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

_OK = 200
#: Whatever a tool says, it is asked again after a day: a slip of its pen must not silence it.
WAIT_MAX_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One GET: the source's address and query, or a link that a page gave, and more parameters."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    page: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """What a tool said about an answer, to ask whether it still holds (RFC 9110, section 13.1)."""

    etag: str = ""
    last_modified: str = ""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers of a conditional GET."""
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One whole answer: its body in UTF-8, and what its headers say. Header names are lower case.

    `unchanged`: the tool says that the validators still hold. `skipped`: by the table of outcomes
    the answer counts as a page without records, which proves nothing.
    """

    body: bytes = b""
    etag: str = ""
    last_modified: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[int, int] = field(default_factory=dict)
    unchanged: bool = False
    skipped: bool = False

    @property
    def validators(self) -> Validators:
        """What to ask with the next time."""
        return Validators(etag=self.etag, last_modified=self.last_modified)

    @property
    def is_whole(self) -> bool:
        """Whether the answer was the page and nothing less: 206, say, may be read, but is cut."""
        return not self.skipped and (_OK in self.statuses or not self.statuses)

    @property
    def rest_s(self) -> int:
        """For how long the tool wants not to be polled again, as GitHub says it."""
        text = self.headers.get("x-poll-interval", "")
        return min(int(text), WAIT_MAX_S) if text.isdecimal() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A page whose body is still coming: `head` is the page without it.

    Whoever got it reads `pieces` to their end, or closes them.
    """

    head: Page
    pieces: AsyncGenerator[bytes]
