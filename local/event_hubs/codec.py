"""The codec: AMQP 1.0 values, from bytes and to bytes, as few of them as an event hub needs.

Whatever a peer sends, decoding either succeeds or raises `CodecError`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Deeper nesting than any message needs; keeps a hostile one from exhausting the stack.
DEPTH_MAX = 16

NULL = b"\x40"
TRUE = b"\x41"
FALSE = b"\x42"
EMPTY_LIST = b"\x45"


class CodecError(Exception):
    """The bytes are not what they should be; the peer is told so, and nobody else suffers."""


class Symbol(str):
    """A name out of a protocol's vocabulary; equal to the string of the same characters."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor that says what it means."""

    descriptor: object
    value: object


def skip(buffer: bytes, position: int) -> int:
    """Return where the value at `position` ends, without looking into it."""
    pending, end = 1, len(buffer)
    if buffer.startswith(b"\xb0", position):  # Events of a batch: the case that has to be fast.
        position, pending = position + 5 + int.from_bytes(buffer[position + 1 : position + 5]), 0
    while pending:
        if position >= end:
            raise CodecError("a value is missing")
        code = buffer[position]
        position += 1
        pending -= 1
        kind = code >> 4
        if kind in _SIZE_BYTES:
            start = position + _SIZE_BYTES[kind]
            position = start + int.from_bytes(buffer[position:start])
        elif code == 0:
            pending += 2
        elif kind in _FIXED_BYTES:
            position += _FIXED_BYTES[kind]
        else:
            raise CodecError(f"no value starts with 0x{code:02x}")
    if position > end:
        raise CodecError("a value ends after its bytes do")
    return position


def decode(buffer: bytes, position: int = 0, depth: int = 0) -> tuple[object, int]:
    """Return the value at `position` and where it ends."""
    code = _take(buffer, position, 1)[0]
    if code == 0:
        _check_depth(depth)
        descriptor, position = decode(buffer, position + 1, depth + 1)
        value, position = decode(buffer, position, depth + 1)
        return Described(descriptor, value), position
    return _decode_body(buffer, position + 1, code, depth)


def split_list(buffer: bytes, position: int) -> tuple[list[bytes], int]:
    """Return the encoded items of the list or map at `position`, and its end.

    Items are kept as they came where they have to be sent back with their types intact.
    """
    code = _take(buffer, position, 1)[0]
    if code == EMPTY_LIST[0]:
        return [], position + 1
    if code not in (0xC0, 0xC1, 0xD0, 0xD1):
        raise CodecError(f"0x{code:02x} starts neither a list nor a map")
    position, count, end = _compound(buffer, position + 1, 1 if code < 0xD0 else 4)  # noqa: PLR2004 -- 0xD_ have four-byte sizes.
    items = []
    for _ in range(count):
        following = skip(buffer, position)
        items.append(buffer[position:following])
        position = following
    if position != end:
        raise CodecError("a list is not as long as it says")
    return items, end


def _decode_body(buffer: bytes, position: int, code: int, depth: int) -> tuple[object, int]:
    """Decode what follows the constructor `code`; elements of an array have no other."""
    if code == EMPTY_LIST[0]:
        return [], position
    if code in _CONSTANTS:
        return _CONSTANTS[code], position
    if code in _NUMBERS:
        number = _NUMBERS[code]
        return number.unpack(_take(buffer, position, number.size))[0], position + number.size
    if code in _SIZED:
        width, read = _SIZED[code]
        size = int.from_bytes(_take(buffer, position, width)) if width else _FIXED_BYTES[code >> 4]
        position += width
        return _read(read, _take(buffer, position, size)), position + size
    if code in _COMPOUND_WIDTH:
        return _decode_compound(buffer, position, code, depth)
    raise CodecError(f"no value starts with 0x{code:02x}")


def _decode_compound(buffer: bytes, position: int, code: int, depth: int) -> tuple[object, int]:
    _check_depth(depth)
    position, count, end = _compound(buffer, position, _COMPOUND_WIDTH[code])
    items: list[object] = []
    if code in (0xE0, 0xF0) and count:
        constructor = _take(buffer, position, 1)[0]
        position += 1
        for _ in range(count):
            item, position = _decode_body(buffer, position, constructor, depth + 1)
            items.append(item)
    else:
        for _ in range(count):
            item, position = decode(buffer, position, depth + 1)
            items.append(item)
    if position != end:
        raise CodecError("a compound value is not as long as it says")
    return _mapping(items) if code in (0xC1, 0xD1) else items, end


def _check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise CodecError("values are nested too deeply")


def _compound(buffer: bytes, position: int, width: int) -> tuple[int, int, int]:
    """Return where a compound's items start, how many there are and where they end."""
    size = int.from_bytes(_take(buffer, position, width))
    end = position + width + size
    count = int.from_bytes(_take(buffer, position + width, width))
    if end > len(buffer) or count > size:
        raise CodecError("a compound value says more than it holds")
    return position + 2 * width, count, end


def _mapping(items: list[object]) -> dict[object, object]:
    if len(items) % 2:
        raise CodecError("a map has a key without a value")
    try:
        return dict(zip(items[::2], items[1::2], strict=True))
    except TypeError as error:
        raise CodecError("a map has a key that cannot be one") from error


def _read(read: Callable[[bytes], object], raw: bytes) -> object:
    try:
        return read(raw)
    except ValueError as error:
        raise CodecError(f"not text: {error}") from error


def _take(buffer: bytes, position: int, size: int) -> bytes:
    taken = buffer[position : position + size]
    if len(taken) < size:
        raise CodecError("a value ends after its bytes do")
    return taken


def _text(raw: bytes) -> str:
    return raw.decode()


def _symbol(raw: bytes) -> Symbol:
    return Symbol(raw.decode("ascii"))


def _uuid(raw: bytes) -> UUID:
    return UUID(bytes=raw)


def _boolean(raw: bytes) -> bool:
    return raw != b"\x00"


def _character(raw: bytes) -> str:
    return raw.decode("utf-32-be")


#: By the upper half of a constructor: how many bytes a value has, or how many say so.
_SIZE_BYTES = {0xA: 1, 0xC: 1, 0xE: 1, 0xB: 4, 0xD: 4, 0xF: 4}
_FIXED_BYTES = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_CONSTANTS: dict[int, object] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_NUMBERS = {
    code: struct.Struct(">" + layout)
    for code, layout in (
        (0x50, "B"), (0x51, "b"), (0x52, "B"), (0x53, "B"), (0x54, "b"), (0x55, "b"),
        (0x60, "H"), (0x61, "h"), (0x70, "I"), (0x71, "i"), (0x72, "f"),
        (0x80, "Q"), (0x81, "q"), (0x82, "d"), (0x83, "q"),
    )
}  # fmt: skip
#: Constructor to width of the size that follows it (0: the constructor says it) and reader.
_SIZED: dict[int, tuple[int, Callable[[bytes], object]]] = {
    0x56: (0, _boolean), 0x73: (0, _character), 0x98: (0, _uuid),
    0x74: (0, bytes), 0x84: (0, bytes), 0x94: (0, bytes),  # Decimals: nobody here counts in them.
    0xA0: (1, bytes), 0xA1: (1, _text), 0xA3: (1, _symbol),
    0xB0: (4, bytes), 0xB1: (4, _text), 0xB3: (4, _symbol),
}  # fmt: skip
_COMPOUND_WIDTH = {0xC0: 1, 0xC1: 1, 0xE0: 1, 0xD0: 4, 0xD1: 4, 0xF0: 4}


def ubyte(number: int) -> bytes:
    """Encode 0 to 255."""
    return bytes((0x50, number))


def ushort(number: int) -> bytes:
    """Encode a channel number."""
    return struct.pack(">BH", 0x60, number)


def uint(number: int) -> bytes:
    """Encode in as few bytes as the service does; counters wrap at 2**32."""
    number &= 0xFFFFFFFF
    if number == 0:
        return b"\x43"
    return bytes((0x52, number)) if number < 256 else struct.pack(">BI", 0x70, number)  # noqa: PLR2004 -- One byte.


def integer(number: int) -> bytes:
    """Encode a signed 32-bit number."""
    return struct.pack(">Bi", 0x71, number)


def long(number: int) -> bytes:
    """Encode a signed 64-bit number."""
    return struct.pack(">Bq", 0x81, number)


def timestamp(milliseconds: int) -> bytes:
    """Encode a moment as milliseconds since 1970."""
    return struct.pack(">Bq", 0x83, milliseconds)


def boolean(value: bool) -> bytes:  # noqa: FBT001 -- The value itself, not a switch.
    """Encode in one byte."""
    return TRUE if value else FALSE


def binary(raw: bytes) -> bytes:
    """Encode bytes."""
    return _variable(0xA0, raw)


def string(text: str) -> bytes:
    """Encode text."""
    return _variable(0xA1, text.encode())


def symbol(text: str) -> bytes:
    """Encode a name of the vocabulary."""
    return _variable(0xA3, text.encode("ascii"))


def array(code: int, texts: Iterable[str]) -> bytes:
    """Encode texts as an array of one-byte-sized strings (0xA1) or symbols (0xA3)."""
    items = [bytes((len(text),)) + text.encode() for text in texts]
    return _sized(0xE0, bytes((code,)) + b"".join(items), len(items))


def mapping(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode a map of values already encoded."""
    items = [item for pair in pairs for item in pair]
    return _sized(0xC1, b"".join(items), len(items))


def described(code: int, value: bytes) -> bytes:
    """Put the numeric descriptor `code` before a value."""
    return bytes((0x00, 0x53, code)) + value


def composite(code: int, *fields: bytes) -> bytes:
    """Encode a described list with every field written out, null or not.

    AMQP allows leaving out nulls at the end; the Azure SDK for Python reads by position and fails.
    """
    return described(code, _sized(0xC0, b"".join(fields), len(fields)) if fields else EMPTY_LIST)


def _variable(code: int, raw: bytes) -> bytes:
    if len(raw) < 256:  # noqa: PLR2004 -- One byte.
        return bytes((code, len(raw))) + raw
    return struct.pack(">BI", code + 0x10, len(raw)) + raw


def _sized(code: int, body: bytes, count: int) -> bytes:
    if len(body) < 255 and count < 256:  # noqa: PLR2004 -- Both must fit into one byte.
        return bytes((code, len(body) + 1, count)) + body
    return struct.pack(">BII", code + 0x10, len(body) + 4, count) + body
