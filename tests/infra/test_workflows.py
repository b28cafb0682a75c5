"""The workflows and azure.yaml: pinned, with no more rights than they need, naming what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.infra.bicep_syntax import read, said, walk

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github/workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
BIN = Path(sys.executable).parent
#: The commits that the actions were read at.
ACTIONS = {
    "actions/checkout": "3d3c42e5aac5ba805825da76410c181273ba90b1",
    "actions/download-artifact": "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c",
    "actions/setup-python": "5fda3b95a4ea91299a34e894583c3862153e4b97",
    "actions/upload-artifact": "bbbca2ddaa5d8feaa63e36b76fdaad77386f024f",
    "azure/login": "f5d393ae46f8fde4be8b75f32e3fc50e654ad0ca",
    "databricks/setup-cli": "6bb7075f85b326f8b9ce160933dfe9bcd63c8121",
}


def content(path: Path) -> dict[str, Any]:
    """A YAML file."""
    found: dict[str, Any] = YAML(typ="safe").load(path)
    return found


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    """Workflow, name and content of every job."""
    return [
        (path.name, name, job) for path in WORKFLOWS for name, job in content(path)["jobs"].items()
    ]


def steps() -> list[dict[str, Any]]:
    """Every step of every job."""
    return [step for _, _, job in jobs() for step in job.get("steps", [])]


def test_workflows_are_what_github_understands() -> None:
    """A wrong key is passed over without a word, or stops everything."""
    checked = subprocess.run(
        [
            BIN / "check-jsonschema",
            "--builtin-schema",
            "vendor.github-workflows",
            *WORKFLOWS,
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


def test_workflows_are_safe() -> None:
    """Injection into scripts, credentials left behind, rights too wide: zizmor knows the traps."""
    checked = subprocess.run(
        [BIN / "zizmor", "--offline", "--no-progress", FOLDER],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


def test_actions_are_pinned_to_the_commits_that_were_read() -> None:
    """A tag can be moved to other code; a commit cannot."""
    used = {
        step["uses"] for step in steps() if "uses" in step and not step["uses"].startswith("./")
    }

    assert used == {f"{name}@{commit}" for name, commit in ACTIONS.items()}
    for path in WORKFLOWS:
        for line in path.read_text().splitlines():
            if "uses: " in line and "./" not in line:
                assert re.search(r"@[0-9a-f]{40} # v\d", line), line


def test_nothing_is_allowed_that_is_not_asked_for() -> None:
    """A stolen token of a job can do what the job may do, and no more."""
    allowed = {"contents": "read", "actions": "read", "id-token": "write"}

    for path in WORKFLOWS:
        assert content(path)["permissions"] == {}
    for workflow, name, job in jobs():
        rights = job["permissions"]
        assert rights["contents"] == "read", (workflow, name)
        assert rights.items() <= allowed.items(), (workflow, name)
        if workflow == "ci.yml":
            assert "id-token" not in rights
        if "steps" in job:
            assert job["timeout-minutes"] <= 120
    for step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_the_only_secret_is_the_settings_of_the_sources() -> None:
    """Azure is signed in to by a token that GitHub vouches for: there is no key to leak."""
    text = "".join(path.read_text() for path in WORKFLOWS)

    assert set(re.findall(r"\{\{ secrets\.(\w+)", text)) == {"SOURCE_SETTINGS"}
    assert "client-secret" not in text


def test_each_environment_waits_for_the_one_before() -> None:
    """What breaks in dev never reaches production, and each gets the very same release."""
    found = content(FOLDER / "deploy.yml")["jobs"]
    order = [(name, job["needs"]) for name, job in found.items() if "needs" in job]

    assert order == [("dev", "build"), ("staging", "dev"), ("prod", "staging")]
    for name, _ in order:
        assert found[name]["with"] == {"environment": name, "name": name}
        assert found[name]["uses"] == "./.github/workflows/environment.yml"
        assert (ROOT / f"infra/bicep/{name}.bicepparam").exists()
    assert "dev staging prod" in found["build"]["steps"][-2]["run"]


def test_a_deployment_is_never_cut_off_by_the_next() -> None:
    """Half a deployment is a state that nobody has tried."""
    (job,) = content(FOLDER / "environment.yml")["jobs"].values()

    assert job["concurrency"]["cancel-in-progress"] is False
    assert "inputs.name" in job["concurrency"]["group"]
    assert job["environment"] == "${{ inputs.environment }}"


def test_steps_of_a_deployment_are_in_order() -> None:
    """First look, then apply, then code; and take it back when the record does not arrive."""
    (job,) = content(FOLDER / "environment.yml")["jobs"].values()
    names = [step["name"] for step in job["steps"] if "name" in step]
    last = job["steps"][-1]

    assert names == [
        "Install what the steps need",
        "What would change",
        "Apply the templates",
        "Sign in again, because what GitHub vouches for lasts five minutes",
        "Every source has its secrets",
        "Code, Event Grid, jobs, views, one record",
        "Sign in once more, to take it back",
        "Take back the release before",
    ]
    assert "failure()" in last["if"]
    assert last["env"]["SMOKE_TEST_TOKEN"] != job["env"]["SMOKE_TEST_TOKEN"]


def test_tokens_are_taken_right_after_every_sign_in_that_long_steps_follow() -> None:
    """A token asked for when GitHub's word has run out is refused, in the middle of a release."""
    (job,) = content(FOLDER / "environment.yml")["jobs"].values()
    runs = [step for step in job["steps"] if "infra/deploy/release.sh" in step.get("run", "")]
    before = "".join(step.get("run", step.get("uses", "")) for step in job["steps"])

    assert len(runs) == 2
    assert before.count("azure/login@") == 3
    for part in before.split("azure/login@")[2:]:
        assert part.index("take_tokens.sh") < part.index("release.sh")


def test_parameters_get_everything_they_read() -> None:
    """A variable nobody sets stops the compilation of the parameters, in production first."""
    (job,) = content(FOLDER / "environment.yml")["jobs"].values()
    given = {*job["env"], *(name for step in job["steps"] for name in step.get("env", {}))}
    asked: set[str] = set()
    for path in (ROOT / "infra/bicep").glob("*.bicepparam"):
        if path.stem == "main":
            continue
        for node in walk(read(path).root):
            if node.type == "call_expression" and said(node).startswith("readEnvironmentVariable("):
                asked.add(re.findall(r"'(\w+)'", said(node))[0])

    assert asked
    assert asked <= given


def test_files_that_the_steps_name_exist() -> None:
    """A script that has moved is found out by a deployment, unless by this."""
    text = "\n".join(step.get("run", "") for step in steps())
    modules = re.findall(r"python3? -m (infra[\w.]+)", text)
    scripts = re.findall(r"(?:bash|python3) (infra/[\w/.]+)", text)

    assert modules
    assert scripts
    for module in modules:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
    for script in scripts:
        assert (ROOT / script).is_file(), script


def test_a_branch_loses_its_environment_when_it_is_deleted() -> None:
    """A forgotten environment costs money every hour."""
    found = content(FOLDER / "branch.yml")
    remove = found["jobs"]["remove"]

    assert found["on"]["push"] == {"branches": ["try/**"]}
    assert "delete" in found["on"]
    assert "startsWith(github.event.ref, 'try/')" in remove["if"]
    assert "bash infra/deploy/remove.sh" in remove["steps"][-1]["run"]
    assert 'python -m infra.deploy.branch "$BRANCH"' in remove["steps"][-1]["run"]


def test_azd_deploys_what_github_deploys() -> None:
    """Two ways to deploy are two things to keep right; here the second runs the first's script."""
    found = content(ROOT / "azure.yaml")
    script = found["hooks"]["postprovision"]["run"].split()[-1]

    assert found["infra"] == {"provider": "bicep", "path": "infra/bicep", "module": "main"}
    assert (ROOT / found["infra"]["path"] / "main.bicepparam").exists()
    assert "bash infra/deploy/release.sh" in (ROOT / script).read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "infra/deploy").glob("*.sh")), ids=lambda p: p.name)
def test_scripts_can_be_read_by_bash_and_stop_at_the_first_error(path: Path) -> None:
    """A deployment that goes on after an error ends in a state that nobody knows."""
    checked = subprocess.run(["bash", "-n", path], check=False)  # noqa: S607 -- Whichever bash there is.

    assert checked.returncode == 0
    assert "set -euo pipefail" in path.read_text()
