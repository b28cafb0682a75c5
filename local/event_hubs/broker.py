"""The broker: hubs and their partitions, who may read them, where an event goes.

It knows nothing of connections; what it refuses, it refuses with the service's own words.
"""

from __future__ import annotations

import json
import logging
import re
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Protocol

from local.event_hubs.frames import Failure
from local.event_hubs.log import Cursor, Log
from local.event_hubs.partition_key import hash_key
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from local.faults import Fault, Faults
    from shared.domain.document import EventHub

_LOG = logging.getLogger(__name__)

DEFAULT_GROUP = "$Default"
#: The service's limit of readers without an epoch on one partition and group.
READERS_MAX = 5
_SELECTOR = re.compile(
    r"amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=|>)\s*'([^']*)'"
)


class Address(NamedTuple):
    """Where a link points: a hub, perhaps one partition of it, perhaps as a consumer group."""

    hub: str
    group: str
    partition: str


def address_of(text: str) -> Address:
    """Read `amqps://host/hub[/ConsumerGroups/group][/Partitions/id]`, with or without host."""
    path = text.partition("://")[2].partition("/")[2] if "://" in text else text
    hub, *rest = path.strip("/").split("/")
    named = dict(zip((key.lower() for key in rest[::2]), rest[1::2], strict=False))
    return Address(hub, named.get("consumergroups", ""), named.get("partitions", ""))


class Reader(Protocol):
    """A consumer of a partition, as the broker sees it."""

    name: str
    epoch: int | None

    def wake(self) -> None:
        """Look again: there is something new."""

    def lose(self, failure: Failure) -> None:
        """Stop: somebody else took the partition."""


class Partition:
    """An append-only sequence of events and its readers."""

    def __init__(self, number: str, log: Log) -> None:
        self.id = number
        self.log = log
        self._readers: dict[str, list[Reader]] = {}

    def wake_readers(self) -> None:
        """Tell every reader that there is something new."""
        for readers in self._readers.values():
            for reader in readers:
                reader.wake()

    def admit(self, reader: Reader, group: str) -> None:
        """Let a reader in, at the cost of those it outranks; raise `Failure` when they outrank it.

        Equal epochs steal from each other: that is how consumers balance their load.
        """
        present = self._readers.setdefault(group, [])
        exclusive = [one for one in present if one.epoch is not None]
        if reader.epoch is None and exclusive:
            raise _stolen(
                "At least one receiver for the endpoint is created with epoch of "
                f"'{exclusive[0].epoch}', and so non-epoch receiver is not allowed. Either "
                "reconnect with a higher epoch, or make sure all epoch receivers are closed."
            )
        if reader.epoch is None and len(present) >= READERS_MAX:
            raise Failure(
                "amqp:resource-limit-exceeded",
                f"Exceeded the maximum number of allowed receivers per partition in a consumer "
                f"group which is {READERS_MAX}.",
            )
        if reader.epoch is not None:
            self._outrank(reader, reader.epoch, present)
        present.append(reader)

    def release(self, reader: Reader, group: str) -> None:
        """Let a reader go, if it is still there."""
        present = self._readers.get(group, [])
        if reader in present:
            present.remove(reader)

    def find(self, selector: str) -> Cursor:
        """Start reading where a filter says; raise `Failure` for a place that cannot be."""
        match = _SELECTOR.search(selector or "amqp.annotation.x-opt-offset > '-1'")
        if not match:
            raise Failure("amqp:invalid-field", f"The filter '{selector}' is not understood.")
        kind, inclusive, value = match[1], match[2] == ">=", match[3]
        log = self.log
        if kind == "offset" and value == "@latest":
            return Cursor(log, log.offset_end)
        try:
            number = int(value)
        except ValueError:
            raise _invalid(kind, value, log.last.offset) from None
        if kind == "enqueued-time":
            return log.from_time(number if inclusive else number + 1)
        if kind == "sequence-number":
            first = number if inclusive else number + 1
            if first > log.sequence_end:
                raise _invalid("sequence number", value, log.last.sequence)
            return log.from_sequence(first)
        cursor = log.from_offset(number, inclusive=inclusive)
        if cursor is None:
            raise _invalid("offset", value, log.last.offset)
        return cursor

    @staticmethod
    def _outrank(reader: Reader, epoch: int, present: list[Reader]) -> None:
        for other in list(present):
            if other.epoch is not None and other.epoch > epoch:
                raise _stolen(
                    f"Receiver '{reader.name}' with a higher epoch '{other.epoch}' already exists. "
                    f"Receiver '{reader.name}' with epoch {epoch} cannot be created."
                )
        for other in list(present):
            present.remove(other)
            other.lose(
                _stolen(
                    f"New receiver '{reader.name}' with higher epoch of '{epoch}' is created hence "
                    f"current receiver '{other.name}' with epoch '{other.epoch}' is getting "
                    "disconnected. If you are recreating the receiver, make sure a higher epoch "
                    "is used."
                )
            )


class Hub:
    """A hub as the document describes it, on the disk it had before."""

    def __init__(self, plan: EventHub, folder: Path, now_ms: int) -> None:
        self.name: str = plan.material
        self.groups = {name.lower(): name for name in (DEFAULT_GROUP, *plan.consumer_groups)}
        self.created_ms = _founded(folder / self.name, plan.partitions, now_ms)
        lifetime_ms = int(plan.expires_after.total_seconds() * 1000)
        self.partitions = {
            str(number): Partition(
                str(number), Log(folder / self.name / str(number), lifetime_ms=lifetime_ms)
            )
            for number in range(plan.partitions)
        }
        self._next = 0
        kept = sum(
            one.log.sequence_end - one.log.sequence_begin for one in self.partitions.values()
        )
        _LOG.info("%s: %d partitions, %d events", self.name, plan.partitions, kept)

    def route(self, key: str | None) -> Partition:
        """Choose the partition of a batch: by its key, or in turn."""
        if key:
            number = hash_key(key) % len(self.partitions)
        else:
            number = self._next
            self._next = (number + 1) % len(self.partitions)
        return self.partitions[str(number)]

    def close(self) -> None:
        """Let go of all files."""
        for partition in self.partitions.values():
            partition.log.close()


class Broker:
    """A namespace: all hubs by name, the time that events are enqueued at, and the faults."""

    def __init__(self, hubs: Sequence[Hub], *, now_ms: Callable[[], int], faults: Faults) -> None:
        self.now_ms = now_ms
        self._hubs = {hub.name: hub for hub in hubs}
        self.inject(faults)

    def inject(self, faults: Faults) -> None:
        """Misbehave like this from now on."""
        self.faults = faults
        self._chance = Random(faults.seed)  # noqa: S311 -- Repeatable on purpose.

    def draw_fault(self) -> Fault | None:
        """Draw what goes wrong with the next event or batch that arrives."""
        return self.faults.draw(self._chance)

    def expire(self) -> None:
        """Delete what is past its time."""
        for hub in self._hubs.values():
            for partition in hub.partitions.values():
                partition.log.expire(self.now_ms())

    def hub(self, address: Address) -> Hub:
        """Raise `Failure` when there is no such hub, or no such consumer group in it."""
        hub = self._hubs.get(address.hub.lower())
        if hub is None:
            raise _not_found(f"hub '{address.hub}'", self._hubs)
        if address.group and address.group.lower() not in hub.groups:
            raise _not_found(
                f"consumer group '{address.group}' in '{hub.name}'", hub.groups.values()
            )
        return hub

    def partition(self, address: Address) -> Partition:
        """Raise `Failure` when there is no such partition."""
        partitions = self.hub(address).partitions
        if address.partition not in partitions:
            raise Failure(
                "com.microsoft:argument-out-of-range",
                f"The specified partition '{address.partition}' is invalid for '{address.hub}', "
                f"which has the partitions 0 to {len(partitions) - 1}.",
            )
        return partitions[address.partition]


def _founded(folder: Path, partitions: int, now_ms: int) -> int:
    """Return when the hub was created; found it when it is new, refuse to change its partitions."""
    path = folder / "hub.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"partitions": partitions, "createdMs": now_ms}))
        draft.replace(path)
    try:
        found = json.loads(path.read_text())
        founded_with, created_ms = int(found["partitions"]), int(found["createdMs"])
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(str(path), f"is damaged: {error!r}") from error
    if founded_with != partitions:
        raise Misconfigured(
            "pipeline.json",
            f"wants {partitions} partitions for the hub {folder.name!r}, which has {founded_with}: "
            f"that cannot change once a hub exists; put it back, or give up its events by deleting "
            f"{folder}",
        )
    return created_ms


def _stolen(description: str) -> Failure:
    return Failure("amqp:link:stolen", description)


def _invalid(kind: str, value: str, last: object) -> Failure:
    return Failure(
        "com.microsoft:argument-error",
        f"The supplied {kind} '{value}' is invalid. The last {kind} in the system is '{last}'.",
    )


def _not_found(what: str, known: Iterable[str]) -> Failure:
    return Failure(
        "amqp:not-found",
        f"The messaging entity {what} could not be found; there are: {', '.join(sorted(known))}.",
    )
