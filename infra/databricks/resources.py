# ruff: noqa: INP001 -- The folder of a bundle, which is no package.
"""The bundle's resources, from pipeline.json: its jobs, and the containers that they may use.

`databricks bundle` calls `load_resources`. A job is called `<pipeline>-<environment>-<job>`, takes
the parameters `run` and `manifest`, and may be started by the function app's identity.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from databricks.bundles.core import Resources
from databricks.bundles.external_locations import ExternalLocation
from databricks.bundles.jobs import Job

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # The command runs this file from its own folder.

from shared.domain import document as documents  # noqa: E402 -- Found only by the line above.

if TYPE_CHECKING:
    from databricks.bundles.core import Bundle

    from shared.domain.document import Document
    from shared.domain.document import Job as DocumentJob

WHEEL = "./dist/*.whl"
SPARK = "17.3.x-scala2.13"  # The long-term release with Spark 4.0 and Python 3.12.
SERVERLESS = "4"  # The environment version of serverless compute, likewise.
TIMEOUT_S = 4 * 3600
PARAMETERS = ("run", "manifest")
#: Raw is never changed by a job; the rest is what jobs write.
CONTAINERS = {
    "raw": True,
    "clean": False,
    "curated": False,
    "quarantine": False,
    "state": False,
}


def load_resources(bundle: Bundle) -> Resources:
    """Make every resource, as the `databricks` command asks for them."""
    document = documents.load(ROOT / "pipeline.json")
    return resources_of(document, {name: str(value) for name, value in bundle.variables.items()})


def resources_of(document: Document, variables: dict[str, str]) -> Resources:
    """Every resource of a document; the variables are those of databricks.yml."""
    prefix = f"{document.name}-{variables['environment']}"
    resources = Resources()  # type: ignore[no-untyped-call] # Its constructor has no types.
    for job in document.databricks.jobs:
        content = job_of(job, document, prefix=prefix, starter=variables["function_client_id"])
        resources.add_job(job.name, Job.from_dict(content))
    for container, read_only in CONTAINERS.items():
        location = ExternalLocation(
            name=f"{prefix}-{container}",
            url=f"abfss://{container}@{variables['lake_name']}.dfs.core.windows.net/",
            credential_name=prefix,
            read_only=read_only,
            comment="Made from pipeline.json.",
        )
        resources.add_external_location(container, location)
    return resources


def job_of(job: DocumentJob, document: Document, *, prefix: str, starter: str) -> Any:  # noqa: ANN401 -- The package types it as one of many shapes.
    """One job, as the Jobs API describes it."""
    tables = [table for table in document.tables if table.job == job.name]
    content: dict[str, Any] = {
        "name": f"{prefix}-{job.name}",
        "max_concurrent_runs": max(len(tables), 1),  # A table has at most one run at a time.
        "queue": {"enabled": True},
        "timeout_seconds": TIMEOUT_S,
        "parameters": [{"name": name, "default": ""} for name in PARAMETERS],
        "permissions": [{"level": "CAN_MANAGE_RUN", "service_principal_name": starter}],
        "tags": {"pipeline": document.name},
        "tasks": [_task(job)],
    }
    if job.cluster == "serverless":
        spec = {"environment_version": SERVERLESS, "dependencies": [WHEEL]}
        content["environments"] = [{"environment_key": "transforms", "spec": spec}]
    return content


def _task(job: DocumentJob) -> dict[str, Any]:
    given = {name: f"{{{{job.parameters.{name}}}}}" for name in PARAMETERS}
    task: dict[str, Any] = {"task_key": job.name, "max_retries": 0}  # The function app tries again.
    if job.notebook:
        task["notebook_task"] = {"notebook_path": job.notebook, "base_parameters": given}
    else:
        task["python_wheel_task"] = {
            "package_name": "millrace_transforms",
            "entry_point": job.name,
            "named_parameters": given,
        }
    if job.cluster == "serverless":
        return task | ({} if job.notebook else {"environment_key": "transforms"})
    return task | {"new_cluster": _cluster(job), "libraries": [{"whl": WHEEL}]}


def _cluster(job: DocumentJob) -> dict[str, Any]:
    """A cluster for one run: `cluster` is the type of its machines; no workers is one machine."""
    cluster: dict[str, Any] = {
        "spark_version": SPARK,
        "node_type_id": job.cluster,
        "num_workers": job.workers,
        "data_security_mode": "SINGLE_USER",
    }
    if job.workers == 0:
        cluster["spark_conf"] = {
            "spark.databricks.cluster.profile": "singleNode",
            "spark.master": "local[*]",
        }
        cluster["custom_tags"] = {"ResourceClass": "SingleNode"}
    return cluster
