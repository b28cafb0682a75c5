"""operate: what a request over HTTP asks of runs, and how an error answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import azure.functions as func
import pytest

from shared.adapters import http_runs
from shared.adapters.memory import MemoryClock, MemoryJobs, MemoryLedger, MemoryRunFiles
from shared.domain.errors import Misconfigured
from shared.domain.run import Progress, Run, RunState
from shared.flow.operate_runs import RunOperated
from tests.builders import NOON, document
from tests.http_answers import content, problem

GOOD_RUN = Run(
    id="quakes-1",
    dataset="quakes",
    job="transform",
    state=RunState.SUCCEEDED,
    blobs=1,
    events=10,
    planned_at=NOON,
    due_at=NOON,
    ended_at=NOON + timedelta(seconds=2),
    counts={"records": 3},
)
BAD_RUN = replace(
    GOOD_RUN,
    id="quakes-2",
    state=RunState.FAILED,
    planned_at=NOON + timedelta(minutes=1),
    message="no such column",
    counts={},
)
OPEN_RUN = replace(BAD_RUN, id="quakes-3", state=RunState.RUNNING, ended_at=None, job_run=7)


class Runs:
    """Runs of one table, and what happens to them."""

    def __init__(self, *runs: Run) -> None:
        """The table has at most one open run."""
        opened = [run.id for run in runs if run.is_open]
        self.ledger = MemoryLedger()
        self.ledger.rows = {(run.dataset, run.id): run for run in runs}
        self.ledger.kept["quakes"] = Progress(dataset="quakes", run_open="".join(opened))
        self.files = MemoryRunFiles()
        self.jobs = MemoryJobs()
        self.emitted: list[RunOperated] = []

    async def list(self, **query: str) -> func.HttpResponse:
        """GET /api/runs."""
        request = func.HttpRequest("GET", "/api/runs", params=query, body=b"")
        return await http_runs.list_all(
            request, document=document(), ledger=self.ledger, clock=MemoryClock()
        )

    async def show(self, run_id: str) -> func.HttpResponse:
        """GET /api/runs/{run}."""
        return await http_runs.show(
            _about(run_id), document=document(), ledger=self.ledger, files=self.files,
            clock=MemoryClock(),
        )  # fmt: skip

    async def retry(self, run_id: str) -> func.HttpResponse:
        """POST /api/runs/{run}/retry."""
        return await http_runs.retry(
            _about(run_id), document=document(), ledger=self.ledger, clock=MemoryClock(),
            emit=self.emitted.append,
        )  # fmt: skip

    async def cancel(self, run_id: str) -> func.HttpResponse:
        """POST /api/runs/{run}/cancel."""
        return await http_runs.cancel(
            _about(run_id), document=document(), ledger=self.ledger, jobs=self.jobs,
            clock=MemoryClock(), emit=self.emitted.append,
        )  # fmt: skip


def _about(run_id: str) -> func.HttpRequest:
    return func.HttpRequest("GET", "/", route_params={"run": run_id}, body=b"")


async def test_runs_are_listed_the_newest_first_and_as_selected() -> None:
    """A dashboard asks for what is wrong, and how much there is of it."""
    runs = Runs(GOOD_RUN, BAD_RUN)

    everything = content(await runs.list())
    failed = content(await runs.list(state="failed", dataset="quakes"))
    newest = content(await runs.list(limit="1"))
    opened = content(await runs.list(state="open"))

    assert [each["id"] for each in everything["runs"]] == ["quakes-2", "quakes-1"]
    assert everything["runs"][1]["durationS"] == 2.0
    assert everything["runs"][1]["counts"] == {"records": 3}
    assert [each["id"] for each in failed["runs"]] == ["quakes-2"]
    assert (newest["selected"], [each["id"] for each in newest["runs"]]) == (2, ["quakes-2"])
    assert opened == {"selected": 0, "runs": []}


@pytest.mark.parametrize(
    "query",
    [
        {"state": "done"},
        {"state": ""},
        {"dataset": "quake"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "-1"},
        {"limit": "9" * 5000},
        {"limit": "many"},
    ],
)
async def test_listing_that_cannot_be_meant_is_a_bad_request(query: dict[str, str]) -> None:
    """No runs at all is good news, which a typing error must not bring."""
    assert problem(await Runs(BAD_RUN).list(**query))[0] == 400


async def test_run_is_shown_with_what_it_left_and_what_to_do() -> None:
    """Everything known of it in one answer."""
    runs = Runs(BAD_RUN)
    runs.files.left["quakes-2"] = {"lineage": {"code": "c0de"}}

    found = content(await runs.show("quakes-2"))

    assert (found["state"], found["message"]) == ("failed", "no such column")
    assert found["manifest"] == "memory://quakes/quakes-2"
    assert found["lineage"] == {"code": "c0de"}
    assert found["nextStep"].endswith("millrace runs retry quakes-2")


async def test_failed_run_is_tried_again_at_once_or_after_the_open_one() -> None:
    """A table has one open run at a time."""
    alone, behind = Runs(BAD_RUN), Runs(BAD_RUN, OPEN_RUN)

    at_once = content(await alone.retry("quakes-2"))
    later = content(await behind.retry("quakes-2"))

    assert at_once == {"run": "quakes-2", "dataset": "quakes", "state": "planned"}
    assert later["state"] == "queued"
    assert alone.ledger.rows["quakes", "quakes-2"].state is RunState.PLANNED
    assert behind.ledger.kept["quakes"].queued == ("quakes-2",)
    assert alone.emitted == [RunOperated(run="quakes-2", dataset="quakes", state="planned")]


async def test_open_run_is_cancelled_through_the_job_service() -> None:
    """The job itself must end, not only its row."""
    runs = Runs(OPEN_RUN)

    found = content(await runs.cancel("quakes-3"))

    assert found["state"] == "cancelling"
    assert runs.emitted == [RunOperated(run="quakes-3", dataset="quakes", state="cancelling")]


async def test_absent_run_is_not_found() -> None:
    """Neither to look at nor to change."""
    runs = Runs(GOOD_RUN)

    answers = [await step("quakes-9") for step in (runs.show, runs.retry, runs.cancel)]

    assert [problem(answer)[0] for answer in answers] == [404, 404, 404]
    assert "did you mean 'quakes-1'?" in problem(answers[0])[1]
    assert problem(await runs.show(""))[0] == 404


async def test_action_that_the_run_s_state_forbids_is_a_conflict() -> None:
    """The request is right; the run has ended well."""
    runs = Runs(GOOD_RUN)

    for step in (runs.retry, runs.cancel):
        status, detail = problem(await step("quakes-1"))
        assert (status, "has succeeded" in detail) == (409, True)
    assert runs.emitted == []


async def test_job_service_that_refuses_is_the_server_s_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller's request was right; a person must act elsewhere."""
    runs = Runs(OPEN_RUN)

    async def refuse(*_: object) -> None:
        raise Misconfigured("DATABRICKS_HOST", "refused jobs/runs/cancel (403)")

    monkeypatch.setattr(MemoryJobs, "cancel", refuse)

    assert problem(await runs.cancel("quakes-3")) == (
        500,
        "DATABRICKS_HOST refused jobs/runs/cancel (403)",
    )
