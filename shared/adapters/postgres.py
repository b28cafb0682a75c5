"""PostgreSQL: the ledger, in tables and views that people read too (`migrations/`).

One connection a process, opened when it is needed: the ledger is asked a few times a second, and
every process of the function app takes one of the server's few connections.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC
from typing import TYPE_CHECKING, Any

from psycopg import Rollback
from psycopg.types.json import Jsonb

from shared.adapters.postgres_connection import cut_after, migrate, translated
from shared.domain.run import Planned, Progress, Run, RunKind, RunState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from typing import LiteralString

    from psycopg.rows import DictRow

    from shared.adapters.postgres_connection import Connection

_ANSWER_LIMIT_S = 30
#: A connection unused for longer may be gone without a word; the timer keeps a healthy one busy.
_IDLE_LIMIT_S = 120
_MESSAGE_CHARACTERS_MAX = 8000

_INSERT_RUN = """
INSERT INTO runs (dataset, id, kind, job, state, attempt, failures, blobs, events, inputs,
    planned_at, due_at, ended_at, job_run, message, counts, traceparent, version)
VALUES (%(dataset)s, %(id)s, %(kind)s, %(job)s, %(state)s, %(attempt)s, %(failures)s, %(blobs)s,
    %(events)s, %(inputs)s, %(planned_at)s, %(due_at)s, %(ended_at)s, %(job_run)s, %(message)s,
    %(counts)s, %(traceparent)s, 1)
ON CONFLICT DO NOTHING"""
_UPDATE_RUN = """
UPDATE runs SET kind = %(kind)s, job = %(job)s, state = %(state)s, attempt = %(attempt)s,
    failures = %(failures)s, blobs = %(blobs)s, events = %(events)s, inputs = %(inputs)s,
    planned_at = %(planned_at)s, due_at = %(due_at)s, ended_at = %(ended_at)s,
    job_run = %(job_run)s, message = %(message)s, counts = %(counts)s,
    traceparent = %(traceparent)s, version = version + 1
WHERE dataset = %(dataset)s AND id = %(id)s AND version = %(version)s"""
_INSERT_PROGRESS = """
INSERT INTO progress (dataset, run_open, run_succeeded, queued, planned, version)
VALUES (%(dataset)s, %(run_open)s, %(run_succeeded)s, %(queued)s, %(planned)s, 1)
ON CONFLICT DO NOTHING"""
_UPDATE_PROGRESS = """
UPDATE progress SET run_open = %(run_open)s, run_succeeded = %(run_succeeded)s,
    queued = %(queued)s, planned = %(planned)s, version = version + 1
WHERE dataset = %(dataset)s AND version = %(version)s"""


class PostgresLedger:
    """Ledger: tables `runs` and `progress`; a version counts the changes of a row."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        """`connect` opens a connection."""
        self._connect = connect
        self._connection: Connection | None = None
        self._has_tables = False
        self._used_at_s = 0.0
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    async def progress(self, dataset: str) -> Progress:
        """Read the row and its version."""
        async with self._connected(f"reading the progress of {dataset}") as connection:
            cursor = await connection.execute(
                "SELECT * FROM progress WHERE dataset = %s", (dataset,)
            )
            row = await cursor.fetchone()
        return _progress_of(row) if row else Progress(dataset=dataset)

    async def replace_progress(self, progress: Progress) -> bool:
        """Insert or replace the row."""
        async with self._connected(f"planning {progress.dataset}") as connection:
            return await _moves(connection, progress)

    async def open_run(self, run: Run, progress: Progress) -> bool:
        """Insert the run and replace the progress in one transaction."""
        return await self._together(_INSERT_RUN, run, progress)

    async def close_run(self, run: Run, progress: Progress) -> bool:
        """Replace both rows in one transaction."""
        return await self._together(_UPDATE_RUN, run, progress)

    async def reopen_run(self, run: Run, progress: Progress) -> bool:
        """Replace both rows in one transaction."""
        return await self._together(_UPDATE_RUN, run, progress)

    async def update_run(self, run: Run) -> bool:
        """Replace the row where its version is still the one that was read."""
        async with self._connected(f"noting run {run.id}") as connection:
            return await _changes(connection, _UPDATE_RUN, _run_row(run))

    async def run(self, dataset: str, run_id: str) -> Run | None:
        """Read one row."""
        async with self._connected(f"reading run {run_id}") as connection:
            cursor = await connection.execute(
                "SELECT * FROM runs WHERE dataset = %s AND id = %s", (dataset, run_id)
            )
            row = await cursor.fetchone()
        return _run_of(row) if row else None

    async def runs(self, dataset: str, *, ended_since: datetime | None = None) -> Sequence[Run]:
        """Read the rows, the newest first."""
        async with self._connected(f"listing runs of {dataset}") as connection:
            cursor = await connection.execute(
                "SELECT * FROM runs WHERE dataset = %(dataset)s"
                " AND (%(since)s::timestamptz IS NULL OR ended_at >= %(since)s)"
                " ORDER BY planned_at DESC, id DESC",
                {"dataset": dataset, "since": ended_since},
            )
            return [_run_of(row) async for row in cursor]

    async def _together(self, change: LiteralString, run: Run, progress: Progress) -> bool:
        """Always the run first and then the progress, so that no two wait for each other."""
        done = False
        async with (
            self._connected(f"planning {progress.dataset}") as connection,
            connection.transaction() as transaction,
        ):
            done = await _changes(connection, change, _run_row(run)) and await _moves(
                connection, progress
            )
            if not done:
                raise Rollback(transaction)
        return done

    @asynccontextmanager
    async def _connected(self, doing: str) -> AsyncIterator[Connection]:
        """The connection, for one caller at a time; thrown away when anything went wrong."""
        async with self._turn:
            try:
                connection = await self._opened()
                with translated(doing), cut_after(connection, _ANSWER_LIMIT_S):
                    if not self._has_tables:
                        await migrate(connection)
                        self._has_tables = True
                    yield connection
            except BaseException:
                await self.close()
                raise

    async def _opened(self) -> Connection:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._used_at_s > _IDLE_LIMIT_S:
            await self.close()
        if self._connection is None:
            self._connection = await self._connect()
        self._used_at_s = now_s
        return self._connection


async def _changes(connection: Connection, statement: LiteralString, row: dict[str, Any]) -> bool:
    """Whether the statement found the row as it must be to be changed."""
    cursor = await connection.execute(statement, row)
    return cursor.rowcount == 1


async def _moves(connection: Connection, progress: Progress) -> bool:
    statement = _UPDATE_PROGRESS if progress.version else _INSERT_PROGRESS
    return await _changes(connection, statement, _progress_row(progress))


def _progress_row(progress: Progress) -> dict[str, Any]:
    return {
        "dataset": progress.dataset,
        "run_open": progress.run_open,
        "run_succeeded": progress.run_succeeded,
        "queued": list(progress.queued),
        "planned": _places(progress.planned),
        "version": int(progress.version or 0),
    }


def _progress_of(row: DictRow) -> Progress:
    return Progress(
        dataset=row["dataset"],
        planned=_planned_of(row["planned"]),
        run_open=row["run_open"],
        run_succeeded=row["run_succeeded"],
        queued=tuple(row["queued"]),
        version=str(row["version"]),
    )


def _run_row(run: Run) -> dict[str, Any]:
    return {
        "dataset": run.dataset,
        "id": run.id,
        "kind": str(run.kind),
        "job": run.job,
        "state": str(run.state),
        "attempt": run.attempt,
        "failures": run.failures,
        "blobs": run.blobs,
        "events": run.events,
        "inputs": _places(run.inputs),
        "planned_at": run.planned_at,
        "due_at": run.due_at,
        "ended_at": run.ended_at,
        "job_run": run.job_run,
        "message": _storable(run.message),
        "counts": Jsonb(dict(run.counts)),
        "traceparent": run.traceparent,
        "version": int(run.version or 0),
    }


def _run_of(row: DictRow) -> Run:
    ended_at = row["ended_at"]
    return Run(
        id=row["id"],
        dataset=row["dataset"],
        kind=RunKind(row["kind"]),
        job=row["job"],
        state=RunState(row["state"]),
        attempt=row["attempt"],
        failures=row["failures"],
        blobs=row["blobs"],
        events=row["events"],
        inputs=_planned_of(row["inputs"]),
        planned_at=row["planned_at"].astimezone(UTC),  # The server's zone is its own business.
        due_at=row["due_at"].astimezone(UTC),
        job_run=row["job_run"],
        ended_at=ended_at.astimezone(UTC) if ended_at else None,
        message=row["message"],
        counts=row["counts"],
        traceparent=row["traceparent"],
        version=str(row["version"]),
    )


def _places(planned: Mapping[str, Planned]) -> Jsonb:
    return Jsonb(
        {name: {"sequence": place.sequence, "blob": place.blob} for name, place in planned.items()}
    )


def _planned_of(places: Mapping[str, Any]) -> dict[str, Planned]:
    return {name: Planned(**place) for name, place in places.items()}


def _storable(text: str) -> str:
    """What a job says may hold anything; the database takes neither NUL nor half a character."""
    whole = text[:_MESSAGE_CHARACTERS_MAX].replace("\0", "")
    return whole.encode(errors="replace").decode()
