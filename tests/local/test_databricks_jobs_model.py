"""The rules of the Jobs emulator, without a process or a socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local.databricks_jobs import model, store
from shared.domain import document

if TYPE_CHECKING:
    from pathlib import Path


def workspace(*, places: int = 2) -> model.Workspace:
    """The test document's jobs and no runs."""
    jobs = [{"name": "a", "entryPoint": "a:main"}]
    content = {"name": "quakes", "environment": "test", "databricks": {"jobs": jobs}}
    return model.Workspace(model.jobs_of(document.parse(json.dumps(content))), places=places)


def submit(rules: model.Workspace, token: str | None = None) -> model.Run:
    """Create a run of the only job."""
    [job_id] = rules.jobs
    return rules.run_now(job_id, token=token, parameters={}, queue=True, now_ms=1)


def test_jobs_keep_their_ids_and_carry_the_namespace_in_their_names() -> None:
    """The function app finds a job by this name; a branch must not find another branch's."""
    [job] = workspace().jobs.values()
    [same] = workspace().jobs.values()

    assert job.name == "quakes-test-a"
    assert job.job_id == same.job_id
    assert 0 < job.job_id < 2**53


def test_places_are_given_in_order_of_asking() -> None:
    """A queue that overtakes would merge the newer batch first, for no reason anybody sees."""
    rules = workspace(places=2)
    runs = [submit(rules) for _ in range(4)]

    first = rules.place(2)
    rules.begin(first[0].run_id, 3)
    rules.end(first[0].run_id, model.SUCCEEDED, 4)
    second = rules.place(5)

    assert [run.run_id for run in first] == [run.run_id for run in runs[:2]]
    assert [run.run_id for run in second] == [runs[2].run_id]
    assert rules.place(6) == []


def test_step_outside_the_table_is_a_bug() -> None:
    """A run that could come back to life would be merged twice."""
    rules = workspace()
    run = submit(rules)
    rules.place(1)
    rules.end(run.run_id, model.FAILED, 2)

    with pytest.raises(AssertionError, match="TERMINATED never becomes"):
        rules.begin(run.run_id, 3)


def test_runs_read_back_as_they_were_written(tmp_path: Path) -> None:
    """A restarted emulator knows exactly the runs and tokens the killed one promised."""
    rules = workspace()
    run = submit(rules, "token")
    folder = store.RunFolder(tmp_path)

    folder.save(run)
    rules.place(5)
    ended = rules.end(run.run_id, model.FAILED, 6)
    folder.save(ended)

    assert store.RunFolder(tmp_path).load() == [ended]
