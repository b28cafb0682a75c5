"""The Databricks bundle: jobs, containers and the wheel, as they would be deployed."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from databricks.bundles.core import Bundle
from databricks.bundles.jobs import Job
from ruamel.yaml import YAML

from infra.databricks import build_wheel, resources
from shared.domain import document as documents

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "infra/databricks"
VARIABLES = {"environment": "dev", "function_client_id": "the-app", "lake_name": "thelake"}


def jobs(content: dict[str, Any]) -> dict[str, Any]:
    """The jobs of a document by name, as they are sent."""
    document = documents.parse(json.dumps(content))
    found = resources.resources_of(document, VARIABLES).jobs
    return {name: job.as_dict() for name, job in found.items()}


def committed() -> dict[str, Any]:
    """The document of this repository."""
    content: dict[str, Any] = json.loads((ROOT / "pipeline.json").read_text())
    return content


def test_bundle_loads_the_jobs_of_the_document() -> None:
    """The command calls this one function; every name in it must be one the package knows."""
    document = documents.load(ROOT / "pipeline.json")

    loaded = resources.load_resources(Bundle(target="dev", variables=VARIABLES))

    assert not loaded.diagnostics.has_error()
    assert set(loaded.jobs) == {job.name for job in document.databricks.jobs}


def test_function_app_finds_starts_and_parameterises_the_job() -> None:
    """Name, parameters and permission are the contract between the app and the workspace."""
    (job,) = jobs(committed()).values()
    (task,) = job["tasks"]
    app = (ROOT / "shared/wiring.py").read_text()
    sent = (ROOT / "shared/flow/raw_to_run.py").read_text()

    assert job["name"] == "quakes-dev-transform"
    assert 'f"{document.name}-{settings.pipeline_environment or document.environment}"' in app
    assert '{"run": run.id, "manifest": address}' in sent
    assert {each["name"] for each in job["parameters"]} == {"run", "manifest"}
    assert task["python_wheel_task"]["named_parameters"] == {
        "run": "{{job.parameters.run}}",
        "manifest": "{{job.parameters.manifest}}",
    }
    assert job["permissions"] == [{"level": "CAN_MANAGE_RUN", "service_principal_name": "the-app"}]


def test_runs_of_different_tables_do_not_wait_for_each_other() -> None:
    """A job runs as often at once as it has tables; beyond that, runs queue and none is refused."""
    content = committed()
    content["datasets"].append({**content["datasets"][0], "name": "again"})
    tables = [*content["datasets"], *content["curated"]]
    (job,) = jobs(content).values()

    assert job["max_concurrent_runs"] == len(tables)
    assert job["queue"] == {"enabled": True}


def test_job_of_the_document_becomes_one_of_the_bundle() -> None:
    """A job is added in one place; its cluster and workers are what the document says."""
    content = committed()
    content["databricks"]["jobs"] += [
        {
            "name": "large",
            "entryPoint": "transforms.job:main",
            "cluster": "Standard_D8ds_v5",
            "workers": 3,
        },
        {
            "name": "small",
            "entryPoint": "transforms.job:main",
            "cluster": "Standard_D4ds_v5",
            "workers": 0,
        },
        {"name": "by-hand", "notebook": "/Shared/by-hand"},
    ]
    found = jobs(content)
    large, small = (found[name]["tasks"][0]["new_cluster"] for name in ("large", "small"))

    assert set(found) == {"transform", "large", "small", "by-hand"}
    assert (large["node_type_id"], large["num_workers"]) == ("Standard_D8ds_v5", 3)
    assert small["spark_conf"]["spark.master"] == "local[*]"
    assert found["by-hand"]["tasks"][0]["notebook_task"]["notebook_path"] == "/Shared/by-hand"
    assert "environments" not in found["large"]


def test_mistake_in_a_job_is_found() -> None:
    """The package knows every field of a job: a misspelt one is no longer only found in Azure."""
    document = documents.load(ROOT / "pipeline.json")
    (job,) = document.databricks.jobs
    content = resources.job_of(job, document, prefix="p", starter="s") | {"max_concurent_runs": 1}

    with pytest.raises(ValueError, match="max_concurent_runs"):
        Job.from_dict(content)


def test_jobs_reach_each_container_and_change_none_of_raw() -> None:
    """Raw is what everything can be rebuilt from."""
    document = documents.load(ROOT / "pipeline.json")
    found = resources.resources_of(document, VARIABLES).external_locations

    assert {name: each.read_only for name, each in found.items()} == {
        "raw": True,
        "clean": False,
        "curated": False,
        "quarantine": False,
        "state": False,
    }
    assert found["raw"].url == "abfss://raw@thelake.dfs.core.windows.net/"


def test_targets_are_the_environments_and_rename_nothing() -> None:
    """The mode `development` puts the deployer's name before each job's."""
    content = YAML(typ="safe").load(BUNDLE / "databricks.yml")
    sizes = json.loads((ROOT / "infra/bicep/sizes.json").read_text())

    assert set(content["targets"]) == set(sizes)
    assert {target["mode"] for target in content["targets"].values()} == {"production"}
    assert set(content["variables"]) == set(VARIABLES)
    assert content["python"]["resources"] == ["resources:load_resources"]


def test_command_finds_the_resources_from_its_own_folder() -> None:
    """The command starts Python in the bundle's folder, where the repository is not on the path."""
    answer = subprocess.run(
        [sys.executable, "-c", "import resources; print(resources.ROOT)"],
        cwd=BUNDLE,
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.strip() == str(ROOT)


def test_wheel_installs_and_runs_each_job(tmp_path: Path) -> None:
    """What Databricks installs is this file: it must hold all that the entry points import."""
    wheel = build_wheel.build(tmp_path / "dist")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--target",
            tmp_path / "installed",
            wheel,
        ],
        check=True,
    )
    (found,) = importlib.metadata.distributions(
        name="millrace_transforms", path=[str(tmp_path / "installed")]
    )
    points = {each.name: each.value for each in found.entry_points}

    answer = subprocess.run(
        [sys.executable, "-P", "-c", "from transforms.job import main; main()", "--help"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert points == {"transform": "transforms.job:main"}
    assert "--manifest" in answer.stdout


def test_wheel_is_a_function_of_its_sources(tmp_path: Path) -> None:
    """The same commit is the same wheel; only a change is installed anew."""
    first = build_wheel.build(tmp_path / "one")
    second = build_wheel.build(tmp_path / "two")

    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as opened:
        names = opened.namelist()
    assert "shared/domain/dataset.py" in names
    assert not [name for name in names if name.startswith(("shared/flow", "shared/adapters"))]


def test_wheel_speaks_the_python_of_databricks() -> None:
    """Its runtimes are a version behind; a newer syntax would end every run at its import."""
    for name, content in build_wheel.sources().items():
        if name.endswith(".py"):
            ast.parse(content, feature_version=(3, 12))
