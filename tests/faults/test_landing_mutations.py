"""Every protective step of landing is needed: without it, a check of the faults breaks.

Each mutation is a small change to the text of `shared/flow/hub_to_raw.py`. When that text changes,
the mutation must be written anew, and its test says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import pytest

from shared.flow import hub_to_raw
from tests.faults.landing_checks import (
    loss_that_grows,
    played,
    poison_alone,
    poison_anywhere,
    swept,
    two_owners_in_step,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.landing_world import LandBatch

SOURCE = Path(hub_to_raw.__file__)


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is taken away, how, and the check that must notice."""

    step: str
    noticed_by: Callable[[LandBatch], object]
    changes: tuple[tuple[str, str], ...]


KEEP_BAD = """\
    for event, error in checked:
        if error:
            await landing.quarantine.keep(_entry(landing, event, error))
"""
LAND = "    head, created = await landing.raw.land(blob)\n"
REMEMBER = "    await raw.remember(partition, landing.tip)\n"
BATCH = "    await _land(landing, batch.events)\n"
REMEMBER_EARLY = """\
    reached = replace(landing.tip, sequence=batch.events[-1].sequence)
    await raw.remember(partition, reached)
"""

MUTATIONS = (
    Mutation(
        "what is landed is trimmed",
        swept("plain"),
        ((" if event.sequence > landing.tip.sequence]", "]"),),
    ),
    Mutation(
        "a name that is taken tells how far its blob goes",
        two_owners_in_step,
        (("landing.tip = head.tip", "landing.tip = blob.head(digest=head.digest).tip"),),
    ),
    Mutation(
        "a blob is linked to the one before it",
        played("plain"),
        (("previous=landing.tip,", 'previous=replace(landing.tip, blob="", digest=""),'),),
    ),
    Mutation(
        "a gap makes the blobs be asked",
        played("position behind retention"),
        (("tip = await raw.find_tip(partition)", "tip = await raw.tip(partition)"),),
    ),
    Mutation(
        "a gap is healed",
        played("skipped batch"),
        (("lost = await _heal(landing, batch, hub=hub)", "lost = 0"),),
    ),
    Mutation(
        "a loss is announced",
        played("retention"),
        (("await landing.quarantine.keep(_loss(landing, missing, until - 1))", "pass"),),
    ),
    Mutation(
        "what the hub hands over says what it has dropped",
        played("retention"),
        (("lost += await _pass_over(landing, part.first.sequence)", "pass"),),
    ),
    Mutation(
        "what it does not hand over is lost too",
        played("retention passes the batch"),
        (("return lost + await _pass_over(landing, until)", "return lost"),),
    ),
    Mutation(
        "a loss of another extent is another entry",
        loss_that_grows,
        (('{first:020d}-{last:020d}"', '{first:020d}"'),),
    ),
    Mutation(
        "a bad event is kept before its place is landed without it",
        swept("plain"),
        ((KEEP_BAD, ""), (LAND, LAND + KEEP_BAD)),
    ),
    Mutation(
        "data that is claimed is fetched",
        played("plain"),
        (("    if not reference:\n", "    if True:\n"),),
    ),
    Mutation(
        "data that is claimed is checked",
        played("plain"),
        (("    if body is None or problem:\n", "    if body is None:\n"),),
    ),
    Mutation("a bad event is kept at all", played("plain"), ((KEEP_BAD, ""),)),
    Mutation("it is kept as it was", played("plain"), (("body=event.body", 'body=b""'),)),
    Mutation(
        "a bad event leaves only its place",
        played("plain"),
        ((', attributes={}, body=b"")', ")"),),
    ),
    Mutation(
        "the position is noted after the blob",
        swept("plain"),
        ((BATCH, REMEMBER_EARLY + BATCH),),
    ),
    Mutation(
        "a landed slice is noted before the next one",
        poison_anywhere,
        (("if len(checked) < len(fresh):", "if False:"),),
    ),
    Mutation("the position is noted", played("plain"), ((REMEMBER, ""),)),
    Mutation(
        "known numbers on younger events make the hub's life be asked",
        played("hub made anew"),
        (("known_but_younger or ", ""),),
    ),
    Mutation(
        "a gap makes the hub's life be asked",
        played("hub made anew and further"),
        ((" or batch.first.sequence > tip.sequence + 1", ""),),
    ),
    Mutation(
        "the hub's life is asked afresh",
        played("hub made anew"),
        ((", fresh=True", ""),),
    ),
    Mutation(
        "the hub's first event makes its life be asked",
        played("hub made anew before its first event"),
        ((", fresh=batch.first.sequence == 0", ""),),
    ),
    Mutation(
        "another life is another chain",
        played("hub made anew"),
        (("partition = replace(partition, hub=life)", "pass"),),
    ),
    Mutation(
        "tries are counted",
        poison_alone,
        (("tries = await landing.attempts.begin(landing.partition, sequence=fresh[0].sequence)",
          "tries = 0"),),
    ),
    Mutation(
        "tries are ended",
        played("plain"),
        (("    await attempts.end(partition)\n", ""),),
    ),
    Mutation(
        "a batch that kills its process is halved",
        poison_alone,
        (("size = max(1, len(fresh) >> max(0, tries - 1))", "size = len(fresh)"),),
    ),
    Mutation(
        "an event that kills alone is set apart",
        poison_alone,
        (("poison = size == 1 and", "poison = size == 0 and"),),
    ),
    Mutation(
        "one death sets nothing apart",
        swept("plain"),
        (("tries >= len(fresh).bit_length() + TRIES_ALONE", "tries >= 1"),
         ("poison = size == 1 and", "poison =")),
    ),
)  # fmt: skip


def step_of(text: str) -> LandBatch:
    """`land_batch` as a text of its module defines it, in a module nobody else sees."""
    module = ModuleType(hub_to_raw.__name__)
    exec(compile(text, SOURCE.name, "exec"), module.__dict__)  # noqa: S102 -- The project's own text, changed above.
    return cast("LandBatch", module.land_batch)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.step)
def test_landing_without_a_protective_step_is_caught(mutation: Mutation) -> None:
    """What nobody would miss is either not needed or not proven."""
    text = SOURCE.read_text()
    for old, new in mutation.changes:
        assert text.count(old) == 1, f"landing reads differently now: write {old!r} anew"
        text = text.replace(old, new)

    with pytest.raises(AssertionError):
        mutation.noticed_by(step_of(text))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.step)
def test_landing_as_it_is_passes_the_same_check(mutation: Mutation) -> None:
    """A check that always fails would notice nothing."""
    step = step_of(SOURCE.read_text())

    mutation.noticed_by(step)
