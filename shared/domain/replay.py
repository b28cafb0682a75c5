"""The replay: the event that a quarantined entry becomes when it is sent back to its hub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.domain import claim, cloud_event
from shared.domain.cloud_event import CloudEvent, rfc3339
from shared.domain.errors import BadRecord, Misconfigured
from shared.domain.json_page import records_of
from shared.domain.quarantine import Refused

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.document import Document, EventHub
    from shared.domain.quarantine import Quarantined, Repair
    from shared.domain.record import Record

_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]+")  # CloudEvents 1.0.2, "Attribute Naming Convention".
_GIVE_BODY = "replay it with a repaired body (--body FILE; over HTTP: body)"
_GIVE_ATTRIBUTES = "replay it with --set NAME=VALUE (over HTTP: attributes)"


def replayed_event(
    entry: Quarantined, repair: Repair, document: Document, *, now: datetime
) -> tuple[int, CloudEvent]:
    """The partition and the event; the same for the same entry and repair, but for its expiry.

    Raises `Refused` for what has no way back and `BadRecord` for what would come straight back.
    """
    if entry.kind == "losses":
        raise Refused(entry.name, "cannot be replayed: the hub dropped it before it was landed")
    body = entry.body if repair.body is None else repair.body
    try:
        hub = document.hub(entry.material)
        if entry.kind == "events":
            event = CloudEvent(attributes=entry.attributes, body=body)
        else:
            event = _event_of_record(entry, body, document)
    except Misconfigured as error:
        raise Refused(entry.name, f"cannot be replayed: {error}") from error
    event = _repaired(entry, event, repair, expires=now + hub.expires_after)
    if found := cloud_event.problem(event.attributes, now=now):
        raise BadRecord(found.reason, f"the event {found.detail}; {_GIVE_ATTRIBUTES}")
    return _partition(entry, event, hub), event


def _event_of_record(entry: Quarantined, body: bytes, document: Document) -> CloudEvent:
    """An event of one record, with an id from its content and origin; its time is when it was seen.

    What a poll found goes where the poll would have sent it; what came through the hub goes back
    to its partition.
    """
    source, group = entry.attributes["source"], entry.partition
    if group is None:
        record = _one_record(body, key=document.source(source.removeprefix("/sources/")).keys)
        group = record.group(document.hub(entry.material).partitions)
    else:
        record = _one_record(body, key="")
    made = cloud_event.of_records(
        record.body,
        source=entry.name,
        records=1,
        group=group,
        now=entry.seen_at,
        expires=entry.seen_at,
    )
    return CloudEvent(attributes={**made.attributes, "source": source}, body=made.body)


def _one_record(body: bytes, *, key: str | tuple[str, ...]) -> Record:
    """The record that a body holds, on one line; raise `BadRecord` when it is not one object."""
    reason = "not-json"
    try:
        records = records_of(b"[" + body + b"]", path="", key=key)
    except BadRecord as error:
        records, reason = [], error.reason
    if len(records) != 1 or not records[0].body.startswith(b"{"):
        raise BadRecord(reason, f"the body is not one JSON object; {_GIVE_BODY}")
    return records[0]


def _repaired(
    entry: Quarantined, event: CloudEvent, repair: Repair, *, expires: datetime
) -> CloudEvent:
    """The event with a new expiry and the attributes given; its id stays what it is."""
    for name in repair.attributes:
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise BadRecord("not-a-cloud-event", f"{name!r} can be no attribute: use a-z and 0-9")
    known = event.attributes.get("id")
    if known and repair.attributes.get("id", known) != known:
        raise Refused(entry.name, f"keeps its id {known}: by it a replay is recognised")
    attributes = {**event.attributes, "expirytime": rfc3339(expires), **repair.attributes}
    if event.body and claim.is_ours(attributes.get(claim.ATTRIBUTE, "")):
        del attributes[claim.ATTRIBUTE]  # A claim that is lost is replaced by the body given.
    return CloudEvent(
        attributes={name: text for name, text in attributes.items() if text}, body=event.body
    )


def _partition(entry: Quarantined, event: CloudEvent, hub: EventHub) -> int:
    """The partition the event came from, so that it meets what shares its key."""
    partitions = {str(number): number for number in range(hub.partitions)}
    for named in (event.attributes.get("partitionkey"), str(entry.partition)):
        if named in partitions:
            return partitions[named]
    problem = f"came from no partition that hub {hub.material} has; --set partitionkey=0 names one"
    raise Refused(entry.name, problem)
