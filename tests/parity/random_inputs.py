"""Random inputs: versions of few keys over several runs, with ties, gaps, odd shapes and values."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.domain.dataset import Column
from tests.parity.inputs import COLUMNS, DELETIONS, NOON, Case, RawEvent
from tests.parity.known import equal_values
from tests.transforms.oracle import WRONG, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

type Json = dict[str, Any]

PARTITIONS = ("0", "1", "2")
EVENTS = 24
RUNS = 2
#: Every check and a default of every type, on values that are read a second time.
CHECKED: dict[str, Json] = {
    "int_checked": {**COLUMNS["int"], "min": -1, "max": 1000, "default": 7},
    "long_checked": {**COLUMNS["long"], "oneOf": [0, 1, 255, 9007199254740993], "default": 1},
    "double_checked": {**COLUMNS["double"], "min": -1.5, "max": 1e6, "default": 0.1},
    "money_checked": {**COLUMNS["money"], "min": 0, "max": 100.1, "default": 1.5},
    "text_checked": {**COLUMNS["text"], "matches": r"[a-z\d\s.:-]*", "default": "none"},
    "flag_checked": {**COLUMNS["flag"], "oneOf": [True], "default": True},
    "day_checked": {**COLUMNS["day"], "min": "1900-01-01", "default": "2026-11-20"},
    "time_checked": {
        **COLUMNS["time"],
        "max": "2026-11-20T12:00:00+01:00",
        "default": "2026-11-20T00:00:00Z",
    },
    "json_checked": {**COLUMNS["json"], "default": "[]"},
}
#: A table that is kept up with the changed rows of another.
INCREMENT: Json = {
    "name": "kept",
    "reads": ["d"],
    "columns": {"key": "string", "money": "decimal(10,2)", "time": "timestamp", "double": "double"},
    "primaryKey": ["key"],
    "incremental": True,
}


def random_case(seed: int) -> Case:
    """A dataset of the style that the seed says, and runs over it in whatever order."""
    chance = random.Random(seed)
    style = ("incremental", "full", "append")[seed % 3]
    key = ("text", "long", "day")[seed // 3 % 3]
    source = _Source(chance=chance, key=key, style=style)
    events = [
        source.event(partition, sequence) for partition in PARTITIONS for sequence in range(EVENTS)
    ]
    runs = [
        [event for event in events if event.sequence % RUNS == number] for number in range(RUNS)
    ]
    chance.shuffle(runs)
    for number in range(1, RUNS):  # What was merged before comes again.
        runs[number] += chance.sample(runs[number - 1], 5)
    dataset = {
        "ingestion": style,
        "keepRest": chance.random() < 0.5,
        "columns": source.columns(),
    }
    if style != "append":
        dataset |= {"primaryKey": ["key"], "incrementalField": "updated", "history": True}
    if chance.random() < 0.5:
        dataset["partitionField"] = "flag"
    increment = INCREMENT if style == "incremental" and source.key == "text" else None
    return Case(name=f"random-{seed}", dataset=dataset, runs=runs, increment=increment)


@dataclass(slots=True, kw_only=True)
class _Source:
    """What makes the records."""

    chance: random.Random
    key: str
    style: str
    order: str = ""
    keys: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Choose what the records are named and ordered by."""
        self.order = self.chance.choice(["long", "time", "exact", "day_ms"])
        good = [value for value in _good_values(self.key) if value != "null"]
        self.keys = self.chance.sample(good, min(30, len(good)))

    def columns(self) -> dict[str, Json]:
        """The dataset's columns."""
        inner = COLUMNS | CHECKED
        return {
            "key": {**COLUMNS[self.key], "required": True},
            "updated": dict(COLUMNS[self.order]),
            **{
                name: {**column, "path": f"in.{name.removesuffix('_checked')}"}
                for name, column in inner.items()
            },
            "first": {**COLUMNS["double"], "path": "list.0.v"},
            "second": {**COLUMNS["text"], "path": "list.1.v"},
            "whole": {**COLUMNS["json"], "path": "list"},
        }

    def event(self, partition: str, sequence: int) -> RawEvent:
        """An event of some records, or sometimes of deletions."""
        deletes = self.chance.random() < 0.15
        lines = [self._record(deletes=deletes) for _ in range(self.chance.choice([1, 2, 5, 20]))]
        return RawEvent(
            sequence=sequence,
            partition=partition,
            # Whole batches are enqueued at once, and clocks of partitions agree.
            enqueued_at=NOON + timedelta(seconds=sequence // 4),
            attributes=(("type", DELETIONS if deletes else "dev.millrace.records"),),
            body=b"\n".join(lines),
        )

    def _record(self, *, deletes: bool) -> bytes:
        chance = self.chance
        if deletes:
            return f'{{"key":{chance.choice(self.keys)}}}'.encode()
        inner = [f'"{name}":{self._value(name)}' for name in COLUMNS if chance.random() < 0.2]
        # Its elements are of one kind: Spark gives up an array in which they are not.
        kind = chance.choice(['{"v":%s}', '{"v":%s}', '{"w":%s}', "%s"])
        items = [kind % self._value("first") for _ in range(chance.randrange(4))]
        parts = [
            f'"key":{chance.choice(self.keys)}',
            f'"updated":{chance.choice(_good_values(self.order)[:12])}',
            f'"in":{{{",".join(inner)}}}' if chance.random() < 0.9 else '"in":[]',
            f'"list":[{",".join(items)}]' if chance.random() < 0.9 else '"list":"none"',
            f'"new field":{self._value("json")}',
        ]
        chance.shuffle(parts)
        return f"{{{', '.join(parts[: chance.choice([5, 5, 5, 4])])}}}".encode()

    def _value(self, name: str) -> str:
        """Mostly a value that is good, so that most records are."""
        good = self.chance.random() < 0.95
        return self.chance.choice(_good_values(name) if good else equal_values(name))


@cache
def _good_values(name: str) -> list[str]:
    column = Column.model_validate(COLUMNS["double" if name == "first" else name])
    return [value for value in equal_values(name) if typed(json.loads(value), column) is not WRONG]
