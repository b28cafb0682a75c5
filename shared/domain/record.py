"""The record: one item of a source's answer, byte for byte as the source wrote it.

JSON strings cannot hold raw line breaks (RFC 8259, section 7), so a line break inside a record is
white space and becomes a blank: that is all NDJSON needs. A poll sees thousands of records at once,
so they travel in columns (`Records`), and what is computed of them is computed in one go.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One source record: its bytes (no line break), and the key that names it (may be empty)."""

    body: bytes
    key: str

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes of a hash of the body: the same record reads the same."""
        return xxh3_64_digest(self.body)

    def group(self, groups: int) -> int:
        """Which of `groups` partitions the record belongs to; the same key, the same group."""
        return group_of(xxh3_64_digest(key_bytes(self)), groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Records in columns: bodies, the values that name each, and its cursor value.

    `keys` has as many columns as the source's key has paths. None stands for what is not there.
    """

    bodies: Sequence[bytes]
    keys: Sequence[Sequence[Any]]
    cursors: Sequence[Any] = field(default=())

    def __len__(self) -> int:
        return len(self.bodies)

    def names(self) -> list[bytes]:
        """What names each record: its key, or its own bytes when it has none."""
        if len(self.keys) == 1:
            (column,) = self.keys
            if set(map(type, column)) == {int}:
                return " ".join(map(str, column)).encode().split()
            return [
                text_of(key) if key is not None else body
                for key, body in zip(column, self.bodies, strict=True)
            ]
        return [
            b"\0".join(map(text_of, keys)) if None not in keys else body
            for keys, body in zip(zip(*self.keys, strict=True), self.bodies, strict=True)
        ]


def text_of(key: Any) -> bytes:  # noqa: ANN401 -- JSON is any value.
    """The text of a key: the same whether a source writes a number or its text."""
    return str(key).encode(errors="backslashreplace")


def key_bytes(record: Record) -> bytes:
    """What names the record."""
    return record.key.encode(errors="backslashreplace") if record.key else record.body


def group_of(name: bytes, groups: int) -> int:
    """Which of `groups` partitions what bears this name belongs to; `name` is its hash."""
    return name[0] % groups


def pack(bodies: Sequence[bytes], *, bytes_max: int) -> Iterator[tuple[bytes, int]]:
    """Pack records into NDJSON bodies of at most `bytes_max` bytes: `(body, count)`.

    A record larger than that travels alone.
    """
    ends = list(accumulate(map((1).__add__, map(len, bodies))))  # Where each line ends.
    first = before = 0
    while first < len(bodies):
        last = max(first + 1, bisect_right(ends, before + bytes_max, lo=first))
        yield b"\n".join(bodies[first:last]), last - first
        first, before = last, ends[last - 1]
