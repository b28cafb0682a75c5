"""The wiring: which adapter plays which port. The only place that reads the environment."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from shared import connections, telemetry
from shared.domain import document as documents
from shared.settings import Settings, pipeline_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from azure.core.credentials_async import AsyncTokenCredential
    from azure.data.tables.aio import TableServiceClient

    from shared.domain.document import Document
    from shared.domain.source import Source
    from shared.ports import (
        Attempts,
        Claims,
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
        Traces,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Every port, played by the real world."""

    document: Document
    source: SourceReader
    hub: Hub
    cursors: CursorStore
    raw: RawStore
    claims: Claims
    raw_files: RawFiles
    attempts: Attempts
    quarantine: Quarantine
    ledger: Ledger
    files: RunFiles
    jobs: Jobs
    clock: Clock
    traces: Traces
    telemetry: ModuleType = telemetry


@cache
def document() -> Document:
    """The document, as the triggers are registered from it; raises `Misconfigured`."""
    return documents.load(pipeline_file(os.environ))  # noqa: TID251 -- Read once.


def schedule(source: Source) -> str:
    """When a source is polled: its own schedule, unless `POLL_SCHEDULE` says another."""
    return os.environ.get("POLL_SCHEDULE") or source.schedule  # noqa: TID251 -- Read once.


_stack = AsyncExitStack()
_opening = asyncio.Lock()
_app: App | None = None


async def app() -> App:
    """The app, opened at its first use and kept for the life of the process."""
    global _app  # noqa: PLW0603 -- One app a process: clients are meant to be shared.
    async with _opening:  # The first events of several functions come at once.
        if _app is None:
            settings = Settings.read(os.environ)  # noqa: TID251 -- Read once.
            found = documents.running_every(document(), settings.run_every)
            _app = await _stack.enter_async_context(connected(settings, found))
    return _app


@asynccontextmanager
async def connected(settings: Settings, document: Document) -> AsyncIterator[App]:
    """An app that closes its clients; nothing is reached before it is used."""
    import aiohttp  # noqa: PLC0415
    import httpx  # noqa: PLC0415 -- Adapters are imported when the first event comes, not at start.

    from shared.adapters import (  # noqa: PLC0415
        blob_storage,
        claim_check,
        cursor_blobs,
        databricks_jobs,
        event_hubs,
        http_source,
        raw_blobs,
        system,
    )

    async with AsyncExitStack() as stack:
        clock = system.SystemClock()
        identity = connections.identity_for(settings)
        if identity:
            await stack.enter_async_context(identity)
        blobs, tables = connections.lake_clients(settings, identity)
        web = aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar())
        workspace = httpx.AsyncClient(base_url=settings.databricks_host, timeout=30)
        for client in (blobs, tables, web, workspace):
            await stack.enter_async_context(client)
        hub = event_hubs.EventHubs(
            lambda name: connections.producer_client(settings, identity, hub=name),
            lambda name: connections.reader_client(settings, identity, hub=name),
        )
        stack.push_async_callback(hub.close)
        claims = claim_check.BlobClaims(blobs)
        yield App(
            document=document,
            source=http_source.HttpSource(
                web, settings.everything, clock, answered=telemetry.answered
            ),
            hub=telemetry.TracedHub(claim_check.ClaimCheckedHub(hub, claims)),
            claims=claims,
            cursors=cursor_blobs.BlobCursorStore(blobs),
            raw=raw_blobs.BlobRawStore(blobs, telemetry.traceparent),
            raw_files=raw_blobs.BlobRawFiles(blobs),
            attempts=raw_blobs.BlobAttempts(blobs),
            quarantine=blob_storage.BlobQuarantine(blobs),
            ledger=await stack.enter_async_context(_ledger(settings, identity, tables)),
            files=blob_storage.BlobRunFiles(blobs),
            jobs=databricks_jobs.DatabricksJobs(
                workspace,
                prefix=f"{document.name}-{settings.pipeline_environment or document.environment}",
                token=connections.workspace_token(settings, identity),
            ),
            clock=clock,
            traces=telemetry.RunTraces(),
        )


@asynccontextmanager
async def _ledger(
    settings: Settings, identity: AsyncTokenCredential | None, tables: TableServiceClient
) -> AsyncIterator[Ledger]:
    """The ledger: in PostgreSQL if `LEDGER` says where, in Table Storage otherwise."""
    if not settings.ledger:
        from shared.adapters.table_storage import TABLE, TableLedger  # noqa: PLC0415

        yield TableLedger(tables.get_table_client(TABLE))
        return
    from shared.adapters.postgres import PostgresLedger  # noqa: PLC0415

    ledger = PostgresLedger(connections.ledger_login(settings, identity))
    try:
        yield ledger
    finally:
        await ledger.close()
