"""HTTP bodies: decompressed and converted to UTF-8 while they come, within limits."""

from __future__ import annotations

import codecs
import zlib
from typing import TYPE_CHECKING, Protocol

import brotli  # type: ignore[import-untyped]  # It comes without types.
from backports import zstd

from shared.domain.errors import BadRecord

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from shared.domain.source import Source

ACCEPTED = "gzip, deflate, br, zstd"
_STEP_BYTES = 1024 * 1024
_UTF_8 = ("utf-8", "ascii")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_TELLING_BYTES = 4


class CutOff(Exception):
    """The body ended early, or is damaged."""


class _Expander(Protocol):
    """Takes compressed bytes, gives at most so many at a time."""

    def expand(self, piece: bytes, size: int) -> bytes:
        """Give what is there; an empty piece asks for what was held back."""

    def is_whole(self) -> bool:
        """Whether the compressed body has come to its own end."""


class _Gzip:
    """Gzip, one member or several, or deflate."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._member = zlib.decompressobj(self._window)
        self._fed = False

    def expand(self, piece: bytes, size: int) -> bytes:
        held = self._member.unconsumed_tail + piece
        if self._member.eof:
            held = self._member.unused_data + piece
            if not held.strip(b"\0"):
                return b""
            self._member = zlib.decompressobj(self._window)
        self._fed = self._fed or bool(held)
        return self._member.decompress(held, size)

    def is_whole(self) -> bool:
        return self._member.eof or not self._fed


class _Brotli:
    """Brotli."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def expand(self, piece: bytes, size: int) -> bytes:
        if not piece and self._stream.can_accept_more_data():
            return b""
        expanded: bytes = self._stream.process(piece, output_buffer_limit=size)
        return expanded

    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())


class _Zstd:
    """Zstandard, one frame or several."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()

    def expand(self, piece: bytes, size: int) -> bytes:
        if self._frame.eof:
            piece = self._frame.unused_data + piece
            if not piece:
                return b""
            self._frame = zstd.ZstdDecompressor()
        if not piece and self._frame.needs_input:
            return b""
        return bytes(self._frame.decompress(piece, size))

    def is_whole(self) -> bool:
        return self._frame.eof


async def decoded(
    pieces: AsyncIterator[bytes], source: Source, *, encoding: str, content_type: str
) -> AsyncGenerator[bytes]:
    """The body in UTF-8.

    Raises `CutOff` for a damaged one, and `BadRecord` for one too large or of another character set
    than it claims.
    """
    converter, begun = None, False
    async for part in _begun(_expanded(_begun(pieces), source, encoding)):
        if not begun:
            begun, converter = True, _converter(part, source, content_type)
        if converter is None:
            yield part
            continue
        try:
            text = converter.decode(part)
        except UnicodeError as error:
            yield part  # As it came, for a person to see.
            raise BadRecord(
                "wrong-charset",
                f"the body is not in the character set that it claims: {error}; set `charset`, for "
                "a tool that says it wrong",
            ) from error
        yield text.encode()
    if converter:
        try:
            yield converter.decode(b"", final=True).encode()
        except UnicodeError as error:
            raise CutOff("the body is cut off within a character") from error


async def _begun(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The same pieces, the first of which is long enough to tell what the body is."""
    held, told = b"", False
    async for piece in pieces:
        held += piece
        if told or len(held) >= _TELLING_BYTES:
            yield held
            held, told = b"", True
    if held:
        yield held


async def _expanded(
    pieces: AsyncIterator[bytes], source: Source, encoding: str
) -> AsyncGenerator[bytes]:
    """The body as it was before it was compressed, within the limits."""
    expander, begun = None, False
    received = given = 0
    async for piece in pieces:
        received += len(piece)
        _check_size(received, source, what="sent")
        if not begun:
            begun, expander = True, _expander(encoding, piece)
        for part in _Parts(expander, piece) if expander else (piece,):
            given += len(part)
            _check_size(given, source, what="sent, decompressed,")
            yield part
    if expander and not expander.is_whole():
        raise CutOff(f"the {encoding} body is cut off after {received} bytes")


class _Parts:
    """What a piece expands to, a bounded part at a time."""

    def __init__(self, expander: _Expander, piece: bytes) -> None:
        self._expander = expander
        self._piece = piece

    def __iter__(self) -> _Parts:
        return self

    def __next__(self) -> bytes:
        try:
            part = self._expander.expand(self._piece, _STEP_BYTES)
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
            raise CutOff(f"the compressed body is damaged: {error}") from error
        self._piece = b""
        if not part:
            raise StopIteration
        return part


def _expander(encoding: str, first: bytes) -> _Expander | None:
    """What the body plainly is, whatever the header says: some tools lie, others serve files.

    No text begins like gzip or zstd does.
    """
    if first.startswith(_GZIP_MAGIC):
        return _Gzip(zlib.MAX_WBITS | 16)
    if first.startswith(_ZSTD_MAGIC):
        return _Zstd()
    match encoding.strip().lower():
        case "deflate":  # Some send it without the frame that RFC 9110, section 8.4.1.2, asks for.
            framed = first[0] & 0x0F == zlib.DEFLATED
            return _Gzip(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)
        case "br":
            return _Brotli()
        case _:
            return None


def _converter(first: bytes, source: Source, content_type: str) -> codecs.IncrementalDecoder | None:
    """What turns the body into text, unless it is UTF-8 anyway."""
    named = source.charset or next(
        (name for mark, name in _MARKS if first.startswith(mark)), _charset(content_type)
    )
    try:
        "".encode(named or "utf-8")  # Only this refuses what Python knows, but not as text.
        codec = codecs.lookup(named or "utf-8")
    except (LookupError, ValueError):
        return None
    return None if codec.name in _UTF_8 else codec.incrementaldecoder()


def _charset(content_type: str) -> str:
    for part in content_type.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'")
    return ""


def _check_size(size: int, source: Source, *, what: str) -> None:
    if size > source.limits.page_bytes:
        raise BadRecord(
            "page-too-large",
            f"source {source.name} {what} over {source.limits.page_bytes} bytes in one page; "
            "raise limits.pageBytes if that is right",
        )
