"""The connections: a client of each Azure service, by connection string or by identity.

SDKs are imported when a client is made: the import of the function app stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.document import GAPS_GROUP
from shared.settings import needed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.data.tables.aio import TableServiceClient
    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
    from azure.storage.blob.aio import BlobServiceClient

    from shared.settings import Settings

_DATABRICKS_SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"  # Azure Databricks itself.


def identity_for(settings: Settings) -> AsyncTokenCredential | None:
    """The managed identity, unless every system is reached by a connection string."""
    if settings.lake and settings.event_hubs and settings.databricks_token:
        return None
    from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415

    client_id = settings.identity_client_id or None
    return DefaultAzureCredential(managed_identity_client_id=client_id)


def lake_clients(
    settings: Settings, identity: AsyncTokenCredential | None
) -> tuple[BlobServiceClient, TableServiceClient]:
    """Clients of the lake's blobs and tables."""
    from azure.data.tables.aio import TableServiceClient  # noqa: PLC0415
    from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415

    if settings.lake:
        blobs = BlobServiceClient.from_connection_string(settings.lake)
        return blobs, TableServiceClient.from_connection_string(settings.lake)
    assert identity, "without a connection string there is an identity"
    blob_uri = needed(settings.lake_blob_uri, setting="LAKE__blobServiceUri")
    table_uri = needed(settings.lake_table_uri, setting="LAKE__tableServiceUri")
    return (
        BlobServiceClient(blob_uri, credential=identity),
        TableServiceClient(table_uri, credential=identity),
    )


def producer_client(
    settings: Settings, identity: AsyncTokenCredential | None, *, hub: str
) -> EventHubProducerClient:
    """A client that sends to a hub."""
    from azure.eventhub.aio import EventHubProducerClient  # noqa: PLC0415

    if settings.event_hubs:
        return EventHubProducerClient.from_connection_string(settings.event_hubs, eventhub_name=hub)
    return EventHubProducerClient(**_namespace(settings, identity), eventhub_name=hub)


def reader_client(
    settings: Settings, identity: AsyncTokenCredential | None, *, hub: str
) -> EventHubConsumerClient:
    """A client that reads a hub again, in the group for gaps."""
    from azure.eventhub.aio import EventHubConsumerClient  # noqa: PLC0415

    if settings.event_hubs:
        return EventHubConsumerClient.from_connection_string(
            settings.event_hubs, GAPS_GROUP, eventhub_name=hub
        )
    return EventHubConsumerClient(
        **_namespace(settings, identity), eventhub_name=hub, consumer_group=GAPS_GROUP
    )


def workspace_token(
    settings: Settings, identity: AsyncTokenCredential | None
) -> Callable[[], Awaitable[str]]:
    """What gives a bearer token for Databricks: the identity caches and renews it."""

    async def token() -> str:
        if settings.databricks_token or identity is None:
            return needed(settings.databricks_token, setting="DATABRICKS_TOKEN")
        return (await identity.get_token(_DATABRICKS_SCOPE)).token

    return token


def _namespace(settings: Settings, identity: AsyncTokenCredential | None) -> dict[str, Any]:
    """Arguments of a client that signs in with an identity."""
    assert identity, "without a connection string there is an identity"
    name = needed(settings.event_hubs_namespace, setting="EVENT_HUBS__fullyQualifiedNamespace")
    return {"fully_qualified_namespace": name, "credential": identity}
