"""raw, audited: every sequence number once, none missing, nothing changed since it was landed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.domain.chain import Chain, Finding
from shared.domain.raw_blob import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.ports import RawFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionAudited:
    """One partition of one life of a hub: which sequence numbers its blobs hold."""

    material: str
    partition: str
    blobs: int
    events: int
    sequence_last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAudited:
    """What an audit saw; it is good when nothing was found."""

    partitions: tuple[PartitionAudited, ...]
    findings: tuple[Finding, ...]


async def audit_raw(
    material: str, *, files: RawFiles, tell: Callable[[int, int], None]
) -> RawAudited:
    """Read every blob of a material (empty: of all) and walk the chains.

    Costs one reading of each blob. `tell` hears how many of how many are read. Works on live
    storage: blobs landed after the listing are not looked at.
    """
    names = sorted(await files.names(material), key=lambda name: (partition_of(name), name))
    chains: dict[str, Chain] = {}
    findings: list[Finding] = []
    for number, name in enumerate(names, start=1):
        place = partition_of(name)
        chain = chains.setdefault(f"{place.material}/{place.label}", Chain(place))
        head, claimed = await files.look(name)
        if head is None:
            findings.append(Finding(blob=name, problem="it cannot be read as a raw blob"))
        else:
            findings += chain.add(head, claimed=claimed)
        tell(number, len(names))
    partitions = tuple(
        PartitionAudited(
            material=chain.partition.material,
            partition=chain.partition.label,
            blobs=chain.blobs,
            events=chain.events,
            sequence_last=chain.tip.sequence,
        )
        for chain in chains.values()
    )
    return RawAudited(partitions=partitions, findings=tuple(findings))
