"""The chain: the raw blobs of one partition, each naming the one before it.

Walking it answers "every sequence number once, none missing" from the blobs alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.raw_blob import START

if TYPE_CHECKING:
    from shared.domain.raw_blob import Partition, RawHead, Tip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that breaks the promise, and the blob at which it shows."""

    blob: str
    problem: str


@dataclass(slots=True)
class Chain:
    """One partition's blobs, added in the order of their sequence numbers."""

    partition: Partition
    tip: Tip = START
    blobs: int = 0
    events: int = 0

    def add(self, head: RawHead, *, claimed: RawHead | None) -> list[Finding]:
        """Take the next blob, as its content tells it; say what is wrong with it.

        `claimed` is what its metadata says, if it has any: a copied file has none.
        """
        problems = [*self._own(head, claimed), *self._link(head)]
        self.tip = head.tip
        self.blobs += 1
        self.events += head.events
        return [Finding(blob=head.name, problem=problem) for problem in problems]

    def _own(self, head: RawHead, claimed: RawHead | None) -> list[str]:
        if claimed is not None and head.digest != claimed.digest:
            return ["its content is not what was landed: the digest differs"]
        if head.sequence_last - head.sequence_first + 1 != head.events:
            return ["a sequence number is missing or doubled inside it"]
        return []

    def _link(self, head: RawHead) -> list[str]:
        tip = self.tip
        if head.sequence_first <= tip.sequence:
            return [f"it repeats events from {head.sequence_first}, landed in {tip.blob}"]
        missing = f"events {tip.sequence + 1} to {head.sequence_first - 1}"
        named = (head.sequence_previous, head.blob_previous, head.digest_previous)
        if named != (tip.sequence, tip.blob, tip.digest):
            if head.sequence_previous > tip.sequence:
                return [f"{missing} are missing: the blob before it, {head.blob_previous}, is gone"]
            return [f"the blob before it, {tip.blob}, is not the one it was linked to"]
        if head.sequence_first > tip.sequence + 1:
            return [f"{missing} are lost: the hub had dropped them before they could be landed"]
        return []
