"""Inputs of the curated SQL: small tables with the types that the document declares."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.domain.dataset import Curated, Dataset
from shared.domain.document import load
from shared.domain.manifest import views_of
from shared.domain.sql_types import sql_type

if TYPE_CHECKING:
    from shared.domain.document import Document

type Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
ROWS = 300
_TEXTS = ["earthquake", "quarry blast", "", "naïve 😀", "'"]
_CELLS = {
    "string": _TEXTS,
    "json": ["{}", "[1,2]", '{"a":1.5}'],
    "integer": ["0", "1", "-7", "2147483647"],
    "long": ["0", "1", "9223372036854775807", "-9223372036854775808"],
    # Sail compares with a decimal literal as decimals, which have no room for 1e300 or NaN.
    "double": ["0.0", "1.5", "2.5", "4.5", "6.0", "-0.3", "123456.5", "0.1"],
    "decimal": ["0", "1.5", "9.99", "-0.01"],
    "boolean": ["true", "false"],
    "date": ["2026-11-20", "1900-01-01", "9999-12-31"],
    "timestamp": [
        "2026-11-20T00:00:00Z", "2026-11-20T23:59:59.999999Z", "2026-11-21T00:00:00Z",
        "1969-12-31T23:59:59.5Z", "0001-01-01T00:00:00Z",
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CuratedCase:
    """Curated SQL, the views it reads, and rows of its tables as text."""

    name: str
    curated: list[Json]
    tables: dict[str, tuple[dict[str, str], list[list[str | None]]]]

    def write(self, folder: Path) -> None:
        """Write the case where both engines look for it."""
        case = {"name": self.name, "curated": self.curated, "tables": self.tables}
        (folder / f"{self.name}.case.json").write_text(json.dumps(case))


def curated_cases() -> list[CuratedCase]:
    """Every curated table of the document over random rows."""
    document = load(ROOT / "pipeline.json")
    tables = [part for part in document.tables if isinstance(part, Curated)]
    return [
        _case(number, curated, document)
        for number, curated in enumerate(each for each in tables if each.kind == "table")
    ]


def _case(number: int, curated: Curated, document: Document) -> CuratedCase:
    chance = random.Random(number)
    views = views_of(curated, document)
    read = {name for part in (curated, *views) for name in part.reads}
    return CuratedCase(
        name=f"curated-{number}",
        curated=[part.model_dump(by_alias=True) for part in (curated, *views)],
        tables={
            table.table: _rows(table, chance)
            for table in document.tables
            if table.name in read and table not in views
        },
    )


def _rows(
    table: Dataset | Curated, chance: random.Random
) -> tuple[dict[str, str], list[list[str | None]]]:
    kinds = {
        name: column if isinstance(column, str) else column.type
        for name, column in table.columns.items()
    }
    cells = [_CELLS[kind.partition("(")[0]] for kind in kinds.values()]
    rows = [
        [chance.choice(each) if chance.random() < 0.9 else None for each in cells]
        for _ in range(ROWS)
    ]
    return {name: sql_type(kind).spark for name, kind in kinds.items()}, rows
