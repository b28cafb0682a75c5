"""The faults of local services: rare or certain, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from local.faults import Fault, Faults, parse
from shared.domain.errors import Misconfigured


def test_a_specification_is_read() -> None:
    """What the command line says is what happens."""
    assert parse("seed=7, busy=0.01,delay_ms=20,drop=0.001,crash=0.0005,") == Faults(
        seed=7, busy=0.01, delay_ms=20, drop=0.001, crash=0.0005
    )


def test_nothing_asked_for_is_nothing_wrong() -> None:
    """A service without the switch has to behave."""
    faults = parse("")
    chance = Random(faults.seed)

    assert (faults, {faults.draw(chance) for _ in range(1000)}) == (Faults(), {None})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bussy=1", "knows seed, busy, drop, crash, delay_ms, but not 'bussy'"),
        ("busy", "needs a number for busy, not ''"),
        ("busy=often", "needs a number for busy, not 'often'"),
        ("seed=0.5", "needs a number for seed, not '0.5'"),
        ("drop=-0.1", "below 0"),
        ("delay_ms=-1", "below 0"),
        ("busy=nan", "below 0"),
        ("busy=0.6,drop=0.6", "above 1"),
    ],
)
def test_an_impossible_specification_is_refused(text: str, problem: str) -> None:
    """A chaos run with a misspelt fault would prove nothing and look green."""
    with pytest.raises(Misconfigured, match=problem):
        parse(text)


def test_faults_come_as_often_as_asked_on_both_sides_of_the_effect() -> None:
    """Losing an answer and losing a request are different faults; a run needs both."""
    faults = Faults(seed=1, busy=0.2, drop=0.2, crash=0.2)
    chance = Random(faults.seed)

    counted = Counter(faults.draw(chance) for _ in range(10_000))

    expected = {Fault.BUSY: 2000, None: 4000} | {
        fault: 1000 for fault in Fault if fault is not Fault.BUSY
    }
    assert counted.keys() == expected.keys()
    assert all(abs(counted[fault] - often) < 200 for fault, often in expected.items())


def test_the_same_seed_draws_the_same_faults() -> None:
    """A failure found by chance has to be found again on purpose."""
    faults = parse("seed=3,drop=0.5")

    first, second = ([faults.draw(chance) for _ in range(50)] for chance in (Random(3), Random(3)))

    assert first == second
