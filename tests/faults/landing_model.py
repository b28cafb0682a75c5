"""A model of the landing protocol, small enough to try every order of every step.

A state is what storage holds and where each writer stands. Writers are alike, so states that differ
only in who is who count as one. The host is given no rule at all: it may deliver any batch to any
idle writer at any time, which includes redelivery from every checkpoint, batches with other
boundaries, two owners of the partition, and batches skipped for ever. `Rules` switches single
steps of the protocol off, to show that the check would notice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The protocol as it is; each rule can be broken."""

    #: Events at or before the tip are dropped before a blob is made.
    trims: bool = True
    #: A blob is named by the first event that is not landed, not by the batch's first.
    names_by_tip: bool = True
    #: A blob is created only if its name is absent.
    creates_if_absent: bool = True
    #: A writer that finds a name taken reads how far that blob goes.
    reads_conflict: bool = True
    #: The position is written after the blobs.
    remembers_after: bool = True
    #: It is written before a batch counts as done, even if nothing of it was left to land.
    remembers: bool = True
    #: What is missing before a batch is read from the hub and landed first.
    heals: bool = True
    #: A batch that begins beyond the position makes the writer ask the blobs.
    finds_tip: bool = True
    #: Retention drops nothing while a writer is at work. This is no step but an assumption.
    retention_waits: bool = True


class Blob(NamedTuple):
    """A raw blob: the number in its name, what it holds, and where the blob before it ends."""

    name: int
    first: int
    last: int
    previous: int


class Writer(NamedTuple):
    """Where a writer stands in a batch; `step` is what it does next.

    It lands the events from `first` to `last`, up to `pause` (the end of what it heals) first.
    """

    step: str = ""
    first: int = -1
    last: int = -1
    tip: int = -1
    pause: int = -1


class State(NamedTuple):
    """Everything there is; `begins` is the first event that the hub still holds."""

    blobs: tuple[Blob, ...]
    position: int
    begins: int
    writers: tuple[Writer, ...]


#: Blobs and position after a step, and where the writer then stands.
type Moved = tuple[tuple[Blob, ...], int, Writer]
#: What each writer's next step can do, by blobs, position, beginning and writer.
type Moves = dict[tuple[tuple[Blob, ...], int, int, Writer], list[Moved]]
IDLE = Writer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explored:
    """What was found: how many states, and the shortest way to a violation, if there is one."""

    states: int
    violation: str
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A log of so many events, so many writers, and what may happen around them."""

    events: int
    writers: int
    rules: Rules = Rules()
    retention: bool = False
    positions_lost: bool = True
    #: A batch may be landed in slices, as after a crash; the position is noted after each.
    slices: bool = False

    def start(self) -> State:
        """Nothing is landed yet."""
        return State((), -1, 0, (IDLE,) * self.writers)

    def explore(self, *, states_max: int = 2_000_000) -> Explored:
        """Visit every state that can be reached, breadth first; stop at the first violation."""
        start = self.start()
        origin: dict[State, State | None] = {start: None}
        waiting = deque([start])
        known: Moves = {}
        while waiting:
            state = waiting.popleft()
            for after, stuck in self.after(state, known):
                if after in origin and not stuck:
                    continue
                if problem := stuck or self.problem(after):
                    trace = (*_trace(origin, state), str(after))
                    return Explored(states=len(origin), violation=problem, trace=trace)
                origin[after] = state
                waiting.append(after)
            assert len(origin) <= states_max, "the model is too large to explore"
        return Explored(states=len(origin), violation="", trace=())

    def after(self, state: State, known: Moves) -> Iterator[tuple[State, str]]:
        """Every state that one step of anybody leads to; and whether that step led nowhere."""
        for index, writer in enumerate(state.writers):
            if index and writer == state.writers[index - 1]:
                continue  # The same as its twin.
            others = state.writers[:index] + state.writers[index + 1 :]
            place = (state.blobs, state.position, state.begins, writer)
            if place not in known:  # What the others do does not matter to the step itself.
                known[place] = list(self.moves(state, writer))
            for blobs, position, moved in known[place]:
                after = State(blobs, position, state.begins, tuple(sorted((*others, moved))))
                yield after, _stuck(writer, moved)
            if writer != IDLE:  # It dies.
                yield state._replace(writers=tuple(sorted((*others, IDLE)))), ""
        if self.positions_lost and state.position != -1:
            yield state._replace(position=-1), ""
        quiet = all(writer == IDLE for writer in state.writers)
        if self.retention and (quiet or not self.rules.retention_waits):
            for begins in range(state.begins + 1, self.events):
                yield state._replace(begins=begins), ""

    def moves(self, state: State, writer: Writer) -> Iterator[Moved]:
        """Storage and the writer after its next step."""
        match writer.step:
            case "":
                for first in range(state.begins, self.events):
                    for last in range(first, self.events):
                        yield state.blobs, state.position, Writer("place", first, last)
            case "place":
                for tip in self.tips(state):
                    yield state.blobs, state.position, self.placed(writer, state, tip=tip)
            case "create":
                for last in self._slices(writer):
                    yield self._created(state, writer, last)
            case _:
                blobs, position, moved = self._moved(state, writer)
                yield blobs, position, moved
                if self.slices and writer.step == "read" and moved.step == "create":
                    yield blobs, position, moved._replace(step="remember")

    def _moved(self, state: State, writer: Writer) -> Moved:
        position = state.position
        match writer.step:
            case "find":
                moved = self._healing(state, writer, tip=_end(state.blobs))
            case "read":
                name = self._name(writer)
                tip = next(each.last for each in state.blobs if each.name == name)
                moved = self._next(writer, tip=max(tip, writer.tip))
            case "remember":
                position = max(position, writer.tip)
                done = writer.tip >= writer.last
                moved = _returning(writer) if done else self._next(writer, tip=writer.tip)
            case "claim":
                position = max(position, self._pause(writer))
                moved = writer._replace(step="create")
            case _:
                assert writer.step == "return", "every step is known"
                moved = IDLE
        return state.blobs, position, moved

    def tips(self, state: State) -> set[int]:
        """What a writer may take for the tip: the position, or one that its process noted once."""
        noted = {
            blob.last for blob in state.blobs if blob.last <= state.position or self.positions_lost
        }
        return noted | {state.position if state.position >= 0 else _end(state.blobs)}

    def placed(self, writer: Writer, state: State, *, tip: int) -> Writer:
        """The writer that took this for the tip."""
        if writer.first > tip + 1 and self.rules.finds_tip:
            return writer._replace(step="find")
        return self._healing(state, writer, tip=tip)

    def _healing(self, state: State, writer: Writer, *, tip: int) -> Writer:
        """The range to land: it begins with what is missing, as far as the hub still holds it."""
        first, pause = writer.first, -1
        if first > tip + 1 and self.rules.heals:
            missing = max(tip + 1, min(state.begins, first))
            if missing < first:
                first, pause = missing, first - 1
        return self._next(writer._replace(first=first, pause=pause), tip=tip)

    def _next(self, writer: Writer, *, tip: int) -> Writer:
        """What to do from a tip on; what no longer matters is forgotten, so that states are few."""
        if tip >= writer.last:
            if self.rules.remembers:
                return Writer("remember", -1, writer.last, tip)
            return _returning(writer)
        pause = writer.pause if writer.pause > tip else -1
        first = writer.first
        if self.rules.names_by_tip and self.rules.trims:
            first = max(first, tip + 1)
        step = "create" if self.rules.remembers_after else "claim"
        return Writer(step, first, writer.last, tip, pause)

    def _pause(self, writer: Writer) -> int:
        return writer.last if writer.pause < 0 else writer.pause

    def _slices(self, writer: Writer) -> range:
        last = self._pause(writer)
        return range(max(writer.first, writer.tip + 1) if self.slices else last, last + 1)

    def _name(self, writer: Writer) -> int:
        fresh = max(writer.first, writer.tip + 1)
        return fresh if self.rules.names_by_tip else writer.first

    def _created(self, state: State, writer: Writer, last: int) -> Moved:
        name = self._name(writer)
        taken = any(each.name == name for each in state.blobs)
        if taken and self.rules.creates_if_absent:
            reads = self.rules.reads_conflict
            moved = writer._replace(step="read") if reads else self._next(writer, tip=last)
            return state.blobs, state.position, moved
        first = max(writer.first, writer.tip + 1) if self.rules.trims else writer.first
        blob = Blob(name, first, last, writer.tip)
        others = (each for each in state.blobs if each.name != name)
        blobs = tuple(sorted((*others, blob)))
        moved = self._next(writer, tip=last)
        if last < self._pause(writer):
            moved = moved._replace(step="remember")
        return blobs, state.position, moved

    def problem(self, state: State) -> str:
        """The promise that a state breaks; empty for none."""
        end = _end(state.blobs)
        done = max((each.last for each in state.writers if each.step == "return"), default=-1)
        problems = {
            "the position is not where a blob ends": state.position
            not in {-1, *(blob.last for blob in state.blobs)},
            "the host's checkpoint is ahead of the blobs": done > end,
            "the position is behind the host's checkpoint": done > state.position
            and not self.positions_lost,
        }
        return _chain_problem(state) or next(
            (text for text, is_so in problems.items() if is_so), ""
        )


def _chain_problem(state: State) -> str:
    landed = [number for blob in state.blobs for number in range(blob.first, blob.last + 1)]
    if len(set(landed)) < len(landed):
        return "an event is in two blobs"
    end = -1
    for blob in sorted(state.blobs, key=lambda blob: blob.first):
        if blob.previous != end:
            return "a blob is not linked to the blob before it"
        if blob.first > max(end + 1, state.begins):
            return "an event is passed over although the hub holds it"
        end = blob.last
    return ""


def _returning(writer: Writer) -> Writer:
    return Writer("return", -1, writer.last, writer.last)


def _stuck(writer: Writer, moved: Writer) -> str:
    """Every step must bring a writer nearer to its end: then nobody turns in circles or waits."""
    nearer = writer == IDLE or _distance(moved) < _distance(writer)
    return "" if nearer else "a writer gets no nearer to the end of its batch"


def _distance(writer: Writer) -> tuple[int, int]:
    order = ("", "return", "read", "create", "claim", "remember", "find", "place")
    return max(writer.last - writer.tip, 0), order.index(writer.step)


def _end(blobs: tuple[Blob, ...]) -> int:
    return max((blob.last for blob in blobs), default=-1)


def _trace(origin: dict[State, State | None], state: State | None) -> tuple[str, ...]:
    states = []
    while state is not None:
        states.append(str(state))
        state = origin[state]
    return tuple(reversed(states))
