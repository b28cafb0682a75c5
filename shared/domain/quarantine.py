"""Quarantine: what could not be used, whole, with the reason and where it came from.

An entry's content never changes. What a person decided about it travels beside the content, so that
a listing tells everything but the bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, get_args

from shared.domain.errors import Misconfigured
from shared.domain.raw_blob import partition_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: Bad events (found by landing), records too large for an event (polling), records that a dataset
#: refused (transform), and what retention dropped (landing): of that nothing is left but the note.
Kind = Literal["events", "records", "refusals", "losses"]
KINDS: tuple[str, ...] = get_args(Kind)
_NAME = re.compile(r"(?P<kind>\w+)/(?P<material>[^/]+)/(?P<origin>[^/]+)\.json")
_PARTITION = re.compile(r"(?:^|-)p(\d+)-\d{8}T\d{6}-\d{20}(?:-\d+)?$")
#: Blob metadata takes 8 KB in all, and a record can be refused for every one of its columns.
_REASON_CHARACTERS_MAX = 200


class State(StrEnum):
    """What was decided about an entry; `NEXT` says what may still be."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


#: Whoever changes their mind finds the bytes: discarding deletes nothing.
NEXT: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.REPLAYED, State.DISCARDED}),
    State.REPLAYED: frozenset(),
    State.DISCARDED: frozenset({State.REPLAYED}),
}


class Absent(Misconfigured):
    """No entry has this name: look at the list."""

    def __init__(self, name: str) -> None:
        """The name, as it was asked for."""
        super().__init__(name, "is not in quarantine; millrace quarantine list shows what is")


class Refused(Misconfigured):
    """The entry cannot be changed this way: choose another, or another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, when, by what (`cli`, `http`), and what was repaired for a replay."""

    state: State = State.OPEN
    at: datetime | None = None
    by: str = ""
    repaired: tuple[str, ...] = ()


UNDECIDED = Decision()


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One event or record; `origin` names the place it was found, and so the entry itself.

    `kind` is one of `KINDS`; `origin` is unique within a material, for example
    `p3-20261120T180000-00000000000000000042` for an event of partition 3.
    """

    kind: str
    material: str
    origin: str
    reason: str
    detail: str
    seen_at: datetime
    attributes: Mapping[str, str]
    body: bytes
    decision: Decision = UNDECIDED

    @property
    def name(self) -> str:
        """Path within the container `quarantine`."""
        return f"{self.kind}/{self.material}/{self.origin}.json"

    @property
    def head(self) -> Head:
        """The entry as a listing shows it."""
        return Head(
            name=self.name,
            reason=self.reason,
            seen_at=self.seen_at,
            body_bytes=len(self.body),
            decision=self.decision,
        )

    @property
    def partition(self) -> int | None:
        """The hub's partition it was found in; None for what never reached the hub."""
        found = _PARTITION.search(self.origin)
        return int(found[1]) if found else None

    def decided(self, decision: Decision) -> Quarantined:
        """The entry with what was decided now; a step out of the table is a bug."""
        before = self.decision.state
        assert decision.state in NEXT[before], f"{before} cannot become {decision.state}"
        return replace(self, decision=decision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """An entry without its content: what its name and metadata tell."""

    name: str
    reason: str
    seen_at: datetime
    body_bytes: int
    decision: Decision

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.name.split("/")[0]

    @property
    def material(self) -> str:
        """The material it would have become."""
        return self.name.split("/")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which entries are meant; what is empty or None does not narrow."""

    kind: str = ""
    material: str = ""
    reason: str = ""
    state: State | None = State.OPEN

    def __post_init__(self) -> None:
        """Refuse a kind that does not exist: it would select nothing, and look like success."""
        assert self.kind in ("", *KINDS), f"there is no kind {self.kind!r}"

    @property
    def prefixes(self) -> list[str]:
        """Every entry that may be meant begins with one of these, and few others do."""
        kinds = [self.kind] if self.kind else KINDS
        return [f"{kind}/{self.material}/" if self.material else f"{kind}/" for kind in kinds]

    def takes(self, head: Head) -> bool:
        """Whether the entry is meant; a refusal has several reasons and any of them counts."""
        return (
            self.kind in ("", head.kind)
            and self.material in ("", head.material)
            and self.reason in ("", head.reason, *head.reason.split("; "))
            and self.state in (None, head.decision.state)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a person gives for a replay; an attribute given empty is taken away."""

    body: bytes | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What is repaired."""
        return (*(["body"] if self.body is not None else []), *sorted(self.attributes))


def is_name(name: str) -> bool:
    """Whether this is the name of an entry: the container also holds Delta tables."""
    found = _NAME.fullmatch(name)
    return found is not None and found["kind"] in KINDS


def refusal(
    *,
    dataset: str,
    run: str,
    reason: str,
    blob: str,
    sequence: int,
    line: int,
    seen_at: datetime,
    body: bytes,
) -> Quarantined:
    """The record of one line of one event, as a dataset's transform refused it.

    It is the same entry whichever run refused it: rebuilding a table asks nobody again.
    """
    partition = partition_of(blob)
    codes = reason.split("; ")
    while len("; ".join(codes)) > _REASON_CHARACTERS_MAX and len(codes) > 1:
        codes.pop()
    return Quarantined(
        kind="refusals",
        material=partition.material,
        origin=f"{dataset}-p{partition.label}-{sequence:020d}-{line}",
        reason="; ".join(codes),
        detail=f"dataset {dataset}: {reason}",
        seen_at=seen_at,
        attributes={
            "source": f"/datasets/{dataset}",
            "dataset": dataset,
            "run": run,
            "blob": blob,
            "line": str(line),
        },
        body=body,
    )
