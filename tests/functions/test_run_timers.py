"""The timers of runs, called as the worker calls them: what they sweep, what people are told."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from functions import maintain_tables, track_runs
from shared import telemetry, wiring
from shared.domain.job_run import JobOutcome
from shared.domain.run import ATTEMPTS_MAX, RunKind, RunState
from shared.domain.trace import UNTRACED
from tests.memory_runs import World

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """What the functions of this process work on."""
    world = World()
    app: Any = SimpleNamespace(
        document=world.document,
        raw=world.raw,
        ledger=world.ledger,
        files=world.files,
        jobs=world.jobs,
        clock=world.clock,
        traces=UNTRACED,
        telemetry=telemetry,
    )
    monkeypatch.setattr(wiring, "_app", app)
    return world


def body_of(builder: Any) -> Callable[[object], Awaitable[None]]:
    """What the worker calls."""
    called: Callable[[object], Awaitable[None]] = builder._function.get_user_function()
    return called


async def test_blob_whose_event_was_lost_is_found_by_the_timer(world: World) -> None:
    """Events get lost; what is landed must not wait for the next one."""
    await world.land(0, 4)

    await body_of(track_runs.track)(None)

    (run,) = world.runs("quakes")
    assert run.state is RunState.LAUNCHED
    assert world.covered() == list(world.raw.blobs)


async def test_run_given_up_is_one_line_that_an_alert_can_find(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the run, why, and what to do; ordinary ends are no errors."""
    await world.land(0, 4)
    await world.launch()
    for _ in range(ATTEMPTS_MAX - 1):
        await world.finish(JobOutcome.FAILED)
    world.end_jobs(JobOutcome.FAILED, "no such column")

    with caplog.at_level(logging.INFO, logger="millrace"):
        await body_of(track_runs.track)(None)

    (run,) = world.runs("quakes")
    errors = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    (line,) = errors
    assert run.state is RunState.FAILED
    assert all(part in line for part in (run.id, "no such column", f"runs retry {run.id}"))
    assert not any("alerts" in each.getMessage() for each in caplog.records)


async def test_maintenance_is_queued_by_one_timer_and_launched_by_the_other(world: World) -> None:
    """Only one of them launches, so that there is one place to look for why it did not."""
    await world.land(0, 4)
    await world.launch()
    await world.finish()

    await body_of(maintain_tables.maintain)(None)
    early = len(world.runs("quakes"))
    await body_of(track_runs.track)(None)

    _, run = world.runs("quakes")
    assert early == 1
    assert (run.kind, run.state) == (RunKind.MAINTENANCE, RunState.LAUNCHED)
