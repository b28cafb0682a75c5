"""Memory: every port, in a few lines each; the shortest description of what they promise.

Tests use it, and so does `millrace wait`, to poll without sending.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.domain import claim
from shared.domain.quarantine import Selection
from shared.domain.raw_blob import START, HubBatch, hour_of
from shared.domain.run import Progress, further_on
from shared.ports import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.job_run import JobRun
    from shared.domain.quarantine import Head, Quarantined
    from shared.domain.raw_blob import HubEvent, Partition, RawBlob, RawHead, Tip
    from shared.domain.run import Planned, Run


@dataclass(slots=True)
class MemoryClock:
    """Clock: stands still until it is moved."""

    moment: datetime = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the moment it was set to."""
        return self.moment


@dataclass(slots=True)
class MemoryHub:
    """Hub: a list a partition; `log` is what it holds for reading, `begins` what it has dropped."""

    sent: dict[tuple[str, int], list[CloudEvent]] = field(default_factory=dict)
    log: dict[str, list[HubEvent]] = field(default_factory=dict)
    begins: int = 0
    made: str = "20261120T000000"

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Append."""
        for partition, members in events.items():
            self.sent.setdefault((material, partition), []).extend(members)

    async def last_sequences(self, material: str, *, partitions: int) -> dict[str, int]:
        """Count what was sent and what the log holds."""
        return {
            str(number): len(self.sent.get((material, number), self.log.get(str(number), []))) - 1
            for number in range(partitions)
        }

    async def life(self, material: str, *, fresh: bool = False) -> str:  # noqa: ARG002 -- One life for all.
        """The same until a test makes the hub anew."""
        return self.made

    async def first_sequence(self, partition: Partition) -> int:  # noqa: ARG002 -- One beginning for all.
        """The same for every partition."""
        return self.begins

    async def read(self, partition: Partition, *, first: int, last: int) -> AsyncIterator[HubBatch]:
        """One batch."""
        assert first >= self.begins, "what is dropped cannot be read"
        events = [event for event in self.log[partition.id] if first <= event.sequence <= last]
        assert len(events) == last - first + 1, "all that is asked for is there"
        yield HubBatch(material=partition.material, partition=partition.id, events=tuple(events))


@dataclass(slots=True)
class MemoryClaims:
    """Claims: a dictionary."""

    bodies: dict[str, bytes] = field(default_factory=dict)

    async def put(self, material: str, body: bytes) -> str:
        """Add."""
        reference = claim.reference_of(material, body)
        self.bodies[reference] = body
        return reference

    async def get(self, reference: str) -> bytes | None:
        """Look up."""
        return self.bodies.get(reference)


@dataclass(slots=True)
class MemoryRawStore:
    """RawStore: blobs by name, tips by partition; a digest is the name turned around."""

    blobs: dict[str, RawBlob] = field(default_factory=dict)
    remembered: dict[Partition, Tip] = field(default_factory=dict)

    async def tip(self, partition: Partition) -> Tip:
        """Look up; without a position, ask the blobs."""
        if partition not in self.remembered:
            return await self.find_tip(partition)
        return self.remembered[partition]

    async def find_tip(self, partition: Partition) -> Tip:
        """The tip of the last blob."""
        mine = [_head(blob) for blob in self.blobs.values() if blob.partition == partition]
        return max((head.tip for head in mine), key=lambda tip: tip.sequence, default=START)

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Create if absent."""
        found = self.blobs.setdefault(blob.name, blob)
        return _head(found), found is blob

    async def remember(self, partition: Partition, tip: Tip) -> None:
        """Move forward."""
        known = self.remembered.get(partition, START)
        self.remembered[partition] = max(tip, known, key=lambda each: each.sequence)

    async def tips(self, material: str) -> dict[Partition, Tip]:
        """What is remembered of the material's partitions."""
        return {place: tip for place, tip in self.remembered.items() if place.material == material}

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """Every blob beyond what is planned."""
        return [
            _head(blob)
            for blob in self.blobs.values()
            if blob.partition.material == material
            and (
                blob.partition.label not in planned
                or blob.events[-1].sequence > planned[blob.partition.label].sequence
            )
        ]

    async def heads(
        self, material: str, *, start: datetime, end: datetime
    ) -> AsyncIterator[RawHead]:
        """Every blob of those hours, by name."""
        first, last = (f"{material}/{moment:%Y/%m/%d/%H}/" for moment in (start, end))
        for name, blob in sorted(self.blobs.items()):
            if first <= hour_of(name) <= last:
                yield _head(blob)


def _head(blob: RawBlob) -> RawHead:
    return blob.head(digest=blob.name[::-1])


@dataclass(slots=True)
class MemoryAttempts:
    """Attempts: tries by partition; a new process is a new one over the same `tries`."""

    tries: dict[Partition, tuple[int, int]] = field(default_factory=dict)
    proven: set[Partition] = field(default_factory=set)
    begun: dict[Partition, tuple[int, int]] = field(default_factory=dict)

    async def begin(self, partition: Partition, *, sequence: int) -> int:
        """Count tries of the same sequence number."""
        if partition in self.proven:
            return 0
        if self.begun.get(partition, (-1, 0))[0] == sequence:
            return self.begun[partition][1]
        known, tries = self.tries.get(partition, (sequence, 0))
        tries = tries if known == sequence else 0
        self.tries[partition] = (sequence, tries + 1)
        self.begun[partition] = (sequence, tries)
        return tries

    async def end(self, partition: Partition) -> None:
        """Forget."""
        self.tries.pop(partition, None)
        self.proven.add(partition)

    async def unended(self, partition: Partition) -> int:
        """Whatever is noted."""
        return self.tries.get(partition, (0, 0))[1]


@dataclass(slots=True)
class MemoryQuarantine:
    """Quarantine: entries by name; no state comes back, so it is the version as well."""

    entries: dict[str, Quarantined] = field(default_factory=dict)

    async def keep(self, entry: Quarantined) -> None:
        """Create if absent."""
        self.entries.setdefault(entry.name, entry)

    async def count(self, kind: str, material: str) -> int:
        """Count."""
        return sum((await self.reasons(Selection(kind=kind, material=material))).values())

    async def reasons(self, selection: Selection) -> dict[str, int]:
        """Count by reason."""
        return Counter([head.reason async for head in self.heads(selection)])

    async def heads(self, selection: Selection) -> AsyncIterator[Head]:
        """Look through all of them."""
        for _, entry in sorted(self.entries.items()):
            if selection.takes(entry.head):
                yield entry.head

    async def read(self, name: str) -> Kept[Quarantined] | None:
        """Look up."""
        entry = self.entries.get(name)
        return Kept(value=entry, version=entry.decision.state) if entry else None

    async def mark(self, entry: Quarantined, *, unchanged: str) -> bool:
        """Compare and set what was decided."""
        known = self.entries.get(entry.name)
        if known is None or known.decision.state != unchanged:
            return False
        self.entries[entry.name] = replace(known, decision=entry.decision)
        return True


@dataclass(slots=True)
class MemoryLedger:
    """Ledger: two dictionaries; a version is a count of changes."""

    rows: dict[tuple[str, str], Run] = field(default_factory=dict)
    kept: dict[str, Progress] = field(default_factory=dict)

    async def progress(self, dataset: str) -> Progress:
        """Look up."""
        return self.kept.get(dataset, Progress(dataset=dataset))

    async def replace_progress(self, progress: Progress) -> bool:
        """Compare and set."""
        known = self.kept.get(progress.dataset)
        if (known.version if known else "") != progress.version:
            return False
        self.kept[progress.dataset] = replace(progress, version=str(int(progress.version or 0) + 1))
        return True

    async def open_run(self, run: Run, progress: Progress) -> bool:
        """Compare and set both."""
        return (run.dataset, run.id) not in self.rows and await self._together(run, progress)

    async def close_run(self, run: Run, progress: Progress) -> bool:
        """Compare and set both."""
        return await self._together(run, progress)

    async def reopen_run(self, run: Run, progress: Progress) -> bool:
        """Compare and set both."""
        return await self._together(run, progress)

    async def update_run(self, run: Run) -> bool:
        """Compare and set."""
        if self.rows[run.dataset, run.id].version != run.version:
            return False
        self._set(run)
        return True

    async def run(self, dataset: str, run_id: str) -> Run | None:
        """Look up."""
        return self.rows.get((dataset, run_id))

    async def runs(self, dataset: str, *, ended_since: datetime | None = None) -> Sequence[Run]:
        """Newest first."""
        mine = [
            run
            for run in self.rows.values()
            if run.dataset == dataset
            and (ended_since is None or (run.ended_at and run.ended_at >= ended_since))
        ]
        return sorted(mine, key=lambda run: run.planned_at, reverse=True)

    async def _together(self, run: Run, progress: Progress) -> bool:
        known = self.rows.get((run.dataset, run.id))
        if known and known.version != run.version:
            return False
        if not await self.replace_progress(progress):
            return False
        self._set(run)
        return True

    def _set(self, run: Run) -> None:
        self.rows[run.dataset, run.id] = replace(run, version=str(int(run.version or 0) + 1))


@dataclass(slots=True)
class MemoryRunFiles:
    """RunFiles: dictionaries by a run's id, and a set of those that keep something."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, dict[str, int]] = field(default_factory=dict)
    left: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: dict[str, Run] = field(default_factory=dict)
    staging: set[str] = field(default_factory=set)

    async def put_manifest(self, dataset: str, run_id: str, manifest: bytes) -> None:  # noqa: ARG002 -- A run's id is enough here.
        """Create if absent."""
        self.manifests.setdefault(run_id, manifest)

    def manifest_address(self, dataset: str, run_id: str) -> str:
        """An address that nobody follows."""
        return f"memory://{dataset}/{run_id}"

    async def result(self, dataset: str, run_id: str) -> dict[str, int] | None:  # noqa: ARG002 -- A run's id is enough here.
        """Look up."""
        return self.results.get(run_id)

    async def details(self, dataset: str, run_id: str) -> Mapping[str, Any]:  # noqa: ARG002 -- A run's id is enough here.
        """Look up."""
        return self.left.get(run_id, {})

    async def note(self, run: Run) -> None:
        """Keep what is further on."""
        known = self.notes.get(run.id)
        if known is None or further_on(run) >= further_on(known):
            self.notes[run.id] = run

    async def drop_staging(self, run_id: str) -> None:
        """Forget."""
        self.staging.discard(run_id)

    async def staged(self) -> Sequence[str]:
        """Whoever is there."""
        return sorted(self.staging)

    def storage(self) -> dict[str, str]:
        """One container that nobody opens."""
        return {"raw": "memory://raw"}


@dataclass(slots=True)
class MemoryJobs:
    """Jobs: the same token gives the same number; states are set by whoever holds it."""

    tokens: dict[str, int] = field(default_factory=dict)
    states: dict[int, JobRun] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:  # noqa: ARG002 -- The token is enough here.
        """Number the token."""
        return self.tokens.setdefault(token, len(self.tokens) + 1)

    async def look(self, job_run: int) -> JobRun | None:
        """Look up."""
        return self.states.get(job_run)

    async def cancel(self, job_run: int) -> None:
        """Write it down."""
        self.cancelled.append(job_run)
