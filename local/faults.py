"""Faults: how often, by seed, a local service misbehaves the way the real one sometimes does."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from random import Random

#: Unlike 0, 1 and what a signal leaves, so that a chaos run can tell a drawn crash from a bug.
CRASH_EXIT_CODE = 70


class Fault(enum.StrEnum):
    """What goes wrong with one request, and on which side of its effect."""

    BUSY = "busy"
    DROP_BEFORE = "drop before"
    DROP_AFTER = "drop after"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities per request, at most one fault each; every answer waits `delay_ms` besides."""

    seed: int = 0
    busy: float = 0.0
    drop: float = 0.0
    crash: float = 0.0
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        if not all(number >= 0 for number in (self.busy, self.drop, self.crash, self.delay_ms)):
            raise Misconfigured("--faults", "cannot hold a number below 0")
        if not self.busy + self.drop + self.crash <= 1:
            raise Misconfigured("--faults", "cannot add up to a probability above 1")

    @property
    def delay_s(self) -> float:
        """How long every answer waits."""
        return self.delay_ms / 1000

    def draw(self, chance: Random) -> Fault | None:
        """Draw the next request's fault, if any; `Random(faults.seed)` makes it repeatable."""
        number = chance.random()
        for probability, before, after in (
            (self.busy, Fault.BUSY, Fault.BUSY),
            (self.drop, Fault.DROP_BEFORE, Fault.DROP_AFTER),
            (self.crash, Fault.CRASH_BEFORE, Fault.CRASH_AFTER),
        ):
            if number < probability:
                return before if number < probability / 2 else after
            number -= probability
        return None


def parse(text: str) -> Faults:
    """Read `seed=7,busy=0.01,delay_ms=20`; raise `Misconfigured` naming what is wrong with it."""
    types = {"seed": int, "busy": float, "drop": float, "crash": float, "delay_ms": float}
    numbers: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if name not in types:
            raise Misconfigured("--faults", f"knows {', '.join(types)}, but not {name!r}")
        try:
            numbers[name] = types[name](value)
        except ValueError as error:
            raise Misconfigured("--faults", f"needs a number for {name}, not {value!r}") from error
    return Faults(**numbers)


def crash() -> NoReturn:
    """End this process at once, without any of the tidying that a real crash would not do."""
    os._exit(CRASH_EXIT_CODE)
