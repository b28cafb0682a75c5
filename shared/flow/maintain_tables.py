"""table → table: once a day, ask for each table to be compacted, and delete what runs left behind.

Maintenance takes the place of a run, so that it never meets a MERGE: it waits in the table's
progress until the open run has ended, and comes before anything new.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain.errors import TryLater
from shared.domain.manifest import RETAIN_HOURS
from shared.domain.run import has_runs, is_maintenance, maintenance_id, tables_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from shared.domain.dataset import Curated, Dataset
    from shared.domain.run import Progress
    from shared.ports import Clock, Ledger, RunFiles

#: Of a table that nobody wrote for so long, even the last old files are gone.
_QUIET = timedelta(hours=RETAIN_HOURS, days=2)
_TRIES = 10  # Each is lost to somebody who moved the same table on meanwhile.


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesMaintained:
    """What the daily round did: maintenance runs queued, folders of ended runs deleted."""

    tables: int
    queued: int
    folders_deleted: int


async def maintain_tables(
    tables: Sequence[Dataset | Curated], *, ledger: Ledger, files: RunFiles, clock: Clock
) -> TablesMaintained:
    """Queue the day's maintenance of each table that is written, and sweep the staging folders.

    The tracking timer launches it. Raises `TryLater`; may be called again: a day has one
    maintenance of a table, however often it is asked for.
    """
    now = clock.now()
    written = list(filter(has_runs, tables))
    queued = [await _queue(table, ledger=ledger, now=now) for table in written]
    return TablesMaintained(
        tables=len(written),
        queued=sum(queued),
        folders_deleted=await _sweep(written, ledger=ledger, files=files),
    )


async def _queue(table: Dataset | Curated, *, ledger: Ledger, now: datetime) -> bool:
    """Whether the day's maintenance was queued now."""
    run_id = maintenance_id(table, now=now)
    if await ledger.run(table.name, run_id) is not None:
        return False
    for _ in range(_TRIES):
        progress = await ledger.progress(table.name)
        if not await _needs_it(progress, ledger=ledger, now=now):
            return False
        if await ledger.replace_progress(progress.with_queued(run_id)):
            return True
    raise TryLater(f"{table.name} is being changed by others; its maintenance is not queued")


async def _needs_it(progress: Progress, *, ledger: Ledger, now: datetime) -> bool:
    """Whether the table was written lately, and no maintenance of it waits or runs."""
    if not progress.run_succeeded or any(
        map(is_maintenance, (progress.run_open, *progress.queued))
    ):
        return False
    written = await ledger.run(progress.dataset, progress.run_succeeded)
    return written is None or written.ended_at is None or now - written.ended_at < _QUIET


async def _sweep(tables: Sequence[Dataset | Curated], *, ledger: Ledger, files: RunFiles) -> int:
    """Delete what ended runs staged: a tracker was killed, or a lost attempt wrote on."""
    deleted = 0
    for run_id in await files.staged():
        runs = [await ledger.run(table.name, run_id) for table in tables_of(run_id, tables)]
        if any(run is not None and not run.is_open for run in runs):
            await files.drop_staging(run_id)
            deleted += 1
    return deleted
