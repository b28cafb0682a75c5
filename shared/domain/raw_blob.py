"""The raw blob: a contiguous range of one partition's events, immutable, in Avro.

Its name is a function of its content (material, partition, first sequence number and the hour that
event was enqueued), so that two writers of the same events meet at the same name. Its metadata
names the digest of its content and the blob before it: an auditor can walk the chain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    """One partition of one life of the hub that carries a material.

    A hub that was deleted and made again counts from 0 again. `hub` is the second it was made
    (`20261120T180000`), so that its events never meet those of its former life.
    """

    material: str
    id: str
    hub: str

    @property
    def label(self) -> str:
        """The partition within its material."""
        return f"{self.id}-{self.hub}"


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

    material: str
    partition: str
    events: tuple[HubEvent, ...]

    def __post_init__(self) -> None:
        """Refuse what no hub delivers."""
        numbers = [event.sequence for event in self.events]
        assert numbers == sorted(set(numbers)), "sequence numbers rise within a partition"

    @property
    def first(self) -> HubEvent:
        """The first event."""
        return self.events[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The end of what is landed of a partition: its last blob, and where that ends."""

    sequence: int
    blob: str
    digest: str
    enqueued_at: datetime


#: Nothing is landed yet.
START = Tip(sequence=-1, blob="", digest="", enqueued_at=datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBlob:
    """What one blob holds: at least one event, beyond what the blob before it holds."""

    partition: Partition
    events: tuple[HubEvent, ...]
    previous: Tip

    def __post_init__(self) -> None:
        """Refuse an empty blob, and one that repeats what is landed."""
        assert self.events, "a raw blob holds at least one event"
        assert self.events[0].sequence > self.previous.sequence, "a raw blob repeats nothing"

    @property
    def name(self) -> str:
        """Path within the container `raw`."""
        first = self.events[0]
        return blob_name(self.partition, first.sequence, first.enqueued_at)

    def head(self, *, digest: str, size_bytes: int = 0) -> RawHead:
        """What the blob's metadata tells without reading it; `digest` is of its content."""
        good = [event for event in self.events if not event.quarantined]
        return RawHead(
            name=self.name,
            partition=self.partition,
            sequence_first=self.events[0].sequence,
            sequence_last=self.events[-1].sequence,
            sequence_previous=self.previous.sequence,
            blob_previous=self.previous.blob,
            digest_previous=self.previous.digest,
            digest=digest,
            enqueued_last=self.events[-1].enqueued_at,
            events=len(self.events),
            records=sum(int(event.attributes.get("recordcount") or 1) for event in good),
            size_bytes=size_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RawHead:
    """A raw blob as its name and metadata describe it: a link of its partition's chain.

    `digest` is the SHA-256 of the blob's content, `…_previous` name the blob before it. A
    `sequence_previous` further back than `sequence_first - 1` says that the hub dropped what was
    between before it could be landed.
    """

    name: str
    partition: Partition
    sequence_first: int
    sequence_last: int
    sequence_previous: int
    blob_previous: str
    digest_previous: str
    digest: str
    enqueued_last: datetime
    events: int
    records: int
    size_bytes: int = 0
    #: Where in a trace it was landed; who lands the same events again is somewhere else.
    traceparent: str = field(default="", compare=False)

    @property
    def tip(self) -> Tip:
        """The end of what is landed once this blob is."""
        return Tip(
            sequence=self.sequence_last,
            blob=self.name,
            digest=self.digest,
            enqueued_at=self.enqueued_last,
        )


def hub_life(created_at: datetime) -> str:
    """What tells one life of a hub from another: the second it was made."""
    return f"{created_at:%Y%m%dT%H%M%S}"


def blob_name(partition: Partition, sequence: int, enqueued_at: datetime) -> str:
    """`<material>/<yyyy>/<mm>/<dd>/<hh>/p<partition>-<hub's life>-<first sequence>.avro`."""
    folder = f"{partition.material}/{enqueued_at:%Y/%m/%d/%H}"
    return f"{folder}/p{partition.label}-{sequence:0{_SEQUENCE_DIGITS}d}{SUFFIX}"


def partition_of(name: str) -> Partition:
    """The partition that a blob's name tells."""
    material, _, rest = name.partition("/")
    number, hub, _ = rest.rpartition("/p")[2].split("-")
    return Partition(material=material, id=number, hub=hub)


def hour_of(name: str) -> str:
    """The folder of a blob, down to the hour: `<material>/<yyyy>/<mm>/<dd>/<hh>/`."""
    return name.rpartition("/")[0] + "/"


#: What a blob's metadata holds, and how each value is read; names are C# identifiers, as Blob
#: Storage demands.
_METADATA: dict[str, Callable[[str], Any]] = {
    "sequence_first": int,
    "sequence_last": int,
    "sequence_previous": int,
    "blob_previous": str,
    "digest_previous": str,
    "digest": str,
    "enqueued_last": datetime.fromisoformat,
    "events": int,
    "records": int,
    "traceparent": str,
}


def metadata_of(head: RawHead) -> dict[str, str]:
    """Blob metadata; what is empty is left out, because Blob Storage refuses it."""
    texts = {key: str(getattr(head, key)) for key in _METADATA}
    return {key: text for key, text in texts.items() if text}


def head_of(name: str, metadata: Mapping[str, str], *, size_bytes: int) -> RawHead:
    """Read back what `metadata_of` wrote."""
    values = {key: read(metadata.get(key, "")) for key, read in _METADATA.items()}
    return RawHead(name=name, partition=partition_of(name), size_bytes=size_bytes, **values)
