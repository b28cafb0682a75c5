"""SQL views: what can be asked in SQL, the same in Synapse and on this machine.

Tables are in the usual schema (`dbo` in Synapse, `main` here), so that a question names them alike
everywhere; what the pipeline says of itself is in the schema `operations`, for its own readers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.domain.dataset import Curated, Dataset
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from shared.domain.document import Document

OPERATIONS = "operations"
RUNS = "runs"
REFUSED = "refused"
#: Rows that a source has deleted stay in the table, marked; no view shows them. Nor does a history
#: show versions that repeat the one before.
DELETED = "_deleted"
_REPEATED = "_repeated"

#: Where a row comes from: the moment its event reached the hub, and the run that wrote it.
_ORIGIN = {"_enqueued_at": "timestamp", "_run": "string"}
_HISTORY = {"validFrom": "timestamp", "validTo": "timestamp", "isCurrent": "boolean"}

#: Column of `operations.runs`: its path in the run's JSON, and its type.
RUN_COLUMNS = {
    "id": ("$.id", "string"),
    "dataset": ("$.dataset", "string"),
    "kind": ("$.kind", "string"),
    "job": ("$.job", "string"),
    "state": ("$.state", "string"),
    "attempt": ("$.attempt", "integer"),
    "failures": ("$.failures", "integer"),
    "blobs": ("$.blobs", "long"),
    "events": ("$.events", "long"),
    "planned_at": ("$.plannedAt", "timestamp"),
    "ended_at": ("$.endedAt", "timestamp"),
    "job_run": ("$.jobRun", "long"),
    "message": ("$.message", "json"),  # As long as it likes.
    "records": ("$.counts.records", "long"),
    "inserted": ("$.counts.inserted", "long"),
    "updated": ("$.counts.updated", "long"),
    "deleted": ("$.counts.deleted", "long"),
    "duplicates": ("$.counts.duplicates", "long"),
    "older": ("$.counts.older", "long"),
    "quarantined": ("$.counts.quarantined", "long"),
    "table_version": ("$.counts.tableVersion", "long"),
}
#: Columns of the tables of refused records.
REFUSED_COLUMNS = {
    "reason": "string",
    "run_id": "string",
    "blob": "string",
    "partition": "string",
    "sequence_number": "long",
    "line": "integer",
    "enqueued_time": "timestamp",
    "body": "binary",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaView:
    """A view over one Delta table; it shows the rows for which none of its `marks` is true."""

    name: str
    container: str
    folder: str
    columns: Mapping[str, str] = field(repr=False)
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CuratedView:
    """A view that is SQL over others: what Spark would run stands in the file at `path`.

    `reads` are the views that the SQL may name: tables, and histories where there are any.
    """

    name: str
    path: Path
    reads: tuple[str, ...]

    def sql(self) -> str:
        """What the file says; raise `Misconfigured` when it is not there."""
        try:
            return self.path.read_text(encoding="utf-8")
        except OSError as error:
            raise Misconfigured(
                str(self.path),
                f"cannot be read: {error.strerror}; a curated view is the SQL in this file",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedView:
    """A view over the refused records of one dataset."""

    name: str
    dataset: str

    container: str = "quarantine"

    @property
    def folder(self) -> str:
        """Where the Delta table is in the container."""
        return f"refused/{self.dataset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlViews:
    """All views of a document; a curated one comes after those it reads."""

    tables: tuple[DeltaView | CuratedView, ...]
    refused: tuple[RefusedView, ...]


def views_of(document: Document, *, curated_folder: Path) -> SqlViews:
    """The views; raise `Misconfigured` when two have one name."""
    tables = tuple(view for part in document.tables for view in _of(part, document, curated_folder))
    names = [view.name.lower() for view in tables]
    for view in tables:
        if names.count(view.name.lower()) > 1:
            raise Misconfigured(
                "pipeline.json",
                f"gives two tables the name {view.name} in SQL: a dataset must not be called like "
                "the history of another; rename one of them",
            )
    refused = tuple(
        RefusedView(name=f"{dataset.table}_{REFUSED}", dataset=dataset.name)
        for dataset in document.datasets
    )
    return SqlViews(tables=tables, refused=refused)


def _of(
    part: Dataset | Curated, document: Document, curated_folder: Path
) -> Iterator[DeltaView | CuratedView]:
    if isinstance(part, Dataset):
        yield from _of_dataset(part)
    elif part.kind == "view":
        reads = tuple(view for name in part.reads for view in _names(document.table(name)))
        path = curated_folder / f"{part.name}.sql"
        yield CuratedView(name=part.table, path=path, reads=reads)
    else:
        yield DeltaView(
            name=part.table, container="curated", folder=part.name, columns=part.columns
        )


def _of_dataset(dataset: Dataset) -> Iterator[DeltaView]:
    columns = {name: column.type for name, column in dataset.columns.items()}
    if dataset.keep_rest:
        columns["_rest"] = "json"
    yield DeltaView(
        name=dataset.table,
        container="clean",
        folder=dataset.name,
        columns=columns | _ORIGIN,
        marks=(DELETED,),
    )
    if dataset.history:
        yield DeltaView(
            name=f"{dataset.table}_history",
            container="clean",
            folder=f"{dataset.name}_history",
            columns=columns | _HISTORY | _ORIGIN,
            marks=(DELETED, _REPEATED),
        )


def _names(part: Dataset | Curated) -> Iterator[str]:
    yield part.table
    if isinstance(part, Dataset) and part.history:
        yield f"{part.table}_history"


def columns_in_spark(view: DeltaView) -> dict[str, str]:
    """The columns that curated SQL sees: of our own, only when the row's event reached the hub."""
    return {
        name: kind
        for name, kind in view.columns.items()
        if name == "_enqueued_at" or not name.startswith("_")
    }
