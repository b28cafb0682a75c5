"""The document: what it accepts, and how it explains what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from shared.domain import document as documents
from shared.domain.errors import Misconfigured
from tests.builders import document

ROOT = Path(__file__).parents[2]


def test_shipped_document_is_valid() -> None:
    """The demo starts from it."""
    found = documents.load(ROOT / "pipeline.json")

    assert [source.name for source in found.sources] == ["usgs-earthquakes"]


def test_committed_schema_is_current() -> None:
    """Editors complete the document from the committed file."""
    committed = (ROOT / "pipeline.schema.json").read_text()

    assert committed == documents.json_schema(), "run: millrace schema > pipeline.schema.json"


DATASET = {
    "name": "d",
    "consumes": "m",
    "primaryKey": ["id"],
    "columns": {"id": {"type": "string"}},
}
HUB = {"material": "m"}
SOURCE = {"name": "a", "url": "http://x", "schedule": "0 * * * * *", "publishes": "m"}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"sorces": []}, "sorces: unknown key; did you mean 'sources'?"),
        (
            {"sources": [SOURCE | {"recrods": "x"}]},
            "sources.0.recrods: unknown key; did you mean 'records'?",
        ),
        (
            {"eventhubs": [HUB | {"partitons": 3}]},
            "eventhubs.0: partitons: unknown key; did you mean 'partitions'?",
        ),
        (
            {"datasets": [DATASET | {"columns": {"id": {"type": "string", "requird": True}}}]},
            "datasets.0.columns.id.requird: unknown key; did you mean 'required'?",
        ),
        (
            {"datasets": [DATASET | {"primaryKey": ["di"]}]},
            "datasets.0: column 'di' is not among the columns; did you mean 'id'?",
        ),
        (
            {"eventhubs": [{"material": "quakes"}], "datasets": [DATASET | {"consumes": "quake"}]},
            "dataset 'd' consumes 'quake', which no hub carries; did you mean 'quakes'?",
        ),
        (
            {"datasets": [DATASET | {"columns": {"id": {"type": "long"}, "ID": {"type": "long"}}}]},
            "columns 'id' differ only in case",
        ),
        ({"sources": [SOURCE | {"schedule": "* *"}]}, "a schedule has six NCRONTAB fields"),
        ({"sources": [SOURCE | {"url": "ftp://x"}]}, "sources.0.url"),
        ({"name": "X"}, "name: string should match pattern"),
        ({"eventhubs": [HUB | {"expiresAfter": "0h"}]}, "longer than nothing"),
        ({"eventhubs": [HUB, HUB]}, "two hubs are called 'm'"),
    ],
)
def test_problem_names_path_and_nearest_key(parts: dict[str, object], expected: str) -> None:
    """A person mends the document from the message alone."""
    with pytest.raises(Misconfigured) as caught:
        documents.parse(json.dumps({"name": "x"} | parts))

    assert expected in str(caught.value)


def test_text_that_is_not_json_is_refused() -> None:
    """A missing brace is the commonest mistake."""
    with pytest.raises(Misconfigured, match="is not JSON"):
        documents.parse("{")


def test_every_problem_is_told_at_once() -> None:
    """Nobody wants to mend a document one error at a time."""
    with pytest.raises(Misconfigured) as caught:
        documents.parse('{"nam":"x","sources":[{"url":"http://x"}]}')

    told = caught.value.problem.splitlines()
    assert {line.split(":")[0] for line in told} >= {"name", "nam", "sources.0.name"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("P1D", timedelta(days=1)), ("PT3H", timedelta(hours=3)), ("3hrs", timedelta(hours=3))],
)
def test_durations_are_iso_8601_or_spoken(text: str, expected: timedelta) -> None:
    """People write `3hrs`."""
    found = document(eventhubs=[{"material": "quakes", "expiresAfter": text}])

    assert found.hub("quakes").expires_after == expected


def test_free_attributes_of_a_hub_become_tags() -> None:
    """A hub may carry what only its owner understands."""
    found = document(eventhubs=[{"material": "quakes", "storageTemperature": "hot"}])

    assert found.hub("quakes").tags == {"storageTemperature": "hot"}


def test_digest_depends_on_meaning_not_on_layout() -> None:
    """A run names the document it was planned with; reformatting is no new version."""
    text = (ROOT / "pipeline.json").read_text()

    assert documents.parse(text).digest == documents.parse(json.dumps(json.loads(text))).digest


def test_settings_are_filled_and_a_missing_one_is_named() -> None:
    """`%SETTING%` is the only way a secret gets into a source."""
    filled = documents.fill("%HOST%/x", {"HOST": "http://a"})

    assert filled == "http://a/x"
    with pytest.raises(Misconfigured, match="HOST is not set"):
        documents.fill("%HOST%/x", {})


def test_history_takes_a_name_and_columns_of_its_own() -> None:
    """Two tables of one name, or two columns, would be found out by the first run only."""
    dataset = document().dataset("quakes").model_dump(by_alias=True, exclude_none=True)
    versions = dataset | {"history": True}
    taken = versions | {"columns": dataset["columns"] | {"ValidFrom": {"type": "string"}}}

    with pytest.raises(Misconfigured, match="two tables are called 'quakes-history'"):
        document(datasets=[versions, dataset | {"name": "quakes-history"}])
    with pytest.raises(Misconfigured, match="'ValidFrom' is one that history adds"):
        document(datasets=[taken])


def test_setting_decides_how_often_every_dataset_runs() -> None:
    """Rows at once on a developer's machine, fewer runs than the document says in an emergency."""
    hourly = document().dataset("quakes").model_dump(by_alias=True) | {"runEvery": "PT1H"}
    found = document(datasets=[hourly])

    hurried = documents.running_every(found, "PT1S")

    assert hurried.dataset("quakes").run_every == timedelta(seconds=1)
    assert documents.running_every(found, "") == found
    with pytest.raises(Misconfigured, match="RUN_EVERY is 'often', which is no duration"):
        documents.running_every(found, "often")
