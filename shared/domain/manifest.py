"""The manifest: all that a job needs to know of one run, as JSON, written before the run exists.

Version 1. Every manifest has `version`, `kind`, `run`, `document` (the digest of pipeline.json),
`plannedAt` and `storage` (root URL of each container). A clean one has `dataset` and `blobs`; a
curated one `curated`, `inputs` and the `views` it reads through; a maintenance one `tables` and
`retainHours`. One with a `traceparent` was planned in that trace. Whoever reads a manifest must not
mind keys that it does not know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.domain import trace
from shared.domain.cloud_event import rfc3339
from shared.domain.dataset import Curated, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.domain.document import Document
    from shared.domain.raw_blob import RawHead
    from shared.domain.run import Run

#: Files that no version within a week needs are deleted: time travel reaches back so far.
RETAIN_HOURS = 168


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a curated run reads of one table: a Delta version, and whose rows are new in it."""

    table: Dataset | Curated
    version: int
    runs: tuple[str, ...]


def manifest_of(
    run: Run, heads: list[RawHead], *, document: Document, storage: Mapping[str, str]
) -> bytes:
    """The manifest of a clean run."""
    dataset = document.dataset(run.dataset)
    return _manifest(
        run,
        document,
        storage,
        dataset=dataset.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        blobs=[
            {
                "name": head.name,
                "partition": head.partition.id,
                "sequenceFirst": head.sequence_first,
                "sequenceLast": head.sequence_last,
                "events": head.events,
                "records": head.records,
                "bytes": head.size_bytes,
                "digest": head.digest,
            }
            for head in heads
        ],
    )


def curated_manifest(
    run: Run,
    curated: Curated,
    inputs: Iterable[Input],
    *,
    document: Document,
    storage: Mapping[str, str],
) -> bytes:
    """The manifest of a curated run."""
    return _manifest(
        run,
        document,
        storage,
        curated=_dump(curated),
        inputs=[
            {
                "name": each.table.name,
                "kind": kind_of(each.table),
                "version": each.version,
                "runs": list(each.runs),
            }
            for each in inputs
        ],
        views=[_dump(view) for view in views_of(curated, document)],
    )


def maintenance_manifest(
    run: Run, table: Dataset | Curated, *, document: Document, storage: Mapping[str, str]
) -> bytes:
    """The manifest of a maintenance run: the table, and its history if it keeps one."""
    names = [table.name]
    if isinstance(table, Dataset) and table.history:
        names.append(f"{table.name}_history")
    return _manifest(
        run,
        document,
        storage,
        tables=[{"name": name, "kind": kind_of(table)} for name in names],
        retainHours=RETAIN_HOURS,
    )


def kind_of(table: Dataset | Curated) -> str:
    """Where a table lies: among the clean ones or the curated ones."""
    return "curated" if isinstance(table, Curated) else "clean"


def inputs_of(curated: Curated, document: Document) -> list[Dataset | Curated]:
    """The tables whose rows a curated one reads, directly or through views."""
    views = views_of(curated, document)
    names = {name for each in (curated, *views) for name in each.reads}
    names -= {view.name for view in views}
    return [table for table in document.tables if table.name in names]


def views_of(curated: Curated, document: Document) -> list[Curated]:
    """The views that a curated table reads, those first that others read."""
    known = {each.name: each for each in document.curated if each.kind == "view"}
    found: set[str] = set()
    unread = [name for name in curated.reads if name in known]
    while unread:
        name = unread.pop()
        found.add(name)
        unread += [other for other in known[name].reads if other in known]
    return [view for view in known.values() if view.name in found]


def _manifest(run: Run, document: Document, storage: Mapping[str, str], **content: object) -> bytes:
    common: dict[str, Any] = {
        "version": 1,
        "kind": str(run.kind),
        "run": run.id,
        "document": document.digest,
        "plannedAt": rfc3339(run.planned_at),
        "storage": dict(storage),
    }
    if run.traceparent:
        common[trace.ATTRIBUTE] = run.traceparent
    return json.dumps(common | content).encode()


def _dump(part: Curated) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True)
