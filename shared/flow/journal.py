"""The journal of a source, as one poll uses it: what was seen, where the walk is, whose turn it is.

A frame is appended only at the position where the last one ended, and the cursor replaced only if
unchanged: a poll that another has overtaken finds out before it sends anything more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.domain.cursor import CLAIM, Cursor, Frame, Frames, Restored, pack_key, unpack_keys
from shared.domain.errors import TryLater
from shared.domain.seen import GONE, Seen, entries_of
from shared.domain.seen_many import ENTRY_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Container, Mapping, Sequence

    from shared.ports import Clock, CursorStore

_PIECE_BYTES = 2 * 1024 * 1024
#: A journal is written anew when it is so much longer than what it says; an append blob takes
#: 50,000 appends at most.
_SLACK_BYTES = 256 * 1024
_FRAMES_MAX = 20_000


class Journal:
    """Cursor and journal of one source."""

    def __init__(self, source: str, cursors: CursorStore, clock: Clock, *, keyed: bool) -> None:
        """`keyed`: the keys of records are kept too, so that their disappearance can be told."""
        self.cursor = Cursor()
        self.seen = Seen()
        self.state: dict[str, Any] = {}
        self.claimed = False
        self.goes_on = False
        self._source = source
        self._cursors = cursors
        self._clock = clock
        self._keyed = keyed
        self._version: str | None = None
        self._is_new = True
        self._loaded = False
        self._position = 0
        self._frames = 0
        self._contents = self._entries = b""

    async def open(self) -> None:
        """Read the cursor."""
        if kept := await self._cursors.read(self._source):
            self.cursor, self._version = kept.value, kept.version
            self._is_new = False

    async def load(self) -> None:
        """Read the journal, once; what was met counts as such only in a walk that goes on."""
        if self._loaded:
            return
        self._loaded = True
        if self._keyed and not self.cursor.keyed:  # A journal without keys is of no use.
            self.cursor = replace(self.cursor, journal=self.cursor.journal + 1, keyed=True)
            self._is_new = True
        if self._is_new:  # What may lie there is of a cursor that somebody deleted.
            return
        frames, walk_before = Frames(), True  # Marks of walks before do not count.
        restored = Restored(self.seen)
        async for piece in self._cursors.journal(self._source, self.cursor.journal):
            for frame in frames.feed(piece):
                self._frames += 1
                if walk_before and frames.bytes_read >= self.cursor.began_at:
                    self.seen.forget_marks()
                    walk_before = False
                restored.take(frame)
                self.state = dict(frame.state) or self.state
        restored.end()
        self._position = frames.bytes_read
        if walk_before or not self.goes_on:
            self.seen.forget_marks()

    async def claim(self, *, goes_on: bool) -> None:
        """Make sure that this is the only poll that sends; a claim that grows old is renewed."""
        await self.load()
        now = self._clock.now()
        until = self.cursor.claimed_until
        if self.claimed and until and until - now > CLAIM / 2:
            return
        cursor = self.cursor.claimed(now, goes_on=goes_on)
        if goes_on and not self.claimed and not self.goes_on:
            cursor = replace(cursor, began_at=self._position)
        await self.commit(cursor)
        if self._is_new:
            self._is_new = False
            await self._cursors.drop_journal(self._source, self.cursor.journal)
        self.claimed = True

    async def note(
        self,
        state: Mapping[str, Any],
        *,
        names: Sequence[bytes] = (),
        entries: bytes = b"",
        keys: bytes = b"",
    ) -> None:
        """Append a frame: what is settled since the last one, and what is to be sent now."""
        frame = Frame(
            state=state,
            contents=self._contents,
            names=b"".join(names),
            entries=self._entries + entries,
            keys=keys,
        )
        self._contents = self._entries = b""
        await self._append(self.cursor.journal, frame)

    def settle(self, contents: Sequence[bytes]) -> None:
        """The hub has acknowledged what the last frame named: the next one will say so."""
        self._contents = b"".join(contents)

    def forget(self, names: Sequence[bytes]) -> None:
        """These are no more."""
        entries = entries_of(names, GONE)
        self.seen.load(entries)
        self._entries += entries

    async def commit(self, cursor: Cursor) -> None:
        """Replace the cursor; raise `TryLater` when another poll did."""
        version = await self._cursors.replace(self._source, cursor, unchanged=self._version)
        if not version:
            raise self._overtaken()
        self.cursor, self._version = cursor, version

    async def finish(self, cursor: Cursor, state: Mapping[str, Any], *, marks: bool) -> None:
        """Note what is left to note and give the source free; `marks` keeps what was met."""
        before = self.cursor.journal
        if marks or (self.claimed and self._is_long()):
            self._contents = self._entries = b""  # What is in memory says it all.
            await self._write_anew(state)
        elif self.claimed and (self._contents or self._entries or state):
            await self.note(state)
        now = self.cursor
        moved = replace(cursor, journal=now.journal, began_at=now.began_at, claimed_until=None)
        await self.commit(moved)
        if self.cursor.journal != before:
            await self._cursors.drop_journal(self._source, before)

    async def keys(self, hashes: Container[bytes]) -> dict[bytes, bytes]:
        """The keys of records by the hashes of their names; read from the journal as it streams."""
        return {name: key async for name, key in self._all_keys() if name in hashes}

    async def _all_keys(self) -> AsyncGenerator[tuple[bytes, bytes]]:
        frames = Frames()
        async for piece in self._cursors.journal(self._source, self.cursor.journal):
            for frame in frames.feed(piece):
                for pair in unpack_keys(frame.keys):
                    yield pair

    def _is_long(self) -> bool:
        if self._frames > _FRAMES_MAX:
            return True
        needed = len(self.seen) * ENTRY_BYTES * (8 if self._keyed else 4)
        return self._position > needed + _SLACK_BYTES

    async def _write_anew(self, state: Mapping[str, Any]) -> None:
        """Write what is known as the next journal; it counts once the cursor names it."""
        old, number = self.cursor.journal, self.cursor.journal + 1
        await self._cursors.drop_journal(self._source, number)  # A killed poll may have left one.
        self._position = self._frames = 0
        for piece in self.seen.pieces(_PIECE_BYTES):
            await self._append(number, Frame(entries=piece))
        if self._keyed:
            async for keys in self._living_keys():
                await self._append(number, Frame(keys=keys))
        await self._append(number, Frame(state=state))
        self.cursor = replace(self.cursor, journal=number, began_at=0)
        assert old != number, "the cursor still names the old journal"

    async def _living_keys(self) -> AsyncGenerator[bytes]:
        held = bytearray()
        async for name, key in self._all_keys():
            if name in self.seen:
                held += pack_key(name, key)
            if len(held) > _PIECE_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held)

    async def _append(self, number: int, frame: Frame) -> None:
        content = frame.to_bytes()
        if not await self._cursors.append(self._source, number, content, position=self._position):
            raise self._overtaken()
        self._position += len(content)
        self._frames += 1

    def _overtaken(self) -> TryLater:
        return TryLater(
            f"another poll of {self._source} moved the cursor meanwhile; "
            "what both sent becomes the same rows, and the next poll goes on"
        )
