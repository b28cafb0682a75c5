"""source → hub under faults: every record reaches the hub, and the cursor is never ahead of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from shared.adapters import claim_check
from shared.adapters.claim_check import ClaimCheckedHub
from shared.adapters.memory import (
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryQuarantine,
)
from shared.adapters.memory_source import MemoryCursorStore, MemorySource
from shared.domain.cursor import CLAIM, Frames, Restored
from shared.domain.errors import TryLater
from shared.domain.json_page import records_of
from shared.domain.seen import Seen
from shared.domain.seen_many import ENTRY_BYTES
from shared.flow.source_to_hub import poll_source
from tests.builders import document, page
from tests.faults.faulty_ports import (
    MOMENTS,
    Crash,
    Guarded,
    NthCallFails,
    OpenGate,
    Turns,
    Violation,
    finish,
    unwell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
    from typing import Any

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.poll import SourcePolled
    from shared.domain.record import Record
    from tests.faults.faulty_ports import Gate, Moment

HUGE = {"id": "huge", "text": "x" * 100}
#: What the source says, one answer after the other: records come, change, change back and go.
ANSWERS = (
    page({"id": "a", "v": 1}, {"id": "b", "v": 1}, etag='"1"'),
    page({"id": "a", "v": 2}, {"id": "b", "v": 1}, HUGE),
    page({"id": "a", "v": 1}, {"id": "c", "v": 1}, HUGE, etag='"3"'),
    page({"id": "d", "v": 1}, etag='"4"'),
)
DOCUMENT = document()


@pytest.fixture(autouse=True, scope="module")
def _hub_takes_less() -> Iterator[None]:
    """A hundred bytes are enough to be too large, and a sweep polls a thousand times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_check, "BODY_BYTES_MAX", 100)
        yield


@dataclass
class HalfwayHub(MemoryHub):
    """A hub that can fail when some partitions have their events and others do not."""

    halfway: list[BaseException] = field(default_factory=list)

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:
        """Send partition by partition."""
        for partition, members in events.items():
            await super().send(material, {partition: members})
            if self.halfway:
                raise self.halfway.pop()


@dataclass
class PollWorld:
    """Everything a poll touches, in memory."""

    source: MemorySource = field(default_factory=lambda: MemorySource(page=ANSWERS[0]))
    hub: HalfwayHub = field(default_factory=HalfwayHub)
    claims: MemoryClaims = field(default_factory=MemoryClaims)
    cursors: MemoryCursorStore = field(default_factory=MemoryCursorStore)
    quarantine: MemoryQuarantine = field(default_factory=MemoryQuarantine)
    clock: MemoryClock = field(default_factory=MemoryClock)

    def poll(self, gate: Gate) -> Coroutine[Any, Any, SourcePolled]:
        """Poll once."""
        return poll_source(
            DOCUMENT.source("tool"),
            DOCUMENT,
            reader=Guarded(self.source, gate),
            hub=ClaimCheckedHub(Guarded(self.hub, gate), Guarded(self.claims, gate)),
            cursors=Guarded(self.cursors, gate),
            quarantine=Guarded(self.quarantine, gate),
            clock=self.clock,
        )

    def poll_until_it_succeeds(self, gate: Gate) -> None:
        """What ticks of the timer do; the source does not change meanwhile."""
        for _ in range(5):
            try:
                finish(self.poll(gate))
            except (TryLater, Crash):
                self.check()
                self.clock.moment += CLAIM  # A poll that was killed holds up the next no longer.
                continue
            self.check()
            return
        raise Violation("the poll never succeeds")

    def check(self) -> None:
        """Whatever the cursor has seen is in the hub, or claimed by an event there."""
        events = [event for group in self.hub.sent.values() for event in group]
        text = b"[" + b",".join(self.sent()) + b"]"
        there = {_entry(record) for record in records_of(text, path="", key="id")}
        if not self.remembered() <= there:
            raise Violation("the journal is ahead of the hub")
        if len({(event.id, event.body) for event in events}) != len({e.id for e in events}):
            raise Violation("one id names different events")

    def remembered(self) -> set[bytes]:
        """What the journal takes for sent: hashes of name and content."""
        seen = Seen()
        frames, restored = Frames(), Restored(seen)
        number = self.cursors.kept["tool"].value.journal if self.cursors.kept else 0
        for frame in frames.feed(self.cursors.journals.get(("tool", number), b"")):
            restored.take(frame)
        restored.end()
        entries = b"".join(seen.pieces(1))
        found = {entries[at : at + 15] for at in range(0, len(entries), ENTRY_BYTES)}
        return {each for each in found if not each.endswith(b"\xff" * 7)}

    def check_all_sent(self, answers: int) -> None:
        """Every record of the first answers is in the hub; of the one too large, its claim."""
        asked = [each for answer in ANSWERS[:answers] for each in json.loads(answer.body)["items"]]
        wanted = {json.dumps(each).encode() for each in asked}
        if set(self.sent()) != wanted:
            raise Violation(f"{wanted - set(self.sent())} never reached the hub")

    def sent(self) -> list[bytes]:
        """Every record that the hub carries or refers to, as often as it does."""
        events = [event for group in self.hub.sent.values() for event in group]
        bodies = [event.body or self.claims.bodies[event.attributes["dataref"]] for event in events]
        return [line for body in bodies for line in body.split(b"\n")]


def _follow(gate: Gate, *, halfway: BaseException | None = None) -> PollWorld:
    """Poll every answer of the source to success, one after the other."""
    world = PollWorld()
    for number, answer in enumerate(ANSWERS, 1):
        world.source.page = answer
        if halfway:
            world.hub.halfway.append(halfway)
        world.poll_until_it_succeeds(gate)
        world.check_all_sent(number)
    return world


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("failure", [unwell, Crash], ids=["world unwell", "crash"])
def test_no_failure_of_any_call_loses_a_record(
    moment: Moment, failure: Callable[[], BaseException]
) -> None:
    """Each call fails before or after its effect; the timer's next tick tries again."""
    struck: set[str] = set()
    for number in count(1):
        gate = NthCallFails(frozenset({number}), moment, failure)
        _follow(gate)
        struck.update(gate.struck)
        if not gate.struck:
            break

    assert struck == {
        "read", "fetch", "put", "send", "replace", "journal", "append", "drop_journal",
    }  # fmt: skip


@pytest.mark.parametrize("failure", [unwell, Crash], ids=["world unwell", "crash"])
def test_hub_that_fails_half_way_loses_nothing(failure: Callable[[], BaseException]) -> None:
    """Some partitions have their events; all are sent again, and repeats have the same ids."""
    world = _follow(OpenGate(), halfway=failure())

    ids = Counter(event.id for group in world.hub.sent.values() for event in group)
    assert max(ids.values()) > 1


def test_every_poll_that_commits_has_sent_first() -> None:
    """Without a failure nothing is sent twice, and a change back is a change."""
    world = _follow(OpenGate())

    values = [json.loads(line) for line in world.sent()]
    assert Counter((each["id"], each.get("v")) for each in values) == {
        ("a", 1): 2,
        ("a", 2): 1,
        ("b", 1): 1,
        ("c", 1): 1,
        ("d", 1): 1,
        ("huge", None): 1,
    }


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((*["poll"] * 3, *["move"] * 6, "answer", "crash")), st.integers(0, 2)
        ),
        min_size=10,
        max_size=50,
    )
)
def test_polls_may_interleave_at_every_call(schedule: list[tuple[str, int]]) -> None:
    """A slow poll, the next tick and a manual poll see different answers of one source."""
    world = PollWorld()
    polls: dict[int, Coroutine[Any, Any, SourcePolled]] = {}
    answers = 0
    for action, index in schedule:
        match action:
            case "answer":
                answers = min(answers + 1, len(ANSWERS) - 1)
                world.source.page = ANSWERS[answers]
            case "crash" if index in polls:
                polls.pop(index).close()
            case "poll" if index not in polls:
                polls[index] = world.poll(Turns())
            case _ if index in polls and not _moves(polls[index]):
                del polls[index]
        world.check()
    for poll in polls.values():
        while _moves(poll):
            pass

    world.clock.moment += CLAIM
    world.poll_until_it_succeeds(OpenGate())

    last = {_entry(record) for record in records_of(ANSWERS[answers].body, path="items", key="id")}
    assert last <= world.remembered()


def _entry(record: Record) -> bytes:
    """What the journal says of a record that is sent."""
    name = record.key.encode() if record.key else record.body
    return xxh3_64_digest(name) + xxh3_64_digest(record.body)[:7]


def _moves(poll: Coroutine[Any, Any, SourcePolled]) -> bool:
    """One call further; whether there is more to come."""
    try:
        poll.send(None)
    except (StopIteration, TryLater):
        return False
    return True
