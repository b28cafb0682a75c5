"""source → hub: only what is new is sent, and the cursor follows the hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.adapters.claim_check import ClaimCheckedHub
from shared.adapters.memory import (
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryQuarantine,
)
from shared.adapters.memory_source import MemoryCursorStore, MemorySource
from shared.domain.cloud_event import BODY_BYTES_MAX
from shared.domain.cursor import CLAIM
from shared.domain.errors import TryLater
from shared.flow.source_to_hub import poll_source
from tests.builders import document, page

if TYPE_CHECKING:
    from shared.domain.page import Page
    from shared.domain.poll import SourcePolled


class World:
    """Everything a poll touches, in memory."""

    def __init__(self, answer: Page) -> None:
        """`answer` is what the source says until it is replaced."""
        self.source = MemorySource(page=answer)
        self.hub: Any = MemoryHub()
        self.cursors = MemoryCursorStore()
        self.quarantine = MemoryQuarantine()
        self.clock = MemoryClock()
        self.document = document()

    async def poll(self) -> SourcePolled:
        """Poll once."""
        return await poll_source(
            self.document.source("tool"),
            self.document,
            reader=self.source,
            hub=self.hub,
            cursors=self.cursors,
            quarantine=self.quarantine,
            clock=self.clock,
        )

    def sent(self) -> list[dict[str, Any]]:
        """Every record in the hub, by id."""
        lines = [
            json.loads(line)
            for events in self.hub.sent.values()
            for event in events
            for line in event.body.split(b"\n")
        ]
        return sorted(lines, key=lambda record: (record["id"], record.get("v", 0)))


async def test_first_poll_sends_everything_once() -> None:
    """Every record of the page is in exactly one event."""
    world = World(page({"id": 1}, {"id": 2}, {"id": 3}))

    report = await world.poll()

    assert world.sent() == [{"id": 1}, {"id": 2}, {"id": 3}]
    assert (report.records_seen, report.records_sent, report.changed) == (3, 3, True)


async def test_unchanged_source_costs_one_request_and_nothing_else() -> None:
    """A 304 writes nothing: no event, no cursor."""
    world = World(page({"id": 1}, etag='"a"'))
    await world.poll()
    kept = dict(world.cursors.kept)

    report = await world.poll()

    assert (report.changed, report.records_seen) == (False, 0)
    assert world.source.requests == 2
    assert world.cursors.kept == kept
    assert len(world.sent()) == 1


async def test_source_without_validators_sends_only_what_changed() -> None:
    """A record that changed without saying so is sent; the others are not sent again."""
    world = World(page({"id": 1, "v": 1}, {"id": 2, "v": 1}))
    await world.poll()
    world.source.page = page({"id": 1, "v": 1}, {"id": 2, "v": 2}, {"id": 3, "v": 1})

    report = await world.poll()

    assert (report.records_unchanged, report.records_sent) == (1, 2)
    assert [record["id"] for record in world.sent()] == [1, 2, 2, 3]


async def test_hub_that_fails_leaves_the_cursor_where_it_was() -> None:
    """The cursor moves only after the hub acknowledged, so the next poll sends again."""

    class DownHub(MemoryHub):
        async def send(self, *_: object) -> None:
            raise TryLater("the hub is unwell")

    world = World(page({"id": 1}))
    world.hub = DownHub()
    with pytest.raises(TryLater):
        await world.poll()
    world.hub = MemoryHub()

    await world.poll()

    assert world.sent() == [{"id": 1}]


async def test_repeated_poll_of_the_same_records_gives_the_same_ids() -> None:
    """Ids come from content: a poll killed before its cursor moved repeats them."""
    world = World(page({"id": 1}, {"id": 2}))
    await world.poll()
    world.cursors.kept.clear()

    await world.poll()

    ids = [event.id for events in world.hub.sent.values() for event in events]
    assert len(ids) == 2 * len(set(ids))


async def test_poll_that_lost_a_race_says_so() -> None:
    """Two polls at once must not both believe they moved the cursor."""
    world = World(page({"id": 1}))

    class RacingHub(MemoryHub):
        async def send(self, *arguments: Any) -> None:
            await super().send(*arguments)
            world.hub = MemoryHub()
            with pytest.raises(TryLater, match="another poll of tool is running"):
                await world.poll()
            world.clock.moment += CLAIM  # As if this one had been asleep.
            await world.poll()

    world.hub = RacingHub()
    with pytest.raises(TryLater, match="another poll of tool moved the cursor"):
        await world.poll()


async def test_record_too_large_for_an_event_is_claimed_by_one() -> None:
    """One huge record stops no other and is not lost; its event is a small one."""
    huge = {"id": 2, "text": "x" * BODY_BYTES_MAX}
    world = World(page({"id": 1}, huge))
    hub, claims = world.hub, MemoryClaims()
    world.hub = ClaimCheckedHub(hub, claims)

    report = await world.poll()

    events = [event for group in hub.sent.values() for event in group]
    (reference,) = (event.attributes["dataref"] for event in events if not event.body)
    assert (report.records_sent, report.events_sent) == (2, 2)
    assert json.loads(claims.bodies[reference]) == huge
