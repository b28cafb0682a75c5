"""The scan of a container: finds new versions of blobs and announces each exactly once.

A receipt per function and ETag, first incomplete and then complete, says that a version is in the
control queue; whoever completes it holds its lease. Where the scan got to is stored as well, so
that a restart does not look at old blobs again.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from local.functions_host.blob_trigger import Version
from local.functions_host.clock import utc_now
from local.functions_host.payload import aware_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import BlobClient, ContainerClient

    from local.functions_host.blob_queue import BlobQueue
    from local.functions_host.blob_trigger import BlobTrigger
    from local.functions_host.services import Services

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_LEASE_S = 30
_INCOMPLETE = "Incomplete"
_PARALLEL = 16


class BlobScan:
    """All triggers on one container."""

    def __init__(
        self, triggers: Sequence[BlobTrigger], queue: BlobQueue, services: Services
    ) -> None:
        self._triggers = triggers
        self._queue = queue
        self._connections = services.connections
        self._host_id = services.settings.host_id
        self._every_s = services.settings.seconds("MILLRACE_HOST_BLOB_SCAN_S", 10)
        account = self._connections.blobs(triggers[0].connection)
        self._blobs = account.get_container_client(triggers[0].path.container)
        self.name = f"scan of {self._blobs.container_name}"
        # Versions of the newest second: listings know whole seconds, so these come up again.
        self._announced: dict[tuple[str, str], datetime] = {}

    def stop(self) -> None:
        """Nothing waits here."""

    async def run(self) -> None:
        """Scan until cancelled."""
        state = await self._connections.host_container()
        latest = stored = await self._load(state)
        while True:
            latest = await self._sweep(state, latest)
            if latest > stored:
                await self._store(state, latest)
                stored = latest
            await asyncio.sleep(self._every_s)

    async def _sweep(self, state: ContainerClient, latest: datetime) -> datetime:
        """Announce what is new; return the time to look from next."""
        # What is written while pages are read may be missed by this listing and yet be older
        # than the newest blob in it.
        certain = utc_now().replace(microsecond=0)
        try:
            found = [blob async for blob in self._blobs.list_blobs()]
        except ResourceNotFoundError:
            return latest  # The container may come later.
        fresh = [blob for blob in found if blob.last_modified >= latest]
        limit = asyncio.Semaphore(_PARALLEL)
        done = await asyncio.gather(*(self._announce(state, blob, limit) for blob in fresh))
        newest = max((blob.last_modified for blob in fresh), default=latest)
        missed = [blob.last_modified for blob, ok in zip(fresh, done, strict=True) if not ok]
        latest = max(latest, min(newest, certain, *missed))
        self._announced = {v: when for v, when in self._announced.items() if when >= latest}
        return latest

    async def _announce(
        self, state: ContainerClient, blob: BlobProperties, limit: asyncio.Semaphore
    ) -> bool:
        """Announce a version to each trigger it matches; say whether nothing is left to do."""
        etag = f'"{blob.etag.strip('"')}"'  # Listings leave the quotes out.
        if (blob.name, etag) in self._announced:
            return True
        async with limit:
            matching = [t for t in self._triggers if t.path.match(blob.name) is not None]
            versions = [
                Version(function_id=t.id, container=t.path.container, name=blob.name, etag=etag)
                for t in matching
            ]
            done = [await self._enqueue(version, state) for version in versions]
        if all(done):
            self._announced[blob.name, etag] = blob.last_modified
        return all(done)

    async def _enqueue(self, version: Version, state: ContainerClient) -> bool:
        """Enqueue a version unless its receipt is complete; say whether it is now."""
        receipt = state.get_blob_client(
            f"blobreceipts/{self._host_id}/{version.function_id}/{version.etag}"
            f"/{version.container}/{version.name}"
        )
        try:
            await receipt.upload_blob(b"", metadata={_INCOMPLETE: "true"}, overwrite=False)
        except (ResourceExistsError, ResourceModifiedError):
            if await _is_complete(receipt):
                return True
        try:
            lease = await receipt.acquire_lease(_LEASE_S)
        except (ResourceExistsError, ResourceNotFoundError):
            return False  # Another host is at it, or somebody deletes receipts: look again later.
        try:
            if not await _is_complete(receipt):
                await self._queue.send(version)
                await receipt.set_blob_metadata({}, lease=lease)
        finally:
            await lease.release()
        return True

    async def _load(self, state: ContainerClient) -> datetime:
        try:
            download = await state.download_blob(self._scan_info)
            latest = datetime.fromisoformat(json.loads(await download.readall())["LatestScan"])
        except ResourceNotFoundError:
            return _BEGINNING
        return latest if latest.tzinfo else latest.replace(tzinfo=UTC)

    async def _store(self, state: ContainerClient, latest: datetime) -> None:
        # A little earlier: what lands in the same second must be found after a restart.
        document = {"LatestScan": aware_time(latest - timedelta(milliseconds=1))}
        await state.upload_blob(self._scan_info, json.dumps(document).encode(), overwrite=True)

    @property
    def _scan_info(self) -> str:
        account, container = self._blobs.account_name, self._blobs.container_name
        return f"blobscaninfo/{self._host_id}/{account}/{container}/scanInfo"


async def _is_complete(receipt: BlobClient) -> bool:
    metadata = (await receipt.get_blob_properties()).metadata
    return not any(key.lower() == _INCOMPLETE.lower() for key in metadata)
