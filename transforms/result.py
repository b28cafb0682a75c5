"""The result: what one run did, in numbers that add up, for the function app to read."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TableWritten:
    """One run's result.

    A repeated run finds its own rows in the table: they count as `older` then.
    """

    run: str
    dataset: str
    events: int
    records: int
    duplicates: int
    older: int
    inserted: int
    updated: int
    quarantined: int
    table_version: int

    def __post_init__(self) -> None:
        """Every record went to exactly one place."""
        gone = self.inserted + self.updated + self.older + self.duplicates + self.quarantined
        assert self.records == gone, f"{self.records} records do not add up: {self}"

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        fields = asdict(self)
        fields["tableVersion"] = fields.pop("table_version")
        return json.dumps(fields)
