"""The connections: a client of each Azure service, by connection string or by identity.

SDKs are imported when a client is made: the import of the function app stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from shared.domain.document import GAPS_GROUP
from shared.domain.errors import Misconfigured, TryLater
from shared.settings import needed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.data.tables.aio import TableServiceClient
    from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
    from azure.storage.blob.aio import BlobServiceClient

    from shared.adapters.postgres_connection import Connection
    from shared.settings import Settings

_DATABRICKS_SCOPE = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"  # Azure Databricks itself.
_POSTGRES_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"


def identity_for(settings: Settings) -> AsyncTokenCredential | None:
    """The managed identity, unless every system is reached by a connection string."""
    by_string = settings.lake and settings.event_hubs and settings.databricks_token
    if by_string and not _ledger_needs_token(settings):
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

    # To look for proxies and ~/.netrc takes a third of a request's CPU: not where no proxy is set.
    options: dict[str, Any] = {"use_env_settings": bool(getproxies().keys() - {"no"})}
    if settings.lake:
        blobs = BlobServiceClient.from_connection_string(settings.lake, **options)
        return blobs, TableServiceClient.from_connection_string(settings.lake, **options)
    assert identity, "without a connection string there is an identity"
    blob_uri = needed(settings.lake_blob_uri, setting="LAKE__blobServiceUri")
    table_uri = needed(settings.lake_table_uri, setting="LAKE__tableServiceUri")
    return (
        BlobServiceClient(blob_uri, credential=identity, **options),
        TableServiceClient(table_uri, credential=identity, **options),
    )


def ledger_login(
    settings: Settings, identity: AsyncTokenCredential | None
) -> Callable[[], Awaitable[Connection]]:
    """What opens a connection to the ledger's database."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415

    from shared.adapters.postgres_connection import connect, parameters_of  # noqa: PLC0415

    async def token() -> str:
        assert identity, "an address without a password comes with an identity"
        try:
            return (await identity.get_token(_POSTGRES_SCOPE)).token
        except ClientAuthenticationError as error:
            problem = f"has no password, and no identity signs in: {_first_line(error)}"
            raise Misconfigured("LEDGER", problem) from error
        except AzureError as error:
            raise TryLater(f"no token for PostgreSQL: {_first_line(error)}") from error

    async def login() -> Connection:
        return await connect(parameters_of(settings.ledger), token)

    return login


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


def _ledger_needs_token(settings: Settings) -> bool:
    if not settings.ledger:
        return False
    from shared.adapters.postgres_connection import needs_token, parameters_of  # noqa: PLC0415

    try:
        return needs_token(parameters_of(settings.ledger))
    except Misconfigured:  # Whoever opens the ledger says so; landing goes on without it.
        return False


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _namespace(settings: Settings, identity: AsyncTokenCredential | None) -> dict[str, Any]:
    """Arguments of a client that signs in with an identity."""
    assert identity, "without a connection string there is an identity"
    name = needed(settings.event_hubs_namespace, setting="EVENT_HUBS__fullyQualifiedNamespace")
    return {"fully_qualified_namespace": name, "credential": identity}
