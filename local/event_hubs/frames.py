"""Frames: what client and server say to each other, built with every field, read with its type."""

from __future__ import annotations

import struct

from local.event_hubs import codec
from local.event_hubs.codec import FALSE, NULL, TRUE, CodecError, Described

AMQP = b"AMQP\x00\x01\x00\x00"
SASL = b"AMQP\x03\x01\x00\x00"
HEADER_BYTES = 8
EMPTY_FRAME = b"\x00\x00\x00\x08\x02\x00\x00\x00"
#: What the service takes; its clients spend least on sending with frames of this size.
FRAME_BYTES_MAX = 65536
MESSAGE_BYTES_MAX = 1024 * 1024
#: A session's window, in frames, and a link's credit, in messages: the service's own.
WINDOW_FRAMES = 5000
LINK_CREDIT = 1000

OPEN, BEGIN, ATTACH, FLOW, TRANSFER = 0x10, 0x11, 0x12, 0x13, 0x14
DISPOSITION, DETACH, END, CLOSE = 0x15, 0x16, 0x17, 0x18
SENDER, RECEIVER = False, True  # The role fields of attach and disposition.

_FRAME = struct.Struct(">IBBH")


class Failure(Exception):
    """What went wrong, as the protocol tells it: a condition for programs, a text for people."""

    def __init__(self, condition: str, description: str) -> None:
        super().__init__(f"{condition}: {description}")
        self.condition = condition
        self.description = description

    def encoded(self) -> bytes:
        """Encode with all three fields: a shorter error makes a sender of the SDK wait for ever."""
        return codec.composite(
            0x1D, codec.symbol(self.condition), codec.string(self.description), NULL
        )


class Fields:
    """The fields of a performative, by position; absent ones at the end are null."""

    def __init__(self, values: list[object]) -> None:
        self._values = values

    def __getitem__(self, index: int) -> object:
        return self._values[index] if index < len(self._values) else None

    def number(self, index: int, default: int | None = None) -> int:
        """Read a number; null is `default`, or refused when there is none."""
        value = default if self[index] is None else self[index]
        if not isinstance(value, int) or isinstance(value, bool):
            raise CodecError(f"field {index} is not a number")
        return value

    def flag(self, index: int) -> bool:
        """Read a truth; null is false."""
        return self[index] is True

    def text(self, index: int) -> str:
        """Read a string or symbol; anything else is empty."""
        value = self[index]
        return value if isinstance(value, str) else ""

    def inner(self, index: int) -> Fields:
        """Read a composite within the composite; anything else has no fields."""
        value = self[index]
        content = value.value if isinstance(value, Described) else None
        return Fields(content if isinstance(content, list) else [])

    def table(self, index: int) -> dict[object, object]:
        """Read a map; anything else is empty."""
        value = self[index]
        return value if isinstance(value, dict) else {}

    def names(self, index: int) -> list[object]:
        """Read one symbol or an array of them."""
        value = self[index]
        return value if isinstance(value, list) else [value]


def signed(difference: int) -> int:
    """Read a difference of two counters that wrap at 2**32; negative when the first is behind."""
    return ((difference + 0x80000000) & 0xFFFFFFFF) - 0x80000000


def next_frame(buffer: bytes, position: int) -> tuple[int, int, bytes, int] | None:
    """Return the whole frame at a place as kind, channel, body and end, if it is all there."""
    if len(buffer) - position < HEADER_BYTES:
        return None
    size, offset, kind, channel = _FRAME.unpack_from(buffer, position)
    if not HEADER_BYTES <= offset * 4 <= size <= FRAME_BYTES_MAX:
        raise Failure("amqp:connection:framing-error", f"No frame has {size} bytes.")
    end = position + size
    if end > len(buffer):
        return None
    return kind, channel, buffer[position + offset * 4 : end], end


def parse(body: bytes) -> tuple[int, Fields, int]:
    """Read a performative: its code, its fields, and where a payload starts."""
    value, end = codec.decode(body)
    if not isinstance(value, Described) or not isinstance(value.value, list):
        raise CodecError("a frame holds no performative")
    if not isinstance(value.descriptor, int):
        raise CodecError("a performative has no number")
    return value.descriptor, Fields(value.value), end


def frame(channel: int, performative: bytes, kind: int = 0) -> bytes:
    """Wrap a performative."""
    return _FRAME.pack(HEADER_BYTES + len(performative), 2, kind, channel) + performative


def sasl_mechanisms() -> bytes:
    """Offer what Azure offers; none is checked."""
    return codec.composite(0x40, codec.array(0xA3, ("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL")))


def sasl_outcome() -> bytes:
    """Let the peer in."""
    return codec.composite(0x44, codec.ubyte(0), NULL)


def open_() -> bytes:
    """Greet; no idle time-out, for an idle SDK producer sends no heartbeats."""
    return codec.composite(
        OPEN, codec.string("emulator"), NULL, codec.uint(FRAME_BYTES_MAX), codec.ushort(4999),
        NULL, NULL, NULL, NULL, NULL, NULL,
    )  # fmt: skip


def begin(channel: int) -> bytes:
    """Answer a session on the channel it came on."""
    window = codec.uint(WINDOW_FRAMES)
    return codec.composite(
        BEGIN, codec.ushort(channel), codec.uint(1), window, window, codec.uint(255),
        NULL, NULL, NULL,
    )  # fmt: skip


def attach(
    *, name: str, handle: int, role: bool, settled: bool, source: bytes, target: bytes,
    properties: bytes,
) -> bytes:  # fmt: skip
    """Answer a link from the other end; `settled`: deliveries are not acknowledged."""
    return codec.composite(
        ATTACH, codec.string(name), codec.uint(handle), codec.boolean(role),
        codec.ubyte(1 if settled else 0), codec.ubyte(0), source, target, NULL, NULL,
        codec.uint(0) if role is SENDER else NULL,
        b"\x80" + MESSAGE_BYTES_MAX.to_bytes(8), NULL, NULL, properties,
    )  # fmt: skip


def source(address: str, filters: bytes = NULL) -> bytes:
    """Say where a link's messages come from."""
    return codec.composite(
        0x28, codec.string(address), codec.uint(0), NULL, codec.uint(0), FALSE, NULL, NULL,
        filters, NULL, NULL, NULL,
    )  # fmt: skip


def target(address: str) -> bytes:
    """Say where a link's messages go."""
    return codec.composite(
        0x29, codec.string(address), codec.uint(0), NULL, codec.uint(0), FALSE, NULL, NULL
    )


def flow(
    *, next_incoming: int, next_outgoing: int, link: tuple[int, int, int] | None = None,
    drain: bool = False,
) -> bytes:  # fmt: skip
    """Renew the session's window and, with `link` (handle, delivery count, credit), a link's."""
    window = codec.uint(WINDOW_FRAMES)
    about_link = [codec.uint(number) for number in link] if link else [NULL, NULL, NULL]
    return codec.composite(
        FLOW, codec.uint(next_incoming), window, codec.uint(next_outgoing), window,
        *about_link, codec.uint(0), codec.boolean(drain), FALSE, NULL,
    )  # fmt: skip


def disposition(delivery: int, failure: Failure | None = None) -> bytes:
    """Settle a delivery the peer sent: accepted, or rejected with the failure.

    Never released or modified: the SDK has no answer to those and waits for ever.
    """
    state = codec.composite(0x25, failure.encoded()) if failure else codec.composite(0x24)
    number = codec.uint(delivery)
    return codec.composite(DISPOSITION, TRUE, number, number, TRUE, state, NULL)


def detach(handle: int, failure: Failure | None = None) -> bytes:
    """End a link for good."""
    return codec.composite(DETACH, codec.uint(handle), TRUE, failure.encoded() if failure else NULL)


def end() -> bytes:
    """End a session."""
    return codec.composite(END, NULL)


def close(failure: Failure | None = None) -> bytes:
    """End the connection."""
    return codec.composite(CLOSE, failure.encoded() if failure else NULL)


class TransferPrefix:
    """What stands before a settled delivery; built once a link, for it is sent for every event.

    The delivery tag is always the same: the SDK would keep each new one for ever.
    """

    def __init__(self, channel: int, handle: int) -> None:
        head = codec.uint(handle) + b"\x70"
        tail = b"\xa0\x01\x00\x43" + TRUE  # Tag, message format 0, settled.
        body_bytes = 1 + len(head) + 4 + len(tail) + 1 + 5
        self._head = (
            struct.pack(">BBH", 2, 0, channel)
            + bytes((0x00, 0x53, TRANSFER, 0xC0, body_bytes, 11))
            + head
        )
        self._last = tail + FALSE + NULL * 5
        self._more = tail + TRUE + NULL * 5
        self._layout = struct.Struct(f">I{len(self._head)}sI{len(self._last)}s")
        self.bytes = self._layout.size

    def pack(self, delivery: int, payload_bytes: int, *, more: bool = False) -> bytes:
        """Build the frame up to its payload."""
        size, tail = self.bytes + payload_bytes, self._more if more else self._last
        return self._layout.pack(size, self._head, delivery & 0xFFFFFFFF, tail)
