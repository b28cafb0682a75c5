"""The wiring: which adapter plays which port. The only place that reads the environment."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from shared import telemetry
from shared.domain import document as documents
from shared.domain.document import GAPS_GROUP
from shared.settings import Settings, needed, pipeline_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

    from shared.domain.document import Document
    from shared.ports import (
        Attempts,
        Clock,
        CursorStore,
        Hub,
        Jobs,
        Ledger,
        Quarantine,
        RawFiles,
        RawStore,
        RunFiles,
        SourceReader,
    )

_DATABRICKS_SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"  # Azure Databricks itself.


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Every port, played by the real world."""

    document: Document
    source: SourceReader
    hub: Hub
    cursors: CursorStore
    raw: RawStore
    raw_files: RawFiles
    attempts: Attempts
    quarantine: Quarantine
    ledger: Ledger
    files: RunFiles
    jobs: Jobs
    clock: Clock
    telemetry: ModuleType = telemetry


@cache
def document() -> Document:
    """The document, as the triggers are registered from it; raises `Misconfigured`."""
    return documents.load(pipeline_file(os.environ))  # noqa: TID251 -- Read once.


_stack = AsyncExitStack()
_app: App | None = None


async def app() -> App:
    """The app, opened at its first use and kept for the life of the process."""
    global _app  # noqa: PLW0603 -- One app a process: clients are meant to be shared.
    if _app is None:
        settings = Settings.read(os.environ)  # noqa: TID251 -- Read once.
        _app = await _stack.enter_async_context(connected(settings, document()))
    return _app


@asynccontextmanager
async def connected(settings: Settings, document: Document) -> AsyncIterator[App]:
    """An app that closes its clients; nothing is reached before it is used."""
    import httpx  # noqa: PLC0415 -- Adapters are imported when the first event comes, not at start.
    from azure.data.tables.aio import TableServiceClient  # noqa: PLC0415
    from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415

    from shared.adapters import (  # noqa: PLC0415
        blob_storage,
        databricks_jobs,
        event_hubs,
        http_source,
        raw_blobs,
        system,
        table_storage,
    )

    async with AsyncExitStack() as stack:
        identity = await _identity(settings, stack)
        if settings.lake:
            blobs = BlobServiceClient.from_connection_string(settings.lake)
            tables = TableServiceClient.from_connection_string(settings.lake)
        else:
            assert identity, "without a connection string there is an identity"
            blob_uri = needed(settings.lake_blob_uri, setting="LAKE__blobServiceUri")
            table_uri = needed(settings.lake_table_uri, setting="LAKE__tableServiceUri")
            blobs = BlobServiceClient(blob_uri, credential=identity)
            tables = TableServiceClient(table_uri, credential=identity)
        for client in (blobs, tables):
            await stack.enter_async_context(client)
        web = await stack.enter_async_context(httpx.AsyncClient())
        workspace = await stack.enter_async_context(
            httpx.AsyncClient(base_url=settings.databricks_host, timeout=30)
        )

        def producer(hub: str) -> EventHubProducerClient:
            from azure.eventhub.aio import EventHubProducerClient  # noqa: PLC0415

            if settings.event_hubs:
                return EventHubProducerClient.from_connection_string(
                    settings.event_hubs, eventhub_name=hub
                )
            return EventHubProducerClient(**_namespace(settings, identity), eventhub_name=hub)

        def reader(hub: str) -> EventHubConsumerClient:
            from azure.eventhub.aio import EventHubConsumerClient  # noqa: PLC0415

            if settings.event_hubs:
                return EventHubConsumerClient.from_connection_string(
                    settings.event_hubs, GAPS_GROUP, eventhub_name=hub
                )
            return EventHubConsumerClient(
                **_namespace(settings, identity), eventhub_name=hub, consumer_group=GAPS_GROUP
            )

        async def token() -> str:
            if settings.databricks_token or identity is None:
                return needed(settings.databricks_token, setting="DATABRICKS_TOKEN")
            return (await identity.get_token(_DATABRICKS_SCOPE)).token

        hub = event_hubs.EventHubs(producer, reader)
        stack.push_async_callback(hub.close)
        yield App(
            document=document,
            source=http_source.HttpSource(web, settings.everything),
            hub=hub,
            cursors=blob_storage.BlobCursorStore(blobs),
            raw=raw_blobs.BlobRawStore(blobs),
            raw_files=raw_blobs.BlobRawFiles(blobs),
            attempts=raw_blobs.BlobAttempts(blobs),
            quarantine=blob_storage.BlobQuarantine(blobs),
            ledger=table_storage.TableLedger(tables.get_table_client(table_storage.TABLE)),
            files=blob_storage.BlobRunFiles(blobs),
            jobs=databricks_jobs.DatabricksJobs(
                workspace, prefix=f"{document.name}-{document.environment}", token=token
            ),
            clock=system.SystemClock(),
        )


async def _identity(settings: Settings, stack: AsyncExitStack) -> AsyncTokenCredential | None:
    """The managed identity, unless every system is reached by a connection string."""
    if settings.lake and settings.event_hubs and settings.databricks_token:
        return None
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415

    client_id = settings.identity_client_id or None
    credential = DefaultAzureCredential(managed_identity_client_id=client_id)
    return await stack.enter_async_context(credential)


def _namespace(settings: Settings, identity: AsyncTokenCredential | None) -> dict[str, Any]:
    """Arguments of a client that signs in with an identity."""
    assert identity, "without a connection string there is an identity"
    name = needed(settings.event_hubs_namespace, setting="EVENT_HUBS__fullyQualifiedNamespace")
    return {"fully_qualified_namespace": name, "credential": identity}
