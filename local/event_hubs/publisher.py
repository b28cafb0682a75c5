"""The publisher: a link that stores what a client sends, and only then says so."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from local.event_hubs import messages
from local.event_hubs.codec import CodecError
from local.event_hubs.frames import MESSAGE_BYTES_MAX, Failure, Fields
from local.event_hubs.links import IncomingLink
from local.faults import Fault, crash

if TYPE_CHECKING:
    from local.event_hubs.broker import Broker, Hub, Partition
    from local.event_hubs.connection import Session

_LOG = logging.getLogger(__name__)


class Publisher(IncomingLink):
    """Sends to a partition, or to a hub that chooses one by key or in turn."""

    def __init__(
        self, session: Session, attach: Fields, *, hub: Hub, partition: Partition | None
    ) -> None:
        super().__init__(session, attach)
        self._broker: Broker = session.connection.broker
        self._hub = hub
        self._partition = partition

    def deliver(self, first: Fields, message: bytes, size: int) -> None:
        """Store an event or a batch, or refuse it; or fail in the way that was asked for."""
        fault = self._broker.draw_fault()
        if fault:
            _LOG.info("fault on a send to %s: %s", self._hub.name, fault)
        if fault is Fault.CRASH_BEFORE:
            crash()
        failure: Failure | None = None
        if fault is Fault.BUSY:
            failure = _busy()
        elif fault is not Fault.DROP_BEFORE:
            failure = self._store(first.number(3, 0), message, size)
        if fault is Fault.CRASH_AFTER:
            crash()
        if fault in (Fault.DROP_BEFORE, Fault.DROP_AFTER):
            self.session.connection.abort()
        elif delay_s := self._broker.faults.delay_s:
            asyncio.get_running_loop().call_later(delay_s, self.settle, first, failure)
        else:
            self.settle(first, failure)

    def _store(self, message_format: int, message: bytes, size: int) -> Failure | None:
        if size > MESSAGE_BYTES_MAX:
            return Failure(
                "amqp:link:message-size-exceeded",
                f"The received message (size {size}) exceeds the limit ({MESSAGE_BYTES_MAX}) "
                "currently allowed on the link.",
            )
        try:
            key, events = messages.events_of(message, message_format)
            partition = self._partition or self._hub.route(key)
            if events:
                partition.log.append(events, self._broker.now_ms())
        except CodecError as error:
            return Failure("amqp:decode-error", f"The message cannot be read: {error}.")
        except OSError as error:
            _LOG.error("%s: events could not be stored: %s", self._hub.name, error)
            return Failure("amqp:internal-error", f"The message could not be stored: {error}.")
        partition.wake_readers()
        return None


def _busy() -> Failure:
    return Failure(
        "com.microsoft:server-busy",
        "The request was terminated because the entity is being throttled. Error code : 50002. "
        "Please wait 4 seconds and try again.",
    )
