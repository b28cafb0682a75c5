"""The local event hubs and clients that are strange, slow or broken, byte by byte."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from local.event_hubs import EventHubs, codec, frames
from local.event_hubs.codec import NULL
from local.event_hubs.connection import _UNREAD_BYTES_HIGH
from local.event_hubs.log import CHUNK_BYTES
from local.event_hubs.messages import BATCH_FORMAT
from tests.local_event_hubs import (
    HUB,
    Peer,
    attaching,
    body,
    fill,
    granting,
    hub,
    opening,
    peer,
    sending,
    stored,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PRODUCER = f"{HUB}/Partitions/0"
CONSUMER = f"{HUB}/ConsumerGroups/$Default/Partitions/0"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EventHubs]:
    """Serve one hub of one partition."""
    async with EventHubs([hub(partitions=1)], tmp_path) as running:
        yield running


async def accepted(client: Peer) -> bool:
    """Wait for what became of a send."""
    fields, _ = await client.read_until(frames.DISPOSITION)
    state = fields[4]
    return isinstance(state, codec.Described) and state.descriptor == 0x24


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "does not speak AMQP 1.0"),
        (b"\x16\x03\x01\x02\x00\x01", "UseDevelopmentEmulator=true"),
        (frames.AMQP + b"\x7f\xff\xff\xff\x02\x00\x00\x00", "No frame has 2147483647 bytes"),
        (frames.AMQP + b"\x00\x00\x00\x07\x02\x00\x00\x00", "No frame has 7 bytes"),
        (frames.AMQP + frames.frame(0, b"\xff\xff\xff"), "no value starts with 0xff"),
        (frames.AMQP + frames.frame(0, codec.string("open")), "holds no performative"),
        (frames.AMQP + frames.frame(0, frames.begin(0)), "has not been opened"),
        (frames.AMQP + frames.frame(0, codec.composite(0x10, NULL, NULL, codec.uint(9))), "small"),
    ],
)
async def test_nonsense_ends_its_own_connection_and_no_other(
    server: EventHubs, caplog: pytest.LogCaptureFixture, sent: bytes, said: str
) -> None:
    """A port scanner or a browser must not take the pipeline's hub away."""
    async with peer(server.port) as good, peer(server.port) as bad:
        await good.open()
        await good.attach(PRODUCER, receives=False)

        bad.write(sent)
        await bad.reader.read()

        good.write(sending(body("still there")))
        assert await accepted(good)
    assert said in caplog.text


async def test_no_mutation_of_a_conversation_hurts_the_server(
    server: EventHubs, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever bytes arrive, in whatever pieces, nothing but that connection may suffer."""
    chance = random.Random(7)
    whole = conversation()

    for _ in range(1000):
        mutated = bytearray(whole[: chance.randrange(len(whole))])
        for _ in range(chance.randrange(4)):
            if mutated:
                mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        async with peer(server.port) as client:
            client.write(bytes(mutated))
            client.write_eof()
            await client.reader.read()

    assert not [record for record in caplog.records if record.name == "asyncio"]
    async with peer(server.port) as client:
        await client.open()
        await client.attach(PRODUCER, receives=False)
        client.write(sending(body("still there")))
        assert await accepted(client)


def conversation() -> bytes:
    """Say a bit of everything."""
    return (
        opening()
        + attaching(PRODUCER, receives=False)
        + sending(body("one"), number=0)
        + sending(codec.described(0x75, codec.binary(body("two"))), message_format=BATCH_FORMAT)
        + attaching(CONSUMER, receives=True, handle=1)
        + granting(10, handle=1)
        + attaching("$management", receives=True, handle=2)
        + attaching("$management", receives=False, handle=3)
        + frames.frame(1, frames.detach(1))
        + frames.frame(1, frames.end())
        + frames.frame(0, frames.close())
    )


async def test_a_batch_of_other_sections_keeps_only_its_events(server: EventHubs) -> None:
    """Other SDKs put properties into a batch's envelope; taken for events they would be junk."""
    async with peer(server.port) as client:
        await client.open()
        await client.attach(PRODUCER, receives=False)
        properties = codec.composite(0x73, codec.string("id"))
        event = codec.described(0x75, codec.binary(body("one")))

        client.write(sending(properties + event + event, message_format=BATCH_FORMAT))

        assert await accepted(client)
    assert stored(server) == ["one", "one"]


async def test_a_sender_cannot_choose_its_place(server: EventHubs) -> None:
    """Position and time are the hub's to say; what else a sender annotates is kept."""
    annotations = codec.mapping(
        [
            (codec.symbol("x-opt-sequence-number"), codec.long(99)),
            (codec.symbol("x-opt-mine"), codec.string("kept")),
        ]
    )
    async with peer(server.port) as client:
        await client.open()
        await client.attach(PRODUCER, receives=False)
        client.write(sending(codec.described(0x72, annotations) + body("one")))
        assert await accepted(client)
    async with peer(server.port) as client:
        await client.open()
        await client.attach(CONSUMER, receives=True)

        client.write(granting(1))

        _, message = await client.read_until(frames.TRANSFER)
    section, end = codec.decode(message)
    assert isinstance(section, codec.Described)
    assert isinstance(section.value, dict)
    assert (section.value["x-opt-sequence-number"], section.value["x-opt-mine"]) == (0, "kept")
    assert len(section.value) == 4
    assert message[end:] == body("one")


async def test_a_sixth_reader_is_refused(server: EventHubs) -> None:
    """The service's limit; a sixth instance without epochs fails in Azure, so it has to here."""
    async with peer(server.port) as client:
        await client.open()

        for handle in range(6):
            client.write(attaching(CONSUMER, receives=True, handle=handle))

        refused, _ = await client.read_until(frames.DETACH)
    assert refused.number(0) == 5
    assert refused.inner(2).text(0) == "amqp:resource-limit-exceeded"


async def test_an_unreadable_message_is_rejected_and_the_link_lives(server: EventHubs) -> None:
    """One broken event is its sender's problem, not its connection's."""
    async with peer(server.port) as client:
        await client.open()
        await client.attach(PRODUCER, receives=False)

        client.write(sending(b"not sections", number=0))
        client.write(sending(body("fine"), number=1))

        assert [await accepted(client), await accepted(client)] == [False, True]


async def test_a_client_with_small_frames_gets_large_events_in_pieces(server: EventHubs) -> None:
    """Frames above what a client announced would end its connection."""
    text = "".join(map(str, range(2000)))
    fill(server, [text])
    async with peer(server.port) as client:
        await client.open(frame_bytes_max=512)
        await client.attach(CONSUMER, receives=True)

        client.write(granting(1))

        message, more = b"", True
        while more:
            fields, payload = await client.read_until(frames.TRANSFER)
            assert len(payload) < 512
            message, more = message + payload, fields.flag(5)
    assert message.endswith(body(text))


async def test_a_consumer_that_does_not_read_is_waited_for(server: EventHubs) -> None:
    """A slow consumer with much credit must not pile its events up in the emulator's memory."""
    texts = [f"{number:06}" + "x" * 20_000 for number in range(600)]
    fill(server, texts)
    async with peer(server.port) as client:
        await client.open()
        await client.attach(CONSUMER, receives=True)
        client.write(granting(len(texts)))
        (connection,) = server._connections
        await until(lambda: connection.is_congested)

        buffered = connection._transport.get_write_buffer_size()

        received = [await client.read_until(frames.TRANSFER) for _ in texts]
        assert buffered < _UNREAD_BYTES_HIGH + 2 * CHUNK_BYTES
        assert [payload[-len(texts[0]) :][:6] for _, payload in received] == [
            text[:6].encode() for text in texts
        ]


async def test_drained_credit_is_given_back(server: EventHubs) -> None:
    """SDKs of other languages drain before they stop receiving and wait for the answer."""
    fill(server, ["one"])
    async with peer(server.port) as client:
        await client.open()
        await client.attach(CONSUMER, receives=True)

        client.write(granting(10, drain=True))

        await client.read_until(frames.TRANSFER)
        fields, _ = await client.read_until(frames.FLOW)
        assert (fields[5], fields[6], fields[8]) == (10, 0, True)


async def test_an_idle_client_is_shown_that_the_connection_lives(server: EventHubs) -> None:
    """A client that asked for heartbeats gives up without them."""
    async with peer(server.port) as client:
        await client.open(idle_ms=200)

        codes = [(await client.read())[0] for _ in range(3)]

    assert codes == [0, 0, 0]


async def test_credit_and_window_are_renewed_for_as_long_as_a_client_sends(
    server: EventHubs,
) -> None:
    """A client that counts its credit would stop for ever after the first thousand events."""
    async with peer(server.port) as client:
        await client.open()
        await client.attach(PRODUCER, receives=False)
        granted, _ = await client.read_until(frames.FLOW)
        credit_until = granted.number(5) + granted.number(6)
        for number in range(1100):
            client.write(sending(body("x"), number=number))

        while credit_until < 1100:
            granted, _ = await client.read_until(frames.FLOW)
            credit_until = granted.number(5) + granted.number(6)

        assert granted.number(1) > 0
    assert len(stored(server)) == 1100


async def test_the_window_is_renewed_within_one_message(server: EventHubs) -> None:
    """A client that counts frames would stop for ever in the middle of a message of many."""
    async with peer(server.port) as client:
        await client.open()
        await client.attach(PRODUCER, receives=False)
        await client.read_until(frames.FLOW)

        for _ in range(frames.WINDOW_FRAMES):
            client.write(sending(b"", more=True))

        renewed, _ = await client.read_until(frames.FLOW)
        assert renewed.number(0) >= frames.WINDOW_FRAMES // 2
        assert renewed[4] is None


async def test_the_emulator_says_goodbye_when_it_stops(tmp_path: Path) -> None:
    """The SDK reconnects quietly after a close; after silence it first has to time out."""
    async with contextlib.AsyncExitStack() as connections:
        async with EventHubs([hub(partitions=1)], tmp_path) as server:
            client = await connections.enter_async_context(peer(server.port))
            await client.open()

        fields, _ = await client.read_until(frames.CLOSE)

    assert fields.inner(0).text(0) == "amqp:connection:forced"
