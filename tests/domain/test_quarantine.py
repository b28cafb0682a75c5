"""The quarantine's entry: what its name, its metadata and its text tell, and what may change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.quarantine import (
    KINDS,
    NEXT,
    Decision,
    Head,
    Quarantined,
    Selection,
    State,
    is_name,
    refusal,
)
from shared.domain.quarantine_text import head_of, metadata_of, of_json, to_json
from tests.builders import LIFE, NOON

TEXTS = st.text(st.characters(codec="utf-8"))
ENTRY = Quarantined(
    kind="events",
    material="quakes",
    origin=f"p3-{LIFE}-00000000000000000042",
    reason="expired",
    detail="expired at noon",
    seen_at=NOON,
    attributes={"id": "a"},
    body=b"\xff",
)
BLOB = f"quakes/2026/11/20/12/p2-{LIFE}-00000000000000000040.avro"


def refused(*, run: str = "r1", reason: str = "id:missing", line: int = 7) -> Quarantined:
    """A record that a dataset refused."""
    return refusal(
        dataset="shakes", run=run, reason=reason, blob=BLOB, sequence=42, line=line, seen_at=NOON,
        body=b"{}",
    )  # fmt: skip


@given(TEXTS, st.dictionaries(TEXTS, TEXTS), st.binary(), st.sampled_from(State))
def test_entry_reads_back_as_it_was_kept(
    detail: str, attributes: dict[str, str], body: bytes, state: State
) -> None:
    """What cannot be read back whole cannot be replayed."""
    at = None if state is State.OPEN else NOON + timedelta(milliseconds=5)
    decision = Decision(
        state=state, at=at, by="cli" if at else "", repaired=("body",) if at else ()
    )
    entry = replace(ENTRY, detail=detail, attributes=attributes, body=body, decision=decision)

    metadata = metadata_of(entry.head)

    assert of_json(to_json(entry), metadata=metadata) == entry
    assert head_of(entry.name, metadata) == entry.head


def test_metadata_is_what_blob_storage_takes() -> None:
    """Names that C# allows and ASCII that is not empty: anything else is refused."""
    head = refused(
        reason="; ".join(f"column_{number}:not-a-timestamp" for number in range(400))
    ).head
    metadata = metadata_of(head)

    assert all(name.isidentifier() for name in metadata)
    assert all(text.isascii() and text for text in metadata.values())
    assert sum(map(len, (*metadata, *metadata.values()))) < 8192


def test_only_names_of_entries_are_names() -> None:
    """The container also holds Delta tables, right where polled records are."""
    names = {name: is_name(name) for name in (
        ENTRY.name, refused().name, "records/quakes/_delta_log/00000000000000000000.json",
        "records/quakes/part-0.parquet", "decided/quakes/a.json", "events/a.json",
    )}  # fmt: skip

    assert [name for name, entry in names.items() if entry] == [ENTRY.name, refused().name]


def test_refused_record_is_the_same_entry_whichever_run_refused_it() -> None:
    """Rebuilding a table from raw must not ask people again what they decided."""
    assert refused(run="r1").name == refused(run="r2").name
    assert refused(line=7).name != refused(line=8).name
    assert refused().name == f"refusals/quakes/shakes-p2-{LIFE}-{42:020d}-7.json"


def test_partition_is_told_by_the_origin() -> None:
    """A replay goes back to where the event came from; what was polled came from no partition."""
    polled = replace(ENTRY, kind="records", origin="tool-p3-0011223344556677")

    assert (ENTRY.partition, refused().partition, polled.partition) == (3, 2, None)


@pytest.mark.parametrize("before", State)
def test_states_only_move_along_the_table(before: State) -> None:
    """A state that came back could be taken for an old one."""
    entry = replace(ENTRY, decision=Decision(state=before))

    for state in State:
        if state in NEXT[before]:
            assert entry.decided(Decision(state=state)).decision.state is state
        else:
            with pytest.raises(AssertionError):
                entry.decided(Decision(state=state))


def test_nothing_returns_to_open() -> None:
    """Work that is done stays done."""
    assert not any(State.OPEN in after for after in NEXT.values())
    assert not NEXT[State.REPLAYED]


@given(
    st.sampled_from(["", *KINDS]), st.sampled_from(["", "quakes", "tides"]),
    st.sampled_from(["", "a", "b:missing"]), st.sampled_from([None, *State]),
    st.sampled_from(KINDS), st.sampled_from(["quakes", "tides", "quakes-2"]),
    st.sampled_from(["a", "b", "a; b:missing"]), st.sampled_from(State),
)  # fmt: skip
def test_selection_is_found_below_its_prefixes(
    kind: str, material: str, reason: str, state: State | None,
    head_kind: str, head_material: str, head_reason: str, head_state: State,
) -> None:  # fmt: skip
    """A store lists by prefix: what a selection takes must lie below one, and only once."""
    selection = Selection(kind=kind, material=material, reason=reason, state=state)
    head = Head(
        name=f"{head_kind}/{head_material}/o.json", reason=head_reason, seen_at=NOON,
        body_bytes=0, decision=Decision(state=head_state),
    )  # fmt: skip
    below = [prefix for prefix in selection.prefixes if head.name.startswith(prefix)]

    wanted = (
        (not kind or kind == head_kind)
        and (not material or material == head_material)
        and (not reason or reason in head_reason.split("; "))
        and (state is None or state == head_state)
    )

    assert selection.takes(head) == wanted
    assert len(below) == 1 if wanted else len(below) <= 1


def test_time_is_kept_to_the_millisecond() -> None:
    """Texts are RFC 3339 with milliseconds; an entry is compared after it was read."""
    seen = datetime(2026, 11, 20, 12, 0, 0, 123456, tzinfo=UTC)
    entry = replace(ENTRY, seen_at=seen)

    kept = of_json(to_json(entry), metadata=metadata_of(entry.head))

    assert kept.seen_at == seen.replace(microsecond=123000)
