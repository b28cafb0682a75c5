"""The subscriber: a link that sends a partition's events on as fast as its client takes them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from local.event_hubs import messages
from local.event_hubs.frames import Failure, Fields
from local.event_hubs.links import OutgoingLink

if TYPE_CHECKING:
    from local.event_hubs.broker import Broker, Partition
    from local.event_hubs.connection import Session
    from local.event_hubs.log import Record

_LOG = logging.getLogger(__name__)

#: Records of one turn; then other connections have theirs.
_RECORDS_A_TURN = 256
_EPOCH = "com.microsoft:epoch"
_METRICS = "com.microsoft:enable-receiver-runtime-metric"


class Subscriber(OutgoingLink):
    """A reader of one partition; it holds a chunk of the log at most."""

    def __init__(
        self, session: Session, attach: Fields, *, partition: Partition, group: str, selector: str
    ) -> None:
        super().__init__(session, attach)
        epoch = attach.table(13).get(_EPOCH)
        self.epoch = epoch if isinstance(epoch, int) else None
        self._wants_metrics = _METRICS in attach.names(12)
        self._broker: Broker = session.connection.broker
        self._partition = partition
        self._group = group
        self._cursor = partition.find(selector)
        self._is_due = False
        self._is_draining = False
        partition.admit(self, group)

    def flow(self, fields: Fields) -> None:
        """Take credit, and send what it allows; `drain` gives back what is left of it."""
        super().flow(fields)
        self._is_draining = fields.flag(8)
        self.wake()

    def wake(self) -> None:
        """Send in a moment, once however often this is asked before."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send_some)

    def lose(self, failure: Failure) -> None:
        """Make way for another consumer."""
        _LOG.info("a reader of %s lost partition %s", self._group, self._partition.id)
        self.detach(failure)

    def release(self) -> None:
        """Leave the partition."""
        super().release()
        self._partition.release(self, self._group)

    def _send_some(self) -> None:
        self._is_due = False
        if not self.is_open or self.session.connection.is_congested:
            return
        count = min(self.allowance, _RECORDS_A_TURN)
        try:
            records = self._cursor.take(count) if count else []
        except OSError as error:
            _LOG.error("%s", error)
            self.detach(Failure("amqp:internal-error", str(error)))
            return
        if records:
            self.send(self._messages(records))
            self.wake()
        elif self._is_draining:
            self._is_draining = False
            self.drain()

    def _messages(self, records: list[Record]) -> list[bytes]:
        if not self._wants_metrics:
            return [record.message for record in records]
        metrics = messages.metrics(self._partition.log.last, self._broker.now_ms())
        return [
            record.message[: record.header_bytes] + metrics + record.message[record.header_bytes :]
            for record in records
        ]
