"""Table Storage: the ledger.

One partition a dataset, so that a run and the progress it covers change together (entity group
transaction).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableTransactionError, UpdateMode

from shared.domain.cloud_event import rfc3339
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.run import Planned, Progress, Run, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from azure.data.tables import TableEntity
    from azure.data.tables.aio import TableClient

TABLE = "runs"
_PROGRESS = "progress"
_RUN = "run-"
_CONFLICTS = {409, 412}  # The entity exists; its version has moved.
_FORBIDDEN = {401, 403}


class TableLedger:
    """Ledger: rows `run-<id>` and one row `progress` in each dataset's partition."""

    def __init__(self, table: TableClient) -> None:
        """`table` is closed by whoever opened it."""
        self._table = table

    async def progress(self, dataset: str) -> Progress:
        """Read the row and its version."""
        with _errors(f"reading the progress of {dataset}"):
            try:
                entity = await self._table.get_entity(dataset, _PROGRESS)
            except ResourceNotFoundError:
                return Progress(dataset=dataset)
        planned = json.loads(entity["planned"])
        return Progress(
            dataset=dataset,
            planned={partition: Planned(**place) for partition, place in planned.items()},
            run_open=entity["run_open"],
            version=str(entity.metadata["etag"]),
        )

    async def open_run(self, run: Run, progress: Progress) -> bool:
        """Insert the run and replace the progress in one transaction."""
        return await self._together(("create", _run_entity(run)), progress)

    async def close_run(self, run: Run, progress: Progress) -> bool:
        """Replace both rows in one transaction."""
        return await self._together(("update", _run_entity(run), _if_still(run.version)), progress)

    async def update_run(self, run: Run) -> bool:
        """Replace the row (`If-Match`)."""
        with _errors(f"noting run {run.id}"):
            try:
                await self._table.update_entity(_run_entity(run), **_if_still(run.version))
            except ResourceModifiedError:
                return False
        return True

    async def run(self, dataset: str, run_id: str) -> Run | None:
        """Read one row."""
        with _errors(f"reading run {run_id}"):
            try:
                return _run_of(await self._table.get_entity(dataset, _RUN + run_id))
            except ResourceNotFoundError:
                return None

    async def runs(self, dataset: str) -> Sequence[Run]:
        """Read all rows of the dataset, the newest first."""
        query = "PartitionKey eq @dataset and RowKey ge 'run-' and RowKey lt 'run.'"
        with _errors(f"listing runs of {dataset}"):
            entities = self._table.query_entities(query, parameters={"dataset": dataset})
            runs = [_run_of(entity) async for entity in entities]
        return sorted(runs, key=lambda run: run.planned_at, reverse=True)

    async def _together(self, change: tuple[Any, ...], progress: Progress) -> bool:
        entity = _progress_entity(progress)
        unchanged = _if_still(progress.version)
        moved = ("update", entity, unchanged) if progress.version else ("create", entity)
        with _errors(f"planning {progress.dataset}"):
            try:
                await self._table.submit_transaction([change, moved])
            except TableTransactionError as error:
                if error.status_code in _CONFLICTS:
                    return False
                raise
        return True


def _if_still(version: str) -> dict[str, Any]:
    """Options of a replacement that is refused when the row has changed."""
    return {
        "mode": UpdateMode.REPLACE,
        "etag": version,
        "match_condition": MatchConditions.IfNotModified,
    }


def _progress_entity(progress: Progress) -> dict[str, Any]:
    planned = {
        partition: {"sequence": place.sequence, "blob": place.blob}
        for partition, place in progress.planned.items()
    }
    return {
        "PartitionKey": progress.dataset,
        "RowKey": _PROGRESS,
        "planned": json.dumps(planned),
        "run_open": progress.run_open,
    }


def _run_entity(run: Run) -> dict[str, Any]:
    return {
        "PartitionKey": run.dataset,
        "RowKey": _RUN + run.id,
        "job": run.job,
        "state": str(run.state),
        "attempt": run.attempt,
        "blobs": run.blobs,
        "events": run.events,
        "planned_at": rfc3339(run.planned_at),
        "due_at": rfc3339(run.due_at),
        "ended_at": rfc3339(run.ended_at) if run.ended_at else "",
        # Numbers of job runs pass 2^31; a plain integer would be a 32-bit column.
        "job_run": "" if run.job_run is None else str(run.job_run),
        "message": run.message[:8000],  # A property holds 64 KiB; a reason needs less.
        "counts": json.dumps(dict(run.counts)),
    }


def _run_of(entity: TableEntity) -> Run:
    ended_at = entity["ended_at"]
    return replace(
        Run(
            id=entity["RowKey"].removeprefix(_RUN),
            dataset=entity["PartitionKey"],
            job=entity["job"],
            state=RunState(entity["state"]),
            blobs=entity["blobs"],
            events=entity["events"],
            planned_at=datetime.fromisoformat(entity["planned_at"]),
            due_at=datetime.fromisoformat(entity["due_at"]),
        ),
        attempt=entity["attempt"],
        job_run=int(entity["job_run"]) if entity["job_run"] else None,
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        message=entity["message"],
        counts=json.loads(entity["counts"]),
        version=str(entity.metadata["etag"]),
    )


@contextmanager
def _errors(doing: str) -> Iterator[None]:
    try:
        yield
    except HttpResponseError as error:
        if error.status_code in _FORBIDDEN:
            raise Misconfigured("LAKE", f"access refused while {doing}") from error
        raise TryLater(f"table storage answered {error.status_code} while {doing}") from error
    except AzureError as error:
        raise TryLater(f"table storage cannot be reached while {doing}: {error}") from error
