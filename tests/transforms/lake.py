"""What the tests of the transform are made of: a lake on Azurite, small events, and runs."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import fastavro

from shared.domain.raw_blob import SCHEMA
from transforms.delta import table_types
from transforms.job import do_run
from transforms.result import TableWritten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from azure.storage.blob import BlobServiceClient
    from pyspark.sql import SparkSession


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTAINERS = ("raw", "clean", "curated", "quarantine", "state")

RECORDS = "dev.millrace.records"
DELETIONS = "dev.millrace.deletions"

type Json = dict[str, Any]
#: A record as a dictionary, or the bytes of a line that no dictionary would give.
type Record = Json | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A raw event; a second after noon a sequence number, unless told otherwise."""

    sequence: int
    body: bytes
    partition: str = "0"
    second: int | None = None
    quarantined: str = ""
    id: str = ""
    type: str = RECORDS

    @property
    def enqueued_at(self) -> datetime:
        """When the hub took it."""
        return NOON + timedelta(seconds=self.sequence if self.second is None else self.second)

    def to_avro(self) -> Json:
        """Return the event as the raw blob holds it."""
        return {
            "sequence_number": self.sequence,
            "offset": str(self.sequence),
            "enqueued_time": self.enqueued_at,
            "partition": self.partition,
            "attributes": {"id": self.id or f"event-{self.sequence}", "type": self.type},
            "quarantined": self.quarantined,
            "body": self.body,
        }


def event(
    sequence: int,
    *records: Record,
    partition: str = "0",
    second: int | None = None,
    id: str = "",  # noqa: A002 -- What CloudEvents calls it.
) -> Event:
    """An event of these records, one a line."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    body = b"\n".join(lines)
    return Event(sequence=sequence, body=body, partition=partition, second=second, id=id)


def deletions(sequence: int, *keys: str, partition: str = "0", second: int | None = None) -> Event:
    """An event that says which records of `dataset()` are gone from the source."""
    records = event(sequence, *({"id": key} for key in keys), partition=partition, second=second)
    return replace(records, type=DELETIONS)


def dataset(**changes: Any) -> Json:
    """A dataset as `pipeline.json` says it; `changes` replace its parts."""
    usual = {
        "consumes": "things",
        "primaryKey": ["id"],
        "incrementalField": "updated",
        "columns": {
            "id": {"type": "string", "required": True},
            "updated": {"type": "long"},
            "value": {"type": "double"},
        },
    }
    parts = usual | changes
    return {name: part for name, part in parts.items() if part is not None}


def thing(key: str, *, updated: int | None = 1, value: float | None = 1) -> Json:
    """A record of `dataset()`."""
    return {"id": key, "updated": updated, "value": value}


@dataclass(slots=True, kw_only=True)
class Lake:
    """Containers on Azurite, in which a test has a dataset of its own."""

    session: SparkSession
    blobs: BlobServiceClient
    name: str
    _counter: itertools.count[int] = field(default_factory=itertools.count)

    def url(self, container: str, path: str = "") -> str:
        """The URL of a container or of something in it, as in Azure."""
        root = f"abfss://{container}@{self.blobs.account_name}.dfs.core.windows.net"
        return f"{root}/{path}" if path else root

    @property
    def table_url(self) -> str:
        """Where the table is."""
        return self.url("clean", self.name)

    def land(self, *events: Event, hub: str = "20261120T000000") -> Json:
        """Write a raw blob and return how a manifest names it; `hub` is when the hub was made."""
        partition, first = events[0].partition, events[0].sequence
        blob = f"{self.name}/{next(self._counter)}/p{partition}-{hub}-{first:020d}.avro"
        content = io.BytesIO()
        rows = [each.to_avro() for each in events]
        fastavro.writer(content, fastavro.parse_schema(SCHEMA), rows, codec="zstandard")
        self.put("raw", blob, content.getvalue())
        return {
            "name": blob,
            "partition": partition,
            "sequenceFirst": events[0].sequence,
            "sequenceLast": events[-1].sequence,
            "events": len(events),
            "records": len(events),
            "bytes": len(content.getvalue()),
        }

    def plan(self, run: str, *blobs: Json, dataset: Mapping[str, Any]) -> str:
        """Write a clean run's manifest and return its URL."""
        return self.plan_any(run, dataset={"name": self.name, **dataset}, blobs=blobs)

    def plan_any(self, run: str, **content: Any) -> str:
        """Write a manifest of any kind and return its URL."""
        manifest = {
            "version": 1,
            "run": run,
            "document": "0" * 64,
            "plannedAt": "2026-11-20T18:00:00Z",
            "storage": {container: self.url(container) for container in CONTAINERS},
            **content,
        }
        path = f"manifests/{self.name}/{run}.json"
        self.put("state", path, json.dumps(manifest).encode())
        return self.url("state", path)

    def run(self, run: str, *blobs: Json, dataset: Mapping[str, Any]) -> TableWritten:
        """Plan a run and do it."""
        return self.run_planned(run, self.plan(run, *blobs, dataset=dataset))

    def run_planned(self, run: str, manifest_url: str) -> TableWritten:
        """Do a planned run."""
        done = do_run(self.session, run=run, manifest_url=manifest_url)
        assert isinstance(done, TableWritten)
        return done

    def run_events(self, run: str, *events: Event, **changes: Any) -> TableWritten:
        """Land events in one blob and run over it, with `dataset(**changes)`."""
        return self.run(run, self.land(*events), dataset=dataset(**changes))

    def put(self, container: str, path: str, content: bytes) -> None:
        """Write a blob."""
        self.blobs.get_blob_client(container, path).upload_blob(content, overwrite=True)

    def files(self, container: str, folder: str) -> dict[str, bytes]:
        """Every blob below a folder, by its path below it."""
        client = self.blobs.get_container_client(container)
        return {
            name.removeprefix(f"{folder}/"): client.download_blob(name).readall()
            for name in client.list_blob_names(name_starts_with=f"{folder}/")
        }

    def rows(self) -> list[Json]:
        """The table, ordered by everything in it."""
        return self.read(self.table_url)

    def values(self, *names: str) -> list[tuple[Any, ...]]:
        """Some columns of the table."""
        return [tuple(row[name] for name in names) for row in self.rows()]

    def history(self, *names: str) -> list[tuple[Any, ...]]:
        """Some columns of the history as people see it: without repetitions and deletions."""
        seen = [
            row
            for row in self.read(f"{self.table_url}_history")
            if not (row["_deleted"] or row["_repeated"])
        ]
        return [tuple(row[name] for name in names) for row in seen]

    def quarantined(self) -> list[Json]:
        """The records in quarantine."""
        return self.read(self.url("quarantine", f"refused/{self.name}"))

    def read(self, url: str) -> list[Json]:
        """A Delta table, ordered by everything in it."""
        if table_types(self.session, url) is None:
            return []
        rows = self.session.read.format("delta").load(url).collect()
        return sorted((row.asDict() for row in rows), key=repr)
