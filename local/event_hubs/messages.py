"""Messages: sections are cut out and put in front; what an event carries is never looked into."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from local.event_hubs import codec
from local.event_hubs.codec import NULL, CodecError
from local.event_hubs.frames import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The message-format of a batch; its data sections are whole messages. 0 is a single message.
BATCH_FORMAT = 0x80013700
HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS = 0x70, 0x71, 0x72
PROPERTIES, APPLICATION_PROPERTIES, BODY_DATA, BODY_VALUE = 0x73, 0x74, 0x75, 0x77

#: What a record in the log has room for; a header has five small fields.
HEADER_BYTES_MAX = 65535
_SHORT_BINARY, _LONG_BINARY = 0xA0, 0xB0
#: Starts of messages with nothing to cut.
_BODY_FIRST = tuple(bytes((0x00, 0x53, code)) for code in range(PROPERTIES, BODY_VALUE + 1))
_SEQUENCE, _OFFSET = "x-opt-sequence-number", "x-opt-offset"
_TIME, _PARTITION_KEY = "x-opt-enqueued-time", "x-opt-partition-key"
#: Annotations the service writes itself, whatever a sender claims.
_RESERVED = {_SEQUENCE, _OFFSET, _TIME, "x-opt-publisher"}
_SEQUENCE_HEAD = codec.symbol(_SEQUENCE) + b"\x81"
_TIME_HEAD = codec.symbol(_TIME) + b"\x83"
_OFFSET_HEAD = codec.symbol(_OFFSET) + b"\xa1"
_ANNOTATIONS = struct.Struct(
    f">4sII{len(_SEQUENCE_HEAD)}sq{len(_TIME_HEAD)}sq{len(_OFFSET_HEAD)}sB"
)
#: What the annotations' size counts besides the offset's digits and the sender's own entries.
_ANNOTATIONS_BYTES = _ANNOTATIONS.size - 8


class Event(NamedTuple):
    """A message as it came, cut where the service's own annotations belong."""

    header: bytes
    annotation_count: int
    annotations: bytes
    rest: bytes


class Request(NamedTuple):
    """A message to `$cbs` or `$management`."""

    message_id: bytes
    reply_to: str
    properties: dict[object, object]


class LastEnqueued(NamedTuple):
    """The newest event of a partition, as its metrics tell it."""

    sequence: int
    offset: str
    time_ms: int


def events_of(message: bytes, message_format: int) -> tuple[str | None, list[Event]]:
    """Return the partition key, if there is one, and the events of a transfer."""
    memory = _Annotations()
    if message_format != BATCH_FORMAT:
        event, key = _event(message, memory)
        return key, [event]
    key, events = None, []
    for code, start, end in _sections(message):
        if code == BODY_DATA:
            events.append(_event_in_batch(message, start, end, memory))
        elif code == MESSAGE_ANNOTATIONS:
            key = memory.read(message[start:end])[0]
    return key, events


def position_annotations(event: Event, *, sequence: int, offset: int, time_ms: int) -> bytes:
    """Build the section that tells a consumer where in the partition the event is."""
    digits = b"%d" % offset
    tail = digits + event.annotations
    return (
        _ANNOTATIONS.pack(
            b"\x00\x53\x72\xd1", _ANNOTATIONS_BYTES + len(tail), 6 + event.annotation_count,
            _SEQUENCE_HEAD, sequence, _TIME_HEAD, time_ms, _OFFSET_HEAD, len(digits),
        )
        + tail
    )  # fmt: skip


def metrics(last: LastEnqueued, now_ms: int) -> bytes:
    """Build the delivery annotations of a consumer that tracks the partition's end."""
    pairs = (
        (codec.symbol("last_enqueued_sequence_number"), codec.long(last.sequence)),
        (codec.symbol("last_enqueued_offset"), codec.string(last.offset)),
        (codec.symbol("last_enqueued_time_utc"), codec.timestamp(last.time_ms)),
        (codec.symbol("runtime_info_retrieval_time_utc"), codec.timestamp(now_ms)),
    )
    return codec.described(DELIVERY_ANNOTATIONS, codec.mapping(pairs))


def request_of(message: bytes) -> Request:
    """Read a request; its message id stays encoded, for the answer must keep its type."""
    message_id, reply_to, properties = NULL, "", dict[object, object]()
    for code, start, end in _sections(message):
        if code == PROPERTIES:
            items = [*codec.split_list(message, start)[0], *[NULL] * 5]
            message_id, reply_to = items[0], Fields([codec.decode(items[4])[0]]).text(0)
        elif code == APPLICATION_PROPERTIES:
            properties = Fields([codec.decode(message[start:end])[0]]).table(0)
    return Request(message_id, reply_to, properties)


def response(
    request: Request, status: int, description: str, body: bytes = NULL, condition: str = ""
) -> bytes:
    """Build an answer; the SDK for Python reads the second spelling of the description."""
    pairs = [
        (codec.string("status-code"), codec.integer(status)),
        (codec.string("status-description"), codec.string(description)),
        (codec.string("statusDescription"), codec.string(description)),
    ]
    if condition:
        pairs.append((codec.string("error-condition"), codec.symbol(condition)))
    return (
        codec.composite(PROPERTIES, NULL, NULL, NULL, NULL, NULL, request.message_id)
        + codec.described(APPLICATION_PROPERTIES, codec.mapping(pairs))
        + codec.described(BODY_VALUE, body)
    )


def text_map(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """Encode a map with string keys."""
    return codec.mapping((codec.string(key), value) for key, value in pairs)


_NO_ANNOTATIONS: tuple[str | None, int, bytes] = (None, 0, b"")


class _Annotations:
    """Reads senders' annotations; the events of a batch mostly repeat the same ones."""

    def __init__(self) -> None:
        self._raw = NULL
        self._read = _NO_ANNOTATIONS

    def read(self, raw: bytes) -> tuple[str | None, int, bytes]:
        """Return the partition key, and the count and bytes of the entries to keep."""
        if raw != self._raw:
            self._raw, self._read = raw, _own_annotations(raw)
        return self._read


def _own_annotations(raw: bytes) -> tuple[str | None, int, bytes]:
    items, _ = codec.split_list(raw, 0)
    partition_key, kept = None, list[bytes]()
    for name, value in zip(items[::2], items[1::2], strict=False):
        text = codec.decode(name)[0]
        if text not in _RESERVED:
            kept += (name, value)
        if text == _PARTITION_KEY:
            partition_key = Fields([codec.decode(value)[0]]).text(0)
    return partition_key, len(kept), b"".join(kept)


def _event_in_batch(batch: bytes, start: int, end: int, memory: _Annotations) -> Event:
    """Unwrap one event; most have nothing in front of their body that would have to be cut."""
    if batch[start] == _LONG_BINARY:
        message = batch[start + 5 : end]
    elif batch[start] == _SHORT_BINARY:
        message = batch[start + 2 : end]
    else:
        raise CodecError("a batch holds something that is not a message")
    if message.startswith(_BODY_FIRST):
        return Event(b"", 0, b"", message)
    return _event(message, memory)[0]


def _event(message: bytes, memory: _Annotations) -> tuple[Event, str | None]:
    if not message:
        raise CodecError("a message is empty")
    header, own, rest = b"", _NO_ANNOTATIONS, 0
    for code, value, end in _sections(message):
        if code > MESSAGE_ANNOTATIONS:
            break
        if code == HEADER:
            header = message[rest:end]
        elif code == MESSAGE_ANNOTATIONS:
            own = memory.read(message[value:end])
        rest = end
    if len(header) > HEADER_BYTES_MAX:
        raise CodecError("a message has an absurd header")
    key, count, kept = own
    return Event(header, count, kept, message[rest:]), key


def _sections(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each section's code, where its value starts and where that ends."""
    position, size = 0, len(message)
    while position < size:
        if message.startswith(b"\x00\x53", position):
            value = position + 3
        elif message.startswith(b"\x00\x80", position):
            value = position + 10
        else:
            raise CodecError("a message is not made of sections")
        position = codec.skip(message, value)
        yield message[value - 1], value, position
