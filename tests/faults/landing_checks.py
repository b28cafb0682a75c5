"""What is done to landing, and must not break a promise: each check takes the step to be tried.

The tests of faults give them the real step, the tests of mutations broken copies of it.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import combinations, count
from typing import TYPE_CHECKING

from shared.domain.raw_blob import START
from shared.flow.hub_to_raw import land_batch
from tests.faults.faulty_ports import (
    MOMENTS,
    Crash,
    NamedCallFails,
    NthCallFails,
    OpenGate,
    finish,
    unwell,
)
from tests.faults.landing_world import BAD, LIVES, Host, Owner, Process, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.faults.faulty_ports import Gate
    from tests.faults.landing_world import LandBatch

    type Scenario = Callable[[World, Host], None]
    type Action = tuple[str, int, int, int]

FAILURES: dict[str, Callable[[], BaseException]] = {"world unwell": unwell, "crash": Crash}
#: Actions of a schedule, as often as they are to be drawn: most are one call of one owner.
ACTIONS = (*["take"] * 4, *["move"] * 6, *["run"] * 2, "crash", "lose position")
#: Actions of a hub that grows old: what happens between batches.
AGEING = (*["deliver"] * 3, "retain", "restart", "make anew")
EVENTS = 12


def plain(world: World, host: Host) -> None:  # noqa: ARG001 -- Scenarios look alike.
    """A host that delivers everything."""
    host.deliver_all()


def skipped_batch(world: World, host: Host) -> None:  # noqa: ARG001 -- Scenarios look alike.
    """A host that leaves something out."""
    host.deliver(3)
    host.skip_to(8)
    host.deliver_all()


def retention(world: World, host: Host) -> None:
    """What it leaves out, the hub has dropped in part."""
    host.deliver(3)
    world.hub.begins = 6
    host.skip_to(8)
    host.deliver_all()


def retention_passes_the_batch(world: World, host: Host) -> None:
    """The host has events in hand that the hub does not hold any more."""
    host.deliver(3)
    world.hub.begins = 9
    host.skip_to(6)
    host.deliver_all()


def position_lost(world: World, host: Host) -> None:
    """The position is gone, and the host begins further back."""
    host.deliver(5)
    world.raw.remembered.clear()
    host.restart()
    host.skip_to(2)
    host.deliver_all()


def position_behind_retention(world: World, host: Host) -> None:
    """The position is far behind, and the hub has dropped what is landed beyond it."""
    host.deliver(8)
    for partition in world.raw.remembered:
        world.raw.remembered[partition] = START
    world.hub.begins = 9
    host.restart()
    host.skip_to(10)
    host.deliver_all()


def hub_made_anew(world: World, host: Host) -> None:
    """The numbers of a running process come again, on younger events."""
    host.deliver(5)
    world.make_hub_anew(9)
    host.skip_to(2)
    host.deliver_all()


def hub_made_anew_before_its_first_event(world: World, host: Host) -> None:
    """A running process has asked for the life of a hub that carried nothing."""
    finish(host.process.hub.life("quakes"))  # As it does for any partition.
    world.make_hub_anew(9)
    host.deliver_all()


def hub_made_anew_and_further(world: World, host: Host) -> None:
    """The host's stale checkpoint points into the middle of the new hub."""
    host.deliver(5)
    world.make_hub_anew(9)
    host.skip_to(7)
    host.deliver_all()


def second_owner(world: World, host: Host) -> None:
    """Another owner is ahead and has not noted it: blobs of other boundaries, position behind."""
    other = Process(world, OpenGate())
    for first, last in ((0, 1), (2, 6)):
        finish(other.land(world.batch(first, last)))
    for partition in world.raw.remembered:
        world.raw.remembered[partition] = START
    host.deliver_all()


def poison(world: World, host: Host) -> None:
    """Whoever encodes event 4 dies."""
    world.raw.lethal = 4
    host.deliver_all()


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__.replace("_", " "): scenario
    for scenario in (
        plain,
        skipped_batch,
        retention,
        retention_passes_the_batch,
        position_lost,
        position_behind_retention,
        hub_made_anew,
        hub_made_anew_before_its_first_event,
        hub_made_anew_and_further,
        second_owner,
        poison,
    )
}


def run(scenario: Scenario, *, step: LandBatch, gate: Gate, skips: bool = False) -> World:
    """Play a scenario to its end and check every promise."""
    world = World(EVENTS, step=step)
    scenario(world, Host(world, gate, skips=skips))
    world.check()
    return world


def sweep(
    scenario: Scenario, *, step: LandBatch = land_batch, skips: bool = False
) -> dict[str, int]:
    """Fail the n-th call for every n; return how often each call was failed."""
    struck: dict[str, int] = {}
    for gate in _one_failure_each():
        run(scenario, step=step, gate=gate, skips=skips)
        for call in gate.struck:
            struck[call] = struck.get(call, 0) + 1
    return struck


def _one_failure_each() -> Iterator[NthCallFails]:
    """Gates for every n, both moments, both failures; on to where a run passes without one."""
    for failure in FAILURES.values():
        for moment in MOMENTS:
            for number in count(1):
                gate = NthCallFails(frozenset({number}), moment, failure)
                yield gate
                if not gate.struck:
                    break


def sweep_pairs(scenario: Scenario, *, calls: int, skips: bool) -> int:
    """Crash at every two of the first `calls` calls: the second is often in the recovery."""
    runs = 0
    for numbers in combinations(range(1, calls + 1), 2):
        for moment in MOMENTS:
            gate = NthCallFails(frozenset(numbers), moment, Crash)
            run(scenario, step=land_batch, gate=gate, skips=skips)
            runs += 1
    return runs


def outage(call: str, *, step: LandBatch = land_batch, times: int = 50) -> None:
    """One call fails for so long that the host tries a batch 50 times; the process lives on."""
    run(second_owner, step=step, gate=NamedCallFails(call, times=times))


def interleave(
    schedule: Sequence[Action], *, step: LandBatch = land_batch, owners: int = 3
) -> World:
    """Let several owners take turns call by call, as the schedule says, and end in quiet.

    A batch can begin anywhere: behind the checkpoint, or beyond events nobody ever finished.
    """
    world = World(EVENTS - 1, step=step)
    crew = [Owner(world) for _ in range(owners)]
    for action, index, first, length in schedule:
        _act(world, crew[index % owners], action, first, length)
        world.check(position=False)
    for owner in crew:
        owner.finish()
    world.send_one_more()
    crew[0].take(world.batch(EVENTS - 1, EVENTS - 1))
    crew[0].finish()
    world.check(position=False)
    return world


def _act(world: World, owner: Owner, action: str, first: int, length: int) -> None:
    match action:
        case "take" if not owner.is_busy:
            last = world.events - 1
            owner.take(world.batch(min(first, last), min(first + length, last)))
        case "run":
            for _ in range(length):
                owner.move()
        case "crash":
            owner.crash()
        case "lose position":
            world.raw.remembered.clear()
        case _:
            owner.move()


def age(schedule: Sequence[tuple[str, int, int]], *, step: LandBatch = land_batch) -> World:
    """One process after another, while the hub drops events and is made anew between batches.

    Left out is what landing cannot tell: a new hub that goes on exactly where the blobs of the old
    one end, if that is not at its first event, under a process that knew the old one.
    """
    world = World(EVENTS, step=step)
    process = Process(world, OpenGate())
    for action, first, length in schedule:
        anew = world.hub.made != LIVES[0]
        match action:
            case "retain":
                world.hub.begins = max(world.hub.begins, first)
            case "restart":
                process = Process(world, OpenGate())
            case "make anew" if not anew:
                world.make_hub_anew(EVENTS)
            case "deliver" if not (anew and 0 < first == world.last_blob(LIVES[0]) + 1):
                finish(process.land(world.batch(first, min(first + length, EVENTS - 1))))
        world.check(position=False)
    return world


def two_owners_in_step(step: LandBatch) -> None:
    """Two owners with the same events in batches of other boundaries, call by call in turn."""
    both = [("move", owner, 0, 0) for _ in range(20) for owner in (0, 1)]
    for firsts in ((0, 0), (0, 2), (3, 0)):
        for lengths in ((4, 7), (7, 4), (1, 9)):
            takes = [
                ("take", owner, first, length)
                for owner, first, length in zip((0, 1), firsts, lengths, strict=True)
            ]
            interleave([*takes, *both], step=step, owners=2)


def poison_alone(step: LandBatch) -> None:
    """Only the deadly event and the bad ones are set apart, although batches stay as they are."""
    world = World(EVENTS, step=step)
    poison(world, Host(world, sizes=(5,)))

    world.check()
    assert len(world.quarantine.entries) == len(BAD) + 1


def poison_anywhere(step: LandBatch) -> None:
    """The deadly event may be in any batch, and the position behind the blobs."""
    for lethal in sorted(set(range(EVENTS)) - BAD):
        for landed in ((), ((0, 1), (2, 6))):
            world = World(EVENTS, step=step)
            for first, last in landed:
                dying = Process(world, NamedCallFails("remember", times=1, failure=Crash))
                with suppress(Crash):
                    finish(dying.land(world.batch(first, last)))
            if lethal > world.last_blob(LIVES[0]):
                world.raw.lethal = lethal
            host = Host(world, sizes=(5,))
            host.deliver_all()
            world.check()
            assert host.restarts <= 4 * 5, "few deaths isolate an event"


def loss_that_grows(step: LandBatch) -> None:
    """The process dies after announcing a loss; meanwhile the hub drops more."""
    world = World(EVENTS, step=step)
    host = Host(world)
    host.deliver(3)
    world.hub.begins = 5
    host.skip_to(8)
    dying = NamedCallFails("begin", times=1, failure=Crash)
    with suppress(Crash):
        finish(Process(world, dying).land(world.batch(8, 9)))
    world.hub.begins = 7
    host.deliver_all()
    world.check()


def swept(name: str) -> Callable[[LandBatch], object]:
    """The crash sweep over a scenario, as a check of a step."""
    return lambda step: sweep(SCENARIOS[name], step=step)


def played(name: str) -> Callable[[LandBatch], object]:
    """A scenario in which no call fails, as a check of a step."""
    return lambda step: run(SCENARIOS[name], step=step, gate=OpenGate())
