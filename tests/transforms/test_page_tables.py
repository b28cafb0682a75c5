"""The page about datasets, from the styles on: what is to be copied from it is right."""

from __future__ import annotations

import json
import re
from pathlib import Path

from shared.domain.dataset import Curated, Dataset
from tests.transforms.lake import Lake, event, thing
from transforms.curated_sql import read_sql
from transforms.pruning import FOLDERS_MAX

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text()
TABLES = PAGE[PAGE.index("\n## Ingestion styles\n") :]


def blocks(language: str) -> list[str]:
    """The blocks of a language in this part of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```", TABLES, re.MULTILINE | re.DOTALL)


def test_datasets_of_the_page_are_datasets() -> None:
    """Somebody copies them into pipeline.json."""
    styles, history, curated = map(json.loads, blocks("json"))

    datasets = [Dataset.model_validate(each) for each in (*styles, history)]
    tables = [Curated.model_validate(each) for each in curated["curated"]]

    assert [each.ingestion for each in datasets[:3]] == ["incremental", "full", "append"]
    assert datasets[3].history
    assert all(read_sql(each) for each in tables)


def test_question_to_a_history_finds_what_was_valid(lake: Lake) -> None:
    """One row or none, without a word about repetitions and deletions."""
    question = next(text for text in blocks("sql") if "orders_history" in text)
    for sequence in (0, 1, 2):
        lake.run_events(
            f"r{sequence}", event(sequence, thing("a", updated=sequence // 2)), history=True
        )
    history = lake.session.read.format("delta").load(f"{lake.table_url}_history")
    history.createOrReplaceTempView("orders_history")

    rows = lake.session.sql(question.replace("12:00:00", "12:00:01")).collect()

    assert [row["_run"] for row in rows] == ["r0"]


def test_numbers_of_the_page_are_those_of_the_code() -> None:
    """A limit in a document is a promise."""
    assert f"More than {FOLDERS_MAX} folders" in TABLES
