"""The record: one item of a source's answer, byte for byte as the source wrote it.

Records are found by a JSON scanner, not re-serialised. JSON strings cannot hold raw line breaks
(RFC 8259, section 7), so a line break inside a record is white space and becomes a blank: that is
all NDJSON needs.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.errors import BadRecord

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")
_LINE_BREAKS = re.compile(rb"[\r\n]+")
FINGERPRINT_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One source record: its bytes (no line break), and the key that names it (may be empty)."""

    body: bytes
    key: str

    @property
    def fingerprint(self) -> bytes:
        """Eight bytes of BLAKE2b over the body: the same record reads the same."""
        return hashlib.blake2b(self.body, digest_size=FINGERPRINT_BYTES).digest()

    def group(self, groups: int) -> int:
        """Which of `groups` partitions the record belongs to; the same key, the same group."""
        return zlib.crc32((self.key or self.body.hex()).encode()) % groups


def records_of(body: bytes, *, path: str, key: str) -> list[Record]:
    """Slice the records out of a JSON page.

    `path` is dotted (empty: the body itself is the array), `key` is dotted within a record.
    Raises `BadRecord` with the reason when the page is not what it claims to be; nothing of such a
    page may be used, because what is missing from it is unknown.
    """
    if not body.strip():
        raise BadRecord("empty-body", "the source answered 200 with an empty body")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("not-utf8", f"byte {error.start} is not UTF-8") from error
    try:
        return list(_scan(text, path.split(".") if path else [], key.split(".")))
    except (ValueError, RecursionError) as error:
        start = text[:80].strip()
        hint = "HTML" if start.startswith("<") else "not JSON"
        raise BadRecord("not-json", f"the page is {hint}: {error}; it begins {start!r}") from error


def pack(records: Iterable[Record], *, bytes_max: int) -> Iterator[tuple[bytes, int]]:
    """Pack records into NDJSON bodies of at most `bytes_max` bytes: `(body, count)`.

    A record larger than that travels alone.
    """
    lines: list[bytes] = []
    size = 0
    for record in records:
        if lines and size + len(record.body) + 1 > bytes_max:
            yield b"\n".join(lines), len(lines)
            lines, size = [], 0
        lines.append(record.body)
        size += len(record.body) + 1
    if lines:
        yield b"\n".join(lines), len(lines)


def _scan(text: str, path: list[str], key: list[str]) -> Iterator[Record]:
    position = _skip(text, 0)
    for step in path:
        position = _member(text, position, step)
    if text[position : position + 1] != "[":
        raise ValueError(f"{'.'.join(path) or 'the body'} is not an array")
    end = yield from _items(text, position, key)
    _finish(text, end, depth=len(path))


def _member(text: str, position: int, name: str) -> int:
    if text[position : position + 1] != "{":
        raise ValueError(f"no object holds {name!r}")
    position = _skip(text, position + 1)
    while text[position : position + 1] == '"':
        found, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        if text[position : position + 1] != ":":
            raise ValueError(f"expected ':' at {position}")
        position = _skip(text, position + 1)
        if found == name:
            return position
        _, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
    raise ValueError(f"the records path {name!r} is missing")


def _items(text: str, position: int, key: list[str]) -> Generator[Record, None, int]:
    """Yield the records of the array at `position`; return the position after it."""
    position = _skip(text, position + 1)
    if text[position : position + 1] == "]":
        return position + 1
    while True:
        value, end = _DECODER.raw_decode(text, position)
        body = _LINE_BREAKS.sub(b" ", text[position:end].encode())
        yield Record(body=body, key=_text_at(value, key))
        position = _skip(text, end)
        separator = text[position : position + 1]
        if separator == "]":
            return position + 1
        if separator != ",":
            raise ValueError(f"expected ',' or ']' at {position}: the page is cut off")
        position = _skip(text, position + 1)


def _finish(text: str, position: int, *, depth: int) -> None:
    """Read what follows the array: unless the page is whole, records may be missing."""
    for _ in range(depth):
        position = _skip(text, position)
        while text[position : position + 1] == ",":
            _, position = _DECODER.raw_decode(text, _skip(text, position + 1))
            position = _skip(text, position)
            if text[position : position + 1] != ":":
                raise ValueError(f"expected ':' at {position}")
            _, position = _DECODER.raw_decode(text, _skip(text, position + 1))
            position = _skip(text, position)
        if text[position : position + 1] != "}":
            raise ValueError(f"expected '}}' at {position}: the page is cut off")
        position += 1
    if _skip(text, position) != len(text):
        raise ValueError("something follows the page's end")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    assert match is not None, "an empty match is a match"
    return match.end()


def _text_at(value: Any, path: list[str]) -> str:  # noqa: ANN401 -- JSON is any value.
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return "" if value is None else str(value)
