"""The app's own view of a hub, over real connections to the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.event_hubs import EventHubs as Server
from shared.adapters import event_hubs
from shared.adapters.event_hubs import EventHubs
from tests.local_event_hubs import HUB, Clock, connections_break, consumer, hub, producer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


@connections_break
async def test_hub_made_anew_is_found_by_asking_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers may go on exactly where those of the old one ended; then nothing else tells."""
    clock = Clock()
    async with Server([hub(partitions=1)], tmp_path / "old", now_ms=clock) as server:
        address = server.connection_string
        mine = EventHubs(lambda _: producer(address), lambda _: consumer(address))
        old = await mine.life(HUB)
    clock.now_ms += 5000
    async with Server([hub(partitions=1)], tmp_path / "new", port=server.port, now_ms=clock):
        known = await mine.life(HUB)
        monkeypatch.setattr(event_hubs, "_LIFE_S", 0)
        found = await mine.life(HUB)
        await mine.close()

    assert known == old
    assert found > old
