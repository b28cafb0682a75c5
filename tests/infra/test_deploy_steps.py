"""The steps of a deployment: what of them can run without Azure."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.deploy import smoke_test, synapse, synthetic
from infra.deploy.branch import environment_of
from infra.deploy.outputs import exports
from shared.domain import cloud_event
from shared.domain import document as documents
from shared.domain.dataset import Dataset
from shared.domain.errors import Misconfigured
from tests.infra.bicep_syntax import read

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SCRIPTS = sorted((ROOT / "infra/deploy").glob("*.sh"))


def dataset(**parts: Any) -> Dataset:
    """A dataset with a key and some columns."""
    columns = {"id": {"type": "string"}, **parts.pop("columns", {})}
    content = {"name": "things", "consumes": "things", "primaryKey": ["id"], "columns": columns}
    return Dataset.model_validate(content | parts)


def test_outputs_become_what_a_shell_takes() -> None:
    """A value with a blank or a quote must not become a command."""
    text = exports(
        {
            "a_NAME": {"type": "String", "value": "it's; rm -rf"},
            "SECRETS": {"type": "Array", "value": ["ONE", "TWO"]},
        }
    )
    answer = subprocess.run(
        ["bash", "-c", f'{text}printf \'%s|%s\' "$A_NAME" "$SECRETS"'],  # noqa: S607 -- Whichever bash there is.
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout == "it's; rm -rf|ONE TWO"


def test_scripts_use_only_what_the_templates_put_out() -> None:
    """With `set -u` an output that is missing ends a deployment half way."""
    known = set(read(ROOT / "infra/bicep/main.bicep").outputs)
    given = {"SMOKE_TEST_TOKEN", "PYTHON", "PWD", "PATH", "EVENT_HUBS__fullyQualifiedNamespace"}

    for path in SCRIPTS:
        text = re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)
        used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)\b", text))
        assert used <= known | given, path.name


@pytest.mark.parametrize(
    ("branch", "expected"),
    [("try/A_new Thing", "b-try-a-new-thing-"), ("main", "b-main-"), ("äöü", "b-branch-")],
)
def test_branch_becomes_a_name_that_is_legal_everywhere(branch: str, expected: str) -> None:
    """It is part of names of resources, jobs and a database."""
    name = environment_of(branch)

    assert name.startswith(expected)
    assert len(name) <= 32
    assert documents.parse(json.dumps({"name": "any", "environment": name})).environment == name


def test_branches_never_share_an_environment() -> None:
    """What differs only in what a name cannot hold still differs."""
    names = {environment_of(each) for each in ("try/a_b", "try/a-b", "try/A-B", "try/a/b")}

    assert len(names) == 4


def test_scripts_of_sql_are_cut_where_sqlcmd_cuts_them() -> None:
    """GO is no SQL: the driver would refuse it."""
    script = "SELECT 1;\nGO\n\n  go  \nSELECT '$(LakeUrl)/GOAT';\nGO\n"

    assert synapse.batches(script, {"LakeUrl": "https://lake"}) == [
        "SELECT 1;",
        "SELECT 'https://lake/GOAT';",
    ]


@pytest.mark.parametrize(
    ("problem", "view"),
    [
        ("Content of directory on path 'https://l/clean/things/_delta_log/*' cannot be listed.", 1),
        ("Invalid object name 'operations.things_refused'.", 1),
        ("Incorrect syntax near 'FORM'.", 0),
    ],
)
def test_only_a_view_whose_table_is_not_written_is_waited_for(problem: str, view: int) -> None:
    """In a new environment no table is there; a mistake in the SQL must still stop a release."""
    batch = "-- Made.\nCREATE OR ALTER VIEW [dbo].[things] AS\nSELECT 1;"

    assert synapse.waiting(batch, problem) == "[dbo].[things]" * view
    assert synapse.waiting("CREATE ROLE [a];", problem) == ""


def test_generated_scripts_need_no_variable_but_the_lake(tmp_path: Path) -> None:
    """The release holds them for every environment, before there is a lake."""
    subprocess.run(
        [
            sys.executable,
            "-m",
            "cli",
            "sql",
            "synapse",
            "--environment",
            "prod",
            "--folder",
            tmp_path,
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    texts = [path.read_text() for path in sorted(tmp_path.glob("*.sql"))]
    found = [batch for text in texts for batch in synapse.batches(text, {"LakeUrl": "https://l"})]

    assert len(texts) >= 4
    assert found
    assert not [batch for batch in found if "$(" in batch or "\nGO\n" in batch]
    assert any("https://l/clean" in batch for batch in found)
    trial = smoke_test.trial_of(documents.load(ROOT / "pipeline.json"), "t1", now=NOW)
    assert any(batch.startswith(f"CREATE OR ALTER VIEW {trial.view} AS") for batch in found)


def test_database_of_the_views_is_the_one_that_is_asked() -> None:
    """Template, generator and smoke test must mean the same database."""
    from cli.synapse_sql import database_name  # noqa: PLC0415 -- Translating SQL is slow to load.

    document = documents.load(ROOT / "pipeline.json")
    output = read(ROOT / "infra/bicep/main.bicep").outputs["SYNAPSE_DATABASE"].node.text or b""

    assert database_name(document, "a-b") == "quakes_a_b"
    assert b"replace('${document.name}_${environmentName}', '-', '_')" in output


def test_synthetic_record_is_where_the_columns_look() -> None:
    """A record that goes to quarantine would prove the wrong thing."""
    found = synthetic.record_of(
        dataset(
            ingestion="full",
            columns={
                "at": {"type": "timestamp", "path": "a.times.1", "format": "epochMilliseconds"},
                "day": {"type": "date"},
                "size": {"type": "integer", "path": "a.size", "min": 5},
                "part": {"type": "decimal(5,2)", "max": 0},
                "kind": {"type": "string", "oneOf": ["x", "y"]},
                "flag": {"type": "boolean"},
                "more": {"type": "json"},
                "code": {"type": "string", "matches": "[a-z]+", "default": "abc"},
                "note": {"type": "string"},
            },
        ),
        "t1",
        now=NOW,
    )

    assert found == {
        "id": "smoke-test-t1",
        "a": {"times": [None, 946_684_800_000], "size": 5},
        "day": "2000-01-01",
        "part": 0,
        "kind": "x",
        "flag": True,
        "more": {},
        "code": "abc",
        "note": "t1",
    }


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"ingestion": "append", "primaryKey": []}, "keeps every record"),
        ({}, "no column beside its key"),
        (
            {"columns": {"code": {"type": "string", "matches": "[a-z]+"}}},
            "no column beside its key",
        ),
        (
            {"columns": {"note": {"type": "string"}, "id": {"type": "string", "oneOf": ["a"]}}},
            "column 'id'",
        ),
    ],
)
def test_dataset_that_no_record_can_be_thought_of_for_is_passed_over(
    parts: dict[str, Any], reason: str
) -> None:
    """Better another table, or a word of explanation, than a test that can never succeed."""
    with pytest.raises(Misconfigured, match=reason):
        synthetic.record_of(dataset(**parts), "t1", now=NOW)


def test_table_that_keeps_its_rows_gets_one_synthetic_row_and_no_more() -> None:
    """After a hundred deployments an analyst finds one row to leave out, not a hundred."""
    document = documents.load(ROOT / "pipeline.json")
    first = json.loads(smoke_test.trial_of(document, "t1", now=NOW).arrival)
    second = json.loads(smoke_test.trial_of(document, "t2", now=NOW + timedelta(hours=1)).arrival)

    assert first["id"] == second["id"] == "smoke-test"
    assert first["properties"]["updated"] < second["properties"]["updated"]


def test_table_that_loses_its_row_again_is_preferred() -> None:
    """A small dataset for trials alone keeps every other table as the source has it."""
    content = json.loads((ROOT / "pipeline.json").read_text())
    content["eventhubs"].append({"material": "trials", "partitions": 1})
    content["datasets"].append(
        {
            "name": "trials",
            "consumes": "trials",
            "ingestion": "full",
            "primaryKey": ["id"],
            "columns": {"id": {"type": "string"}, "note": {"type": "string"}},
        }
    )
    trial = smoke_test.trial_of(documents.parse(json.dumps(content)), "t'1", now=NOW)
    gone = smoke_test.event_of(trial.departure, trial.hub, kind=cloud_event.DELETIONS_TYPE, now=NOW)

    assert trial.question == (
        "SELECT COUNT(*) FROM [dbo].[trials] WHERE [id] = 'smoke-test-t''1' AND [note] = 't''1'"
    )
    assert json.loads(trial.departure) == {"id": "smoke-test-t'1"}
    assert gone.attributes["type"] == "dev.millrace.deletions"
    assert cloud_event.problem(gone.attributes, now=NOW) is None


def test_smoke_test_that_cannot_begin_says_why_in_one_line() -> None:
    """Whoever reads the log of a deployment looks for a line, not for a traceback."""
    answer = subprocess.run(
        [sys.executable, "-m", "infra.deploy.smoke_test", "t1"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith(
        "smoke test: EVENT_HUBS__fullyQualifiedNamespace is not set"
    )


PAGES = [
    ROOT / "docs/deploy.md",
    ROOT / "synapse/README.md",
    *sorted((ROOT / "docs/operations").glob("*.md")),
    *sorted((ROOT / "docs/runbooks").glob("*.md")),
]
FILE = re.compile(r"(?<![\w./])(?:infra|tests|synapse|docs)/[\w./-]*\w")
MODULE = re.compile(r"python3? -m (infra[\w.]+)")
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_and_modules_of_the_pages_exist(page: Path) -> None:
    """A script that was renamed is looked for when there is least time for it."""
    text = LINK.sub("", page.read_text())

    for name in FILE.findall(text):
        assert (ROOT / name).exists(), name
    for name in MODULE.findall(text):
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    """In an outage nobody has time to search."""
    for link in LINK.findall(page.read_text()):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_file(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in titles}
            assert anchor in anchors, link
