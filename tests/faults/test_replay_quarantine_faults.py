"""quarantine → hub under faults: whichever call fails, the next try ends what the first began."""

from __future__ import annotations

import pytest

from shared.adapters.memory import MemoryClock, MemoryHub, MemoryQuarantine
from shared.domain.errors import TryLater
from shared.domain.quarantine import Quarantined, Repair, State
from shared.flow.replay_quarantine import discard_entry, replay_entry
from tests.builders import LIFE, NOON, document, event
from tests.faults.faulty_ports import MOMENTS, Crash, Guarded, Moment, NthCallFails, unwell

ENTRY = Quarantined(
    kind="events",
    material="quakes",
    origin=f"p1-{LIFE}-{42:020d}",
    reason="expired",
    detail="expired",
    seen_at=NOON,
    attributes=event(42).attributes,
    body=b"{}",
)
CALLS = ("read", "send", "mark")


@pytest.mark.parametrize("failure", [unwell, Crash])
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_replay_ends_after_any_failure_of_any_call(
    number: int, moment: Moment, failure: type[BaseException]
) -> None:
    """Killed between sending and marking, the entry is open still: nothing is marked unsent."""
    quarantine, hub = MemoryQuarantine(entries={ENTRY.name: ENTRY}), MemoryHub()
    gate = NthCallFails(frozenset({number}), moment, failure)

    async def attempt() -> None:
        await replay_entry(
            ENTRY.name, Repair(), document(), by="test", clock=MemoryClock(),
            quarantine=Guarded(quarantine, gate), hub=Guarded(hub, gate),
        )  # fmt: skip

    with pytest.raises((Crash, TryLater)):
        await attempt()
    state = quarantine.entries[ENTRY.name].decision.state
    sent_before = list(hub.sent)
    await attempt()

    assert gate.struck == [CALLS[number - 1]]
    assert state is State.OPEN or sent_before
    assert {sent.id for sent in hub.sent["quakes", 1]} == {"event-42"}
    assert quarantine.entries[ENTRY.name].decision.state is State.REPLAYED


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [1, 2])
async def test_discarding_ends_after_any_failure_of_any_call(number: int, moment: Moment) -> None:
    """A decision that was noted is the same decision when it is asked for again."""
    quarantine = MemoryQuarantine(entries={ENTRY.name: ENTRY})
    gate = NthCallFails(frozenset({number}), moment, unwell)

    async def attempt() -> None:
        guarded = Guarded(quarantine, gate)
        await discard_entry(ENTRY.name, quarantine=guarded, clock=MemoryClock(), by="test")

    with pytest.raises(TryLater):
        await attempt()
    await attempt()

    assert gate.struck == [("read", "mark")[number - 1]]
    assert quarantine.entries[ENTRY.name].decision.state is State.DISCARDED
