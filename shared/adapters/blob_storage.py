"""Blob Storage: quarantine and what runs exchange; the raw zone is next door."""

from __future__ import annotations

import json
from collections import Counter
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

from shared.domain import quarantine_text
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.quarantine import Selection, is_name
from shared.domain.run import described, further_on
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from azure.storage.blob.aio import BlobServiceClient, ContainerClient

    from shared.domain.quarantine import Head, Quarantined
    from shared.domain.run import Run

CONTAINERS = ("raw", "clean", "curated", "quarantine", "state")
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


class BlobQuarantine:
    """Quarantine: one blob an entry in container `quarantine`.

    The blob is the content; its metadata tells the rest, so that a listing is enough to select.
    """

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._quarantine = service.get_container_client("quarantine")

    async def keep(self, entry: Quarantined) -> None:
        """Create the blob unless it is there."""
        client = self._quarantine.get_blob_client(entry.name)
        metadata = quarantine_text.metadata_of(entry.head)
        with storage_errors(f"quarantining {entry.name}"):
            await create(client, quarantine_text.to_json(entry), metadata=metadata)

    async def count(self, kind: str, material: str) -> int:
        """List the entries."""
        return sum((await self.reasons(Selection(kind=kind, material=material))).values())

    async def reasons(self, selection: Selection) -> dict[str, int]:
        """List the entries."""
        return Counter([head.reason async for head in self.heads(selection)])

    async def heads(self, selection: Selection) -> AsyncIterator[Head]:
        """List with metadata; the Delta tables of refused records lie in between."""
        for prefix in selection.prefixes:
            with storage_errors(f"listing quarantine {prefix}"):
                listing = self._quarantine.list_blobs(name_starts_with=prefix, include=["metadata"])
                async for blob in listing:
                    if is_name(blob.name):
                        head = quarantine_text.head_of(blob.name, blob.metadata)
                        if selection.takes(head):
                            yield head

    async def read(self, name: str) -> Kept[Quarantined] | None:
        """Read the blob, its metadata and its version in one request."""
        if not is_name(name):
            return None
        with storage_errors(f"reading {name}"):
            try:
                download = await self._quarantine.download_blob(name)
                content = await download.readall()
            except ResourceNotFoundError:
                return None
        found = download.properties
        entry = quarantine_text.of_json(content, metadata=found.metadata)
        return Kept(value=entry, version=found.etag or "")

    async def mark(self, entry: Quarantined, *, unchanged: str) -> bool:
        """Replace the metadata with `If-Match`; the content cannot be touched this way."""
        client = self._quarantine.get_blob_client(entry.name)
        metadata = quarantine_text.metadata_of(entry.head)
        condition = MatchConditions.IfNotModified
        with storage_errors(f"marking {entry.name}"):
            try:
                await client.set_blob_metadata(metadata, etag=unchanged, match_condition=condition)
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
        return True


class BlobRunFiles:
    """RunFiles: manifests, results, staged rows and notes of runs in container `state`."""

    def __init__(self, service: BlobServiceClient) -> None:
        """`service` is closed by whoever opened it."""
        self._state = service.get_container_client("state")
        self._account = service.account_name

    async def put_manifest(self, dataset: str, run_id: str, manifest: bytes) -> None:
        """Create the blob unless it is there."""
        client = self._state.get_blob_client(f"manifests/{dataset}/{run_id}.json")
        with storage_errors(f"writing the manifest of {run_id}"):
            await create(client, manifest, metadata={})

    def manifest_address(self, dataset: str, run_id: str) -> str:
        """ABFS address of the manifest."""
        return f"{self.storage()['state']}/manifests/{dataset}/{run_id}.json"

    async def result(self, dataset: str, run_id: str) -> dict[str, int] | None:
        """What is a whole number."""
        content = await self._result(dataset, run_id)
        if content is None:
            return None
        return {key: value for key, value in content.items() if type(value) is int}

    async def details(self, dataset: str, run_id: str) -> dict[str, Any]:
        """What has parts of its own."""
        content = await self._result(dataset, run_id) or {}
        return {key: value for key, value in content.items() if isinstance(value, dict | list)}

    async def _result(self, dataset: str, run_id: str) -> dict[str, Any] | None:
        """Read the one line that Spark wrote; beside it may lie empty files and `_SUCCESS`."""
        with storage_errors(f"reading the result of {run_id}"):
            folder = f"results/{dataset}/{run_id}/"
            async for blob in self._state.list_blobs(name_starts_with=folder):
                if blob.size and not blob.name.removeprefix(folder).startswith(("_", ".")):
                    download = await self._state.download_blob(blob.name)
                    content: dict[str, Any] = json.loads(await download.readall())
                    return content
        return None

    async def note(self, run: Run) -> None:
        """Replace `runs/<table>/<run>.json`, read again when another writer was faster."""
        client = self._state.get_blob_client(f"runs/{run.dataset}/{run.id}.json")
        content = described(run) | {"manifest": self.manifest_address(run.dataset, run.id)}
        written = ""
        with storage_errors(f"noting run {run.id}"):
            while not written:
                kept = await read(self._state, client.blob_name)
                if kept is not None:
                    known = json.loads(kept.value)
                    if (known["attempt"], known["endedAt"] is not None) > further_on(run):
                        return
                written = await replace(
                    client, json.dumps(content).encode(), unchanged=kept.version if kept else None
                )

    async def drop_staging(self, run_id: str) -> None:
        """Delete blob by blob; a blob that is gone was deleted by another caller."""
        with storage_errors(f"deleting what {run_id} staged"):
            async for name in self._state.list_blob_names(name_starts_with=f"staging/{run_id}/"):
                try:
                    await self._state.delete_blob(name)
                except ResourceNotFoundError:
                    continue

    async def staged(self) -> Sequence[str]:
        """List the folders, not what is in them."""
        with storage_errors("listing what runs staged"):
            found = [
                item.name.removeprefix("staging/").rstrip("/")
                async for item in self._state.walk_blobs(name_starts_with="staging/")
            ]
        return sorted(found)

    def storage(self) -> dict[str, str]:
        """ABFS address of each container: the same locally and in Azure."""
        host = f"{self._account}.dfs.core.windows.net"
        return {container: f"abfss://{container}@{host}" for container in CONTAINERS}


async def read(container: ContainerClient, name: str) -> Kept[bytes] | None:
    """Content and version of a blob; None when it is absent."""
    try:
        download = await container.download_blob(name)
        content = await download.readall()
    except ResourceNotFoundError:
        return None
    return Kept(value=content, version=download.properties.etag or "")


async def create(client: Any, content: bytes, *, metadata: dict[str, str]) -> None:  # noqa: ANN401 -- The SDK's client.
    """Create a blob unless its name is taken."""
    try:
        await client.upload_blob(content, metadata=metadata)
    except ResourceExistsError:
        return


async def replace(client: Any, content: bytes, *, unchanged: str | None) -> str:  # noqa: ANN401 -- The SDK's client.
    """Write if the version is still `unchanged` (None: absent); the new version, or empty."""
    try:
        if unchanged is None:
            written = await client.upload_blob(content)
        else:
            written = await client.upload_blob(
                content,
                overwrite=True,
                etag=unchanged,
                match_condition=MatchConditions.IfNotModified,
            )
    except (ResourceExistsError, ResourceModifiedError):
        return ""
    return str(written["etag"])
