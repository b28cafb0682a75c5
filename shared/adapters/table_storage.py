"""Table Storage: the ledger.

One partition a dataset, so that a run and the progress it covers change together (entity group
transaction).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableTransactionError, UpdateMode

from shared.domain.cloud_event import rfc3339
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.run import Planned, Progress, Run, RunKind, RunState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
        return Progress(
            dataset=dataset,
            planned=_places_of(entity["planned"]),
            run_open=entity["run_open"],
            run_succeeded=entity.get("run_succeeded", ""),
            queued=tuple(json.loads(entity.get("queued", "[]"))),
            version=str(entity.metadata["etag"]),
        )

    async def replace_progress(self, progress: Progress) -> bool:
        """Replace the row (`If-Match`), or insert it."""
        entity = _progress_entity(progress)
        with _errors(f"noting the progress of {progress.dataset}"):
            try:
                if progress.version:
                    await self._table.update_entity(entity, **_if_still(progress.version))
                else:
                    await self._table.create_entity(entity)
            except (ResourceModifiedError, ResourceExistsError):
                return False
        return True

    async def open_run(self, run: Run, progress: Progress) -> bool:
        """Insert the run and replace the progress in one transaction."""
        return await self._together(("create", _run_entity(run)), progress)

    async def close_run(self, run: Run, progress: Progress) -> bool:
        """Replace both rows in one transaction."""
        return await self._together(("update", _run_entity(run), _if_still(run.version)), progress)

    async def reopen_run(self, run: Run, progress: Progress) -> bool:
        """Replace both rows in one transaction."""
        return await self.close_run(run, progress)

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

    async def runs(self, dataset: str, *, ended_since: datetime | None = None) -> Sequence[Run]:
        """Read the rows of the table, filtered by the service, the newest first."""
        query = "PartitionKey eq @dataset and RowKey ge 'run-' and RowKey lt 'run.'"
        parameters = {"dataset": dataset}
        if ended_since is not None:  # Texts of one length sort as the moments do.
            query += " and ended_at ge @since"
            parameters["since"] = rfc3339(ended_since)
        with _errors(f"listing runs of {dataset}"):
            entities = self._table.query_entities(query, parameters=parameters)
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
    return {
        "PartitionKey": progress.dataset,
        "RowKey": _PROGRESS,
        "planned": _places_text(progress.planned),
        "run_open": progress.run_open,
        "run_succeeded": progress.run_succeeded,
        "queued": json.dumps(progress.queued),
    }


def _places_text(places: Mapping[str, Planned]) -> str:
    return json.dumps({name: asdict(place) for name, place in places.items()})


def _places_of(text: str) -> dict[str, Planned]:
    return {name: Planned(**place) for name, place in json.loads(text).items()}


def _run_entity(run: Run) -> dict[str, Any]:
    return {
        "PartitionKey": run.dataset,
        "RowKey": _RUN + run.id,
        "kind": str(run.kind),
        "job": run.job,
        "state": str(run.state),
        "attempt": run.attempt,
        "failures": run.failures,
        "blobs": run.blobs,
        "events": run.events,
        "inputs": _places_text(run.inputs),
        "planned_at": rfc3339(run.planned_at),
        "due_at": rfc3339(run.due_at),
        "ended_at": rfc3339(run.ended_at) if run.ended_at else "",
        # Numbers of job runs pass 2^31; a plain integer would be a 32-bit column.
        "job_run": "" if run.job_run is None else str(run.job_run),
        "message": run.message[:8000],  # A property holds 64 KiB; a reason needs less.
        "counts": json.dumps(dict(run.counts)),
        "traceparent": run.traceparent,
    }


def _run_of(entity: TableEntity) -> Run:
    ended_at = entity["ended_at"]
    return replace(
        Run(
            id=entity["RowKey"].removeprefix(_RUN),
            dataset=entity["PartitionKey"],
            kind=RunKind(entity.get("kind", RunKind.CLEAN)),
            job=entity["job"],
            state=RunState(entity["state"]),
            blobs=entity["blobs"],
            events=entity["events"],
            planned_at=datetime.fromisoformat(entity["planned_at"]),
            due_at=datetime.fromisoformat(entity["due_at"]),
        ),
        attempt=entity["attempt"],
        failures=entity.get("failures", 0),
        inputs=_places_of(entity.get("inputs", "{}")),
        job_run=int(entity["job_run"]) if entity["job_run"] else None,
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        message=entity["message"],
        counts=json.loads(entity["counts"]),
        traceparent=entity.get("traceparent", ""),
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
