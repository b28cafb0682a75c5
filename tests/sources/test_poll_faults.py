"""Polls of many pages under faults: nothing is lost, nothing deleted that is there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.memory import MemoryClock, MemoryHub, MemoryQuarantine
from shared.adapters.memory_source import MemoryCursorStore
from shared.domain.cursor import CLAIM
from shared.domain.errors import TryLater
from shared.domain.page import Answer, Page
from shared.flow import source_page
from shared.flow.source_to_hub import poll_source
from tests.builders import document
from tests.faults.faulty_ports import (
    MOMENTS,
    Crash,
    Guarded,
    NthCallFails,
    OpenGate,
    Violation,
    finish,
    unwell,
)
from tests.source_tool import FULL

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from shared.domain.page import Request, Validators
    from shared.domain.source import Source
    from tests.faults.faulty_ports import Gate, Moment

DOCUMENT = document(
    sources=[
        {
            "name": "tool",
            "url": "http://127.0.0.1:1/items",
            "schedule": "0 * * * * *",
            "records": "items",
            "publishes": "quakes",
            "paging": {"kind": "offset", "size": 3, "total": "total"},
        }
    ],
    datasets=[FULL],
)


@dataclass
class PagedTool:
    """Rows, three a page."""

    rows: dict[int, int] = field(default_factory=dict)

    async def fetch(
        self,
        source: Source,  # noqa: ARG002 -- There is one.
        request: Request,
        *,
        query: Mapping[str, str],  # noqa: ARG002
        validators: Validators,
        seconds: float,  # noqa: ARG002
    ) -> Answer:
        """The rows at an offset; an ETag that tells."""
        rows = sorted(self.rows.items())[request.offset : request.offset + 3]
        body = {"items": [{"id": i, "v": v} for i, v in rows], "total": len(self.rows)}
        content = json.dumps(body).encode()
        head = Page(etag=content.hex(), unchanged=validators.etag == content.hex())
        return Answer(head=head, pieces=self._pieces(b"" if head.unchanged else content))

    async def _pieces(self, body: bytes) -> AsyncGenerator[bytes]:
        yield body


@dataclass
class PagedWorld:
    """A table made by whoever reads the hub, and the tool that it should be equal to."""

    tool: PagedTool = field(default_factory=PagedTool)
    hub: MemoryHub = field(default_factory=MemoryHub)
    cursors: MemoryCursorStore = field(default_factory=MemoryCursorStore)
    clock: MemoryClock = field(default_factory=MemoryClock)

    def poll(self, gate: Gate) -> bool:
        """Poll once; whether it succeeded."""
        step = poll_source(
            DOCUMENT.sources[0],
            DOCUMENT,
            reader=Guarded(self.tool, gate),
            hub=Guarded(self.hub, gate),
            cursors=Guarded(self.cursors, gate),
            quarantine=MemoryQuarantine(),
            clock=self.clock,
        )
        try:
            report = finish(step)
        except (TryLater, Crash):
            self.clock.moment += CLAIM
            return False
        return not report.unfinished

    def poll_to_the_end(self, gate: Gate) -> None:
        """What the ticks of a timer do: also after a success there is another."""
        for _ in range(9):
            if self.poll(gate) and self.poll(gate):
                return
        raise Violation("the poll never succeeds")

    def table(self) -> dict[int, int]:
        """What follows from the events: the last one of a key wins."""
        table: dict[int, int] = {}
        for events in self.hub.sent.values():
            for event in events:
                for line in event.body.split(b"\n"):
                    record: dict[str, Any] = json.loads(line)
                    if event.attributes["type"] == "dev.millrace.deletions":
                        table.pop(record["id"], None)
                    else:
                        table[record["id"]] = record["v"]
        return table

    def check(self) -> None:
        """The table is the tool's."""
        if self.table() != self.tool.rows:
            raise Violation(f"{self.table()} is not {self.tool.rows}")


#: Rows come, change, change back, go and come back.
STATES: tuple[dict[int, int], ...] = (
    dict.fromkeys(range(8), 1),
    {**dict.fromkeys(range(8), 1), 1: 2, 9: 1},
    {**dict.fromkeys(range(2, 8), 1), 9: 1},
    dict.fromkeys(range(8), 1),
    {0: 1, 7: 3},
)


@pytest.fixture(autouse=True, params=[1, 2_000_000], ids=["each page", "many pages"])
def _sent_together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether news of several pages are sent together."""
    monkeypatch.setattr(source_page, "HELD_BYTES", request.param)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("failure", [unwell, Crash], ids=["world unwell", "crash"])
def test_no_failure_of_any_call_makes_the_table_differ(
    moment: Moment, failure: Callable[[], BaseException]
) -> None:
    """Each call of five walks fails once; the tool does not change until the poll succeeds."""
    struck: set[str] = set()
    for number in count(1):
        gate, world = NthCallFails(frozenset({number}), moment, failure), PagedWorld()
        for rows in STATES:
            world.tool.rows = dict(rows)
            world.poll_to_the_end(gate)
            world.check()
        struck.update(gate.struck)
        if not gate.struck:
            break

    assert struck == {"read", "fetch", "send", "replace", "journal", "append", "drop_journal"}


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # It only sets a constant.
)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 9), st.integers(0, 2), min_size=1),
            st.integers(0, 30),
            st.sampled_from(MOMENTS),
            st.sampled_from([unwell, Crash]),
        ),
        max_size=8,
    )
)
def test_tool_that_changes_between_failing_polls_ends_in_the_same_table(
    steps: list[tuple[dict[int, int], int, Moment, Callable[[], BaseException]]],
) -> None:
    """What one poll saw in part, the next may see changed back: that is news as well."""
    world = PagedWorld()
    for rows, number, moment, failure in steps:
        world.tool.rows = dict(rows)
        world.poll(NthCallFails(frozenset({number}), moment, failure))

    world.tool.rows = world.tool.rows or {1: 1}
    world.poll_to_the_end(OpenGate())

    world.check()
