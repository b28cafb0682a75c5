"""Blob Storage: the raw zone, its positions, and the tries of batches."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobPrefix, BlobProperties

from shared.adapters import raw_avro
from shared.adapters.blob_storage import read, replace, storage_errors
from shared.domain.raw_blob import (
    START,
    SUFFIX,
    Partition,
    Tip,
    head_of,
    hour_of,
    metadata_of,
)
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

    from shared.domain.raw_blob import RawBlob, RawHead
    from shared.domain.run import Planned

#: Encoding runs at some 100 MB/s; more than this would hold the event loop for over 10 ms.
_ENCODE_BYTES_INLINE = 1_000_000
_HOUR_DEPTH = 5  # material/yyyy/mm/dd/hh/


class BlobRawStore:
    """RawStore: container `raw`, and a position blob a partition in container `state`.

    The position blob is replaced after each landing; its change is what triggers raw → run.
    """

    def __init__(self, service: BlobServiceClient, traceparent: Callable[[], str] = str) -> None:
        """Positions are kept with the version last seen, to replace them without reading again.

        `traceparent` tells where in a trace the caller is.
        """
        self._traceparent = traceparent
        self._raw = service.get_container_client("raw")
        self._state = service.get_container_client("state")
        self._seen: dict[Partition, Kept[Tip]] = {}

    async def tip(self, partition: Partition) -> Tip:
        """Read the position, once while nobody else lands; without one, ask the blobs.

        What this process remembered last may have been overtaken by another owner; it then finds a
        name taken, or a gap, and looks again.
        """
        if partition in self._seen:
            return self._seen[partition].value
        with storage_errors(f"reading the position of {partition.material}/{partition.label}"):
            kept = await read(self._state, _position_name(partition))
        if kept is None:
            return await self.find_tip(partition)
        tip = _tip_of(kept.value)
        self._seen[partition] = Kept(value=tip, version=kept.version)
        return tip

    async def find_tip(self, partition: Partition) -> Tip:
        """Walk the folders from the newest hour backwards to the partition's last blob."""
        with storage_errors(f"looking for the last blob of {partition.material}/{partition.label}"):
            async for folder in _hours_backwards(self._raw, f"{partition.material}/"):
                names = [
                    blob
                    async for blob in self._raw.list_blobs(
                        name_starts_with=f"{folder}p{partition.label}-", include=["metadata"]
                    )
                ]
                if names:
                    return _head(max(names, key=lambda blob: blob.name)).tip
        return START

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Create the blob unless its name is taken (`If-None-Match: *`)."""
        client = self._raw.get_blob_client(blob.name)
        size = sum(len(event.body) for event in blob.events)
        # Other partitions land on the same event loop: what takes long is done beside it.
        content = (
            await asyncio.to_thread(raw_avro.encode, blob)
            if size > _ENCODE_BYTES_INLINE
            else raw_avro.encode(blob)
        )
        with content.getbuffer() as view:
            head = blob.head(digest=raw_avro.digest_of(view), size_bytes=len(view))
        head = dataclasses.replace(head, traceparent=self._traceparent())
        with storage_errors(f"landing {blob.name}"):
            try:
                await client.upload_blob(
                    content, length=head.size_bytes, metadata=metadata_of(head)
                )
            except ResourceExistsError:
                self._seen.pop(blob.partition, None)
                return _head(await client.get_blob_properties()), False
        return head, True

    async def remember(self, partition: Partition, tip: Tip) -> None:
        """Replace the position if it is unchanged; read it again if it is not."""
        client = self._state.get_blob_client(_position_name(partition))
        with storage_errors(f"writing the position of {partition.material}/{partition.label}"):
            while True:
                seen = self._seen.get(partition)
                if seen and seen.value.sequence >= tip.sequence:
                    return
                unchanged = seen.version if seen else None
                version = await replace(client, _tip_json(tip), unchanged=unchanged)
                if version:
                    self._seen[partition] = Kept(value=tip, version=version)
                    return
                kept = await read(self._state, _position_name(partition))
                if kept is None:  # Somebody deleted it under us: it is created anew.
                    self._seen.pop(partition, None)
                    continue
                self._seen[partition] = Kept(value=_tip_of(kept.value), version=kept.version)

    async def tips(self, material: str) -> dict[Partition, Tip]:
        """Read the position blob of every partition."""
        found = {}
        prefix = f"landed/{material}/"
        with storage_errors(f"reading the positions of {material}"):
            async for blob in self._state.list_blobs(name_starts_with=prefix):
                kept = await read(self._state, blob.name)
                if kept is not None:
                    label = blob.name.removeprefix(prefix).removesuffix(".json")
                    number, _, life = label.partition("-")
                    place = Partition(material=material, id=number, hub=life)
                    found[place] = _tip_of(kept.value)
        return found

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """List from the oldest hour that a partition is planned up to; older hours are not read."""
        tips = await self.tips(material)
        behind = {
            place.label: planned.get(place.label)
            for place, tip in tips.items()
            if place.label not in planned or planned[place.label].sequence < tip.sequence
        }
        if not behind:
            return []
        places = [place.blob for place in behind.values() if place]
        start = min(map(hour_of, places)) if len(places) == len(behind) else f"{material}/"
        heads = []
        with storage_errors(f"listing raw blobs of {material}"):
            async for folder in _hours_from(self._raw, f"{material}/", start):
                async for blob in self._raw.list_blobs(
                    name_starts_with=folder, include=["metadata"]
                ):
                    head = _head(blob)
                    label = head.partition.label
                    place = behind.get(label)
                    if label in behind and (place is None or head.sequence_last > place.sequence):
                        heads.append(head)
        return heads

    async def heads(
        self, material: str, *, start: datetime, end: datetime
    ) -> AsyncIterator[RawHead]:
        """List the hour folders between the two."""
        first, last = (f"{material}/{moment:%Y/%m/%d/%H}/" for moment in (start, end))
        with storage_errors(f"listing raw blobs of {material}"):
            async for folder in _hours_from(self._raw, f"{material}/", first):
                if folder > last:
                    return
                async for blob in self._raw.list_blobs(
                    name_starts_with=folder, include=["metadata"]
                ):
                    yield _head(blob)


class BlobRawFiles:
    """RawFiles: the container `raw` itself."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._raw = service.get_container_client("raw")

    async def names(self, material: str) -> list[str]:
        """List."""
        prefix = f"{material}/" if material else None
        with storage_errors("listing raw blobs"):
            return [name async for name in self._raw.list_blob_names(name_starts_with=prefix)]

    async def look(self, name: str) -> tuple[RawHead | None, RawHead | None]:
        """Download."""
        with storage_errors(f"reading {name}"):
            download = await self._raw.download_blob(name)
            content = await download.readall()
        return raw_avro.read_head(name, content), _head(download.properties)


class BlobAttempts:
    """Attempts: a blob a partition in container `state`, until a try of this process ends."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._state = service.get_container_client("state")
        self._proven: set[Partition] = set()
        self._begun: dict[Partition, tuple[int, int]] = {}

    async def begin(self, partition: Partition, *, sequence: int) -> int:
        """Count tries of the same sequence number; another number begins a new count.

        A try that ended with an error did not kill the process, and is the same try when repeated.
        """
        if partition in self._proven:
            return 0
        begun, tries = self._begun.get(partition, (-1, 0))
        if begun == sequence:
            return tries
        name = f"attempts/{partition.material}/{partition.label}.json"
        with storage_errors(f"noting a try of {partition.material}/{partition.label}"):
            kept = await read(self._state, name)
            noted = json.loads(kept.value) if kept else {}
            tries = int(noted["tries"]) if noted.get("sequence") == sequence else 0
            content = json.dumps({"sequence": sequence, "tries": tries + 1})
            await self._state.upload_blob(name, content, overwrite=True)
        self._begun[partition] = (sequence, tries)
        return tries

    async def end(self, partition: Partition) -> None:
        """From here on this process is trusted with the partition."""
        if partition in self._proven:
            return
        name = f"attempts/{partition.material}/{partition.label}.json"
        doing = f"noting a try of {partition.material}/{partition.label}"
        with storage_errors(doing), suppress(ResourceNotFoundError):
            await self._state.delete_blob(name)
        self._proven.add(partition)

    async def unended(self, partition: Partition) -> int:
        """Read the note."""
        name = f"attempts/{partition.material}/{partition.label}.json"
        with storage_errors(f"reading the tries of {partition.material}/{partition.label}"):
            kept = await read(self._state, name)
        return int(json.loads(kept.value)["tries"]) if kept else 0


def _position_name(partition: Partition) -> str:
    return f"landed/{partition.material}/{partition.label}.json"


def _tip_json(tip: Tip) -> bytes:
    return json.dumps(
        {
            "sequence": tip.sequence,
            "blob": tip.blob,
            "digest": tip.digest,
            "enqueuedAt": tip.enqueued_at.isoformat(),
        }
    ).encode()


def _tip_of(text: bytes) -> Tip:
    content = json.loads(text)
    return Tip(
        sequence=content["sequence"],
        blob=content["blob"],
        digest=content["digest"],
        enqueued_at=datetime.fromisoformat(content["enqueuedAt"]),
    )


def _head(blob: BlobProperties) -> RawHead:
    return head_of(blob.name, blob.metadata or {}, size_bytes=blob.size)


async def _folders(container: ContainerClient, prefix: str) -> list[str]:
    """Names of the folders and blobs directly below a prefix."""
    return [
        item.name
        async for item in container.walk_blobs(name_starts_with=prefix, delimiter="/")
        if isinstance(item, BlobPrefix) or not item.name.endswith(SUFFIX)
    ]


async def _hours_from(container: ContainerClient, prefix: str, start: str) -> AsyncIterator[str]:
    """Hour folders not before `start`, oldest first; whole years, months and days are skipped."""
    if prefix.count("/") == _HOUR_DEPTH:
        yield prefix
        return
    for folder in await _folders(container, prefix):
        if folder >= start[: len(folder)]:
            async for hour in _hours_from(container, folder, start):
                yield hour


async def _hours_backwards(container: ContainerClient, prefix: str) -> AsyncIterator[str]:
    """Hour folders, newest first."""
    if prefix.count("/") == _HOUR_DEPTH:
        yield prefix
        return
    for folder in reversed(await _folders(container, prefix)):
        async for hour in _hours_backwards(container, folder):
            yield hour
