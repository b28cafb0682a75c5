"""The control queue of blob triggers: runs a function for each blob that a scan announced.

The queue lives in the host's own storage. A message that fails becomes visible again at once; the
last failure moves it to the poison queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceModifiedError, ResourceNotFoundError

from local.functions_host.blob_trigger import Version
from local.functions_host.connections import HOST_STORAGE
from local.functions_host.errors import FunctionBroken
from local.functions_host.payload import Payload, Value, as_json, aware_time, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.storage.blob import BlobProperties
    from azure.storage.queue import QueueMessage
    from azure.storage.queue.aio import QueueClient

    from local.functions_host.blob_trigger import BlobTrigger
    from local.functions_host.services import Services

_log = logging.getLogger(__name__)

_SECTION = "extensions.blobs"
_POISON_QUEUE = "webjobs-blobtrigger-poison"
#: How long a message stays hidden while its function runs, renewed at half time. Azure hides it
#: for ten minutes; a killed host should not block its blobs that long on a developer's machine.
_HIDDEN_S = 30
#: Scans of this host wake the loop themselves; this is for messages of other hosts.
_IDLE_S = 2.0
_RECEIVED_MAX = 32


class BlobQueue:
    """The one control queue of an app."""

    name = "blob queue"

    def __init__(self, triggers: Sequence[BlobTrigger], services: Services) -> None:
        settings = services.settings
        self._triggers = {trigger.id: trigger for trigger in triggers}
        self._connections = services.connections
        self._invocations = services.invocations
        self._queue_name = f"azure-webjobs-blobtrigger-{settings.host_id}"
        parallel = 8 * (os.cpu_count() or 1)
        self._parallel_max = settings.whole_number(f"{_SECTION}.maxDegreeOfParallelism", parallel)
        self._attempts_max = settings.whole_number(f"{_SECTION}.poisonBlobThreshold", 5)
        self._busy: set[asyncio.Task[None]] = set()
        self._sent = asyncio.Event()

    def stop(self) -> None:
        """Nothing waits here: failed messages are retried by the queue."""

    async def send(self, version: Version) -> None:
        """Have a function run for a version of a blob."""
        queue = await self._open(self._queue_name)
        await queue.send_message(version.as_message())
        self._sent.set()

    async def run_now(self, trigger: BlobTrigger, path: str) -> None:
        """Run a function for `container/blob` on request, outside the queue."""
        container, _, name = path.partition("/")
        payload = await self._payload(trigger, container, name)
        if payload is None:
            _log.error("%s: there is no blob %s", trigger.function.name, path)
        else:
            await self._invocations.run(trigger.function, payload)

    async def run(self) -> None:
        """Receive until cancelled; running functions are seen through."""
        queue = await self._open(self._queue_name)
        while True:
            self._sent.clear()
            free = min(self._parallel_max - len(self._busy), _RECEIVED_MAX)
            if free <= 0:
                await asyncio.wait(self._busy, return_when=asyncio.FIRST_COMPLETED)
                continue
            received = 0
            async for message in queue.receive_messages(
                messages_per_page=free, max_messages=free, visibility_timeout=_HIDDEN_S
            ):
                received += 1
                task = self._invocations.start(self._deliver(queue, message))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)
            if not received:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._sent.wait(), _IDLE_S)

    async def _deliver(self, queue: QueueClient, message: QueueMessage) -> None:
        try:
            if await self._is_done(queue, message):
                await queue.delete_message(message)
            else:
                await queue.update_message(message, visibility_timeout=0)
                self._sent.set()
        except AzureError as error:
            # The message becomes visible again by itself.
            _log.warning("a message in %s was not dealt with: %s", self._queue_name, error)

    async def _is_done(self, queue: QueueClient, message: QueueMessage) -> bool:
        """Run what a message asks for; say whether that was its last attempt."""
        version = Version.of_message(message.content)
        trigger = self._triggers.get(version.function_id) if version else None
        if version is None or trigger is None:
            return True  # As in Azure: what names none of our functions is dropped.
        etag = None if trigger.takes_any_version else version.etag
        payload = await self._payload(trigger, version.container, version.name, etag)
        if payload is None:
            return True  # Deleted, or replaced: then the next scan announces the new version.
        run = asyncio.create_task(self._invocations.run(trigger.function, payload))
        while not (await asyncio.wait({run}, timeout=_HIDDEN_S / 2))[0]:
            with contextlib.suppress(AzureError):  # The next one may work.
                renewed = await queue.update_message(message, visibility_timeout=_HIDDEN_S)
                message.pop_receipt = renewed.pop_receipt
        if run.result().ok:
            return True
        if (message.dequeue_count or 0) < self._attempts_max:
            return False
        path = f"{version.container}/{version.name}"
        name = trigger.function.name
        _log.error("%s: %s is poison after %d attempts", name, path, self._attempts_max)
        poison = await self._open(_POISON_QUEUE, trigger.connection)
        await poison.send_message(message.content)
        return True

    async def _payload(
        self, trigger: BlobTrigger, container: str, name: str, etag: str | None = None
    ) -> Payload | None:
        """The blob, if it is there and still the version wanted."""
        client = self._connections.blobs(trigger.connection).get_blob_client(container, name)
        pinned: dict[str, Any] = {}
        if etag is not None:
            pinned = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        try:
            download = await client.download_blob(**pinned)
            body = await download.readall()
        except (ResourceNotFoundError, ResourceModifiedError):
            return None
        tokens = trigger.path.match(name) or {}
        metadata = {token: text(value) for token, value in tokens.items()} | {
            "BlobTrigger": text(f"{container}/{name}"),
            "Uri": as_json(client.url),
            "Metadata": as_json(download.properties.metadata or {}),
            "Properties": as_json(_properties(download.properties)),
        }
        return Payload(value=Value("bytes", body), metadata=metadata)

    async def _open(self, name: str, connection: str = HOST_STORAGE) -> QueueClient:
        """A queue of a connection, or of the host if that account has no queues."""
        for candidate in (connection, HOST_STORAGE):
            queue = await self._connections.queue(candidate, name)
            if queue is not None:
                return queue
        raise FunctionBroken(f"{HOST_STORAGE} leads to no queues, which blob triggers need")


def _properties(blob: BlobProperties) -> dict[str, object]:
    """The part of .NET's BlobProperties that is certain."""
    return {
        "LastModified": aware_time(blob.last_modified),
        "CreatedOn": aware_time(blob.creation_time),
        "Metadata": blob.metadata or {},
        "ContentLength": blob.size,
        "ContentType": blob.content_settings.content_type,
        "ContentEncoding": blob.content_settings.content_encoding,
    }
