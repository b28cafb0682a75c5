"""What was seen: a fingerprint of each record that a source has given, to tell what is new.

A fingerprint is eight bytes of a hash of the record's name and seven of a hash of its content. Of
up to `FEW` records they lie in a dictionary, which is quick; of more in buckets of bytes, which
take a fifth of the memory: a million records take 33 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from xxhash import xxh3_64_digest

from shared.domain.seen_many import ENTRY_BYTES, MET, NOT_MET, Many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shared.domain.record import Records
    from shared.domain.source import Source

#: From here on memory counts for more than time; so many take 25 MB in a dictionary.
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
        self._few: dict[bytes, bytes] = {}
        self._met: set[bytes] = set()
        self._many: Many | None = None

    def __len__(self) -> int:
        return len(self._few) if self._many is None else len(self._many)

    def __contains__(self, name: bytes) -> bool:
        return name in self._few if self._many is None else name in self._many

    def load(self, entries: bytes) -> None:
        """Take entries from a journal; later ones win."""
        if self._many is None and len(self._few) + len(entries) // ENTRY_BYTES > FEW:
            self._turn_to_many()
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
        self._few[name] = content
        if met:
            self._met.add(name)
        else:
            self._met.discard(name)

    def put_all(self, names: Sequence[bytes], contents: Sequence[bytes]) -> None:
        """Note many that were met."""
        if self._many is None and len(self._few) + len(names) > FEW:
            self._turn_to_many()
        if self._many is None:
            self._few.update(zip(names, contents, strict=True))
            self._met.update(names)
            return
        for name, content in zip(names, contents, strict=True):
            self._many.put(name, content, MET)

    def sift(self, names: Sequence[bytes], contents: Sequence[bytes], *, all_: bool) -> Sifted:
        """Tell news from what is known, and remember it; `all_` takes everything for news.

        A second content under a name already met in this walk goes by another name: a source whose
        names are not unique would otherwise look changed at every poll.
        """
        if self._many is None and len(self._few) + len(names) > FEW:
            self._turn_to_many()
        fresh, repeated, added = (
            self._sift_few(names, contents, all_=all_)
            if self._many is None
            else self._many.sift(names, contents, all_=all_)
        )
        if len(fresh) < len(names):
            names, contents = [names[i] for i in fresh], [contents[i] for i in fresh]
        again = {number: other for number, other in repeated.items() if other}
        if again:
            renamed = zip(fresh, names, strict=True)
            names = [again.get(number, name) for number, name in renamed]
        return Sifted(
            fresh=fresh, names=names, contents=contents, added=added, repeated=len(repeated)
        )

    def vanished(self) -> list[bytes]:
        """The names that this walk has not met."""
        if self._many is not None:
            return self._many.vanished()
        return [name for name in self._few if name not in self._met]

    def forget_marks(self) -> None:
        """A new walk has met nothing yet."""
        self._met.clear()
        if self._many is not None:
            self._many.forget_marks()

    def pieces(self, size: int) -> Iterator[bytes]:
        """All entries, with their marks, in pieces of about `size` bytes: a whole new journal."""
        if self._many is not None:
            yield from self._many.pieces(size)
            return
        items = list(self._few.items())
        step = max(1, size // ENTRY_BYTES)
        for start in range(0, len(items), step):
            yield b"".join(
                [
                    name + content + (MET if name in self._met else NOT_MET)
                    for name, content in items[start : start + step]
                ]
            )

    def _sift_few(
        self, names: Sequence[bytes], contents: Sequence[bytes], *, all_: bool
    ) -> tuple[Sequence[int], dict[int, bytes], Sequence[int]]:
        few, met = self._few, self._met
        if few.keys().isdisjoint(names):
            before = len(few)
            few.update(zip(names, contents, strict=True))
            if len(few) - before == len(names):  # All are new, and none comes twice.
                met.update(names)
                return range(len(names)), {}, range(len(names))
            for name in names:
                few.pop(name, None)
        fresh: list[int] = []
        added: list[int] = []
        repeated: dict[int, bytes] = {}
        for number, (name, content) in enumerate(zip(names, contents, strict=True)):
            known = few.get(name)
            if name in met:
                repeated[number], is_known = self._go_by_another(name, content)
                if is_known and not (all_ and repeated[number]):
                    continue
            else:
                met.add(name)
                if known == content and not all_:
                    continue
                if known is None:
                    added.append(number)
                few[name] = content
            fresh.append(number)
        return fresh, repeated, added

    def _go_by_another(self, name: bytes, content: bytes) -> tuple[bytes, bool]:
        """The name (empty: its own) of a content that comes under a name already met."""
        if self._few[name] == content:
            return b"", True
        while True:
            name = xxh3_64_digest(name)
            known = self._few.get(name)
            if known == content or name not in self._met:
                self._few[name] = content
                self._met.add(name)
                return name, known == content

    def _drop(self, name: bytes) -> None:
        if self._many is not None:
            self._many.drop(name)
        self._few.pop(name, None)
        self._met.discard(name)

    def _turn_to_many(self) -> None:
        self._many = Many()
        while self._few:  # One by one, so that nothing is held twice.
            name, content = self._few.popitem()
            self._many.put(name, content, MET if name in self._met else NOT_MET)
        self._met.clear()


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


def _without(body: bytes, paths: list[list[str]]) -> bytes:
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    for *way, last in paths:
        place = record
        for step in way:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
