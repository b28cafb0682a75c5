"""The result: what one run did, in numbers that add up, for the function app to read.

Whole numbers are counts that go into the ledger; everything else stays in the file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic.alias_generators import to_camel


class _Result:
    """What every result can do."""

    __slots__ = ()

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        fields = asdict(self)  # type: ignore[call-overload] # Those who inherit are dataclasses.
        return json.dumps(
            {to_camel(name): value for name, value in fields.items() if value is not None}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWritten(_Result):
    """One clean run's result.

    A repeated run finds its own rows in the table: they count as `older` then. `ignored` are
    deletions in a dataset whose style does not follow them. `bytes` is the size of the raw blobs.
    """

    run: str
    dataset: str
    events: int
    bytes: int
    records: int
    duplicates: int
    older: int
    inserted: int
    updated: int
    deleted: int
    ignored: int
    quarantined: int
    table_version: int
    history_version: int | None = None
    lineage: dict[str, str] = field(default_factory=dict)
    drift: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Every record went to exactly one place."""
        merged = self.inserted + self.updated + self.deleted
        gone = merged + self.older + self.duplicates + self.ignored + self.quarantined
        assert self.records == gone, f"records do not add up: {self}"
        assert self.duplicates >= 0, f"rows do not add up: {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CuratedWritten(_Result):
    """One curated run's result: the rows that the SQL gave, and what became of the table.

    A table that is written as a whole has no rows of its own fate: it is as the SQL says.
    """

    run: str
    table: str
    rows: int
    inserted: int | None = None
    updated: int | None = None
    deleted: int | None = None
    table_version: int
    lineage: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TablesMaintained(_Result):
    """One maintenance run's result; the table that is named first gives `tableVersion`."""

    run: str
    files_before: int
    files_after: int
    files_deleted: int
    table_version: int
    tables: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)
