"""The feed: a recorded week of earthquakes, and what of it is published at a moment."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

#: The feed grows in steps, so that a poll between two steps finds an unchanged body and ETag.
STEP_S = 0.25

_BEGIN = '"features":['
_END = '],"bbox":'


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One earthquake: its text as recorded, and what the feed says about it."""

    text: str
    updated_ms: int
    place: tuple[float, float, float]


@dataclass(frozen=True)
class Recording:
    """The recorded feed, cut into features; every published body is made of these pieces."""

    metadata: dict[str, Any]
    features: tuple[Feature, ...]

    def body(self, count: int) -> bytes:
        """The feed of the `count` features updated first, in recorded order: newest quake first.

        Features keep their recorded bytes, and all of them together are the recording itself.
        """
        assert 0 < count <= len(self.features), "a feed holds one feature at least"
        chosen = set(self._by_update[:count])
        features = [feature for index, feature in enumerate(self.features) if index in chosen]
        metadata = self.metadata | {"generated": self.generated_ms(count), "count": count}
        texts = ",\n".join(feature.text for feature in features)
        head = f'{{"type":"FeatureCollection","metadata":{_compact(metadata)}'
        return f"{head},{_BEGIN}{texts}{_END}{_compact(_bounding_box(features))}}}".encode()

    def generated_ms(self, count: int) -> int:
        """When the feed would have been made in the recorded week: at its newest update."""
        if count == len(self.features):
            return int(self.metadata["generated"])
        return self.features[self._by_update[count - 1]].updated_ms

    @cached_property
    def _by_update(self) -> list[int]:
        return sorted(range(len(self.features)), key=lambda index: self.features[index].updated_ms)


def load(path: Path) -> Recording:
    """Read the compressed recording at `path`."""
    text = gzip.decompress(path.read_bytes()).decode()
    document = json.loads(text)
    # Slicing the text, not writing the features anew, keeps their bytes: 0.10 stays 0.10. JSON
    # strings hold no raw line break, so the recording's separator occurs nowhere else.
    begin = text.index(_BEGIN) + len(_BEGIN)
    texts = text[begin : text.rindex(_END)].split(",\n")
    features = tuple(
        Feature(
            text=piece,
            updated_ms=parsed["properties"]["updated"],
            place=tuple(parsed["geometry"]["coordinates"]),
        )
        for piece, parsed in zip(texts, document["features"], strict=True)
    )
    times = [parsed["properties"]["time"] for parsed in document["features"]]
    assert all(newer >= older for newer, older in pairwise(times)), "the newest quake is first"
    return Recording(metadata=document["metadata"], features=features)


def published(total: int, *, elapsed_s: float, duration_s: float) -> int:
    """How many of `total` features are out, `elapsed_s` after the feed began; at least one.

    Every step begins with its own share, so that whoever polls once a step always finds news.
    """
    if elapsed_s >= duration_s:
        return total
    grown_s = (math.floor(max(elapsed_s, 0) / STEP_S) + 1) * STEP_S
    return min(total, math.ceil(total * grown_s / duration_s))


def _bounding_box(features: list[Feature]) -> list[float]:
    axes = list(zip(*(feature.place for feature in features), strict=True))
    return [*map(min, axes), *map(max, axes)]


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
