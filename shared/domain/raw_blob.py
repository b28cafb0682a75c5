"""The raw blob: a contiguous range of one partition's events, immutable, in Avro.

Its name is a function of its content (material, partition, first sequence number and the hour that
event was enqueued), so that two writers of the same events meet at the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SUFFIX = ".avro"
_SEQUENCE_DIGITS = 20  # A 64-bit number, padded, so that names sort as numbers do.

#: Kept to types every reader knows: no unions, no enums, no fixed.
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "RawEvent",
    "namespace": "dev.millrace",
    "doc": "One event of a hub, version 1.",
    "fields": [
        {"name": "sequence_number", "type": "long"},
        {"name": "offset", "type": "string"},
        {"name": "enqueued_time", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "partition", "type": "string"},
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
        {"name": "quarantined", "type": "string", "doc": "Reason code; empty for a good event."},
        {"name": "body", "type": "bytes", "doc": "Empty when quarantined: the bytes are there."},
    ],
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Partition:
    """One partition of the hub that carries a material."""

    material: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEvent:
    """One event as the hub delivered it; `attributes` are its CloudEvents context attributes."""

    sequence: int
    offset: str
    enqueued_at: datetime
    attributes: Mapping[str, str]
    body: bytes
    quarantined: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubBatch:
    """Events of one partition, in the order of their sequence numbers."""

    partition: Partition
    events: tuple[HubEvent, ...]

    def __post_init__(self) -> None:
        """Refuse what no hub delivers."""
        numbers = [event.sequence for event in self.events]
        assert numbers == sorted(set(numbers)), "sequence numbers rise within a partition"

    def after(self, sequence: int) -> HubBatch:
        """The batch without what is landed up to `sequence`."""
        fresh = tuple(event for event in self.events if event.sequence > sequence)
        return HubBatch(partition=self.partition, events=fresh)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBlob:
    """What one blob holds: at least one event; `sequence_previous` is landed before it."""

    partition: Partition
    events: tuple[HubEvent, ...]
    sequence_previous: int

    def __post_init__(self) -> None:
        """Refuse an empty blob, and one that repeats what is landed."""
        assert self.events, "a raw blob holds at least one event"
        assert self.sequence_first > self.sequence_previous, "a raw blob repeats nothing"

    @property
    def sequence_first(self) -> int:
        """The first sequence number in the blob."""
        return self.events[0].sequence

    @property
    def sequence_last(self) -> int:
        """The last sequence number in the blob."""
        return self.events[-1].sequence

    @property
    def name(self) -> str:
        """Path within the container `raw`."""
        first = self.events[0]
        return blob_name(self.partition, first.sequence, first.enqueued_at)

    @property
    def head(self) -> RawHead:
        """What the blob's metadata tells without reading it."""
        good = [event for event in self.events if not event.quarantined]
        return RawHead(
            name=self.name,
            partition=self.partition,
            sequence_first=self.sequence_first,
            sequence_last=self.sequence_last,
            sequence_previous=self.sequence_previous,
            events=len(self.events),
            records=sum(int(event.attributes.get("recordcount") or 1) for event in good),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHead:
    """A raw blob as its name and metadata describe it."""

    name: str
    partition: Partition
    sequence_first: int
    sequence_last: int
    sequence_previous: int
    events: int
    records: int
    size_bytes: int = 0


def blob_name(partition: Partition, sequence: int, enqueued_at: datetime) -> str:
    """`<material>/<yyyy>/<mm>/<dd>/<hh>/p<partition>-<first sequence>.avro`."""
    hour = f"{enqueued_at:%Y/%m/%d/%H}"
    return f"{partition.material}/{hour}/p{partition.id}-{sequence:0{_SEQUENCE_DIGITS}d}{SUFFIX}"


def partition_of(name: str) -> Partition:
    """The partition that a blob's name tells."""
    material, _, rest = name.partition("/")
    return Partition(material=material, id=rest.rpartition("/p")[2].partition("-")[0])


def hour_of(name: str) -> str:
    """The folder of a blob, down to the hour: `<material>/<yyyy>/<mm>/<dd>/<hh>/`."""
    return name.rpartition("/")[0] + "/"


def metadata_of(head: RawHead) -> dict[str, str]:
    """Blob metadata; names are C# identifiers, as Blob Storage demands."""
    return {
        "sequence_first": str(head.sequence_first),
        "sequence_last": str(head.sequence_last),
        "sequence_previous": str(head.sequence_previous),
        "events": str(head.events),
        "records": str(head.records),
    }


def head_of(name: str, metadata: Mapping[str, str], *, size_bytes: int) -> RawHead:
    """Read back what `metadata_of` wrote."""
    return RawHead(
        name=name,
        partition=partition_of(name),
        sequence_first=int(metadata["sequence_first"]),
        sequence_last=int(metadata["sequence_last"]),
        sequence_previous=int(metadata["sequence_previous"]),
        events=int(metadata["events"]),
        records=int(metadata["records"]),
        size_bytes=size_bytes,
    )
