"""The page about datasets: every example of docs/datasets.md is run as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from shared.domain.dataset import Dataset
from tests.transforms.cleaned import clean_frame, dataset_of
from tests.transforms.lake import event
from transforms.drift import find_drift

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
_BLOCK = re.compile(r"^```json\n(.*?)^```\n(.*?)(?=^```|\Z)", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^\| (?P<record>`.*`|nothing) \| (?P<row>.*) \|$", re.MULTILINE)
_CELL = re.compile(r"`([^`]*)`|(NULL)|(empty text)")


class Example(NamedTuple):
    """A dataset, and what becomes of some records: the row's texts, or the reason."""

    dataset: Dataset
    shown: list[str]
    records: list[bytes]
    rows: list[tuple[list[str | None], str]]


def examples() -> list[Example]:
    """Every block of the page that a table of records follows."""
    found = []
    for text, after in _BLOCK.findall(PAGE):
        lines = list(_LINE.finditer(after.partition("\n```")[0]))
        declared = json.loads(text)
        if not lines or "newFields" in declared:
            continue
        dataset = Dataset.model_validate(declared) if "name" in declared else dataset_of(declared)
        shown = ["_rest"] if dataset.keep_rest else list(dataset.columns)
        records = [line["record"].strip("`").replace("nothing", "") for line in lines]
        found.append(
            Example(
                dataset=dataset,
                shown=shown,
                records=[f"{{{record}}}".encode() for record in records],
                rows=[_row(line["row"]) for line in lines],
            )
        )
    return found


def _row(text: str) -> tuple[list[str | None], str]:
    if text.startswith("refused: "):
        return [], text.removeprefix("refused: ").strip("`")
    return [None if null else value for value, null, _ in _CELL.findall(text)], ""


def test_page_has_an_example_of_each_type_and_check() -> None:
    """What nobody shows, nobody finds."""
    columns = [column for example in examples() for column in example.dataset.columns.values()]

    kinds = {column.kind for column in columns}
    set_somewhere = {name for column in columns for name in column.model_fields_set}
    assert kinds == set("string integer long double decimal boolean timestamp date json".split())  # noqa: SIM905 -- Shorter.
    assert set_somewhere == set(type(columns[0]).model_fields)


@pytest.mark.parametrize("example", examples(), ids=lambda example: ",".join(example.shown))
def test_example_of_the_page_is_true(session: SparkSession, example: Example) -> None:
    """People copy from it."""
    frame = clean_frame(session, example.dataset, event(0, *example.records))
    texts = [f"cast(`{name}` as string) as `{name}`" for name in example.shown]
    rows = frame.orderBy("_line").selectExpr(*texts, "_reason").collect()

    found = [
        ([] if row["_reason"] else [row[name] for name in example.shown], row["_reason"])
        for row in rows
    ]
    assert found == example.rows


def test_drift_of_the_page_has_the_keys_of_a_real_one(
    session: SparkSession, tmp_path: Path
) -> None:
    """The keys are what people look for in a result."""
    [shown] = [json.loads(text) for text, _ in _BLOCK.findall(PAGE) if "newFields" in text]
    dataset = dataset_of({"c": {"type": "integer"}})
    url = f"file://{tmp_path / 'records'}"
    clean_frame(session, dataset, event(0, {"c": 1}), look_every=4).write.parquet(url)

    drift: dict[str, Any] = find_drift(session.read.parquet(url), dataset, sampled=4)

    assert list(shown) == list(drift)
