"""Connections: what a binding's `connection` means, and the storage clients behind it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

from local.functions_host.errors import FunctionBroken

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.storage.blob.aio import ContainerClient
    from azure.storage.queue.aio import QueueClient

    from local.functions_host.settings import Settings

#: Where the host keeps its own state, as in Azure.
HOST_STORAGE = "AzureWebJobsStorage"
HOST_CONTAINER = "azure-webjobs-hosts"
#: To look for proxies and ~/.netrc takes a third of a request's CPU: not where no proxy is set.
TRANSPORT: Final[dict[str, Any]] = {"use_env_settings": bool(getproxies().keys() - {"no"})}
#: The storage SDKs' own first wait is 15 s, which is a long time on one machine.
RETRY: Final[dict[str, Any]] = {
    "initial_backoff": 1,
    "increment_base": 2,
    "retry_total": 3,
    "random_jitter_range": 1,
}


def named_parts(connection_string: str) -> dict[str, str]:
    """The parts of a connection string by lower-case name."""
    pairs = (part.partition("=") for part in connection_string.split(";") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


class Connections:
    """Opens clients on demand and closes them all together."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open = contextlib.AsyncExitStack()
        self._blobs: dict[str, BlobServiceClient] = {}
        self._containers: set[str] = set()
        self._queues: dict[tuple[str, str], QueueClient] = {}
        self._identity: AsyncTokenCredential | None = None

    async def close(self) -> None:
        """Close every client."""
        await self._open.aclose()

    def blobs(self, name: str) -> BlobServiceClient:
        """The blob service of a connection; raise `FunctionBroken` if it names none."""
        if name not in self._blobs:
            text = self._settings.connection_text(name)
            retry = ExponentialRetry(**RETRY)
            if not text:
                url = self._part(name, "blobServiceUri")
                client = BlobServiceClient(url, self.identity(), retry_policy=retry, **TRANSPORT)
            else:
                try:
                    client = BlobServiceClient.from_connection_string(
                        text, retry_policy=retry, **TRANSPORT
                    )
                except ValueError as error:
                    problem = f"the setting {name} is no connection string of a storage account"
                    raise FunctionBroken(problem) from error
            self._open.push_async_callback(client.close)
            self._blobs[name] = client
        return self._blobs[name]

    async def host_container(self, name: str = HOST_CONTAINER) -> ContainerClient:
        """A container of the host's own storage, created if it is absent."""
        container = self.blobs(HOST_STORAGE).get_container_client(name)
        if name not in self._containers:
            with contextlib.suppress(ResourceExistsError):
                await container.create_container()
            self._containers.add(name)
        return container

    async def queue(self, connection: str, name: str) -> QueueClient | None:
        """A queue of a connection, created if absent; none if the account has no queues."""
        key = (connection, name)
        if key not in self._queues:
            client = self._new_queue(connection, name)
            if client is None:
                return None
            self._open.push_async_callback(client.close)
            with contextlib.suppress(ResourceExistsError):
                await client.create_queue()
            self._queues[key] = client
        return self._queues[key]

    def _new_queue(self, connection: str, name: str) -> QueueClient | None:
        # Only blob triggers need queues, and the SDK takes 0.1 s to import.
        from azure.storage.queue import (  # noqa: PLC0415 -- As above.
            TextBase64DecodePolicy,
            TextBase64EncodePolicy,
        )
        from azure.storage.queue.aio import QueueClient  # noqa: PLC0415 -- As above.

        options: dict[str, Any] = {
            "message_encode_policy": TextBase64EncodePolicy(),
            "message_decode_policy": TextBase64DecodePolicy(),
            **RETRY,
            **TRANSPORT,
        }
        text = self._settings.connection_text(connection)
        if text and has_queues(text):
            return QueueClient.from_connection_string(text, name, **options)
        if not text and (url := self._settings.connection_part(connection, "queueServiceUri")):
            return QueueClient(url, name, self.identity(), **options)
        return None

    def event_hub(self, name: str) -> tuple[str | None, str | None]:
        """The connection string of a connection, or else its namespace."""
        text = self._settings.connection_text(name)
        return (text, None) if text else (None, self._part(name, "fullyQualifiedNamespace"))

    def identity(self) -> AsyncTokenCredential:
        """Whoever runs this process, as far as Azure knows them."""
        if self._identity is None:
            # Connection strings need no identity, and its import takes 0.2 s.
            from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 -- As above.

            self._identity = DefaultAzureCredential()
            self._open.push_async_callback(self._identity.close)
        return self._identity

    def _part(self, name: str, part: str) -> str:
        found = self._settings.connection_part(name, part)
        if not found:
            raise FunctionBroken(f"neither the setting {name} nor {name}__{part} is set")
        return found


def has_queues(connection_string: str) -> bool:
    """Whether a storage connection string leads to a queue service."""
    parts = named_parts(connection_string)
    return "queueendpoint" in parts or "blobendpoint" not in parts
