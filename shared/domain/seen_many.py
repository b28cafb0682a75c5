"""What was seen of many records: fingerprints in buckets of bytes.

An entry is 16 bytes: eight of a hash of the record's name, seven of a hash of its content, and a
mark that says whether this walk has met it. A bucket holds the entries whose names begin with the
same two bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENTRY_BYTES = 16
MET, NOT_MET = b"\x01", b"\x00"


class Many:
    """The fingerprints."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._buckets: dict[bytes, bytearray] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: bytes) -> bool:
        bucket = self._buckets.get(name[:2])
        return bucket is not None and _find(bucket, name) >= 0

    def put(self, name: bytes, content: bytes, mark: bytes) -> None:
        """Note one."""
        bucket = self._buckets.get(name[:2])
        at = -1 if bucket is None else _find(bucket, name)
        if bucket is not None and at >= 0:
            bucket[at + 8 : at + ENTRY_BYTES] = content + mark
            return
        self._buckets.setdefault(name[:2], bytearray()).extend(name + content + mark)
        self._count += 1

    def drop(self, name: bytes) -> None:
        """Forget one, if it is known."""
        bucket = self._buckets.get(name[:2])
        at = -1 if bucket is None else _find(bucket, name)
        if bucket is not None and at >= 0:
            del bucket[at : at + ENTRY_BYTES]
            self._count -= 1

    def sift(
        self, names: Sequence[bytes], contents: Sequence[bytes], *, all_: bool
    ) -> tuple[Sequence[int], Sequence[int], int]:
        """Positions of news, and of what is new; how many were met before in this walk."""
        fresh: list[int] = []
        added: list[int] = []
        repeated = 0
        buckets = self._buckets
        for number, (name, content) in enumerate(zip(names, contents, strict=True)):
            first = name[:2]
            bucket = buckets.get(first)
            if bucket is None:
                bucket = buckets[first] = bytearray()
            at = bucket.find(name)
            if at % ENTRY_BYTES and at >= 0:
                at = _find(bucket, name)
            if at < 0:
                bucket += name + content + MET
                added.append(number)
            elif bucket[at + 8 : at + 15] != content:
                bucket[at + 8 : at + ENTRY_BYTES] = content + MET
            elif bucket[at + 15]:
                repeated += 1
                continue
            else:
                bucket[at + 15] = 1
                if not all_:
                    continue
            fresh.append(number)
        self._count += len(added)
        return fresh, added, repeated

    def vanished(self) -> list[bytes]:
        """The names that this walk has not met."""
        return [
            bytes(bucket[at : at + 8])
            for bucket in self._buckets.values()
            for at in range(0, len(bucket), ENTRY_BYTES)
            if not bucket[at + 15]
        ]

    def forget_marks(self) -> None:
        """A new walk has met nothing yet."""
        for bucket in self._buckets.values():
            bucket[15::ENTRY_BYTES] = bytes(len(bucket) // ENTRY_BYTES)

    def pieces(self, size: int) -> Iterator[bytes]:
        """All entries in pieces of about `size` bytes."""
        held = bytearray()
        for bucket in self._buckets.values():
            held += bucket
            if len(held) >= size:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)


def _find(bucket: bytearray, name: bytes) -> int:
    at = bucket.find(name)
    while at >= 0 and at % ENTRY_BYTES:
        at = bucket.find(name, at + 1)
    return at
