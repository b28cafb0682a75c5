"""The connection: one client's bytes in and out, its sessions, and nothing it does to itself alone.

Whatever a client sends, the worst that happens is that its own connection ends, with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, cast

from local.event_hubs import frames
from local.event_hubs.attaching import attach
from local.event_hubs.codec import CodecError
from local.event_hubs.frames import Failure, Fields
from local.event_hubs.links import OutgoingLink

if TYPE_CHECKING:
    from local.event_hubs.broker import Broker
    from local.event_hubs.links import Link

_LOG = logging.getLogger(__name__)

#: Bytes a client may leave unread before its consumers pause, and when they go on.
_UNREAD_BYTES_HIGH = 1024 * 1024
_UNREAD_BYTES_LOW = 256 * 1024
_SASL_KIND = 1
_TLS_HANDSHAKE = 0x16
#: The protocol's own lower bound.
_FRAME_BYTES_LEAST = 512
_HEARTBEAT_LEAST_S = 0.1


class Session:
    """A channel of a connection: transfers are counted here, in both directions."""

    def __init__(self, connection: Connection, channel: int, begin: Fields) -> None:
        self.connection = connection
        self.channel = channel
        self.links: dict[int, Link] = {}
        #: How many more frames the client takes.
        self.window = begin.number(2, frames.WINDOW_FRAMES)
        self._next_incoming = begin.number(1, 0)
        self._next_outgoing = 1
        self.delivery_next = 0
        self._frames_unseen = 0

    def write(self, performative: bytes) -> None:
        """Send a performative on this channel."""
        self.connection.write(frames.frame(self.channel, performative))

    def write_flow(self, link: tuple[int, int, int] | None = None, *, drain: bool = False) -> None:
        """Renew the window, and a link's credit (handle, delivery count, credit)."""
        self._frames_unseen = 0
        self.write(
            frames.flow(
                next_incoming=self._next_incoming,
                next_outgoing=self._next_outgoing,
                link=link,
                drain=drain,
            )
        )

    def sent(self, delivery_count: int, frame_count: int) -> None:
        """Count what went out."""
        self.delivery_next = (self.delivery_next + delivery_count) & 0xFFFFFFFF
        self._next_outgoing = (self._next_outgoing + frame_count) & 0xFFFFFFFF
        self.window -= frame_count

    def flow(self, fields: Fields) -> None:
        """Take the client's window and, when it names a link, that link's credit."""
        seen = fields.number(0, 1)
        self.window = frames.signed(seen + fields.number(1) - self._next_outgoing)
        if fields[4] is None:
            self.wake()
        elif link := self.links.get(fields.number(4)):
            link.flow(fields)

    def transfer(self, fields: Fields, payload: bytes) -> None:
        """Hand a frame to its link; after a detach there may be some for a link that is gone."""
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        self._frames_unseen += 1
        if link := self.links.get(fields.number(0)):
            link.transfer(fields, payload)
        if self._frames_unseen >= frames.WINDOW_FRAMES // 2:
            self.write_flow()

    def wake(self) -> None:
        """Let links that send go on."""
        for link in self.links.values():
            if isinstance(link, OutgoingLink):
                link.wake()

    def release(self) -> None:
        """Forget all links."""
        for link in list(self.links.values()):
            link.release()


class Connection(asyncio.Protocol):
    """A client's connection, from the first byte to the last."""

    def __init__(self, broker: Broker, connections: set[Connection]) -> None:
        self.broker = broker
        self.frame_bytes_max = frames.FRAME_BYTES_MAX
        #: The client does not read what it asked for; consumers wait.
        self.is_congested = False
        self._connections = connections
        self._sessions: dict[int, Session] = {}
        self._received = b""
        self._awaits_protocol = True
        self._is_open = False
        self._is_over = False
        self._out: list[bytes] = []
        self._heartbeat: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(_UNREAD_BYTES_HIGH, _UNREAD_BYTES_LOW)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived; end the connection when it makes no sense."""
        if self._is_over:
            return
        self._received += data
        try:
            self._consume()
        except CodecError as error:
            self._refuse(Failure("amqp:decode-error", str(error)))
        except Failure as failure:
            self._refuse(failure)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- Why does not matter.
        """Forget the client and all it had."""
        self._end()
        self._connections.discard(self)

    def pause_writing(self) -> None:
        """Let consumers wait."""
        self.is_congested = True

    def resume_writing(self) -> None:
        """Let consumers go on."""
        self.is_congested = False
        for session in self._sessions.values():
            session.wake()

    def write(self, encoded: bytes) -> None:
        """Send with everything else of this turn, in one piece."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(encoded)

    def close(self, failure: Failure | None = None) -> None:
        """Say goodbye, for a reason or because the client did."""
        if not self._is_over:
            if self._is_open:
                self.write(frames.frame(0, frames.close(failure)))
            self._flush()
            self._end()
            self._transport.close()

    def abort(self) -> None:
        """End without a word, as a broken network does."""
        self._end()
        self._transport.abort()

    def _end(self) -> None:
        """Free what the client held at once; its unread bytes may keep the transport for longer."""
        self._is_over = True
        if self._heartbeat:
            self._heartbeat.cancel()
        for session in self._sessions.values():
            session.release()

    def _flush(self) -> None:
        if self._out and not self._is_over:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _consume(self) -> None:
        buffer, position = self._received, 0
        while not self._is_over:
            take = self._take_protocol if self._awaits_protocol else self._take_frame
            end = take(buffer, position)
            if end is None:
                break
            position = end
        self._received = buffer[position:]

    def _take_protocol(self, buffer: bytes, position: int) -> int | None:
        """Agree on the protocol, which a client names with and again without SASL."""
        protocol = buffer[position : position + frames.HEADER_BYTES]
        if not any(known.startswith(protocol) for known in (frames.AMQP, frames.SASL)):
            raise Failure("amqp:not-implemented", _strangeness(protocol))
        if len(protocol) < frames.HEADER_BYTES:
            return None
        self._awaits_protocol = False
        self.write(protocol)
        if protocol == frames.SASL:
            self.write(frames.frame(0, frames.sasl_mechanisms(), _SASL_KIND))
        return position + frames.HEADER_BYTES

    def _take_frame(self, buffer: bytes, position: int) -> int | None:
        found = frames.next_frame(buffer, position)
        if found is None:
            return None
        kind, channel, body, end = found
        if kind == _SASL_KIND:
            self._awaits_protocol = True
            self.write(frames.frame(0, frames.sasl_outcome(), _SASL_KIND))
        elif body:  # An empty frame only shows that the client is alive.
            self._perform(channel, body)
        return end

    def _perform(self, channel: int, body: bytes) -> None:
        code, fields, end = frames.parse(body)
        if code == frames.OPEN:
            self._open(fields)
        elif code == frames.CLOSE:
            self.close()
        elif not self._is_open:
            raise Failure("amqp:illegal-state", "The connection has not been opened.")
        elif code == frames.BEGIN:
            if channel in self._sessions:
                raise Failure("amqp:not-allowed", f"The channel {channel} is in use.")
            self._sessions[channel] = Session(self, channel, fields)
            self.write(frames.frame(channel, frames.begin(channel)))
        elif session := self._sessions.get(channel):
            self._perform_in(session, code, fields, body, end)

    def _perform_in(
        self, session: Session, code: int, fields: Fields, body: bytes, end: int
    ) -> None:
        """Do what is asked on a channel; dispositions need nothing done, all is settled already."""
        if code == frames.TRANSFER:
            session.transfer(fields, body[end:])
        elif code == frames.FLOW:
            session.flow(fields)
        elif code == frames.ATTACH:
            attach(session, fields, body)
        elif code == frames.DETACH:
            if link := session.links.get(fields.number(0)):
                link.detach()
        elif code == frames.END:
            session.release()
            del self._sessions[session.channel]
            session.write(frames.end())

    def _open(self, fields: Fields) -> None:
        self.frame_bytes_max = fields.number(2, frames.FRAME_BYTES_MAX)
        if self.frame_bytes_max < _FRAME_BYTES_LEAST:
            raise Failure("amqp:invalid-field", "No peer's frames are that small.")
        self._is_open = True
        self.write(frames.frame(0, frames.open_()))
        idle_ms = fields.number(4, 0)
        if idle_ms and not self._heartbeat:
            self._beat(max(idle_ms / 2000, _HEARTBEAT_LEAST_S))

    def _beat(self, interval_s: float) -> None:
        """Show the client that the connection is alive; an empty frame, behind all others."""
        if self._heartbeat:
            self.write(frames.EMPTY_FRAME)
        loop = asyncio.get_running_loop()
        self._heartbeat = loop.call_later(interval_s, self._beat, interval_s)

    def _refuse(self, failure: Failure) -> None:
        _LOG.warning("closed a connection: %s", failure)
        if not self._is_open:
            self.write(frames.AMQP)  # What a server says to somebody it does not understand.
        self.close(failure)


def _strangeness(protocol: bytes) -> str:
    if protocol[0] == _TLS_HANDSHAKE:
        return "A client wants TLS; it needs UseDevelopmentEmulator=true in its connection string."
    return f"A client does not speak AMQP 1.0: it starts with {protocol!r}."
