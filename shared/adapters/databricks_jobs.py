"""Databricks: the Jobs API 2.2, over plain REST.

The official SDK costs a second of CPU at import, which every cold start would pay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx

from shared.domain.errors import Misconfigured, TryLater
from shared.domain.job_run import JobOutcome, JobRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_WAITING = {"PENDING", "QUEUED", "BLOCKED", "WAITING_FOR_RETRY"}
_RUNNING = {"RUNNING", "TERMINATING"}


class DatabricksJobs:
    """Jobs: names are `<pipeline>-<environment>-<job>`, looked up once."""

    def __init__(
        self, client: httpx.AsyncClient, *, prefix: str, token: Callable[[], Awaitable[str]]
    ) -> None:
        """`client` has the workspace as its base address; `token` gives a bearer token."""
        self._client = client
        self._prefix = prefix
        self._token = token
        self._ids: dict[str, int] = {}

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """Call `run-now` with the idempotency token."""
        body = {
            "job_id": await self._job_id(job),
            "idempotency_token": token,
            "job_parameters": dict(parameters),
            "queue": {"enabled": True},
        }
        answer = await self._call("POST", "run-now", json=body)
        return int(answer["run_id"])

    async def look(self, job_run: int) -> JobRun | None:
        """Call `runs/get`; for a failure also `runs/get-output`, where the reason is."""
        try:
            answer = await self._call("GET", "runs/get", params={"run_id": str(job_run)})
        except _UnknownError:
            return None
        found = _job_run(answer.get("state", {}))
        if found.outcome is JobOutcome.FAILED:
            return replace(found, message=await self._reason(answer) or found.message)
        return found

    async def _reason(self, answer: Mapping[str, Any]) -> str:
        """What the first task that failed said; empty when the service kept nothing."""
        for task in answer.get("tasks", []):
            if task.get("state", {}).get("result_state") != "SUCCESS":
                try:
                    output = await self._call(
                        "GET", "runs/get-output", params={"run_id": str(task["run_id"])}
                    )
                except (_UnknownError, Misconfigured):
                    return ""
                return str(output.get("error", ""))
        return ""

    async def _job_id(self, job: str) -> int:
        name = f"{self._prefix}-{job}"
        if name not in self._ids:
            answer = await self._call("GET", "list", params={"name": name})
            found = answer.get("jobs", [])
            if not found:
                raise Misconfigured(
                    "databricks.jobs", f"the workspace has no job called {name!r}: deploy it"
                )
            self._ids[name] = int(found[0]["job_id"])
        return self._ids[name]

    async def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401 -- httpx's.
        headers = {"Authorization": f"Bearer {await self._token()}"}
        try:
            response = await self._client.request(
                method, f"/api/2.2/jobs/{path}", headers=headers, **content
            )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise TryLater(f"Databricks cannot be reached for jobs/{path}: {reason}") from error
        return _answer(response, path)


class _UnknownError(Exception):
    """The service does not know what was asked for."""


def _answer(response: httpx.Response, path: str) -> dict[str, Any]:
    status = response.status_code
    if status == httpx.codes.OK:
        content: dict[str, Any] = response.json()
        return content
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise Misconfigured(
            "DATABRICKS_HOST", f"refused jobs/{path} ({status}): does the identity have the role?"
        )
    if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        wait = response.headers.get("Retry-After", "")
        after = float(wait) if wait.isdigit() else None
        raise TryLater(f"Databricks answered {status} to jobs/{path}", retry_after_s=after)
    if status == httpx.codes.NOT_FOUND or "does not exist" in response.text:
        raise _UnknownError(path)
    raise Misconfigured(
        "databricks.jobs", f"Databricks answered {status} to jobs/{path}: {response.text[:300]}"
    )


def _job_run(state: Mapping[str, str]) -> JobRun:
    """Read the `state` object of a run (Jobs API 2.2, RunState)."""
    cycle = state.get("life_cycle_state", "")
    if cycle in _WAITING:
        return JobRun(outcome=JobOutcome.WAITING)
    if cycle in _RUNNING:
        return JobRun(outcome=JobOutcome.RUNNING)
    result = state.get("result_state", cycle)
    if result == "SUCCESS":
        return JobRun(outcome=JobOutcome.SUCCEEDED)
    said = state.get("state_message", "").strip()
    return JobRun(outcome=JobOutcome.FAILED, message=f"{result}: {said}" if said else result)
