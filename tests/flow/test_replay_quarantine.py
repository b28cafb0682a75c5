"""quarantine → hub: an entry goes back once it can, is marked once, and never changes itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from shared.adapters.memory import (
    MemoryAttempts,
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryQuarantine,
    MemoryRawStore,
)
from shared.domain.errors import MillraceError
from shared.domain.quarantine import Absent, Decision, Quarantined, Refused, Repair, State
from shared.domain.raw_blob import HubBatch
from shared.flow.hub_to_raw import land_batch
from shared.flow.replay_quarantine import (
    QuarantineDiscarded,
    QuarantineReplayed,
    discard_entries,
    discard_entry,
    replay_entries,
    replay_entry,
)
from tests.builders import NOON, document, event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.cloud_event import CloudEvent
    from shared.flow.replay_quarantine import EntryDiscarded, EntryReplayed

UNCHANGED = Repair()


@dataclass
class World:
    """Landing found what is in quarantine; a day later, somebody looks at it."""

    hub: MemoryHub = field(default_factory=MemoryHub)
    quarantine: MemoryQuarantine = field(default_factory=MemoryQuarantine)
    raw: MemoryRawStore = field(default_factory=MemoryRawStore)
    clock: MemoryClock = field(default_factory=MemoryClock)
    told: dict[str, str] = field(default_factory=dict)

    async def land(self, *attributes: dict[str, Any]) -> list[str]:
        """Land events 0, 1, …; return the names of what is in quarantine then."""
        events = tuple(event(number, **each) for number, each in enumerate(attributes))
        await land_batch(
            HubBatch(material="quakes", partition="0", events=events),
            hub=self.hub, raw=self.raw, claims=MemoryClaims(), quarantine=self.quarantine,
            attempts=MemoryAttempts(), clock=self.clock,
        )  # fmt: skip
        self.clock.moment += timedelta(days=1)
        return sorted(self.quarantine.entries)

    async def replay(self, name: str, repair: Repair = UNCHANGED) -> EntryReplayed:
        """Replay one."""
        return await replay_entry(
            name, repair, document(), quarantine=self.quarantine, hub=self.hub, clock=self.clock,
            by="test",
        )  # fmt: skip

    async def discard(self, name: str) -> EntryDiscarded:
        """Discard one."""
        return await discard_entry(name, quarantine=self.quarantine, clock=self.clock, by="test")

    def tell(self, name: str, problem: MillraceError | None) -> None:
        """Note what was told."""
        self.told[name] = str(problem or "")

    def sent(self, partition: int = 0) -> list[CloudEvent]:
        """What the hub took back."""
        return self.hub.sent.get(("quakes", partition), [])

    def state(self, name: str) -> State:
        """What is decided about an entry."""
        return self.quarantine.entries[name].decision.state


EXPIRED: dict[str, Any] = {"expirytime": "2026-11-20T11:00:00Z"}
NAMELESS: dict[str, Any] = {"id": ""}


async def each(names: list[str]) -> AsyncIterator[str]:
    """The names, one after the other."""
    for name in names:
        yield name


async def test_replayed_event_lands_with_the_id_it_had() -> None:
    """The loop is closed: what was quarantined is in raw, as the event it was."""
    world = World()
    (name,) = await world.land({}, EXPIRED)

    report = await world.replay(name)

    (sent,) = world.sent()
    again = event(2, body=sent.body, **sent.attributes)
    landed = await land_batch(
        HubBatch(material="quakes", partition="0", events=(again,)),
        hub=world.hub, raw=world.raw, claims=MemoryClaims(), quarantine=world.quarantine,
        attempts=MemoryAttempts(), clock=world.clock,
    )  # fmt: skip
    assert (landed.landed, landed.quarantined) == (1, 0)
    assert (report.event, report.partition, report.repeated) == ("event-1", "0", False)
    assert sent.body == event(1).body


async def test_entry_says_when_and_by_what_it_was_replayed_and_keeps_its_content() -> None:
    """Whoever looks later learns what was done; the evidence is not touched."""
    world = World()
    (name,) = await world.land(NAMELESS)
    before = world.quarantine.entries[name]

    await world.replay(name, Repair(body=b"{}", attributes={"id": "given"}))

    entry = world.quarantine.entries[name]
    assert entry.decision == Decision(
        state=State.REPLAYED, at=NOON + timedelta(days=1), by="test", repaired=("body", "id")
    )
    assert replace(entry, decision=before.decision) == before
    assert world.sent()[0].body == b"{}"
    assert await world.quarantine.count("events", "quakes") == 0


async def test_replaying_twice_sends_the_same_id_twice_and_marks_once() -> None:
    """A second person, or the same one, may be impatient."""
    world = World()
    (name,) = await world.land(EXPIRED)

    first = await world.replay(name)
    marked = world.quarantine.entries[name]
    world.clock.moment += timedelta(hours=1)
    second = await world.replay(name)

    assert [sent.id for sent in world.sent()] == ["event-0", "event-0"]
    assert (first.repeated, second.repeated) == (False, True)
    assert world.quarantine.entries[name] == marked


async def test_landing_again_does_not_reopen_what_was_decided() -> None:
    """The host delivers again what it did not checkpoint; the decision is a person's."""
    world = World()
    (name,) = await world.land(EXPIRED)
    await world.discard(name)

    world.raw = MemoryRawStore()
    await world.land(EXPIRED)

    assert world.state(name) is State.DISCARDED


async def test_event_that_would_come_straight_back_is_not_sent() -> None:
    """Otherwise each try adds an entry, and the person learns nothing."""
    world = World()
    (name,) = await world.land(NAMELESS)

    with pytest.raises(MillraceError, match="has no id"):
        await world.replay(name)

    assert not world.hub.sent
    assert world.state(name) is State.OPEN


async def test_discarded_entry_is_kept_and_can_still_be_replayed() -> None:
    """People change their minds; discarding deletes nothing."""
    world = World()
    (name,) = await world.land(EXPIRED)

    first, second = await world.discard(name), await world.discard(name)
    await world.replay(name)

    assert (first.repeated, second.repeated) == (False, True)
    assert world.state(name) is State.REPLAYED
    assert len(world.sent()) == 1


async def test_replayed_entry_cannot_be_discarded() -> None:
    """It is out in the world: saying that it is not needed would be untrue."""
    world = World()
    (name,) = await world.land(EXPIRED)
    await world.replay(name)

    with pytest.raises(Refused, match="was replayed and cannot be discarded"):
        await world.discard(name)


async def test_unknown_name_is_absent() -> None:
    """A mistyped name is a line, not a traceback."""
    world = World()

    for change in (world.replay, world.discard):
        with pytest.raises(Absent, match="quarantine list"):
            await change("events/quakes/p0-1.json")


class Busy(MemoryQuarantine):
    """Somebody else decides just before a mark."""

    def __init__(self, other: State) -> None:
        """`other` is what they decide."""
        super().__init__()
        self.other: State | None = other

    async def mark(self, entry: Quarantined, *, unchanged: str) -> bool:
        """Let the other be first, once."""
        if self.other:
            decision, self.other = Decision(state=self.other, at=NOON, by="other"), None
            self.entries[entry.name] = self.entries[entry.name].decided(decision)
        return await super().mark(entry, unchanged=unchanged)


@pytest.mark.parametrize(
    ("other", "repeated", "by"), [(State.REPLAYED, True, "other"), (State.DISCARDED, False, "test")]
)
async def test_two_people_at_once_leave_one_decision(
    other: State, repeated: bool, by: str  # noqa: FBT001 -- A case.
) -> None:  # fmt: skip
    """What was sent is replayed, whatever was decided meanwhile; the first one to say so stays."""
    world = World(quarantine=Busy(other))
    (name,) = await world.land(EXPIRED)

    report = await world.replay(name)

    decision = world.quarantine.entries[name].decision
    assert report.repeated is repeated
    assert (decision.state, decision.by) == (State.REPLAYED, by)


async def test_discarding_gives_way_to_a_replay_meanwhile() -> None:
    """The event is on its way."""
    world = World(quarantine=Busy(State.REPLAYED))
    (name,) = await world.land(EXPIRED)

    with pytest.raises(Refused, match="was replayed"):
        await world.discard(name)

    assert world.quarantine.entries[name].decision.by == "other"


async def test_replay_of_many_goes_past_what_is_refused() -> None:
    """One entry that needs a person must not hold up a thousand that do not."""
    world = World()
    names = await world.land(EXPIRED, NAMELESS, EXPIRED, EXPIRED)
    await world.replay(names[3])

    report = await replay_entries(
        each([*names, "events/quakes/none.json"]), UNCHANGED, document(),
        quarantine=world.quarantine, hub=world.hub, clock=world.clock, by="test", tell=world.tell,
    )  # fmt: skip

    assert report == QuarantineReplayed(selected=5, replayed=2, repeated=1, refused=2)
    assert list(world.told) == [*names, "events/quakes/none.json"]
    assert [bool(text) for text in world.told.values()] == [False, True, False, False, True]
    assert [sent.id for sent in world.sent()] == ["event-3", "event-0", "event-2", "event-3"]


async def test_discarding_many_counts_what_it_did() -> None:
    """The report is what a person and an alert go by."""
    world = World()
    names = await world.land(EXPIRED, EXPIRED, EXPIRED)
    await world.replay(names[0])
    await world.discard(names[1])

    report = await discard_entries(
        each(names), quarantine=world.quarantine, clock=world.clock, by="test", tell=world.tell
    )

    assert report == QuarantineDiscarded(selected=3, discarded=1, repeated=1, refused=1)
    assert not world.hub.sent.get(("quakes", 1))


def test_reports_add_up() -> None:
    """Every entry selected went somewhere."""
    with pytest.raises(AssertionError, match="replayed, repeated or refused"):
        QuarantineReplayed(selected=2, replayed=1, repeated=0, refused=0)
    with pytest.raises(AssertionError, match="discarded, repeated or refused"):
        QuarantineDiscarded(selected=2, discarded=1, repeated=0, refused=0)
