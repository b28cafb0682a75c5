"""Blob Storage: the lake. Raw blobs, positions, cursors, quarantine and what runs exchange."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobPrefix, BlobProperties

from shared.adapters import raw_avro
from shared.domain import cursor as cursors
from shared.domain import quarantine as quarantines
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.raw_blob import SUFFIX, head_of, hour_of, metadata_of
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

    from shared.domain.cursor import Cursor
    from shared.domain.quarantine import Quarantined
    from shared.domain.raw_blob import Partition, RawBlob, RawHead
    from shared.domain.run import Planned

CONTAINERS = ("raw", "clean", "quarantine", "state")
_FORBIDDEN = 403


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Translate what the SDK raises: the world is unwell, or a person must act."""
    try:
        yield
    except ClientAuthenticationError as error:
        raise Misconfigured("LAKE", f"sign-in refused while {doing}: {_line(error)}") from error
    except HttpResponseError as error:
        if error.status_code == _FORBIDDEN:
            raise Misconfigured("LAKE", f"access refused while {doing}: {_line(error)}") from error
        raise TryLater(f"storage answered {error.status_code} while {doing}") from error
    except AzureError as error:
        raise TryLater(f"storage cannot be reached while {doing}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class BlobRawStore:
    """RawStore: container `raw`, and a position blob a partition in container `state`.

    The position blob is replaced after each landing; its change is what triggers raw → run.
    """

    def __init__(self, service: BlobServiceClient) -> None:
        """Positions are kept with the version last seen, to replace them without reading again."""
        self._raw = service.get_container_client("raw")
        self._state = service.get_container_client("state")
        self._seen: dict[Partition, tuple[int, str]] = {}

    async def last_landed(self, partition: Partition) -> int:
        """Read the position; without one, ask the blobs."""
        with storage_errors(f"reading the position of {partition.material}/{partition.id}"):
            kept = await _read(self._state, _position_name(partition))
        if kept is None:
            self._seen.pop(partition, None)
            return await self.find_last_landed(partition)
        sequence = int(json.loads(kept.value)["sequence"])
        self._seen[partition] = (sequence, kept.version)
        return sequence

    async def find_last_landed(self, partition: Partition) -> int:
        """Walk the folders from the newest hour backwards to the partition's last blob."""
        with storage_errors(f"looking for the last blob of {partition.material}/{partition.id}"):
            async for folder in _hours_backwards(self._raw, f"{partition.material}/"):
                names = [
                    blob
                    async for blob in self._raw.list_blobs(
                        name_starts_with=f"{folder}p{partition.id}-", include=["metadata"]
                    )
                ]
                if names:
                    return _head(max(names, key=lambda blob: blob.name)).sequence_last
        return -1

    async def land(self, blob: RawBlob) -> RawHead | None:
        """Create the blob unless its name is taken (`If-None-Match: *`)."""
        client = self._raw.get_blob_client(blob.name)
        with storage_errors(f"landing {blob.name}"):
            try:
                await client.upload_blob(raw_avro.encode(blob), metadata=metadata_of(blob.head))
            except ResourceExistsError:
                return _head(await client.get_blob_properties())
        return None

    async def remember(self, partition: Partition, *, sequence: int, blob: str) -> None:
        """Replace the position if it is unchanged; read it again if it is not."""
        content = json.dumps({"sequence": sequence, "blob": blob}).encode()
        client = self._state.get_blob_client(_position_name(partition))
        with storage_errors(f"writing the position of {partition.material}/{partition.id}"):
            while True:
                reached, version = self._seen.get(partition, (-1, ""))
                if reached >= sequence:
                    return
                if await _replace(client, content, unchanged=version or None):
                    self._seen.pop(partition, None)  # The new version is read with the next batch.
                    return
                kept = await _read(self._state, _position_name(partition))
                assert kept is not None, "a position that conflicts exists"
                self._seen[partition] = (int(json.loads(kept.value)["sequence"]), kept.version)

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """List from the oldest hour that a partition is planned up to; older hours are not read."""
        positions = await self.positions(material)
        behind = {
            partition: planned.get(partition)
            for partition, sequence in positions.items()
            if partition not in planned or planned[partition].sequence < sequence
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
                    place = behind.get(head.partition.id)
                    if head.partition.id in behind and (
                        place is None or head.sequence_first > place.sequence
                    ):
                        heads.append(head)
        return heads

    async def positions(self, material: str) -> dict[str, int]:
        """Read the position blob of every partition."""
        found = {}
        prefix = f"landed/{material}/"
        with storage_errors(f"reading the positions of {material}"):
            async for blob in self._state.list_blobs(name_starts_with=prefix):
                kept = await _read(self._state, blob.name)
                if kept is not None:
                    partition = blob.name.removeprefix(prefix).removesuffix(".json")
                    found[partition] = int(json.loads(kept.value)["sequence"])
        return found


class BlobCursorStore:
    """CursorStore: one blob a source in container `state`."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._state = service.get_container_client("state")

    async def read(self, source: str) -> Kept[Cursor] | None:
        """Read the blob and its version."""
        with storage_errors(f"reading the cursor of {source}"):
            kept = await _read(self._state, f"cursors/{source}.json")
        if kept is None:
            return None
        return Kept(value=cursors.of_json(kept.value), version=kept.version)

    async def replace(self, source: str, cursor: Cursor, *, unchanged: str | None) -> bool:
        """Write with `If-Match`, or `If-None-Match: *` for the first time."""
        client = self._state.get_blob_client(f"cursors/{source}.json")
        with storage_errors(f"writing the cursor of {source}"):
            return await _replace(client, cursors.to_json(cursor), unchanged=unchanged)


class BlobQuarantine:
    """Quarantine: one blob an entry in container `quarantine`."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._quarantine = service.get_container_client("quarantine")

    async def keep(self, entry: Quarantined) -> None:
        """Create the blob unless it is there."""
        client = self._quarantine.get_blob_client(entry.name)
        metadata = {"reason": entry.reason}
        with storage_errors(f"quarantining {entry.name}"):
            await _create(client, quarantines.to_json(entry), metadata=metadata)

    async def count(self, kind: str, material: str) -> int:
        """List the entries."""
        with storage_errors(f"counting quarantined {kind} of {material}"):
            listing = self._quarantine.list_blob_names(name_starts_with=f"{kind}/{material}/")
            return sum([1 async for _ in listing])


class BlobRunFiles:
    """RunFiles: manifests and results in container `state`."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._state = service.get_container_client("state")
        self._account = service.account_name

    async def put_manifest(self, dataset: str, run_id: str, manifest: bytes) -> None:
        """Create the blob unless it is there."""
        client = self._state.get_blob_client(f"manifests/{dataset}/{run_id}.json")
        with storage_errors(f"writing the manifest of {run_id}"):
            await _create(client, manifest, metadata={})

    def manifest_address(self, dataset: str, run_id: str) -> str:
        """ABFS address of the manifest."""
        return f"{self.storage()['state']}/manifests/{dataset}/{run_id}.json"

    async def result(self, dataset: str, run_id: str) -> dict[str, int] | None:
        """Read the one line that Spark wrote; beside it may lie empty files and `_SUCCESS`."""
        with storage_errors(f"reading the result of {run_id}"):
            folder = f"results/{dataset}/{run_id}/"
            async for blob in self._state.list_blobs(name_starts_with=folder):
                if blob.size and not blob.name.removeprefix(folder).startswith(("_", ".")):
                    download = await self._state.download_blob(blob.name)
                    content: dict[str, Any] = json.loads(await download.readall())
                    return {key: value for key, value in content.items() if type(value) is int}
        return None

    def storage(self) -> dict[str, str]:
        """ABFS address of each container: the same locally and in Azure."""
        host = f"{self._account}.dfs.core.windows.net"
        return {container: f"abfss://{container}@{host}" for container in CONTAINERS}


def _position_name(partition: Partition) -> str:
    return f"landed/{partition.material}/{partition.id}.json"


def _head(blob: BlobProperties) -> RawHead:
    return head_of(blob.name, blob.metadata or {}, size_bytes=blob.size)


async def _read(container: ContainerClient, name: str) -> Kept[bytes] | None:
    try:
        download = await container.download_blob(name)
        content = await download.readall()
    except ResourceNotFoundError:
        return None
    return Kept(value=content, version=download.properties.etag or "")


async def _create(client: Any, content: bytes, *, metadata: dict[str, str]) -> None:  # noqa: ANN401 -- The SDK's client.
    try:
        await client.upload_blob(content, metadata=metadata)
    except ResourceExistsError:
        return


async def _replace(client: Any, content: bytes, *, unchanged: str | None) -> bool:  # noqa: ANN401 -- The SDK's client.
    try:
        if unchanged is None:
            await client.upload_blob(content)
        else:
            await client.upload_blob(
                content,
                overwrite=True,
                etag=unchanged,
                match_condition=MatchConditions.IfNotModified,
            )
    except (ResourceExistsError, ResourceModifiedError):
        return False
    return True


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


_HOUR_DEPTH = 5  # material/yyyy/mm/dd/hh/
