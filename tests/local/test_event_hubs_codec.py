"""The codec of the local event hubs: what the SDK reads by position, what nobody should send."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.event_hubs import codec, frames, messages
from local.event_hubs.codec import NULL, CodecError, Described, Symbol
from local.event_hubs.frames import Failure, TransferPrefix

FAILURE = Failure("amqp:not-found", "No such hub.")


@pytest.mark.parametrize(
    ("performative", "golden"),
    [
        (
            frames.sasl_mechanisms(),
            """
            005340c02601e02304a3074d535342434253
            05504c41494e09414e4f4e594d4f55530845585445524e414c
            """,
        ),
        (frames.sasl_outcome(), "005344c00402500040"),
        (frames.open_(), "005310c01a0aa108656d756c61746f7240700001000060138740404040 4040"),
        (frames.begin(1), "005311c0150860000152017000001388700000138852ff404040"),
        (
            frames.flow(next_incoming=1, next_outgoing=2, link=(3, 0, 1000)),
            "005313c01b0b5201700000138852027000001388520343 70000003e8 43 42 42 40",
        ),
        (
            TransferPrefix(1, 3).pack(1, 5),
            "0000002502000001 005314c0130b520370 00000001 a0010043414240 40404040",
        ),
        (frames.disposition(1), "005315c00c06415201520141 00532445 40"),
        (frames.detach(2), "005316c0050352024140"),
    ],
)
def test_a_frame_is_what_the_sdk_is_known_to_accept(performative: bytes, golden: str) -> None:
    """These bytes were accepted by SDK 5.15.1; a change of one of them has to be looked at."""
    assert performative == bytes.fromhex(golden)


@pytest.mark.parametrize(
    ("performative", "count"),
    [
        (frames.open_(), 10),
        (frames.begin(0), 8),
        (
            frames.attach(
                name="n", handle=0, role=frames.SENDER, settled=True, source=frames.source("a"),
                target=frames.target("b"), properties=NULL,
            ),
            14,
        ),
        (frames.source("a"), 11),
        (frames.target("a"), 7),
        (frames.flow(next_incoming=0, next_outgoing=0), 11),
        (TransferPrefix(0, 0).pack(0, 0)[8:], 11),
        (frames.disposition(0, FAILURE), 6),
        (frames.detach(0, FAILURE), 3),
        (frames.end(), 1),
        (frames.close(FAILURE), 1),
        (FAILURE.encoded(), 3),
    ],
)  # fmt: skip
def test_no_frame_leaves_out_a_field(performative: bytes, count: int) -> None:
    """The SDK reads by position without looking at the length: one missing null and it crashes."""
    value, end = codec.decode(performative)

    assert isinstance(value, Described)
    assert isinstance(value.value, list)
    assert (len(value.value), end) == (count, len(performative))


VALUES: list[tuple[bytes, object]] = [
    (codec.NULL, None),
    (codec.TRUE, True),
    (codec.ubyte(255), 255),
    (codec.ushort(65535), 65535),
    (codec.uint(0), 0),
    (codec.uint(255), 255),
    (codec.uint(2**32 + 256), 256),
    (codec.integer(-(2**31)), -(2**31)),
    (codec.long(-(2**63)), -(2**63)),
    (codec.timestamp(-62135596800000), -62135596800000),
    (codec.binary(b"\xff" * 300), b"\xff" * 300),
    (codec.string("größe"), "größe"),
    (codec.string("x" * 300), "x" * 300),
    (codec.symbol("$cbs"), Symbol("$cbs")),
    (codec.array(0xA1, ["0", "1"]), ["0", "1"]),
    (codec.mapping([(codec.string("a"), codec.uint(1))]), {"a": 1}),
    (codec.mapping((codec.uint(n), codec.uint(n)) for n in range(200)), {n: n for n in range(200)}),
    (codec.composite(0x24), Described(0x24, [])),
    (b"\x98" + bytes(16), UUID(int=0)),
    (b"\x72\x3f\x80\x00\x00", 1.0),
    (b"\x56\x01", True),
    (b"\x73\x00\x01\xf6\x00", "\U0001f600"),
    (b"\x94" + bytes(16), bytes(16)),
    (b"\x80\x00\x00\x00\x00\x00\x00\x00\x10", 0x10),
]


@pytest.mark.parametrize(("encoded", "value"), VALUES)
def test_a_value_survives_the_way_there_and_back(encoded: bytes, value: object) -> None:
    """Properties of events of other SDKs come in every encoding there is."""
    assert codec.decode(encoded) == (value, len(encoded))
    assert codec.skip(encoded, 0) == len(encoded)


#: Bytes that mean something: noise alone rarely gets past the first of them.
TELLING = st.sampled_from(bytes.fromhex("0001020410404345535670727375748098a0a1a3b0c0c1d0d1e0f0ff"))
NOISE = st.binary(max_size=80) | st.lists(TELLING, max_size=80).map(bytes)


@settings(deadline=None, max_examples=500)
@given(NOISE)
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    """A stray exception would end a connection without a reason, and the log with a traceback."""
    for read in (
        lambda: codec.decode(noise),
        lambda: codec.skip(noise, 0),
        lambda: codec.split_list(noise, 0),
        lambda: frames.parse(noise),
        lambda: messages.events_of(noise, 0),
        lambda: messages.events_of(noise, messages.BATCH_FORMAT),
        lambda: messages.request_of(noise),
    ):
        try:
            read()
        except CodecError:
            continue


@settings(deadline=None)
@given(st.sampled_from(VALUES), st.data())
def test_a_shortened_value_is_refused(case: tuple[bytes, object], data: st.DataObject) -> None:
    """A message cut off in the middle must not be taken for a shorter one."""
    encoded, _ = case
    shorter = encoded[: data.draw(st.integers(0, len(encoded) - 1))]

    with pytest.raises(CodecError):
        codec.decode(shorter)
    with pytest.raises(CodecError):
        codec.skip(shorter, 0)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x00" * 5000,
        b"\xc0\x03\x01" * 2000,
        b"\xe0\x10\x01" * 2000,
        b"\xf0\xff\xff\xff\xff\xff\xff\xff\xff\x40",
        b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",
        b"\xd0\x00\x00\x00\x04\x00\xff\xff\xff",
        b"\xc1\x03\x02\x45\x40",
    ],
)
def test_a_bomb_does_not_go_off(bomb: bytes) -> None:
    """Nesting and counts are the sender's claims; believing them costs the stack or the memory."""
    with pytest.raises(CodecError):
        codec.decode(bomb)
