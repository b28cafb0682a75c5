"""A lake for SQL: Delta tables as the transform writes them, one of an older version, and runs."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]  # It has no types.
from azure.storage.blob import BlobServiceClient
from deltalake import write_deltalake
from typer.testing import CliRunner

from cli.__main__ import commands
from cli.tables import Tables
from shared.domain.run import Run, RunKind, RunState, described
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOMENT = pa.timestamp("us", "UTC")
THINGS = {
    "id": "string",
    "count": "integer",
    "big": "long",
    "weight": "double",
    "price": "decimal(10,2)",
    "good": "boolean",
    "day": "date",
    "seen": "timestamp",
    "extra": "json",
}
DOCUMENT: dict[str, Any] = {
    "name": "test",
    "eventhubs": [{"material": "things"}],
    "datasets": [
        {
            "name": "all-things",
            "consumes": "things",
            "primaryKey": ["id"],
            "history": True,
            "keepRest": True,
            "columns": {name: {"type": kind} for name, kind in THINGS.items()},
        },
        {
            "name": "old",
            "consumes": "things",
            "primaryKey": ["id"],
            "columns": {"id": {"type": "string"}, "added": {"type": "long"}},
        },
        {
            "name": "absent",
            "consumes": "things",
            "primaryKey": ["id"],
            "history": True,
            "columns": {"id": {"type": "string"}, "price": {"type": "decimal(8,3)"}},
        },
    ],
    "curated": [
        {"name": "totals", "reads": ["all-things"], "columns": {"day": "date", "n": "long"}},
        {"name": "good-things", "reads": ["all-things"], "kind": "view"},
        {"name": "better-things", "reads": ["good-things"], "kind": "view"},
    ],
}
VIEWS = {
    "good-things": "SELECT id, price, price > 1 AS dear, seen FROM all_things WHERE good",
    "better-things": "SELECT count(*) AS n, sum(price) AS total FROM good_things WHERE dear",
}
COLUMNS = {
    "id": pa.string(), "count": pa.int32(), "big": pa.int64(), "weight": pa.float64(),
    "price": pa.decimal128(10, 2), "good": pa.bool_(), "day": pa.date32(), "seen": MOMENT,
    "extra": pa.string(), "_rest": pa.string(), "_sequence": pa.int64(), "_run": pa.string(),
    "_enqueued_at": MOMENT, "_deleted": pa.bool_(),
}  # fmt: skip


def thing(name: str, *, deleted: bool = False, **changes: Any) -> dict[str, Any]:
    """A row of the table, with a value in every column."""
    usual = {
        "id": name, "count": 1, "big": 2**40, "weight": 0.5, "price": Decimal("1.10"),
        "good": True, "day": date(2026, 11, 20), "seen": NOON, "extra": '{"a": 1}',
        "_rest": "{}", "_sequence": 1, "_run": "run-1", "_enqueued_at": NOON, "_deleted": deleted,
    }  # fmt: skip
    return usual | changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lake:
    """What was written, and how to ask for it."""

    folder: Path
    connection_string: str
    opened: Tables | None = None

    @property
    def settings(self) -> Settings:
        """As the function app and the commands know the lake."""
        return Settings.read(self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to know."""
        return {"LAKE": self.connection_string, "PIPELINE_FILE": str(self.folder / "p.json")}

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of an answer."""
        assert self.opened is not None
        return self.opened.answer(sql)[1]

    def tables(self) -> Tables:
        """The database that answers."""
        return Tables(self.settings, curated_folder=self.folder)

    def millrace(self, *arguments: str, text: str | None = None) -> Result:
        """Run a command; what it raises is `exception`."""
        return CliRunner().invoke(commands, arguments, input=text, env=self.environment)


@contextmanager
def filled_lake(connection_string: str, folder: Path) -> Iterator[Lake]:
    """The lake with everything in it, opened; the document and its SQL are in `folder`."""
    (folder / "p.json").write_text(json.dumps(DOCUMENT))
    for name, sql in VIEWS.items():
        (folder / f"{name}.sql").write_text(sql)
    with make_containers(connection_string) as blobs:
        _write_tables(connection_string)
        _write_runs(blobs)
    found = Lake(folder=folder, connection_string=connection_string)
    with found.tables() as tables:
        yield replace(found, opened=tables)


@contextmanager
def make_containers(connection_string: str) -> Iterator[BlobServiceClient]:
    """A client of a storage that has the lake's containers."""
    with BlobServiceClient.from_connection_string(connection_string) as blobs:
        existing = {container.name for container in blobs.list_containers()}
        for name in ("clean", "curated", "quarantine", "state"):
            if name not in existing:
                blobs.create_container(name)
        yield blobs


def _write_tables(connection_string: str) -> None:
    rows = [
        thing("a"), thing("b", price=Decimal("0.90")), thing("c", good=False),
        thing("d", deleted=True), thing("e", seen=None, price=Decimal("12345678.99")),
    ]  # fmt: skip
    write_table(connection_string, "clean/all-things", rows, COLUMNS)
    versions = [
        thing(
            "a", count=count, validFrom=start, validTo=end, isCurrent=end is None, _repeated=False
        )
        for count, start, end in (
            (1, NOON, NOON + timedelta(hours=1)),
            (2, NOON + timedelta(hours=1), None),
        )
    ]
    versions += [versions[1] | {"_repeated": True}, versions[1] | {"_deleted": True}]
    derived = {"validFrom": MOMENT, "validTo": MOMENT, "isCurrent": pa.bool_()}
    columns = COLUMNS | derived | {"_repeated": pa.bool_()}
    write_table(connection_string, "clean/all-things_history", versions, columns)
    write_table(connection_string, "clean/old", [{"id": "x"}], {"id": pa.string()})
    total = {"day": date(2026, 11, 20), "n": 4}
    write_table(connection_string, "curated/totals", [total], {"day": pa.date32(), "n": pa.int64()})
    refused = {
        "run_id": pa.string(), "reason": pa.string(), "blob": pa.string(),
        "partition": pa.string(), "sequence_number": pa.int64(), "line": pa.int32(),
        "enqueued_time": MOMENT, "body": pa.binary(),
    }  # fmt: skip
    bad = {
        "run_id": "run-1", "reason": "id:missing", "blob": "b.avro", "partition": "0",
        "sequence_number": 7, "line": 1, "enqueued_time": NOON, "body": b'{"n":1}',
    }  # fmt: skip
    broken = bad | {"reason": "not-utf8", "line": 2, "body": b"\xff\xfe"}
    write_table(connection_string, "quarantine/refused/all-things", [bad, broken], refused)


def write_table(
    connection_string: str, place: str, rows: list[dict[str, Any]], columns: dict[str, pa.DataType]
) -> None:
    """Make or replace a Delta table at `<container>/<folder>`."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    options = {
        "azure_storage_account_name": parts["AccountName"],
        "azure_storage_account_key": parts["AccountKey"],
        "endpoint": parts["BlobEndpoint"],
        "allow_http": "true",
    }
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(columns.items())))
    write_deltalake(f"az://{place}", table, mode="overwrite", storage_options=options)


def _write_runs(blobs: BlobServiceClient) -> None:
    first = Run(
        id="run-1", dataset="all-things", job="transform", state=RunState.SUCCEEDED, blobs=2,
        events=9, planned_at=NOON, due_at=NOON, ended_at=NOON + timedelta(minutes=1), job_run=5,
        counts={"records": 40, "inserted": 39, "quarantined": 1, "tableVersion": 3},
    )  # fmt: skip
    second = replace(first, id="run-2", dataset="old", kind=RunKind.MAINTENANCE, counts={})
    for run in (first, replace(second, state=RunState.RUNNING, ended_at=None)):
        blob = blobs.get_blob_client("state", f"runs/{run.dataset}/{run.id}.json")
        blob.upload_blob(json.dumps(described(run)), overwrite=True)
