"""The nodes: `$cbs`, which takes any token, and `$management`, which describes hubs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.event_hubs import codec, messages
from local.event_hubs.broker import Address
from local.event_hubs.codec import CodecError
from local.event_hubs.frames import Failure, Fields
from local.event_hubs.links import IncomingLink, OutgoingLink

if TYPE_CHECKING:
    from local.event_hubs.broker import Broker, Hub, Partition
    from local.event_hubs.connection import Session
    from local.event_hubs.messages import Request

CBS, MANAGEMENT = "$cbs", "$management"
#: What the SDK makes of a status: 404 and the like a ConnectError, 401 an AuthenticationError.
_STATUS = {"amqp:not-found": 404}


class Replies(OutgoingLink):
    """The link that a node's answers go out on."""

    def __init__(self, session: Session, attach: Fields, *, node: str) -> None:
        super().__init__(session, attach)
        self.node = node
        self.address = attach.inner(6).text(0)


class Requests(IncomingLink):
    """The link that a node's questions come in on."""

    def __init__(self, session: Session, attach: Fields, *, node: str) -> None:
        super().__init__(session, attach)
        self._node = node

    def deliver(self, first: Fields, message: bytes, size: int) -> None:  # noqa: ARG002 -- Too large is empty, and fails.
        """Answer on the session's link from the same node: the SDK for Python names no other."""
        try:
            request = messages.request_of(message)
        except CodecError as error:
            self.settle(first, Failure("amqp:decode-error", f"The request is unreadable: {error}"))
            return
        self.settle(first)
        replies = [
            link
            for link in self.session.links.values()
            if isinstance(link, Replies) and link.node == self._node
        ]
        named = [link for link in replies if link.address == request.reply_to]
        for link in (named or replies)[:1]:  # Whoever asks has room for the answer.
            link.send([self._answer(request)])

    def _answer(self, request: Request) -> bytes:
        if self._node == CBS:
            return messages.response(request, 202, "Accepted")
        try:
            body = _describe(self.session.connection.broker, request.properties)
        except Failure as failure:
            return messages.response(
                request, _STATUS.get(failure.condition, 400), failure.description,
                condition=failure.condition,
            )  # fmt: skip
        return messages.response(request, 200, "OK", body)


def _describe(broker: Broker, asked: dict[object, object]) -> bytes:
    """Describe what is asked for; raise `Failure` when there is no such thing."""
    operation, kind = asked.get("operation"), asked.get("type")
    address = Address(str(asked.get("name")), "", str(asked.get("partition")))
    if operation == "READ" and kind == "com.microsoft:eventhub":
        return _describe_hub(broker.hub(address))
    if operation == "READ" and kind == "com.microsoft:partition":
        return _describe_partition(broker.hub(address), broker.partition(address))
    raise Failure("amqp:not-implemented", f"{operation} {kind} is not implemented.")


def _describe_hub(hub: Hub) -> bytes:
    return messages.text_map(
        (
            ("name", codec.string(hub.name)),
            ("type", codec.string("com.microsoft:eventhub")),
            ("created_at", codec.timestamp(hub.created_ms)),
            ("partition_count", codec.integer(len(hub.partitions))),
            ("partition_ids", codec.array(0xA1, hub.partitions)),
            ("georeplication_factor", codec.integer(1)),
        )
    )


def _describe_partition(hub: Hub, partition: Partition) -> bytes:
    log, last = partition.log, partition.log.last
    return messages.text_map(
        (
            ("name", codec.string(hub.name)),
            ("type", codec.string("com.microsoft:partition")),
            ("partition", codec.string(partition.id)),
            ("begin_sequence_number", codec.long(log.sequence_begin)),
            ("last_enqueued_sequence_number", codec.long(last.sequence)),
            ("last_enqueued_offset", codec.string(last.offset)),
            ("last_enqueued_time_utc", codec.timestamp(last.time_ms)),
            ("is_partition_empty", codec.boolean(log.is_empty)),
        )
    )
