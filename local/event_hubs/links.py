"""The links: one end each of what a client attached, to send messages or to receive them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.event_hubs import frames
from local.event_hubs.frames import LINK_CREDIT, MESSAGE_BYTES_MAX, Failure, Fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.event_hubs.connection import Session


class Link:
    """One end of a link; the client's end has the same handle."""

    def __init__(self, session: Session, attach: Fields) -> None:
        self.session = session
        self.name = attach.text(0)
        self.handle = attach.number(1)
        self.is_open = True

    def start(self) -> None:
        """Begin, now that the client knows the link."""

    def flow(self, fields: Fields) -> None:
        """Take note of the client's credit; a link that only receives has no use for it."""

    def transfer(self, fields: Fields, payload: bytes) -> None:  # noqa: ARG002 -- For those that take any.
        """Take a frame of a delivery; a link that only sends gets none."""
        raise Failure("amqp:not-allowed", f"The link '{self.name}' takes no messages.")

    def detach(self, failure: Failure | None = None) -> None:
        """End the link, for a reason or because the client did."""
        if self.is_open:
            self.session.write(frames.detach(self.handle, failure))
            self.release()

    def release(self) -> None:
        """Forget the link."""
        self.is_open = False
        self.session.links.pop(self.handle, None)


class IncomingLink(Link):
    """The client sends: its deliveries are put together again and its credit is renewed."""

    def __init__(self, session: Session, attach: Fields) -> None:
        super().__init__(session, attach)
        self._delivery_count = attach.number(9, 0)
        self._credit_used = 0
        self._first: Fields | None = None
        self._pieces: list[bytes] = []
        self._bytes = 0

    def start(self) -> None:
        """Let the client send; the Azure SDK does not wait for this, others do."""
        self._grant_credit()

    def transfer(self, fields: Fields, payload: bytes) -> None:
        """Collect the frames of a delivery; the first says which it is, too large are dropped."""
        first = self._first = self._first or fields
        self._bytes += len(payload)
        self._pieces.append(payload)
        if self._bytes > MESSAGE_BYTES_MAX:
            self._pieces.clear()
        if fields.flag(5):
            return
        message, size = b"".join(self._pieces), self._bytes
        self._first, self._pieces, self._bytes = None, [], 0
        self._delivery_count += 1
        self._credit_used += 1
        if self._credit_used >= LINK_CREDIT // 2:
            self._grant_credit()
        if not fields.flag(9):  # The client gave the delivery up.
            self.deliver(first, message, size)

    def deliver(self, first: Fields, message: bytes, size: int) -> None:
        """Take a whole message; it is empty when its `size` was too large."""
        raise NotImplementedError

    def settle(self, first: Fields, failure: Failure | None = None) -> None:
        """Tell the client what became of a delivery, unless it does not want to know."""
        if not first.flag(4):
            self.session.write(frames.disposition(first.number(1), failure))

    def _grant_credit(self) -> None:
        self._credit_used = 0
        self.session.write_flow((self.handle, self._delivery_count, LINK_CREDIT))


class OutgoingLink(Link):
    """The client receives: settled deliveries, as many as its credit and window allow."""

    def __init__(self, session: Session, attach: Fields) -> None:
        super().__init__(session, attach)
        self.credit = 0
        self._delivery_count = 0
        self._prefix = frames.TransferPrefix(session.channel, self.handle)

    @property
    def allowance(self) -> int:
        """How many messages may be sent now.

        A message in several frames may exceed the window: the SDK renews it only at exactly zero.
        """
        return max(0, min(self.credit, self.session.window))

    def flow(self, fields: Fields) -> None:
        """Take the client's credit, which it counts from the deliveries it has seen."""
        seen = fields.number(5, 0)
        self.credit = frames.signed(seen + fields.number(6, 0) - self._delivery_count)
        if fields.flag(9):  # The client asks where the link is.
            self.session.write_flow((self.handle, self._delivery_count, self.credit))

    def wake(self) -> None:
        """Look again: there may be something to send, or credit for it."""

    def drain(self) -> None:
        """Use up the credit and say so."""
        self._delivery_count += max(0, self.credit)
        self.credit = 0
        self.session.write_flow((self.handle, self._delivery_count, 0), drain=True)

    def send(self, payloads: Sequence[bytes]) -> None:
        """Send messages, in several frames where the client's are too small."""
        session, pack = self.session, self._prefix.pack
        payload_max = session.connection.frame_bytes_max - self._prefix.bytes
        delivery = session.delivery_next
        out: list[bytes] = []
        for rest in payloads:
            while len(rest) > payload_max:
                out += (pack(delivery, payload_max, more=True), rest[:payload_max])
                rest = rest[payload_max:]  # noqa: PLW2901 -- What is left of it.
            out += (pack(delivery, len(rest)), rest)
            delivery += 1
        self.credit -= len(payloads)
        self._delivery_count += len(payloads)
        session.sent(len(payloads), len(out) // 2)
        session.connection.write(b"".join(out))
