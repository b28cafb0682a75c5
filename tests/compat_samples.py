"""One sample of everything that one version writes and another reads, always the same.

`python -m tests.compat_samples tests/compat/v1` writes the files that are missing. A file that is
there is never written again: it is what a released version wrote.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.adapters import raw_avro, raw_blobs, table_storage
from shared.domain import cloud_event, cursor, manifest, quarantine_text, raw_blob
from shared.domain.cursor import Cursor, Frame, Known
from shared.domain.dataset import Curated
from shared.domain.page import Request, Validators
from shared.domain.quarantine import Decision, Quarantined, State
from shared.domain.run import Planned, Progress, Run, RunKind, RunState
from tests.builders import NOON, PARTITION, blob, document, head
from transforms.result import CuratedWritten, TablesMaintained, TableWritten

if TYPE_CHECKING:
    from collections.abc import Callable

TRACEPARENT = "00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-01"
STORAGE = {
    name: f"abfss://{name}@lake" for name in ("raw", "clean", "curated", "quarantine", "state")
}
RUN = Run(
    id="quakes-0123456789ab",
    dataset="quakes",
    job="transform",
    state=RunState.RUNNING,
    attempt=2,
    failures=1,
    blobs=1,
    events=5,
    inputs={"other": Planned(sequence=7, blob="other-1")},
    planned_at=NOON,
    due_at=NOON + timedelta(seconds=2),
    job_run=2**40,
    message="was away",
    counts={"records": 5, "tableVersion": 3},
    traceparent=TRACEPARENT,
)
PROGRESS = Progress(
    dataset="quakes",
    planned={PARTITION.label: Planned(sequence=4, blob="quakes/2026/11/20/12/p0.avro")},
    run_open=RUN.id,
    run_succeeded="quakes-1",
    queued=("quakes-maintenance-20261120",),
)
EVENT = cloud_event.of_records(
    b'{"id":"a"}\n{"id":"b"}',
    source="tool",
    records=2,
    group=3,
    now=NOON,
    expires=NOON + timedelta(days=1),
)
BLOB = blob(0, 4)
HEAD = head(0, 4)
TIP = HEAD.tip
CURSOR = Cursor(
    value=1_763_640_000_000_000,
    answers={
        "items?page=1": Known(
            validators=Validators(etag='"a"', last_modified="Fri, 20 Nov 2026 12:00:00 GMT"),
            records=2,
            following=Request(page=2),
        )
    },
    digest="0123456789abcdef",
    journal=2,
    keyed=True,
    unfinished=True,
    began_at=99,
    claimed_until=NOON,
    resting_until=NOON,
    records_sent=5,
    events_sent=1,
    changed_at="2026-11-20T12:00:00.000Z",
)
FRAME = Frame(
    state={"page": 2}, contents=b"c" * 8, names=b"n" * 8, entries=b"e" * 16, keys=b"k" * 12
)
ENTRY = Quarantined(
    kind="events",
    material="quakes",
    origin="p0-20261120T000000-00000000000000000004",
    reason="expired",
    detail="expired at noon",
    seen_at=NOON,
    attributes={"id": "a"},
    body=b"\xff\x00",
    decision=Decision(state=State.REPLAYED, at=NOON, by="cli", repaired=("body",)),
)
CURATED = Curated.model_validate({
    "name": "largest", "reads": ["quakes"], "kind": "table", "primaryKey": ["id"],
    "columns": {"id": "string"},
})  # fmt: skip
RESULTS = (
    TableWritten(
        run=RUN.id, dataset="quakes", events=5, bytes=99, records=9, duplicates=1, older=1,
        inserted=3, updated=1, deleted=1, ignored=1, quarantined=1, table_version=3,
        history_version=2, lineage={"run": RUN.id},
    ),
    CuratedWritten(run=RUN.id, table="largest", rows=2, inserted=1, table_version=4),
    TablesMaintained(
        run=RUN.id, files_before=3, files_after=1, files_deleted=2, table_version=5
    ),
)  # fmt: skip


def _event() -> bytes:
    content = {"properties": cloud_event.properties_of(EVENT), "body": EVENT.body.decode()}
    return _json(content)


def _clean() -> bytes:
    return manifest.manifest_of(RUN, [HEAD], document=document(), storage=STORAGE)


def _curated() -> bytes:
    described = document()
    inputs = [manifest.Input(table=described.dataset("quakes"), version=3, runs=(RUN.id,))]
    run = _run(RunKind.CURATED)
    return manifest.curated_manifest(run, CURATED, inputs, document=described, storage=STORAGE)


def _maintenance() -> bytes:
    described = document()
    run = _run(RunKind.MAINTENANCE)
    table = described.dataset("quakes")
    return manifest.maintenance_manifest(run, table, document=described, storage=STORAGE)


def _run(kind: RunKind) -> Run:
    return Run(
        id=RUN.id, dataset="quakes", kind=kind, job="transform", state=RunState.PLANNED, blobs=0,
        events=0, planned_at=NOON, due_at=NOON,
    )  # fmt: skip


def _entry() -> bytes:
    metadata = quarantine_text.metadata_of(ENTRY.head)
    return _json({"content": json.loads(quarantine_text.to_json(ENTRY)), "metadata": metadata})


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


#: File name to what writes it.
WRITERS: dict[str, Callable[[], bytes]] = {
    "event.json": _event,
    "raw.avro": lambda: raw_avro.encode(BLOB).getvalue(),
    "raw-metadata.json": lambda: _json(raw_blob.metadata_of(HEAD)),
    "position.json": lambda: raw_blobs._tip_json(TIP),
    "cursor.json": lambda: cursor.to_json(CURSOR),
    "journal.bin": FRAME.to_bytes,
    "quarantined.json": _entry,
    "run.json": lambda: _json(table_storage._run_entity(RUN)),
    "progress.json": lambda: _json(table_storage._progress_entity(PROGRESS)),
    "manifest-clean.json": _clean,
    "manifest-curated.json": _curated,
    "manifest-maintenance.json": _maintenance,
    "result-clean.json": lambda: RESULTS[0].to_json().encode(),
    "result-curated.json": lambda: RESULTS[1].to_json().encode(),
    "result-maintenance.json": lambda: RESULTS[2].to_json().encode(),
}


def main() -> None:
    """Write what is missing."""
    folder = Path(sys.argv[1])
    for name, write in WRITERS.items():
        path = folder / name
        if not path.exists():
            path.write_bytes(write())
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
