"""Claim check: bodies too large for an event wait in Blob Storage, and the hub carries a reference.

Enterprise Integration Patterns call it so; CloudEvents has the attribute `dataref` for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.adapters.blob_storage import read, storage_errors
from shared.domain import claim
from shared.domain.cloud_event import BODY_BYTES_MAX
from shared.ports import HubAround

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from azure.storage.blob.aio import BlobServiceClient

    from shared.domain.cloud_event import CloudEvent
    from shared.ports import Claims, Hub


class BlobClaims:
    """Claims: container `state`, deleted by a rule of the storage account long after landing."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._state = service.get_container_client("state")

    async def put(self, material: str, body: bytes) -> str:
        """Write it anew even if it is there: the rule counts from the last writing."""
        reference = claim.reference_of(material, body)
        with storage_errors(f"keeping {reference}"):
            await self._state.upload_blob(reference, body, overwrite=True)
        return reference

    async def get(self, reference: str) -> bytes | None:
        """Download."""
        with storage_errors(f"fetching {reference}"):
            kept = await read(self._state, reference)
        return kept.value if kept else None


class ClaimCheckedHub(HubAround):
    """Hub: takes events of any size; what the service would refuse is claimed first.

    What it reads are claims as they are, which landing fetches.
    """

    def __init__(self, hub: Hub, claims: Claims) -> None:
        """`hub` does the work, `claims` keeps what is too large for it."""
        super().__init__(hub)
        self._claims = claims

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Keep what is too large, then send: a reference never leads to nothing."""
        small = {
            number: [await self._claimed(material, each) for each in members]
            for number, members in events.items()
        }
        await self._hub.send(material, small)

    async def _claimed(self, material: str, event: CloudEvent) -> CloudEvent:
        if len(event.body) <= BODY_BYTES_MAX:
            return event
        return claim.claiming(event, await self._claims.put(material, event.body))
