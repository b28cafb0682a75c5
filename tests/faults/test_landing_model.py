"""The landing protocol, every order of every step: no promise breaks, and broken protocols do.

What the model says of the protocol, the last test ties to the code.
"""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.landing_model import IDLE, Blob, Model, Rules, State, Writer
from tests.faults.landing_world import Owner, World


@pytest.mark.parametrize(
    ("model", "states"),
    [
        (Model(events=5, writers=2), 346_649),
        (Model(events=3, writers=3), 113_744),
        (Model(events=4, writers=2, slices=True, retention=True), 112_189),
        (Model(events=4, writers=2, slices=True, retention=True, positions_lost=False), 94_124),
    ],
    ids=["two writers", "three writers", "slices and retention", "positions kept"],
)
def test_no_order_of_steps_breaks_a_promise(model: Model, states: int) -> None:
    """Two or three writers, any batch to anyone at any time, a crash at any step, lost positions.

    The number of states says that nothing was left out: it changes only with the model.
    """
    explored = model.explore()

    assert explored.violation == "", "\n".join(explored.trace)
    assert explored.states == states


@pytest.mark.parametrize(
    ("rule", "violation"),
    [
        ("trims", "an event is in two blobs"),
        ("names_by_tip", "a writer gets no nearer to the end of its batch"),
        ("creates_if_absent", "the position is not where a blob ends"),
        ("reads_conflict", "the position is not where a blob ends"),
        ("remembers_after", "the position is not where a blob ends"),
        ("remembers", "the position is behind the host's checkpoint"),
        ("heals", "an event is passed over although the hub holds it"),
        ("finds_tip", "a blob is not linked to the blob before it"),
    ],
)
def test_protocol_without_one_of_its_rules_is_caught(rule: str, violation: str) -> None:
    """A check that finds nothing proves something only if it would find something."""
    rules = Rules(**{rule: False})

    model = Model(events=3, writers=2, retention=True, positions_lost=False, rules=rules)

    explored = model.explore()

    assert explored.violation == violation
    assert len(explored.trace) >= 4


def test_every_rule_of_the_model_is_put_to_the_test() -> None:
    """A rule added to the model needs its own broken protocol."""
    marks = test_protocol_without_one_of_its_rules_is_caught.pytestmark  # type: ignore[attr-defined] # pytest puts it there.
    broken = {rule for rule, _ in marks[0].args[1]}

    assert broken == {each.name for each in fields(Rules)} - {"retention_waits"}


def test_owners_that_heal_while_retention_drops_events_can_fork_the_chain() -> None:
    """The one assumption about the world, and what happens without it, is written down here."""
    rules = Rules(retention_waits=False)

    explored = Model(events=3, writers=2, retention=True, rules=rules).explore()

    assert explored.violation == "a blob is not linked to the blob before it"


class Twins:
    """The model and the code, moved in step; `calls` are the calls the model's steps stand for."""

    calls = {  # noqa: RUF012 -- Nobody changes it.
        "place": "tip",
        "find": "find_tip",
        "create": "land",
        "remember": "remember",
    }

    def __init__(self, *, events: int, owners: int) -> None:
        """Nothing is landed yet."""
        self.model = Model(events=events, writers=owners)
        self.world = World(events)
        self.owners = [Owner(self.world, hub_part=events) for _ in range(owners)]
        self.state = self.model.start()
        self.writers = list(self.state.writers)

    def move(self, move: str, index: int, first: int, last: int) -> None:
        """One thing happens to both."""
        match move:
            case "take":
                self.take(index, first, last)
            case "step":
                self.step(index)
            case "crash":
                self.writers[index] = IDLE
                self.owners[index].crash()
            case "lose position":
                self.state = self.state._replace(position=-1)
                self.world.raw.remembered.clear()
                for owner in self.owners:  # Or it would not write an old position again.
                    owner.process.raw.noted.clear()
            case "retain":
                self.retain(first)

    def take(self, index: int, first: int, last: int) -> None:
        """Give a batch to an idle owner."""
        if self.writers[index] == IDLE and first >= self.state.begins:
            self.writers[index] = Writer("place", first, last)
            self.owners[index].take(self.world.batch(first, last))
            self._move_to_next_step(self.owners[index])

    def step(self, index: int) -> None:
        """One step of the model, and all that the code does in its place."""
        writer = self.writers[index]
        if writer == IDLE:
            return
        self._step_model(index)
        if self.writers[index].step == "read":
            self._step_model(index)  # Creating and reading what is there are one call of the port.
        if self.writers[index].step == "return":
            self._step_model(index)
        self.owners[index].move()
        self._move_to_next_step(self.owners[index])

    def retain(self, begins: int) -> None:
        """Drop events while nobody is at work."""
        if all(writer == IDLE for writer in self.writers) and begins > self.state.begins:
            self.state = self.state._replace(begins=begins)
            self.world.hub.begins = begins

    def compare(self) -> None:
        """Storage is the same, and so is the next step of everybody."""
        blobs = tuple(
            sorted(
                Blob(
                    name=int(blob.name[-len("00000000000000000000.avro") : -len(".avro")]),
                    first=blob.events[0].sequence,
                    last=blob.events[-1].sequence,
                    previous=blob.previous.sequence,
                )
                for blob in self.world.raw.blobs.values()
            )
        )
        position = max((tip.sequence for tip in self.world.raw.remembered.values()), default=-1)
        steps = [self.calls.get(writer.step, "") for writer in self.writers]

        assert (blobs, position) == (self.state.blobs, self.state.position)
        assert [owner.waiting for owner in self.owners] == steps

    def _step_model(self, index: int) -> None:
        writer = self.writers[index]
        if writer.step == "place":
            tip = self._tip_known(index)
            assert tip in self.model.tips(self.state)
            self.writers[index] = self.model.placed(writer, self.state, tip=tip)
            return
        ((blobs, position, moved),) = self.model.moves(self.state, writer)
        self.writers[index] = moved
        self.state = State(blobs, position, self.state.begins, self.state.writers)

    def _tip_known(self, index: int) -> int:
        """The model lets a writer take any old position for the tip; the code took this one."""
        noted = [tip.sequence for tip in self.owners[index].process.raw.noted.values()]
        fresh = self.state.position
        if fresh < 0:
            fresh = max((blob.last for blob in self.state.blobs), default=-1)
        return noted[0] if noted else fresh

    def _move_to_next_step(self, owner: Owner) -> None:
        self.world.tries.clear()  # The model has no slices here.
        while owner.is_busy and owner.waiting not in self.calls.values():
            owner.move()


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((*["take"] * 4, *["step"] * 12, "crash", "lose position", "retain")),
            st.integers(0, 2),
            st.integers(0, 5),
            st.integers(0, 5),
        ),
        min_size=20,
        max_size=60,
    )
)
def test_code_does_what_the_model_does(moves: list[tuple[str, int, int, int]]) -> None:
    """Along random ways through the model the code leaves the same blobs and is as far."""
    twins = Twins(events=6, owners=3)
    for move, owner, first, length in moves:
        twins.move(move, owner, first, min(first + length, 5))

        twins.compare()
