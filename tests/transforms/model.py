"""A plain model of the tables: what all of raw says at once, whatever the order of runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.transforms.lake import DELETIONS, Event, Json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: What is compared of a table, and of a history besides.
COLUMNS = ("id", "updated", "value", "_deleted", "_sequence", "_line", "_run")
DERIVED = ("validFrom", "validTo", "isCurrent", "_repeated")


def history_of(runs: Sequence[Sequence[Event]], change: Json) -> list[Json]:
    """Every version of every row of `dataset(**change)`; run N is called `rN`."""
    by_place = change.get("ingestion") == "full"
    field = None if by_place else change.get("incrementalField", "updated")
    by_key: dict[str, list[Json]] = {}
    for version in _versions(runs):
        by_key.setdefault(version["id"], []).append(version)
    for versions in by_key.values():
        versions.sort(key=lambda version: _rank(version, field))
    return [derived for versions in by_key.values() for derived in _derived(versions)]


def rows_of(runs: Sequence[Sequence[Event]], change: Json) -> list[Json]:
    """The table: the newest version of each row, or every line of an append dataset once."""
    if change.get("ingestion") != "append":
        return [version for version in history_of(runs, change) if version["newest"]]
    first: dict[tuple[str, int], Json] = {}
    for version in sorted(_versions(runs), key=lambda version: _rank(version, None)):
        first.setdefault((version["_event_id"], version["_line"]), version)
    return list(first.values())


def cut(rows: Sequence[Json], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of rows, in an order that does not depend on where they came from."""
    return sorted((tuple(row[name] for name in names) for row in rows), key=repr)


def _versions(runs: Sequence[Sequence[Event]]) -> Iterator[Json]:
    for number, events in enumerate(runs):
        for each in events:
            for line, text in enumerate(each.body.split(b"\n"), start=1):
                yield {
                    "updated": None,
                    "value": None,
                    **json.loads(text),
                    "_deleted": each.type == DELETIONS,
                    "_sequence": each.sequence,
                    "_line": line,
                    "_run": f"r{number}",
                    "_event_id": each.id,
                    "at": each.enqueued_at.replace(tzinfo=None),
                }


def _rank(version: Json, field: str | None) -> tuple[Any, ...]:
    value = version[field] if field else None
    place = (version["at"], version["_sequence"], version["_line"])
    return (value is not None, value or 0, *place)


def _derived(versions: list[Json]) -> Iterator[Json]:
    content = ("updated", "value", "_deleted")
    for index, version in enumerate(versions):
        before = versions[index - 1] if index else None
        version["_repeated"] = before is not None and all(
            version[name] == before[name] for name in content
        )
        version["validFrom"] = min(other["at"] for other in versions[index:])
    for index, version in enumerate(versions):
        after = [other["validFrom"] for other in versions[index + 1 :] if not other["_repeated"]]
        valid = not (version["_repeated"] or version["_deleted"])
        ends = (after[0] if after else None) if valid else version["validFrom"]
        yield version | {
            "validTo": ends,
            "isCurrent": valid and not after,
            "newest": index == len(versions) - 1,
        }
