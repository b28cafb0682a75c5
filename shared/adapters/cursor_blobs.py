"""Blob Storage, of sources: their cursors, and their journals, which grow by appends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from shared.adapters.blob_storage import read, replace, storage_errors
from shared.domain import cursor as cursors
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from azure.storage.blob.aio import BlobServiceClient

    from shared.domain.cursor import Cursor

_NOT_THERE = "AppendPositionConditionNotMet"


class BlobCursorStore:
    """CursorStore: in container `state`, one blob a source and one append blob a journal."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._state = service.get_container_client("state")

    async def read(self, source: str) -> Kept[Cursor] | None:
        """Read the blob and its version."""
        with storage_errors(f"reading the cursor of {source}"):
            kept = await read(self._state, f"cursors/{source}.json")
        if kept is None:
            return None
        return Kept(value=cursors.of_json(kept.value), version=kept.version)

    async def replace(self, source: str, cursor: Cursor, *, unchanged: str | None) -> str:
        """Write with `If-Match`, or `If-None-Match: *` for the first time."""
        client = self._state.get_blob_client(f"cursors/{source}.json")
        with storage_errors(f"writing the cursor of {source}"):
            return await replace(client, cursors.to_json(cursor), unchanged=unchanged)

    async def journal(self, source: str, number: int) -> AsyncIterator[bytes]:
        """Stream the blob."""
        with storage_errors(f"reading the journal of {source}"):
            try:
                download = await self._state.download_blob(_name(source, number))
            except ResourceNotFoundError:
                return
            async for piece in download.chunks():
                yield piece

    async def append(self, source: str, number: int, frame: bytes, *, position: int) -> bool:
        """Append a block on the condition of its position; the first one makes the blob."""
        client = self._state.get_blob_client(_name(source, number))
        with storage_errors(f"writing the journal of {source}"):
            try:
                if position == 0:
                    await client.create_append_blob(match_condition=MatchConditions.IfMissing)
                await client.append_block(frame, appendpos_condition=position)
            except (ResourceExistsError, ResourceNotFoundError):
                return False
            except HttpResponseError as error:
                if getattr(error, "error_code", "") == _NOT_THERE:
                    return False
                raise
        return True

    async def drop_journal(self, source: str, number: int) -> None:
        """Delete the blob."""
        with storage_errors(f"deleting a journal of {source}"):
            try:
                await self._state.delete_blob(_name(source, number))
            except ResourceNotFoundError:
                return


def _name(source: str, number: int) -> str:
    return f"journals/{source}/{number:08d}"
