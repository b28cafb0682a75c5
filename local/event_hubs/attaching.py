"""Attaching: which link a client asks for, and the answer it gets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from local.event_hubs import codec, frames
from local.event_hubs.broker import address_of
from local.event_hubs.codec import NULL, Described
from local.event_hubs.frames import Failure, Fields
from local.event_hubs.nodes import CBS, MANAGEMENT, Replies, Requests
from local.event_hubs.publisher import Publisher
from local.event_hubs.subscriber import Subscriber

if TYPE_CHECKING:
    from local.event_hubs.connection import Session
    from local.event_hubs.links import Link

_LOG = logging.getLogger(__name__)

_SELECTOR = "apache.org:selector-filter:string"


def attach(session: Session, fields: Fields, body: bytes) -> None:
    """Open the link that a client asks for, or refuse it with the reason.

    A refused consumer is attached for a moment: the Azure SDK for Python keeps to itself what it is
    told before it is attached. A refused producer is not: its first event would go unanswered.
    """
    asked = _Attach(fields, body)
    if fields.number(1) in session.links:
        raise Failure("amqp:session:handle-in-use", f"The handle {fields.number(1)} is in use.")
    try:
        link = _open(session, asked)
    except Failure as failure:
        _LOG.warning("refused: %s", failure)
        session.write(asked.answer(refused=not asked.client_receives))
        session.write(frames.detach(fields.number(1), failure))
        return
    session.links[link.handle] = link
    session.write(asked.answer(settled=isinstance(link, Subscriber)))
    link.start()


def _open(session: Session, asked: _Attach) -> Link:
    broker, fields = session.connection.broker, asked.fields
    node = asked.address.strip("/").lower()
    if node in (CBS, MANAGEMENT):
        role = Replies if asked.client_receives else Requests
        return role(session, fields, node=node)
    address = address_of(asked.address)
    hub = broker.hub(address)
    if asked.client_receives:
        return Subscriber(
            session,
            fields,
            partition=broker.partition(address),
            group=address.group.lower(),
            selector=asked.selector,
        )
    partition = broker.partition(address) if address.partition else None
    return Publisher(session, fields, hub=hub, partition=partition)


class _Attach:
    """An attach frame; what is sent back as it came is cut out of its bytes."""

    def __init__(self, fields: Fields, body: bytes) -> None:
        self.fields = fields
        self.client_receives = fields.flag(2) is frames.RECEIVER
        self._source, self._target = fields.inner(5), fields.inner(6)
        self.address = (self._source if self.client_receives else self._target).text(0)
        items = _items(body)
        self._filters = _item(_items(_item(items, 5)), 7)
        self._properties = _item(items, 13)

    @property
    def selector(self) -> str:
        """The expression that says where a consumer starts; empty when there is none."""
        chosen = self._source.table(7).get(_SELECTOR)
        chosen = chosen.value if isinstance(chosen, Described) else chosen
        return chosen if isinstance(chosen, str) else ""

    def answer(self, *, settled: bool = False, refused: bool = False) -> bytes:
        """Build the other end's attach; without source and target it announces a refusal."""
        source = frames.source(self._source.text(0), self._filters)
        target = frames.target(self._target.text(0))
        return frames.attach(
            name=self.fields.text(0),
            handle=self.fields.number(1),
            role=not self.client_receives,
            settled=settled,
            source=NULL if refused else source,
            target=NULL if refused else target,
            properties=self._properties,
        )


def _items(composite: bytes) -> list[bytes]:
    """Cut the fields out of an encoded composite; null has none."""
    if composite == NULL:
        return []
    return codec.split_list(composite, codec.skip(composite, 1))[0]


def _item(items: list[bytes], index: int) -> bytes:
    return items[index] if index < len(items) else NULL
