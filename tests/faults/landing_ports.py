"""Storage and hub as landing meets them: digests of content, and what a process remembers."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.adapters.memory import MemoryClock, MemoryHub, MemoryRawStore
from shared.domain.raw_blob import START, HubBatch
from tests.faults.faulty_ports import Crash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shared.domain.raw_blob import Partition, RawBlob, RawHead, Tip


class ContentRawStore(MemoryRawStore):
    """Memory's store takes a name for a digest; here it is of the content, as in storage."""

    #: Whoever encodes the body of this event dies.
    lethal: int | None = None

    async def find_tip(self, partition: Partition) -> Tip:
        """The tip of the last blob."""
        mine = [blob for blob in self.blobs.values() if blob.partition == partition]
        last = max(mine, key=lambda blob: blob.events[-1].sequence, default=None)
        return head_of(last).tip if last else START

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Create if absent."""
        if any(each.sequence == self.lethal and each.body for each in blob.events):
            raise Crash
        found = self.blobs.setdefault(blob.name, blob)
        return head_of(found), found is blob


def head_of(blob: RawBlob) -> RawHead:
    """The head of a blob; its digest is of all there is to it."""
    return blob.head(digest=hashlib.sha256(repr(blob).encode()).hexdigest())


class ProcessRawStore:
    """The store as one process sees it: it reads the position only until it has noted one."""

    def __init__(self, raw: ContentRawStore) -> None:
        """`raw` is what storage holds, `noted` what this process knows of positions."""
        self.raw = raw
        self.noted: dict[Partition, Tip] = {}

    async def tip(self, partition: Partition) -> Tip:
        """What it noted; another owner may have been there since."""
        known = self.noted.get(partition) or self.raw.remembered.get(partition)
        if known is None:
            return await self.find_tip(partition)
        self.noted[partition] = known
        return known

    async def find_tip(self, partition: Partition) -> Tip:
        """Ask the blobs."""
        return await self.raw.find_tip(partition)

    async def land(self, blob: RawBlob) -> tuple[RawHead, bool]:
        """Somebody else's blob says that what it noted is old."""
        head, created = await self.raw.land(blob)
        if not created:
            self.noted.pop(blob.partition, None)
        return head, created

    async def remember(self, partition: Partition, tip: Tip) -> None:
        """Write and note, unless it noted as much before."""
        noted = self.noted.get(partition, START)
        if noted.sequence < tip.sequence:
            await self.raw.remember(partition, tip)
            self.noted[partition] = self.raw.remembered[partition]


class ProcessHub(MemoryHub):
    """The hub as one process sees it: it asks for the hub's life once a minute, and reads in parts.

    A reader that starts at what is dropped is given what is left, without a word: so does the
    service.
    """

    def __init__(self, hub: MemoryHub, clock: MemoryClock, *, part: int) -> None:
        """`hub` is the one there is, `part` how many events come at once."""
        super().__init__()
        self.hub = hub
        self.clock = clock
        self.asked_at = clock.moment
        self.part = part
        self.known = ""

    async def life(self, material: str, *, fresh: bool = False) -> str:  # noqa: ARG002 -- One hub.
        """The life known, unless it is asked for afresh."""
        if fresh or not self.known or self.clock.moment - self.asked_at >= timedelta(minutes=1):
            self.known, self.asked_at = self.hub.made, self.clock.moment
        return self.known

    async def first_sequence(self, partition: Partition) -> int:  # noqa: ARG002 -- One partition.
        """What retention has left."""
        return self.hub.begins

    async def read(self, partition: Partition, *, first: int, last: int) -> AsyncIterator[HubBatch]:
        """In parts; each is asked for when it is wanted."""
        while first <= last:
            left = [each for each in self.hub.log["0"] if each.sequence >= self.hub.begins]
            events = [each for each in left if first <= each.sequence <= last][: self.part]
            assert events, "a hub is asked only for what it took"
            yield HubBatch(material=partition.material, partition="0", events=tuple(events))
            first = events[-1].sequence + 1
