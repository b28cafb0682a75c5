"""Refusals: records that a transform refused, as its Delta tables in quarantine hold them."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

from cli.tables import Tables
from shared.domain.quarantine import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.dataset import Dataset
    from shared.domain.quarantine import Quarantined

_ROWS_AT_ONCE = 500
_PLACE = "blob, sequence_number, line"  # Of a record, whichever runs refused it.


class Refusals(Tables):
    """Reads the tables `refused/<dataset>`; raises `Misconfigured` when it cannot."""

    def entries(self) -> Iterator[Quarantined]:
        """Each refused record once, whatever was decided about it."""
        for dataset in self._datasets:
            yield from self._of(dataset)

    def _of(self, dataset: Dataset) -> Iterator[Quarantined]:
        table = f"delta_scan('az://quarantine/refused/{dataset.name}')"
        if not self._ask(f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608 -- The document checks names.
            return
        found = self._connection.execute(
            f"SELECT DISTINCT ON ({_PLACE}) {_PLACE}, run_id, reason, enqueued_time, body "  # noqa: S608 -- The same.
            f"FROM {table} ORDER BY {_PLACE}, run_id"
        )
        while rows := found.fetchmany(_ROWS_AT_ONCE):
            yield from (_entry(dataset, row) for row in rows)


def _entry(dataset: Dataset, row: tuple[Any, ...]) -> Quarantined:
    blob, sequence, line, run, reason, enqueued_at, body = row
    return refusal(
        dataset=dataset.name,
        run=run,
        reason=reason,
        blob=blob,
        sequence=sequence,
        line=line,
        seen_at=enqueued_at.astimezone(UTC),
        body=body,
    )
