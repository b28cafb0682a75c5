"""The world around landing: a hub, storage, processes that die and hosts that deliver again.

What a host and a hub may do to the step is modelled here, and `World.check` says what must hold all
the same. Nothing here knows how the step works, only what it may touch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Protocol

from shared.adapters.memory import (
    MemoryAttempts,
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryQuarantine,
)
from shared.domain import claim
from shared.domain.errors import TryLater
from shared.domain.raw_blob import START, HubBatch, Partition
from shared.flow.hub_to_raw import land_batch
from tests.builders import NOON, event
from tests.faults.faulty_ports import Crash, Guarded, OpenGate, Turns, Violation, finish
from tests.faults.landing_ports import ContentRawStore, ProcessHub, ProcessRawStore, head_of

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from shared.domain.raw_blob import HubEvent, RawBlob
    from shared.flow.hub_to_raw import BatchLanded
    from tests.faults.faulty_ports import Gate

#: Events that are no CloudEvents.
NO_EVENTS = frozenset({1, 7})
#: Events whose data is a claim; of some it is gone, or is not what it was.
CLAIMS = frozenset({3, 4, 8, 10})
CLAIMS_GONE = frozenset({3})
CLAIMS_CHANGED = frozenset({10})
BAD = NO_EVENTS | CLAIMS_GONE | CLAIMS_CHANGED
LIVES = ("20261120T000000", "20261121T000000")
#: More tries than any batch of these tests needs before it is landed.
TRIES_MAX = 60


class LandBatch(Protocol):
    """The step, or a broken copy of it."""

    def __call__(
        self,
        batch: HubBatch,
        *,
        hub: Any,
        raw: Any,
        claims: Any,
        quarantine: Any,
        attempts: Any,
        clock: Any,
    ) -> Coroutine[Any, Any, BatchLanded]:
        """Land a batch."""


def log_of(events: int, *, life: str = LIVES[0]) -> list[HubEvent]:
    """What a hub took in one of its lives: three events an hour, one in three bad."""
    days = LIVES.index(life)
    return [
        replace(
            _claiming(number, life) if number in CLAIMS else _whole(number, life),
            enqueued_at=NOON + timedelta(days=days, minutes=20 * number),
        )
        for number in range(events)
    ]


def _whole(number: int, life: str) -> HubEvent:
    return event(number, body=f"{life} {number}".encode(), id="" if number in NO_EVENTS else "id")


def _claiming(number: int, life: str) -> HubEvent:
    reference = claim.reference_of("quakes", _whole(number, life).body)
    return event(number, body=b"", id="id", dataref=reference)


def _claims() -> MemoryClaims:
    """What senders have kept, and time has left."""
    bodies = {
        claim.reference_of("quakes", body): b"?" if number in CLAIMS_CHANGED else body
        for number in CLAIMS - CLAIMS_GONE
        for life in LIVES
        for body in [_whole(number, life).body]
    }
    return MemoryClaims(bodies=bodies)


@dataclass
class World:
    """A hub with one partition, the storage that outlives every process, and the step at work."""

    events: int = 12
    step: LandBatch = land_batch
    raw: ContentRawStore = field(default_factory=ContentRawStore)
    claims: MemoryClaims = field(default_factory=_claims)
    quarantine: MemoryQuarantine = field(default_factory=MemoryQuarantine)
    tries: dict[Partition, tuple[int, int]] = field(default_factory=dict)
    clock: MemoryClock = field(default_factory=MemoryClock)
    #: The last event that a host may take for landed, by life.
    done: dict[str, int] = field(default_factory=dict)
    reports: list[BatchLanded] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The hub's first life."""
        self.logs = {LIVES[0]: log_of(self.events)}
        self.hub = MemoryHub(log={"0": self.logs[LIVES[0]]}, made=LIVES[0])

    def make_hub_anew(self, events: int) -> None:
        """It counts from 0 again, and what it carried is gone."""
        self.logs[LIVES[1]] = log_of(events, life=LIVES[1])
        self.hub.log, self.hub.made, self.hub.begins = {"0": self.logs[LIVES[1]]}, LIVES[1], 0

    def send_one_more(self) -> None:
        """One more event reaches the hub."""
        log = self.logs[self.hub.made]
        log.append(log_of(len(log) + 1, life=self.hub.made)[-1])

    def batch(self, first: int, last: int) -> HubBatch:
        """Events `first` to `last` of the hub as it is."""
        events = tuple(self.logs[self.hub.made][first : last + 1])
        return HubBatch(material="quakes", partition="0", events=events)

    def last_blob(self, life: str) -> int:
        """The last event that is landed; -1 for none."""
        blobs = self.raw.blobs.values()
        ends = [each.events[-1].sequence for each in blobs if each.partition.hub == life]
        return max(ends, default=-1)

    def check(self, *, position: bool = True) -> None:
        """Every promise of landing; `position` says whether the position must be up to date."""
        for life, log in self.logs.items():
            mine = Partition(material="quakes", id="0", hub=life)
            blobs = [blob for blob in self.raw.blobs.values() if blob.partition == mine]
            blobs.sort(key=lambda blob: blob.events[0].sequence)
            self._check_events(blobs, log, life)
            _check_chain(blobs)
            self._check_losses(blobs, life)
            self._check_position(mine, blobs, up_to_date=position)
        self._check_quarantine()

    def _check_events(self, blobs: list[RawBlob], log: list[HubEvent], life: str) -> None:
        landed = [each for blob in blobs for each in blob.events]
        times = Counter(each.sequence for each in landed)
        twice = [number for number, count in times.items() if count > 1]
        _promise(not twice, f"events {twice} are in two blobs")
        for each in landed:
            landed_as = self._as_landed(log[each.sequence], life)
            _promise(each == landed_as, f"{each} is not what was sent")
        missing = set(range(self.done.get(life, -1) + 1)) - set(times)
        missing -= set(self._announced(life))
        _promise(not missing, f"events {sorted(missing)} of life {life} are not landed")

    def _as_landed(self, sent: HubEvent, life: str) -> HubEvent:
        reason = self._reason(sent.sequence)
        if reason:
            return replace(sent, quarantined=reason, attributes={}, body=b"")
        whole = _whole(sent.sequence, life)
        return replace(sent, attributes=whole.attributes, body=whole.body)

    def _reason(self, sequence: int) -> str:
        if sequence == self.raw.lethal:
            return "poison"
        if sequence in CLAIMS_GONE:
            return "claim-missing"
        if sequence in CLAIMS_CHANGED:
            return "claim-changed"
        return "not-a-cloud-event" if sequence in NO_EVENTS else ""

    def _announced(self, life: str) -> list[int]:
        """What entries in quarantine say is lost."""
        found: list[int] = []
        for name, entry in self.quarantine.entries.items():
            if name.startswith(f"losses/quakes/p0-{life}-"):
                found += range(int(entry.attributes["first"]), int(entry.attributes["last"]) + 1)
        return found

    def _check_losses(self, blobs: list[RawBlob], life: str) -> None:
        numbers = {each.sequence for blob in blobs for each in blob.events}
        announced = self._announced(life)
        holes = {
            number
            for blob in blobs
            for number in range(blob.previous.sequence + 1, blob.events[0].sequence)
        }
        _promise(holes <= set(announced), f"the hole {sorted(holes)} was not announced")
        _promise(not numbers & set(announced), "what is landed was announced as lost")
        if life == self.hub.made:
            held = [number for number in announced if number >= self.hub.begins]
            _promise(not held, f"events {held} are lost although the hub holds them")

    def _check_position(self, mine: Partition, blobs: list[RawBlob], *, up_to_date: bool) -> None:
        tip = self.raw.remembered.get(mine, START)
        ends = [START, *(head_of(blob).tip for blob in blobs)]
        _promise(tip in ends, f"position {tip.sequence} is not where a blob ends")
        behind = up_to_date and tip.sequence < self.done.get(mine.hub, -1)
        _promise(not behind, f"position {tip.sequence} is behind the host's checkpoint")

    def _check_quarantine(self) -> None:
        kept: dict[tuple[str, int], HubEvent] = {}
        for entry in self.quarantine.entries.values():
            if entry.kind == "events":
                _, life, number = entry.origin.split("-")
                sent = self.logs[life][int(number)]
                whole = (entry.attributes, entry.body) == (sent.attributes, sent.body)
                _promise(whole, f"entry {entry.name} is not what was sent")
                reason = self._reason(sent.sequence)
                _promise(bool(reason), f"good event {entry.name} is in quarantine")
                _promise(entry.reason == reason, f"{entry.name} was set apart as {entry.reason}")
                kept[life, int(number)] = sent
        for blob in self.raw.blobs.values():
            for each in blob.events:
                lost = each.quarantined and (blob.partition.hub, each.sequence) not in kept
                _promise(not lost, f"the bytes of bad event {each.sequence} are nowhere")


def _check_chain(blobs: list[RawBlob]) -> None:
    previous = START
    for blob in blobs:
        _promise(blob.previous == previous, f"{blob.name} is not linked to the blob before it")
        previous = head_of(blob).tip


def _promise(kept: bool, otherwise: str) -> None:  # noqa: FBT001 -- It reads as a sentence.
    if not kept:
        raise Violation(otherwise)


class Process:
    """One process: what it holds in memory dies with it."""

    def __init__(self, world: World, gate: Gate, *, hub_part: int = 3) -> None:
        """It begins with what storage says; the hub hands it `hub_part` events at once."""
        self.world = world
        self._attempts = MemoryAttempts(tries=world.tries)
        self._gate = gate
        self.hub = ProcessHub(world.hub, world.clock, part=hub_part)
        self.raw = ProcessRawStore(world.raw)

    async def land(self, batch: HubBatch) -> None:
        """Land a batch as the trigger does; when that returns, the host counts it as done."""
        world, gate = self.world, self._gate
        life = world.hub.made
        report = await world.step(
            batch,
            hub=Guarded(self.hub, gate),
            raw=Guarded(self.raw, gate),
            claims=Guarded(world.claims, gate),
            quarantine=Guarded(world.quarantine, gate),
            attempts=Guarded(self._attempts, gate),
            clock=world.clock,
        )
        world.reports.append(report)
        world.done[life] = max(batch.events[-1].sequence, world.done.get(life, -1))
        open_tries = [place for place in world.tries if place.hub == life]
        _promise(not open_tries, "a batch that is landed counts as a try that never ended")


class Host:
    """Delivers from its checkpoint: the same batch again after an error, others after a crash.

    With `skips` it has the fault of the real one: a batch during which its process died counts as
    done (azure-webjobs-sdk #2947).
    """

    def __init__(
        self,
        world: World,
        gate: Gate | None = None,
        *,
        skips: bool = False,
        sizes: tuple[int, ...] = (5, 3, 4, 1),
    ) -> None:
        """It starts at the beginning, with batches of the first of `sizes`."""
        self.world = world
        self.gate = gate or OpenGate()
        self.skips = skips
        self.checkpoint = 0
        self.restarts = 0
        self._sizes = cycle(sizes)
        self._size = next(self._sizes)
        self.process = Process(world, self.gate)

    def deliver(self, until: int) -> None:
        """Deliver until the checkpoint is beyond event `until`."""
        while self.checkpoint <= until:
            last = min(self.checkpoint + self._size - 1, until)
            batch = self.world.batch(self.checkpoint, last)
            try:
                self._try(batch)
            except Crash:
                self._survive()
                if not self.skips:
                    continue
            self.checkpoint = last + 1

    def deliver_all(self) -> None:
        """Deliver all there is, and one event more: what was skipped shows when the next comes."""
        self.deliver(len(self.world.logs[self.world.hub.made]) - 1)
        while self.skips and self.world.done.get(self.world.hub.made, -1) < self.checkpoint - 1:
            self.world.send_one_more()
            self.deliver(self.checkpoint)

    def skip_to(self, sequence: int) -> None:
        """Move the checkpoint past events that were never delivered."""
        self.checkpoint = sequence

    def restart(self) -> None:
        """Let another process take over."""
        self.process = Process(self.world, self.gate)

    def _try(self, batch: HubBatch) -> None:
        for _ in range(TRIES_MAX):
            try:
                finish(self.process.land(batch))
            except TryLater:
                continue
            self.world.check(position=False)
            return
        raise Violation("the batch is never landed")

    def _survive(self) -> None:
        self.restarts += 1
        _promise(self.restarts <= TRIES_MAX, "the batch kills every process")
        self._size = next(self._sizes)
        self.restart()


class Owner:
    """One of several processes that believe they own the partition, moved call by call."""

    def __init__(self, world: World, *, hub_part: int = 3) -> None:
        """It is given nothing yet."""
        self.world = world
        self._hub_part = hub_part
        self._step: Coroutine[Any, Any, None] | None = None
        self._start()

    @property
    def is_busy(self) -> bool:
        """Whether it is in the middle of a batch."""
        return self._step is not None

    @property
    def waiting(self) -> str:
        """The call it is about to make; empty when it is idle."""
        return self._turns.waiting if self.is_busy else ""

    def take(self, batch: HubBatch) -> None:
        """Begin with a batch."""
        assert not self.is_busy, "one batch at a time"
        self._step = self.process.land(batch)
        self.move()

    def move(self) -> None:
        """Go on up to the next call; the host is told when that was the last."""
        if self._step:
            try:
                self._step.send(None)
            except StopIteration:
                self._step = None

    def finish(self) -> None:
        """Go on to the end."""
        while self.is_busy:
            self.move()

    def crash(self) -> None:
        """Die where it stands; another process takes its place."""
        if self._step:
            self._step.close()
        self._step = None
        self._start()

    def _start(self) -> None:
        self._turns = Turns()
        self.process = Process(self.world, self._turns, hub_part=self._hub_part)
