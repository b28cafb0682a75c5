"""What the arrows need from the world.

Everything here is async. The only concurrency a port promises is *create if absent* or *replace if
unchanged*. Whatever is absent is `None`, never an error. All of them raise `TryLater` when the
world is unwell and `Misconfigured` when a person must act.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.cursor import Cursor
    from shared.domain.job_run import JobRun
    from shared.domain.page import Answer, Request, Validators
    from shared.domain.quarantine import Head, Quarantined, Selection
    from shared.domain.raw_blob import HubBatch, Partition, RawBlob, RawHead, Tip
    from shared.domain.run import Planned, Progress, Run
    from shared.domain.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept[T]:
    """A value and the store's version of it, to replace it only if unchanged."""

    value: T
    version: str


class Clock(Protocol):
    """The time, read once a step."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""


class SourceReader(Protocol):
    """A third-party tool behind HTTP GET."""

    async def fetch(
        self,
        source: Source,
        request: Request,
        *,
        query: Mapping[str, str],
        validators: Validators,
        seconds: float,
    ) -> Answer:
        """GET once, or again as the source's retries say; return as soon as the answer begins.

        `query` is what the request adds to the address. With `validators` the answer may be that
        nothing has changed. Raises `TryLater` when an answer may come later, but not within
        `seconds`, and `BadRecord` for what is no page.
        """


class Hub(Protocol):
    """The hub: events of a material, in partitions."""

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Send events to their partitions, in order within each; return when acknowledged.

        Not idempotent: what fails half-way is sent again whole, and repeats are harmless later.
        """

    async def last_sequences(self, material: str, *, partitions: int) -> dict[str, int]:
        """Return the last sequence number of each partition; -1 for an empty one."""

    async def life(self, material: str, *, fresh: bool = False) -> str:
        """Return which life of the hub this is; without `fresh`, as it was at most a minute ago."""

    async def first_sequence(self, partition: Partition) -> int:
        """Return the first sequence number that the hub still holds, or will give next."""

    def read(self, partition: Partition, *, first: int, last: int) -> AsyncIterator[HubBatch]:
        """Yield the events `first` to `last`, both included, in order.

        What the hub has dropped meanwhile is missing from the beginning.
        """


class HubAround:
    """A hub around another one, for what is done to events on their way: it tells what that tells.

    Whoever inherits says how it sends.
    """

    def __init__(self, hub: Hub) -> None:
        """`hub` does the work."""
        self._hub = hub

    async def last_sequences(self, material: str, *, partitions: int) -> dict[str, int]:
        """Ask the hub."""
        return await self._hub.last_sequences(material, partitions=partitions)

    async def life(self, material: str, *, fresh: bool = False) -> str:
        """Ask the hub."""
        return await self._hub.life(material, fresh=fresh)

    async def first_sequence(self, partition: Partition) -> int:
        """Ask the hub."""
        return await self._hub.first_sequence(partition)

    def read(self, partition: Partition, *, first: int, last: int) -> AsyncIterator[HubBatch]:
        """Read the hub."""
        return self._hub.read(partition, first=first, last=last)


class Claims(Protocol):
    """Bodies too large for an event, until they are landed."""

    async def put(self, material: str, body: bytes) -> str:
        """Keep a body and return its reference (`domain.claim`). Idempotent: the same, the same.

        It is kept for longer than the hub can hold the event, counted from the last `put`.
        """

    async def get(self, reference: str) -> bytes | None:
        """Return what is kept, or None when nothing is."""


class CursorStore(Protocol):
    """How far each source has been read."""

    async def read(self, source: str) -> Kept[Cursor] | None:
        """Return the cursor, or None for a source never read."""

    async def replace(self, source: str, cursor: Cursor, *, unchanged: str | None) -> str:
        """Replace the cursor if its version is still `unchanged` (None: absent).

        Return the new version, or an empty text when another has replaced it.
        """

    def journal(self, source: str, number: int) -> AsyncIterator[bytes]:
        """Yield a journal of the source, piece by piece; nothing when there is none."""

    async def append(self, source: str, number: int, frame: bytes, *, position: int) -> bool:
        """Append to a journal if it is exactly `position` bytes long; say whether."""

    async def drop_journal(self, source: str, number: int) -> None:
        """Delete a journal, if there is one. Idempotent."""


class RawStore(Protocol):
    """The raw zone: immutable blobs, and the tip of each partition's chain."""

    async def tip(self, partition: Partition) -> Tip:
        """Return the remembered tip; `START` when nothing is landed.

        May be behind when a writer was killed between landing and remembering; never ahead.
        """

    async def find_tip(self, partition: Partition) -> Tip:
        """Return the tip as the blobs themselves tell it; `START` for none."""

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Create the blob if its name is absent; return what is there, and whether it is new.

        Idempotent.
        """

    async def remember(self, partition: Partition, tip: Tip) -> None:
        """Note that everything up to the tip is landed; never moves backwards. Idempotent."""

    async def tips(self, material: str) -> dict[Partition, Tip]:
        """Return the remembered tip of each partition that has one."""

    async def landed_after(
        self, material: str, planned: Mapping[str, Planned]
    ) -> Sequence[RawHead]:
        """Return the heads of blobs beyond what is planned, at a cost that old blobs do not raise.

        Not a snapshot: a blob can be missing although a later one is there.
        """

    def heads(self, material: str, *, start: datetime, end: datetime) -> AsyncIterator[RawHead]:
        """Yield the heads of blobs of the hours from `start` to before `end`, hour by hour."""


class RawFiles(Protocol):
    """Raw blobs as an auditor reads them: in storage, or copied into a folder."""

    async def names(self, material: str) -> list[str]:
        """Return the names of all blobs of a material; of every material for an empty text."""

    async def look(self, name: str) -> tuple[RawHead | None, RawHead | None]:
        """Return the head that a blob's content gives, and the one that its metadata claims.

        The first is None for what is no raw blob, the second where there is no metadata.
        """


class Attempts(Protocol):
    """Which batch each partition is at, so that one that kills the process is recognised."""

    async def begin(self, partition: Partition, *, sequence: int) -> int:
        """Note a try of events that begin at `sequence`; return how many before it never ended.

        A try repeated by the process that noted it is the same try. Costs nothing once a try of
        this process has ended: a batch that kills a process is the first that the next one gets.
        """

    async def end(self, partition: Partition) -> None:
        """Note that the batch is landed. Idempotent."""

    async def unended(self, partition: Partition) -> int:
        """Return how many tries of the partition's next batch are noted and have not ended.

        The last of them may be at work now; each one before it ended with its process.
        """


class Quarantine(Protocol):
    """Where what cannot be used is kept."""

    async def keep(self, entry: Quarantined) -> None:
        """Keep the entry; the first one of an origin stays. Idempotent."""

    async def count(self, kind: str, material: str) -> int:
        """Return how many open entries there are of a kind (one of `quarantine.KINDS`)."""

    async def reasons(self, selection: Selection) -> dict[str, int]:
        """Return how many of the selected entries there are of each reason."""

    def heads(self, selection: Selection) -> AsyncIterator[Head]:
        """Yield the selected entries by name within a kind, without reading their content.

        Costs what the kind holds of the material, whatever else selects. Not a snapshot.
        """

    async def read(self, name: str) -> Kept[Quarantined] | None:
        """Return one whole entry, or None when nothing of this name is kept."""

    async def mark(self, entry: Quarantined, *, unchanged: str) -> bool:
        """Note what was decided about the entry if its version is still `unchanged`; say whether.

        Its content stays as it was kept.
        """


class Ledger(Protocol):
    """Every run, and each table's progress; `dataset` is the name of a table, clean or curated."""

    async def progress(self, dataset: str) -> Progress:
        """Return the progress; a table never planned has an empty one."""

    async def replace_progress(self, progress: Progress) -> bool:
        """Replace the progress if its version is unchanged (empty: absent); say whether."""

    async def open_run(self, run: Run, progress: Progress) -> bool:
        """Add the run and replace the progress if unchanged, both or neither; say whether."""

    async def close_run(self, run: Run, progress: Progress) -> bool:
        """Replace the ended run and the progress if unchanged, both or neither; say whether."""

    async def reopen_run(self, run: Run, progress: Progress) -> bool:
        """Replace the run that is open again, as `close_run` does with one that has ended."""

    async def update_run(self, run: Run) -> bool:
        """Replace a run's row if it is unchanged since it was read; say whether."""

    async def run(self, dataset: str, run_id: str) -> Run | None:
        """Return one run."""

    async def runs(self, dataset: str, *, ended_since: datetime | None = None) -> Sequence[Run]:
        """Return the table's runs, the newest first; or only those that ended then or later."""


class RunFiles(Protocol):
    """What a run is given and what it leaves: manifest, result, staged rows, and a note for SQL."""

    async def put_manifest(self, dataset: str, run_id: str, manifest: bytes) -> None:
        """Write the manifest if it is absent; a run's id is a function of its blobs. Idempotent."""

    def manifest_address(self, dataset: str, run_id: str) -> str:
        """Return the address under which a job reads the manifest."""

    async def result(self, dataset: str, run_id: str) -> dict[str, int] | None:
        """Return the counts the transform wrote."""

    async def details(self, dataset: str, run_id: str) -> Mapping[str, Any]:
        """Return what it wrote besides counts, for people: `lineage`, `drift`; empty for none."""

    async def note(self, run: Run) -> None:
        """Write the run where SQL reads it, unless what is there is further on. Idempotent."""

    async def drop_staging(self, run_id: str) -> None:
        """Delete what the run's attempts kept for themselves. Idempotent."""

    async def staged(self) -> Sequence[str]:
        """Return the ids of the runs that keep something."""

    def storage(self) -> dict[str, str]:
        """Return the addresses of the lake's containers, as a job reads them."""


class Traces(Protocol):
    """Who wants to find what came of a poll."""

    def planned(self, run: Run, *, origins: Sequence[str]) -> str:
        """Note that a run was planned because of what happened at `origins`, and return where.

        All are `traceparent` texts; an empty one is nowhere. Never raises.
        """


class Jobs(Protocol):
    """The service that runs jobs."""

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """Start the job and return the run's number. Idempotent: same token, same run."""

    async def look(self, job_run: int) -> JobRun | None:
        """Return what has become of a run; None when the service does not know it."""

    async def cancel(self, job_run: int) -> None:
        """Ask the service to cancel a run, without waiting; one that has ended stays. Idempotent.

        One that the service does not know is no error: `look` tells.
        """
