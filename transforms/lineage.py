"""Lineage: what a version of a table was made of, and by which code."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata, resources
from typing import TYPE_CHECKING

from shared.domain.trace import trace_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from transforms.manifest import AnyManifest

_WHEEL = "millrace_transforms"
_PACKAGES = ("transforms", "shared.domain")
_SOURCES = (".py", ".sql")


def lineage_of(manifest: AnyManifest) -> dict[str, str]:
    """Return where a run's rows come from: the manifest names the raw blobs and their digests.

    With `trace`, the id under which telemetry knows all that led to the run.
    """
    known = {
        "run": manifest.run,
        "manifest": manifest.url,
        "document": manifest.document,
        "code": code_version(),
    }
    trace = trace_id_of(manifest.traceparent)
    return known | ({"trace": trace} if trace else {})


def commit_note(manifest: AnyManifest) -> str:
    """Return the lineage as a Delta commit bears it, where the engine takes a note."""
    return json.dumps(lineage_of(manifest))


def code_version() -> str:
    """Return the wheel's version; of a checkout, a digest of the transform's sources."""
    try:
        return metadata.version(_WHEEL)
    except metadata.PackageNotFoundError:
        return _digest_of_sources()


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path, content in sorted(_sources(resources.files(package), package)):
            digest.update(f"{path}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir() and not entry.name.startswith("__"):
            yield from _sources(entry, name)
        elif entry.name.endswith(_SOURCES):
            yield name, entry.read_bytes()
