"""Memory: every port, in a few lines each; the shortest description of what they promise.

Tests use it, and so does `millrace wait`, to poll without sending.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.domain.run import Progress
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.cursor import Cursor
    from shared.domain.document import Source
    from shared.domain.job_run import JobRun
    from shared.domain.page import Page
    from shared.domain.quarantine import Quarantined
    from shared.domain.raw_blob import Partition, RawBlob, RawHead
    from shared.domain.run import Planned, Run


@dataclass(slots=True)
class MemoryClock:
    """Clock: stands still until it is moved."""

    moment: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the moment it was set to."""
        return self.moment


@dataclass(slots=True)
class MemorySource:
    """SourceReader: answers with `page`, or None when the conditions name its validators."""

    page: Page
    requests: int = 0

    async def fetch(self, source: Source, *, conditions: Mapping[str, str]) -> Page | None:  # noqa: ARG002 -- One page, whoever asks.
        """Return the page unless its ETag is already known."""
        self.requests += 1
        known = self.page.etag and conditions.get("If-None-Match") == self.page.etag
        return None if known else self.page


@dataclass(slots=True)
class MemoryHub:
    """Hub: a list a partition."""

    sent: dict[tuple[str, int], list[CloudEvent]] = field(default_factory=dict)

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Append."""
        for partition, members in events.items():
            self.sent.setdefault((material, partition), []).extend(members)

    async def last_sequences(self, material: str, *, partitions: int) -> dict[str, int]:
        """Count."""
        return {
            str(number): len(self.sent.get((material, number), [])) - 1
            for number in range(partitions)
        }


@dataclass(slots=True)
class MemoryCursorStore:
    """CursorStore: a dictionary; a version is a count of changes."""

    kept: dict[str, Kept[Cursor]] = field(default_factory=dict)
    changes: int = 0

    async def read(self, source: str) -> Kept[Cursor] | None:
        """Look up."""
        return self.kept.get(source)

    async def replace(self, source: str, cursor: Cursor, *, unchanged: str | None) -> bool:
        """Compare and set."""
        known = self.kept.get(source)
        if (known.version if known else None) != unchanged:
            return False
        self.changes += 1
        self.kept[source] = Kept(value=cursor, version=str(self.changes))
        return True


@dataclass(slots=True)
class MemoryRawStore:
    """RawStore: blobs by name, positions by partition."""

    blobs: dict[str, RawBlob] = field(default_factory=dict)
    remembered: dict[Partition, int] = field(default_factory=dict)

    async def last_landed(self, partition: Partition) -> int:
        """Look up; without a position, ask the blobs."""
        if partition not in self.remembered:
            return await self.find_last_landed(partition)
        return self.remembered[partition]

    async def find_last_landed(self, partition: Partition) -> int:
        """The highest last sequence number among the partition's blobs."""
        mine = [blob for blob in self.blobs.values() if blob.partition == partition]
        return max((blob.sequence_last for blob in mine), default=-1)

    async def land(self, blob: RawBlob) -> RawHead | None:
        """Create if absent."""
        found = self.blobs.setdefault(blob.name, blob)
        return None if found is blob else found.head

    async def remember(self, partition: Partition, *, sequence: int, blob: str) -> None:  # noqa: ARG002 -- The number is enough here.
        """Move forward."""
        self.remembered[partition] = max(sequence, self.remembered.get(partition, -1))

    async def positions(self, material: str) -> dict[str, int]:
        """What is remembered of the material's partitions."""
        return {at.id: last for at, last in self.remembered.items() if at.material == material}

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """Every blob beyond what is planned."""
        return [
            blob.head
            for blob in self.blobs.values()
            if blob.partition.material == material
            and (
                blob.partition.id not in planned
                or blob.sequence_first > planned[blob.partition.id].sequence
            )
        ]


@dataclass(slots=True)
class MemoryQuarantine:
    """Quarantine: entries by name."""

    entries: dict[str, Quarantined] = field(default_factory=dict)

    async def keep(self, entry: Quarantined) -> None:
        """Create if absent."""
        self.entries.setdefault(entry.name, entry)

    async def count(self, kind: str, material: str) -> int:
        """Count."""
        return sum(name.startswith(f"{kind}/{material}/") for name in self.entries)


@dataclass(slots=True)
class MemoryLedger:
    """Ledger: two dictionaries; a version is a count of changes."""

    rows: dict[tuple[str, str], Run] = field(default_factory=dict)
    kept: dict[str, Progress] = field(default_factory=dict)

    async def progress(self, dataset: str) -> Progress:
        """Look up."""
        return self.kept.get(dataset, Progress(dataset=dataset))

    async def open_run(self, run: Run, progress: Progress) -> bool:
        """Compare and set both."""
        return (run.dataset, run.id) not in self.rows and self._together(run, progress)

    async def close_run(self, run: Run, progress: Progress) -> bool:
        """Compare and set both."""
        return self._together(run, progress)

    async def update_run(self, run: Run) -> None:
        """Set."""
        self.rows[run.dataset, run.id] = run

    async def run(self, dataset: str, run_id: str) -> Run | None:
        """Look up."""
        return self.rows.get((dataset, run_id))

    async def runs(self, dataset: str) -> Sequence[Run]:
        """Newest first."""
        mine = [run for key, run in self.rows.items() if key[0] == dataset]
        return sorted(mine, key=lambda run: run.planned_at, reverse=True)

    def _together(self, run: Run, progress: Progress) -> bool:
        known = self.kept.get(progress.dataset)
        if (known.version if known else "") != progress.version:
            return False
        version = str(int(progress.version or 0) + 1)
        self.kept[progress.dataset] = replace(progress, version=version)
        self.rows[run.dataset, run.id] = run
        return True


@dataclass(slots=True)
class MemoryRunFiles:
    """RunFiles: two dictionaries."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, dict[str, int]] = field(default_factory=dict)

    async def put_manifest(self, dataset: str, run_id: str, manifest: bytes) -> None:  # noqa: ARG002 -- A run's id is enough here.
        """Create if absent."""
        self.manifests.setdefault(run_id, manifest)

    def manifest_address(self, dataset: str, run_id: str) -> str:
        """An address that nobody follows."""
        return f"memory://{dataset}/{run_id}"

    async def result(self, dataset: str, run_id: str) -> dict[str, int] | None:  # noqa: ARG002 -- A run's id is enough here.
        """Look up."""
        return self.results.get(run_id)

    def storage(self) -> dict[str, str]:
        """One container that nobody opens."""
        return {"raw": "memory://raw"}


@dataclass(slots=True)
class MemoryJobs:
    """Jobs: the same token gives the same number; states are set by whoever holds it."""

    tokens: dict[str, int] = field(default_factory=dict)
    states: dict[int, JobRun] = field(default_factory=dict)

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:  # noqa: ARG002 -- The token is enough here.
        """Number the token."""
        return self.tokens.setdefault(token, len(self.tokens) + 1)

    async def look(self, job_run: int) -> JobRun | None:
        """Look up."""
        return self.states.get(job_run)
