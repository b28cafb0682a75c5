"""operate: what a request over HTTP asks of the quarantine, and how an error answers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import azure.functions as func
import pytest

from shared.adapters import http_operate
from shared.adapters.memory import MemoryClock, MemoryHub, MemoryQuarantine
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.quarantine import Quarantined, Selection, State
from shared.flow.replay_quarantine import QuarantineDiscarded, QuarantineReplayed
from tests.builders import LIFE, NOON, document, event
from tests.http_answers import content, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.quarantine import Head


def entry(number: int, **changes: Any) -> Quarantined:
    """An expired event."""
    usual: dict[str, Any] = {
        "kind": "events",
        "material": "quakes",
        "origin": f"p1-{LIFE}-{number:020d}",
        "reason": "expired",
        "detail": "expired at noon",
        "seen_at": NOON,
        "attributes": event(number).attributes,
        "body": b"\xff{}",
    }
    return Quarantined(**(usual | changes))


GOOD, NAMELESS, LOSS = (
    entry(1),
    entry(2, reason="not-a-cloud-event", attributes={}),
    entry(3, kind="losses", reason="dropped-by-retention"),
)


class World:
    """Three entries, and what happens to them."""

    def __init__(self, quarantine: MemoryQuarantine | None = None) -> None:
        """Nothing is decided yet."""
        self.quarantine = quarantine or MemoryQuarantine()
        self.quarantine.entries = {each.name: each for each in (GOOD, NAMELESS, LOSS)}
        self.hub = MemoryHub()
        self.emitted: list[QuarantineReplayed | QuarantineDiscarded] = []

    async def list(self, **query: str) -> func.HttpResponse:
        """GET /api/quarantine."""
        request = func.HttpRequest("GET", "/api/quarantine", params=query, body=b"")
        return await http_operate.list_entries(request, quarantine=self.quarantine)

    async def show(self, name: str) -> func.HttpResponse:
        """GET /api/quarantine/{name}."""
        request = func.HttpRequest("GET", "/", route_params={"name": name}, body=b"")
        return await http_operate.show_entry(request, quarantine=self.quarantine)

    async def change(self, name: str, **content: Any) -> func.HttpResponse:
        """POST /api/quarantine/{name}."""
        return await self.post(name, json.dumps(content).encode())

    async def post(self, name: str, body: bytes) -> func.HttpResponse:
        """The same, with any body."""
        request = func.HttpRequest("POST", "/", route_params={"name": name}, body=body)
        return await http_operate.change_entry(
            request, document=document(), quarantine=self.quarantine, hub=self.hub,
            clock=MemoryClock(), emit=self.emitted.append,
        )  # fmt: skip


async def test_list_shows_what_is_open_and_counts_reasons() -> None:
    """Whoever is called at night begins here."""
    world = World()
    await world.change(GOOD.name, action="discard")

    opened = content(await world.list())
    discarded = content(await world.list(state="discarded"))
    everything = content(await world.list(state="all", kind="events"))

    assert opened["reasons"] == {"not-a-cloud-event": 1, "dropped-by-retention": 1}
    assert [each["name"] for each in discarded["entries"]] == [GOOD.name]
    assert discarded["entries"][0]["changedBy"] == "http"
    assert everything["selected"] == 2


@pytest.mark.parametrize("query", [{"kind": "event"}, {"state": "done"}, {"state": ""}])
async def test_selection_that_cannot_be_meant_is_a_bad_request(query: dict[str, str]) -> None:
    """An empty answer to a mistyped question looks like good news."""
    status, detail = problem(await World().list(**query))

    assert status == 400
    assert "is none of" in detail


async def test_list_says_how_much_it_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million entries must not be one answer."""
    monkeypatch.setattr(http_operate, "_ENTRIES_MAX", 2)

    found = content(await World().list())

    assert (found["selected"], len(found["entries"])) == (3, 2)
    assert sum(found["reasons"].values()) == 3


async def test_entry_is_shown_whole() -> None:
    """The bytes may be anything, so they travel as base64."""
    found = content(await World().show(GOOD.name))

    assert base64.b64decode(found["body"]) == GOOD.body
    assert found["attributes"] == GOOD.attributes
    assert (found["state"], found["detail"]) == ("open", "expired at noon")


async def test_entry_is_replayed_as_it_was() -> None:
    """The whole point."""
    world = World()

    first = content(await world.change(GOOD.name, action="replay"))
    second = content(await world.change(GOOD.name, action="replay"))

    assert first == {
        "name": GOOD.name,
        "state": "replayed",
        "repeated": False,
        "event": "event-1",
        "material": "quakes",
        "partition": "1",
    }
    assert second["repeated"] is True
    assert [each.body for each in world.hub.sent["quakes", 1]] == [GOOD.body, GOOD.body]
    assert world.emitted == [
        QuarantineReplayed(selected=1, replayed=1, repeated=0, refused=0),
        QuarantineReplayed(selected=1, replayed=0, repeated=1, refused=0),
    ]


async def test_entry_is_replayed_repaired() -> None:
    """What is missing is given along."""
    world = World()
    attributes = {"specversion": "1.0", "id": "x", "source": "/s", "type": "t"}
    body = base64.b64encode(b"\x00mended").decode()

    response = await world.change(NAMELESS.name, action="replay", body=body, attributes=attributes)

    (sent,) = world.hub.sent["quakes", 1]
    assert response.status_code == 200
    assert sent.body == b"\x00mended"
    assert sent.attributes.items() >= attributes.items()


async def test_entry_is_discarded() -> None:
    """Not everything is worth a repair."""
    world = World()

    found = content(await world.change(GOOD.name, action="discard"))

    assert found == {"name": GOOD.name, "state": "discarded", "repeated": False}
    assert world.quarantine.entries[GOOD.name].decision.state is State.DISCARDED
    assert world.emitted == [QuarantineDiscarded(selected=1, discarded=1, repeated=0, refused=0)]


async def test_absent_entry_is_not_found() -> None:
    """Neither to show nor to change."""
    world = World()

    assert problem(await world.show("events/quakes/none.json"))[0] == 404
    assert problem(await world.change("", action="replay"))[0] == 404


async def test_change_that_the_state_forbids_is_a_conflict() -> None:
    """The request is right; the entry is not in a state for it."""
    world = World()
    await world.change(GOOD.name, action="replay")

    assert problem(await world.change(GOOD.name, action="discard"))[0] == 409
    assert problem(await world.change(LOSS.name, action="replay"))[0] == 409


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "the request"),
        (b"{}", "action"),
        (b'{"action":"delete"}', "'replay' or 'discard'"),
        (b'{"action":"replay","bodi":""}', "bodi"),
        (b'{"action":"replay","body":"no base64!"}', "body: is no base64"),
        (b'{"action":"replay","attributes":{"id":1}}', "attributes.id"),
    ],
)
async def test_request_that_cannot_be_read_names_what_is_wrong(body: bytes, named: str) -> None:
    """Nothing is sent on a guess."""
    world = World()

    status, detail = problem(await world.post(GOOD.name, body))

    assert (status, world.hub.sent) == (400, {})
    assert named in detail


async def test_event_that_would_come_back_is_a_bad_request_with_its_reason() -> None:
    """The caller can mend it: the answer says with what."""
    response = await World().change(NAMELESS.name, action="replay")

    status, detail = problem(response)
    assert status == 400
    assert "has no specversion, id, source, type" in detail
    assert content(response)["reason"] == "not-a-cloud-event"


class Unwell(MemoryQuarantine):
    """Raises."""

    def __init__(self, error: Exception) -> None:
        """`error` is what it raises."""
        super().__init__()
        self.error = error

    async def heads(self, selection: Selection) -> AsyncIterator[Head]:
        """Raise."""
        async for head in super().heads(selection):
            yield head
            raise self.error


async def test_world_that_is_unwell_says_when_to_come_back() -> None:
    """A caller's retries depend on the status."""
    response = await World(Unwell(TryLater("storage is busy", retry_after_s=1.2))).list()

    assert problem(response) == (503, "storage is busy")
    assert response.headers["Retry-After"] == "2"


async def test_setting_that_is_wrong_is_the_server_s_fault() -> None:
    """The caller cannot mend it."""
    response = await World(Unwell(Misconfigured("LAKE", "is not set"))).list()

    assert problem(response) == (500, "LAKE is not set")
