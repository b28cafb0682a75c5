"""Memory, of a source: what it answers, and how far it has been read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from shared.domain.page import Answer, Page
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from shared.domain.cursor import Cursor
    from shared.domain.page import Request, Validators
    from shared.domain.source import Source
    from shared.ports import CursorStore


@dataclass(slots=True)
class MemorySource:
    """SourceReader: answers with `page`, or that it is unchanged when asked with its ETag."""

    page: Page
    requests: int = 0

    async def fetch(
        self,
        source: Source,  # noqa: ARG002 -- One page, whoever asks for whatever.
        request: Request,  # noqa: ARG002
        *,
        query: Mapping[str, str],  # noqa: ARG002
        validators: Validators,
        seconds: float,  # noqa: ARG002
    ) -> Answer:
        """Return the page unless its ETag is already known."""
        self.requests += 1
        page = self.page
        if page.etag and validators.etag == page.etag:
            page = Page(etag=page.etag, unchanged=True)
        return Answer(head=page, pieces=_once(page.body))


@dataclass(slots=True)
class MemoryCursorStore:
    """CursorStore: dictionaries; a version is a count of changes."""

    kept: dict[str, Kept[Cursor]] = field(default_factory=dict)
    journals: dict[tuple[str, int], bytes] = field(default_factory=dict)
    changes: int = 0

    async def read(self, source: str) -> Kept[Cursor] | None:
        """Look up."""
        return self.kept.get(source)

    async def replace(self, source: str, cursor: Cursor, *, unchanged: str | None) -> str:
        """Compare and set."""
        known = self.kept.get(source)
        if (known.version if known else None) != unchanged:
            return ""
        self.changes += 1
        self.kept[source] = Kept(value=cursor, version=str(self.changes))
        return str(self.changes)

    async def journal(self, source: str, number: int) -> AsyncIterator[bytes]:
        """One piece."""
        yield self.journals.get((source, number), b"")

    async def append(self, source: str, number: int, frame: bytes, *, position: int) -> bool:
        """Compare and append."""
        known = self.journals.get((source, number), b"")
        if len(known) != position:
            return False
        self.journals[source, number] = known + frame
        return True

    async def drop_journal(self, source: str, number: int) -> None:
        """Forget."""
        self.journals.pop((source, number), None)


@dataclass(slots=True)
class ReadOnlyCursors:
    """CursorStore: reads another one and pretends to write, for a poll that must change nothing."""

    cursors: CursorStore

    async def read(self, source: str) -> Kept[Cursor] | None:
        """Read; a claim of another poll does not matter to one that changes nothing."""
        kept = await self.cursors.read(source)
        return kept and replace(kept, value=replace(kept.value, claimed_until=None))

    async def replace(self, source: str, cursor: Cursor, *, unchanged: str | None) -> str:  # noqa: ARG002 -- Nothing is written.
        """Pretend."""
        return "pretended"

    def journal(self, source: str, number: int) -> AsyncIterator[bytes]:
        """Read."""
        return self.cursors.journal(source, number)

    async def append(self, source: str, number: int, frame: bytes, *, position: int) -> bool:  # noqa: ARG002 -- Nothing is written.
        """Pretend."""
        return True

    async def drop_journal(self, source: str, number: int) -> None:
        """Pretend."""


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
