"""What was seen: a fingerprint of each record that a source has given, to tell what is new.

A fingerprint is eight bytes of a hash of the record's name and seven of a hash of its content. Of
up to `FEW` records they lie in a dictionary, which is quick; of more in buckets of bytes, which
take a fifth of the memory: a million records take 33 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw
from xxhash import xxh3_64_digest

from shared.domain.json_page import fields_of
from shared.domain.seen_many import ENTRY_BYTES, MET, NOT_MET, Many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.domain.record import Records
    from shared.domain.source import Source

#: From here on memory counts for more than time; so many take 24 MB in a dictionary.
FEW = 100_000
HASH_BYTES, CONTENT_BYTES = 8, 7
#: The content of a record that is on its way to the hub, or of one whose deletion is: it equals
#: no record's, so that whatever comes after a crash is news.
UNSETTLED = b"\xff" * CONTENT_BYTES
#: Stands in a journal for an entry that is no more.
GONE = bytes(CONTENT_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """Which of some records are news, by position; by which names, and with which contents."""

    fresh: Sequence[int]
    names: Sequence[bytes]
    contents: Sequence[bytes]
    added: Sequence[int]
    repeated: int


class Seen:
    """The fingerprints of one source. Names and contents are hashes."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._met: dict[bytes, bytes] = {}
        self._unmet: dict[bytes, bytes] = {}
        self._many: Many | None = None

    def __len__(self) -> int:
        few = len(self._met) + len(self._unmet)
        return few if self._many is None else len(self._many)

    def __contains__(self, name: bytes) -> bool:
        if self._many is not None:
            return name in self._many
        return name in self._met or name in self._unmet

    def load(self, entries: bytes) -> None:
        """Take entries from a journal; later ones win."""
        self._make_room(len(entries) // ENTRY_BYTES)
        for start in range(0, len(entries), ENTRY_BYTES):
            name, content = entries[start : start + 8], entries[start + 8 : start + 15]
            if content == GONE:
                self._drop(name)
            else:
                self.put(name, content, met=entries[start + 15] != 0)

    def put(self, name: bytes, content: bytes, *, met: bool) -> None:
        """Note one."""
        if self._many is not None:
            self._many.put(name, content, MET if met else NOT_MET)
            return
        (self._unmet if met else self._met).pop(name, None)
        (self._met if met else self._unmet)[name] = content

    def put_all(self, names: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """Note many that were met."""
        self._make_room(len(names))
        if self._many is None and self._unmet.keys().isdisjoint(names):
            self._met.update(zip(names, contents, strict=True))
            return
        for name, content in zip(names, contents, strict=True):
            self.put(name, content, met=True)

    def sift(self, names: Sequence[bytes], contents: Sequence[bytes], *, all_: bool) -> Sifted:
        """Tell news from what is known, and remember it; `all_` takes everything for news.

        Records of one name count as one: all of them are news, in their order, or none. Otherwise a
        source whose names are not unique would look changed at every poll.
        """
        self._make_room(len(names) - len(self._unmet))
        unique = dict.fromkeys(names)
        if len(unique) == len(names):
            fresh, added, repeated = self._sift(names, contents, all_=all_)
            if len(fresh) < len(names):
                names, contents = [names[i] for i in fresh], [contents[i] for i in fresh]
            return Sifted(
                fresh=fresh, names=names, contents=contents, added=added, repeated=repeated
            )
        return self._sift_together(names, contents, all_=all_)

    def _sift_together(
        self, names: Sequence[bytes], contents: Sequence[bytes], *, all_: bool
    ) -> Sifted:
        """Sift records of which some bear one name."""
        places: dict[bytes, list[int]] = {}
        for number, name in enumerate(names):
            places.setdefault(name, []).append(number)
        unique = list(places)
        joined = [
            contents[where[0]]
            if len(where) == 1
            else xxh3_64_digest(b"".join([contents[i] for i in where]))[:CONTENT_BYTES]
            for where in places.values()
        ]
        fresh, added, repeated = self._sift(unique, joined, all_=all_)
        return Sifted(
            fresh=sorted(i for number in fresh for i in places[unique[number]]),
            names=[unique[number] for number in fresh],
            contents=[joined[number] for number in fresh],
            added=[places[unique[number]][0] for number in added],
            repeated=repeated,
        )

    def vanished(self) -> list[bytes]:
        """The names that this walk has not met."""
        return list(self._unmet) if self._many is None else self._many.vanished()

    def forget_marks(self) -> None:
        """A new walk has met nothing yet."""
        if self._many is not None:
            self._many.forget_marks()
        self._met.update(self._unmet)
        self._met, self._unmet = {}, self._met

    def pieces(self, size: int) -> Iterator[bytes]:
        """All entries, with their marks, in pieces of about `size` bytes: a whole new journal."""
        if self._many is not None:
            yield from self._many.pieces(size)
            return
        step = max(1, size // ENTRY_BYTES)
        for entries, mark in ((self._met, MET), (self._unmet, NOT_MET)):
            for some in batched(entries.items(), step, strict=False):
                yield b"".join([name + content + mark for name, content in some])

    def _sift(
        self, names: Sequence[bytes], contents: Sequence[bytes], *, all_: bool
    ) -> tuple[Sequence[int], Sequence[int], int]:
        """Positions of news, and of what is new; how many were met before in this walk."""
        if self._many is not None:
            return self._many.sift(names, contents, all_=all_)
        met, unmet, everything = self._met, self._unmet, range(len(names))
        if met.keys().isdisjoint(names) and unmet.keys().isdisjoint(names):
            met.update(zip(names, contents, strict=True))
            return everything, everything, 0
        fresh: list[int] = []
        added: list[int] = []
        repeated = 0
        for number, name, content in zip(everything, names, contents, strict=True):
            known = met.get(name)
            if known == content:
                repeated += 1
                continue
            if known is None:
                known = unmet.pop(name, None)
                if known is None:
                    added.append(number)
            met[name] = content
            if known != content or all_:
                fresh.append(number)
        return fresh, added, repeated

    def _drop(self, name: bytes) -> None:
        if self._many is not None:
            self._many.drop(name)
        self._met.pop(name, None)
        self._unmet.pop(name, None)

    def _make_room(self, more: int) -> None:
        """Turn to the form for many when so many more would be too many for a dictionary."""
        if self._many is not None or len(self) + more <= FEW:
            return
        self._many = Many()
        for entries, mark in ((self._met, MET), (self._unmet, NOT_MET)):
            while entries:  # One by one, so that nothing is held twice.
                self._many.put(*entries.popitem(), mark)


def entries_of(names: Sequence[bytes], content: bytes) -> bytes:
    """Entries that say the same of many names, as a journal holds them."""
    return b"".join([name + content + NOT_MET for name in names])


def contents_of(source: Source, records: Records) -> list[bytes]:
    """The hash of each record's content, without what `ignoreChangesIn` names."""
    bodies: Sequence[bytes] = records.bodies
    if source.ignore_changes_in:
        paths = [path.split(".") for path in source.ignore_changes_in]
        bodies = [_without(body, paths) for body in bodies]
    return [digest[:CONTENT_BYTES] for digest in map(xxh3_64_digest, bodies)]


def _without(body: bytes | Raw, paths: list[list[str]]) -> bytes:
    """A record without the values at some paths; whatever else is in it stays as it is written."""
    try:
        fields = fields_of(body)
    except (msgspec.DecodeError, RecursionError):
        return bytes(body)
    for first, *rest in paths:
        if not rest:
            fields.pop(first, None)
        elif first in fields:
            fields[first] = Raw(_without(fields[first], [rest]))
    return msgspec.json.encode(fields)
