"""Two versions side by side: each reads what the other writes, as a rolling update needs it.

`v1` holds what the first version wrote. A new version reads it; and an old one, which ignores keys
that it does not know and reads Avro by the schema it knows, reads what the new version writes.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from azure.data.tables import TableEntity

from shared.adapters import raw_avro, raw_blobs, table_storage
from shared.domain import cloud_event, cursor, quarantine_text, raw_blob
from shared.domain.cursor import Frames
from tests import compat_samples as samples
from tests.builders import NOON
from transforms.manifest import _MANIFEST

V1 = Path(__file__).parent / "v1"
#: The digest of a document says which it was; nobody compares those of two versions.
MAY_DIFFER = {"document"}


def old(name: str) -> Any:
    """What the old version wrote."""
    return json.loads((V1 / name).read_bytes())


def lacking(before: Any, now: Any, path: str = "") -> list[str]:
    """The places where an old reader would miss something, or find another thing."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            problem
            for key, value in before.items()
            if key not in MAY_DIFFER
            for problem in (
                lacking(value, now[key], f"{path}/{key}") if key in now else [f"{path}/{key}"]
            )
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = zip(before, now, strict=True)
        return [each for at, pair in enumerate(pairs) for each in lacking(*pair, f"{path}/{at}")]
    return [] if (type(before), before) == (type(now), now) else [path]


def test_every_format_has_a_file_of_the_old_version() -> None:
    """A format without one changes unnoticed."""
    assert {path.name for path in V1.iterdir()} == samples.WRITERS.keys()


@pytest.mark.parametrize("name", [name for name in samples.WRITERS if name.endswith(".json")])
def test_old_reader_finds_all_it_knows(name: str) -> None:
    """While both run, the old one goes on reading; it may find more than it knows, never less."""
    now = json.loads(samples.WRITERS[name]())

    assert not lacking(old(name), now)


@pytest.mark.parametrize(
    ("now", "problems"),
    [
        ({"a": 1, "b": {"c": [1, 2]}, "more": 1}, []),
        ({"b": {"c": [1, 2]}}, ["/a"]),
        ({"a": "1", "b": {"c": [1, 2]}}, ["/a"]),
        ({"a": True, "b": {"c": [1, 2]}}, ["/a"]),
        ({"a": 1, "b": {"c": [1]}}, ["/b/c"]),
    ],
)
def test_check_finds_what_breaks_an_old_reader(now: object, problems: list[str]) -> None:
    """A check that finds nothing is worth nothing."""
    assert lacking({"a": 1, "b": {"c": [1, 2]}}, now) == problems


def test_new_reader_reads_old_raw_blobs() -> None:
    """Raw is kept for years, and replayed."""
    content = (V1 / "raw.avro").read_bytes()

    rows = list(fastavro.reader(io.BytesIO(content), reader_schema=raw_blob.SCHEMA))
    found = raw_avro.read_head(samples.BLOB.name, content)

    assert [row["sequence_number"] for row in rows] == [0, 1, 2, 3, 4]  # type: ignore[call-overload,index] # Rows are dicts.
    assert rows[0] == _row(0)
    assert found is not None
    assert (found.sequence_first, found.sequence_last, found.events) == (0, 4, 5)


def test_old_reader_reads_new_raw_blobs() -> None:
    """The job may be a release behind the function app, or ahead of it."""
    schema = fastavro.reader(io.BytesIO((V1 / "raw.avro").read_bytes())).writer_schema
    content = samples.WRITERS["raw.avro"]()

    rows = list(fastavro.reader(io.BytesIO(content), reader_schema=schema))

    assert rows[0] == _row(0)
    assert len(rows) == 5


def _row(number: int) -> dict[str, Any]:
    event = samples.BLOB.events[number]
    return {
        "sequence_number": event.sequence,
        "offset": event.offset,
        "enqueued_time": event.enqueued_at,
        "partition": "0",
        "attributes": event.attributes,
        "quarantined": "",
        "body": event.body,
    }


def test_new_reader_reads_old_events() -> None:
    """A hub holds what old versions sent for as long as its events live."""
    found = cloud_event.attributes_of(old("event.json")["properties"])

    assert cloud_event.problem(found, now=NOON) is None
    assert found == {
        name: text for name, text in samples.EVENT.attributes.items() if name != "datacontenttype"
    }


def test_same_records_have_the_same_event_id_in_every_version() -> None:
    """A repeat across an update must be known as one."""
    assert old("event.json")["properties"]["cloudEvents:id"] == samples.EVENT.id


def test_new_reader_reads_old_state() -> None:
    """A new version begins where the old one was, with everything that it kept."""
    kept = old("quarantined.json")
    (frame,) = Frames().feed((V1 / "journal.bin").read_bytes())

    assert raw_blobs._tip_of((V1 / "position.json").read_bytes()) == samples.TIP
    metadata = old("raw-metadata.json")
    assert raw_blob.head_of(samples.HEAD.name, metadata, size_bytes=0) == samples.HEAD
    assert cursor.of_json((V1 / "cursor.json").read_bytes()) == samples.CURSOR
    assert frame == samples.FRAME
    content = json.dumps(kept["content"]).encode()
    assert quarantine_text.of_json(content, metadata=kept["metadata"]) == samples.ENTRY


def test_old_reader_reads_new_journals() -> None:
    """A journal is bytes: whoever changes them changes the magic word, and reads both."""
    assert samples.FRAME.to_bytes() == (V1 / "journal.bin").read_bytes()


def test_new_reader_reads_old_rows_of_the_ledger() -> None:
    """An open run of the old version is followed by the new one."""
    entity = TableEntity(old("run.json"))
    entity._metadata = {"etag": "1", "timestamp": None}
    planned = old("progress.json")["planned"]

    assert table_storage._run_of(entity) == samples.RUN
    assert table_storage._places_of(planned) == samples.PROGRESS.planned


@pytest.mark.parametrize("kind", ["clean", "curated", "maintenance"])
def test_new_job_reads_old_manifests(kind: str) -> None:
    """A run planned before an update may be tried again after it."""
    text = (V1 / f"manifest-{kind}.json").read_bytes()

    read = _MANIFEST.validate_json(text)

    assert (read.run, read.kind) == (samples.RUN.id, kind)
    assert read.storage.raw == samples.STORAGE["raw"]
