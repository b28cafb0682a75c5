"""hub → raw under faults: every call fails once, owners interleave, hubs age; no promise breaks.

Tests marked as expected to fail show faults that are known; each says exactly what goes wrong.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.flow.hub_to_raw import land_batch
from tests.faults import landing_checks
from tests.faults.faulty_ports import (
    Between,
    Crash,
    NamedCallFails,
    OpenGate,
    Violation,
    finish,
)
from tests.faults.landing_world import Host, Owner, Process, World

if TYPE_CHECKING:
    from tests.faults.landing_checks import Action

#: Every call that landing makes.
CALLS = {"life", "tip", "find_tip", "first_sequence", "read", "begin", "get", "keep", "land",
         "remember", "end"}  # fmt: skip
SMALL = st.integers(0, landing_checks.EVENTS - 1)


def known(reason: str) -> pytest.MarkDecorator:
    """A fault that is known and not mended yet."""
    return pytest.mark.xfail(strict=True, raises=Violation, reason=reason)


@pytest.mark.parametrize("skips", [False, True], ids=["", "host skips"])
@pytest.mark.parametrize("name", landing_checks.SCENARIOS)
def test_no_failure_of_any_call_breaks_a_promise(name: str, skips: bool) -> None:  # noqa: FBT001 -- A case.
    """Each call fails before and after its effect; the batch comes again, or others do.

    A host that skips counts the batch during which its process died as done.
    """
    scenario = landing_checks.SCENARIOS[name]

    struck = landing_checks.sweep(scenario, skips=skips)

    assert struck.keys() >= {"life", "tip", "begin", "land", "remember", "end"}


def test_sweeps_fail_every_call_that_landing_makes() -> None:
    """A call that is never failed is not proven."""
    names = ("plain", "skipped batch")

    struck = [landing_checks.sweep(landing_checks.SCENARIOS[name]) for name in names]

    assert set().union(*struck) == CALLS


@pytest.mark.parametrize("skips", [False, True], ids=["", "host skips"])
def test_second_crash_during_recovery_breaks_no_promise(skips: bool) -> None:  # noqa: FBT001 -- A case.
    """Recovery is the same code, and must be as safe to kill."""
    scenario = landing_checks.SCENARIOS["second owner"]

    runs = landing_checks.sweep_pairs(scenario, calls=30, skips=skips)

    assert runs == 2 * 30 * 29 / 2


@pytest.mark.parametrize("call", ["life", "tip", "begin", "keep", "land", "remember", "end"])
def test_long_outage_sets_no_good_event_apart(call: str) -> None:
    """While the world is unwell the same process tries the same batch for hours."""
    landing_checks.outage(call)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(landing_checks.ACTIONS), st.integers(0, 2), SMALL, SMALL),
        min_size=20,
        max_size=60,
    )
)
def test_owners_may_interleave_at_every_call(schedule: list[Action]) -> None:
    """Three processes own one partition; batches begin anywhere, positions get lost."""
    landing_checks.interleave(schedule)


def test_two_owners_in_step_land_every_event_once() -> None:
    """The plainest race: the same events, other boundaries, call by call in turn."""
    landing_checks.two_owners_in_step(land_batch)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(landing_checks.AGEING), SMALL, SMALL), min_size=5, max_size=20
    )
)
def test_hub_may_drop_events_and_be_made_anew(schedule: list[tuple[str, int, int]]) -> None:
    """What is dropped is announced exactly; what is not dropped is landed; lives never meet."""
    landing_checks.age(schedule)


def test_event_that_kills_its_process_is_set_apart_alone() -> None:
    """Nothing else goes to quarantine with it, and nothing waits for ever."""
    landing_checks.poison_alone(land_batch)


def test_event_that_kills_its_process_is_set_apart_wherever_it_is() -> None:
    """Later batches begin where the position is, and it must not stay behind landed slices."""
    landing_checks.poison_anywhere(land_batch)


def test_position_is_up_to_date_when_all_that_is_delivered_is_landed() -> None:
    """Runs are planned only up to the position: a first blob that nobody noted waits for ever.

    The process dies between the partition's first blob and its position; the host delivers the
    same events again, and after them none.
    """
    world = World(5)
    host = Host(world, NamedCallFails("remember", times=1, failure=Crash))

    host.deliver(4)

    world.check()


def test_loss_that_grows_between_two_tries_is_announced_whole() -> None:
    """The process dies after announcing a loss; meanwhile the hub drops more."""
    landing_checks.loss_that_grows(land_batch)


def test_loss_during_healing_is_announced() -> None:
    """Retention passes on between the question where the hub begins and the reading."""
    world = World()
    Host(world).deliver(3)

    def drop() -> None:
        world.hub.begins = 6

    finish(Process(world, Between("read", drop)).land(world.batch(8, 9)))

    world.check()


@known("two owners that pass over a loss need not agree where it ends, and so on a name")
def test_owners_that_heal_while_the_hub_drops_events_agree() -> None:
    """One has read what the other finds dropped: their blobs have different names."""
    world = World()
    Host(world).deliver(3)
    slow, quick = Owner(world), Owner(world)
    world.hub.begins = 5
    slow.take(world.batch(10, 11))
    while slow.waiting != "land":
        slow.move()
    world.hub.begins = 7
    quick.take(world.batch(10, 11))
    quick.finish()
    slow.finish()

    world.check()


def test_hub_made_anew_that_goes_on_where_the_old_one_ended_is_recognised() -> None:
    """The process knew the old hub, and no number is known or missing: only asking again tells."""
    world = World()
    host = Host(world)
    host.deliver(4)
    finish(host.process.hub.life("quakes"))  # As it does for any partition.
    world.make_hub_anew(9)
    world.clock.moment += timedelta(minutes=1)
    host.skip_to(5)

    host.deliver_all()

    world.check()


def test_event_that_expires_between_a_crash_and_its_redelivery_is_landed_and_set_apart() -> None:
    """Quarantine is filled before the name is found taken: the copy there is one too many."""
    world = World()
    (lasting,) = world.batch(2, 2).events
    attributes = {**lasting.attributes, "expirytime": "2026-11-20T12:00:01Z"}
    world.logs[world.hub.made][2] = replace(lasting, attributes=attributes)
    finish(Process(world, OpenGate()).land(world.batch(0, 1)))
    with pytest.raises(Crash):
        finish(Process(world, NamedCallFails("remember", 1, failure=Crash)).land(world.batch(2, 3)))

    world.clock.moment += timedelta(seconds=1)
    finish(Process(world, OpenGate()).land(world.batch(2, 3)))

    landed = [each for blob in world.raw.blobs.values() for each in blob.events]
    assert [each.quarantined for each in landed if each.sequence == 2] == [""]
    reasons = [entry.reason for entry in world.quarantine.entries.values()]
    assert sorted(reasons) == ["claim-missing", "expired", "not-a-cloud-event"]
