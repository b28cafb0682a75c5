"""The chain: what an auditor finds in raw blobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.chain import Chain
from shared.domain.raw_blob import RawBlob, RawHead
from tests.builders import PARTITION, batch


def chain_of(*ranges: tuple[int, int]) -> list[RawHead]:
    """Heads of blobs landed one after the other."""
    heads: list[RawHead] = []
    tip = Chain(PARTITION).tip
    for first, last in ranges:
        blob = RawBlob(partition=PARTITION, events=batch(first, last).events, previous=tip)
        heads.append(blob.head(digest=f"digest of {first}"))
        tip = heads[-1].tip
    return heads


def audited(heads: list[RawHead]) -> list[str]:
    """Every problem that is found."""
    chain = Chain(PARTITION)
    return [finding.problem for head in heads for finding in chain.add(head, claimed=head)]


def test_whole_chain_is_good() -> None:
    """Every sequence number once, none missing."""
    assert audited(chain_of((0, 4), (5, 5), (6, 20))) == []


def test_missing_blob_is_named() -> None:
    """Somebody deleted a blob."""
    heads = chain_of((0, 4), (5, 9), (10, 14))

    (problem,) = audited([heads[0], heads[2]])

    assert problem == f"events 5 to 9 are missing: the blob before it, {heads[1].name}, is gone"


def test_missing_first_blob_is_named() -> None:
    """The beginning counts too."""
    (problem,) = audited(chain_of((0, 4), (5, 9))[1:])

    assert "events 0 to 4 are missing" in problem


def test_replaced_blob_is_found_by_the_next_one() -> None:
    """Content and metadata changed alike still do not fit what came after."""
    heads = chain_of((0, 4), (5, 9))

    (problem,) = audited([replace(heads[0], digest="forged"), heads[1]])

    assert "is not the one it was linked to" in problem


def test_changed_content_is_found_by_its_digest() -> None:
    """The last blob has no successor; its metadata says what was landed."""
    (head,) = chain_of((0, 4))

    (finding,) = Chain(PARTITION).add(replace(head, digest="other"), claimed=head)

    assert "digest differs" in finding.problem


@pytest.mark.parametrize("events", [3, 9])
def test_hole_inside_a_blob_is_found(events: int) -> None:
    """A blob holds the range that it says."""
    (head,) = chain_of((0, 4))

    (problem,) = audited([replace(head, events=events)])

    assert "missing or doubled inside" in problem


def test_repeated_events_are_found() -> None:
    """Two blobs over the same events would be two rows."""
    heads = chain_of((0, 4))

    problems = audited([heads[0], replace(heads[0], name="again")])

    assert any("repeats events from 0" in problem for problem in problems)


def test_loss_that_was_declared_is_told_apart() -> None:
    """What retention dropped is nobody's tampering, but it is not there."""
    (problem,) = audited(chain_of((0, 4), (9, 12)))

    assert problem == "events 5 to 8 are lost: the hub had dropped them before they could be landed"
