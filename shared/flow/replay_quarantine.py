"""quarantine → hub: send an entry back, as it was or repaired, or decide that it is not needed.

Sending comes before marking: killed between the two, the next call sends the same event again, with
the same id, and marks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.errors import BadRecord, MillraceError
from shared.domain.quarantine import NEXT, Absent, Decision, Refused, State
from shared.domain.replay import replayed_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable

    from shared.domain.document import Document
    from shared.domain.quarantine import Quarantined, Repair
    from shared.ports import Clock, Hub, Kept, Quarantine

    #: Is told of each entry, and why it was refused if it was.
    type Tell = Callable[[str, MillraceError | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryReplayed:
    """One entry sent; `repeated` when it had been replayed before, and is marked as that still."""

    name: str
    material: str
    partition: str
    event: str
    repeated: bool

    @property
    def counted(self) -> QuarantineReplayed:
        """The report of a selection of one."""
        return QuarantineReplayed(
            selected=1, replayed=int(not self.repeated), repeated=int(self.repeated), refused=0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryDiscarded:
    """One entry put aside for good; `repeated` when it was before."""

    name: str
    repeated: bool

    @property
    def counted(self) -> QuarantineDiscarded:
        """The report of a selection of one."""
        return QuarantineDiscarded(
            selected=1, discarded=int(not self.repeated), repeated=int(self.repeated), refused=0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineReplayed:
    """What became of the entries selected for a replay; the refused ones are as they were."""

    selected: int
    replayed: int
    repeated: int
    refused: int

    def __post_init__(self) -> None:
        """Every entry selected was sent or refused."""
        gone = self.replayed + self.repeated + self.refused
        assert self.selected == gone, "entries selected are replayed, repeated or refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineDiscarded:
    """What became of the entries selected for discarding."""

    selected: int
    discarded: int
    repeated: int
    refused: int

    def __post_init__(self) -> None:
        """Every entry selected is discarded now or was refused."""
        gone = self.discarded + self.repeated + self.refused
        assert self.selected == gone, "entries selected are discarded, repeated or refused"


async def replay_entry(
    name: str,
    repair: Repair,
    document: Document,
    *,
    quarantine: Quarantine,
    hub: Hub,
    clock: Clock,
    by: str,
) -> EntryReplayed:
    """Send one entry to its hub, then mark it replayed; an event keeps its id.

    May be called again: the same event is sent again, which the table merges. Raises `Absent`,
    `Refused` for what cannot be replayed at all, `BadRecord` for what would come straight back and
    `TryLater`.
    """
    kept = await _read(name, quarantine)
    now = clock.now()
    partition, event = replayed_event(kept.value, repair, document, now=now)
    await hub.send(kept.value.material, {partition: [event]})
    decision = Decision(state=State.REPLAYED, at=now, by=by, repaired=repair.names)
    marked = await _mark(kept, decision, quarantine)
    return EntryReplayed(
        name=name,
        material=kept.value.material,
        partition=str(partition),
        event=event.id,
        repeated=not marked,
    )


async def discard_entry(
    name: str, *, quarantine: Quarantine, clock: Clock, by: str
) -> EntryDiscarded:
    """Mark one entry discarded; it is kept whole, and may still be replayed.

    May be called again. Raises `Absent`, `Refused` for what was replayed, and `TryLater`.
    """
    kept = await _read(name, quarantine)
    decision = Decision(state=State.DISCARDED, at=clock.now(), by=by)
    marked = await _mark(kept, decision, quarantine)
    return EntryDiscarded(name=name, repeated=not marked)


async def replay_entries(
    names: AsyncIterable[str],
    repair: Repair,
    document: Document,
    *,
    quarantine: Quarantine,
    hub: Hub,
    clock: Clock,
    by: str,
    tell: Tell,
) -> QuarantineReplayed:
    """Replay many, one after the other; what is refused stays as it is and stops nothing.

    Raises `TryLater`: called again, what is open goes on.
    """

    async def replay(name: str) -> EntryReplayed:
        return await replay_entry(
            name, repair, document, quarantine=quarantine, hub=hub, clock=clock, by=by
        )

    replayed, repeated, refused = await _each(names, replay, tell=tell)
    return QuarantineReplayed(
        selected=replayed + repeated + refused,
        replayed=replayed,
        repeated=repeated,
        refused=refused,
    )


async def discard_entries(
    names: AsyncIterable[str], *, quarantine: Quarantine, clock: Clock, by: str, tell: Tell
) -> QuarantineDiscarded:
    """Discard many; raises `TryLater`: called again, what is open goes on."""

    async def discard(name: str) -> EntryDiscarded:
        return await discard_entry(name, quarantine=quarantine, clock=clock, by=by)

    discarded, repeated, refused = await _each(names, discard, tell=tell)
    return QuarantineDiscarded(
        selected=discarded + repeated + refused,
        discarded=discarded,
        repeated=repeated,
        refused=refused,
    )


async def _each[T: (EntryReplayed, EntryDiscarded)](
    names: AsyncIterable[str], change: Callable[[str], Awaitable[T]], *, tell: Tell
) -> tuple[int, int, int]:
    """How many were changed now, had been before, and were refused."""
    changed = repeated = refused = 0
    async for name in names:
        problem: MillraceError | None = None
        try:
            report = await change(name)
        except (BadRecord, Absent, Refused) as error:
            problem, refused = error, refused + 1
        else:
            changed, repeated = changed + (not report.repeated), repeated + report.repeated
        tell(name, problem)
    return changed, repeated, refused


async def _read(name: str, quarantine: Quarantine) -> Kept[Quarantined]:
    kept = await quarantine.read(name)
    if kept is None:
        raise Absent(name)
    return kept


async def _mark(kept: Kept[Quarantined], decision: Decision, quarantine: Quarantine) -> bool:
    """Mark the entry unless it is so marked; what somebody else decides meanwhile is read again."""
    while (state := kept.value.decision.state) is not decision.state:
        if decision.state not in NEXT[state]:
            raise Refused(kept.value.name, f"was {state} and cannot be {decision.state} any more")
        if await quarantine.mark(kept.value.decided(decision), unchanged=kept.version):
            return True
        kept = await _read(kept.value.name, quarantine)
    return False
