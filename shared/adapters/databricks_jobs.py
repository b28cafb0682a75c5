"""Databricks: the Jobs API 2.2, over plain REST.

The official SDK costs a second of CPU at import, which every cold start would pay. Every request
may be sent twice: `run-now` carries an idempotency token, cancelling an ended run does nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import httpx
from azure.core.exceptions import AzureError, ClientAuthenticationError

from shared.adapters.databricks_states import job_run_of
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.fields import nearest
from shared.domain.job_run import JobOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from shared.domain.job_run import JobRun

_TRIES = 3
_PAUSE_S = 1.0  # Before another try, when the service does not say how long.
_PAUSE_LONGEST_S = 5.0  # What asks for more is left to a later call.
_PAGE = 100  # The most that the service gives of a list at once.
_LISTED_MAX = 1000  # Enough to find the name that was meant.


class _Todo(Enum):
    """What to do about an answer."""

    READ = auto()
    ABSENT = auto()
    SIGN_IN = auto()
    GRANT = auto()
    RETRY = auto()
    GIVE_UP = auto()


#: Status → what to do. Any other status is `GIVE_UP`: a person must look at it.
_STATUSES = {
    200: _Todo.READ,
    401: _Todo.SIGN_IN,
    403: _Todo.GRANT,
    404: _Todo.ABSENT,
    408: _Todo.RETRY,
    429: _Todo.RETRY,
    500: _Todo.RETRY,
    502: _Todo.RETRY,
    503: _Todo.RETRY,
    504: _Todo.RETRY,
}

#: What the identity must be allowed, for each operation.
_PERMISSIONS = {"run-now": "CAN MANAGE RUN", "runs/cancel": "CAN MANAGE RUN"}


class _AbsentError(Exception):
    """The service does not know what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Busy:
    """The service wants to be asked later; None if it does not say when."""

    problem: str
    wait_s: float | None


class DatabricksJobs:
    """Jobs: names are `<pipeline>-<environment>-<job>`, looked up once."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        prefix: str,
        token: Callable[[], Awaitable[str]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` has the workspace as its base address; `token` gives a bearer token."""
        self._client = client
        self._prefix = prefix
        self._token = token
        self._sleep = sleep
        self._clock_s = clock_s
        self._ids: dict[str, int] = {}
        self._quiet_until_s = 0.0

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """Call `run-now` with the idempotency token."""
        known = job in self._ids
        body = {
            "job_id": await self._job_id(job),
            "idempotency_token": token,
            "job_parameters": dict(parameters),
            "queue": {"enabled": True},
        }
        try:
            answer = await self._call("POST", "run-now", json=body)
        except _AbsentError as error:
            self._ids.pop(job, None)
            if known:  # It was deleted and made again since it was looked up.
                return await self.start(job, token=token, parameters=parameters)
            raise _no_job(self._name(job), "") from error
        return int(answer["run_id"])

    async def look(self, job_run: int) -> JobRun | None:
        """Call `runs/get`; for a failure also `runs/get-output`, where the reason is."""
        try:
            answer = await self._call("GET", "runs/get", params={"run_id": str(job_run)})
        except _AbsentError:
            return None
        found = job_run_of(answer)
        if found.outcome is JobOutcome.FAILED:
            return replace(found, message=await self._reason(answer) or found.message)
        return found

    async def cancel(self, job_run: int) -> None:
        """Call `runs/cancel`."""
        try:
            await self._call("POST", "runs/cancel", json={"run_id": job_run})
        except _AbsentError:
            return

    async def _reason(self, answer: Mapping[str, Any]) -> str:
        """What the first task that failed said; empty when the service kept nothing."""
        for task in answer.get("tasks", []):
            if job_run_of(task).outcome is not JobOutcome.SUCCEEDED:
                try:
                    output = await self._call(
                        "GET", "runs/get-output", params={"run_id": str(task["run_id"])}
                    )
                except (_AbsentError, Misconfigured):
                    return ""
                return str(output.get("error", ""))
        return ""

    def _name(self, job: str) -> str:
        return f"{self._prefix}-{job}"

    async def _job_id(self, job: str) -> int:
        name = self._name(job)
        if job not in self._ids:
            answer = await self._call("GET", "list", params={"name": name})
            found = [int(each["job_id"]) for each in answer.get("jobs", [])]
            if not found:
                known = [each async for each in self._names()]
                raise _no_job(name, nearest(name, known))
            if len(found) > 1:
                ids = ", ".join(map(str, found))
                problem = (
                    f"the workspace has several jobs called {name!r} ({ids}): delete all but one"
                )
                raise Misconfigured("databricks.jobs", problem)
            self._ids[job] = found[0]
        return self._ids[job]

    async def _names(self) -> AsyncIterator[str]:
        """The names of the workspace's jobs, page by page."""
        query = {"limit": str(_PAGE)}
        for _ in range(_LISTED_MAX // _PAGE):
            answer = await self._call("GET", "list", params=query)
            for each in answer.get("jobs", []):
                yield str(each["settings"]["name"])
            if not answer.get("next_page_token"):
                return
            query["page_token"] = answer["next_page_token"]

    async def _call(self, method: str, path: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401 -- httpx's.
        """Send a request, a few times while the service says that it will soon be better."""
        quiet_s = self._quiet_until_s - self._clock_s()
        if quiet_s > 0:
            problem = f"Databricks asked to be left alone for {quiet_s:.0f} s more"
            raise TryLater(problem, retry_after_s=quiet_s)
        tries_left = _TRIES
        while isinstance(answer := await self._send(method, path, **content), _Busy):
            tries_left -= 1
            wait_s = _PAUSE_S if answer.wait_s is None else answer.wait_s
            if wait_s > _PAUSE_LONGEST_S:
                self._quiet_until_s = self._clock_s() + wait_s
            if wait_s > _PAUSE_LONGEST_S or not tries_left:
                raise TryLater(answer.problem, retry_after_s=wait_s)
            await self._sleep(wait_s)
        return answer

    async def _send(self, method: str, path: str, **content: Any) -> dict[str, Any] | _Busy:  # noqa: ANN401 -- httpx's.
        headers = {"Authorization": f"Bearer {await self._bearer()}"}
        try:
            response = await self._client.request(
                method, f"/api/2.2/jobs/{path}", headers=headers, **content
            )
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            return _Busy(problem=f"Databricks broke off jobs/{path}: {_told(error)}", wait_s=None)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise _no_workspace(self._client.base_url, _told(error)) from error
        except httpx.LocalProtocolError:  # Its message holds the token.
            problem = "is no token: it is empty, or a space or line end was copied along"
            raise Misconfigured("DATABRICKS_TOKEN", problem) from None
        except httpx.HTTPError as error:
            raise TryLater(
                f"Databricks cannot be reached at {self._client.base_url} for jobs/{path}: "
                f"{_told(error)}; is DATABRICKS_HOST right?"
            ) from error
        return _read(response, path)

    async def _bearer(self) -> str:
        try:
            return await self._token()
        except ClientAuthenticationError as error:
            said = str(error).partition("\n")[0]
            raise Misconfigured(
                "AZURE_CLIENT_ID", f"cannot sign in to Databricks: {said}"
            ) from error
        except AzureError as error:
            raise TryLater(f"no token for Databricks: {_told(error)}") from error


def _read(response: httpx.Response, path: str) -> dict[str, Any] | _Busy:
    """The content of an answer; raise what else it means."""
    host, status = response.request.url.copy_with(path="", query=None), response.status_code
    said = _said(response)
    match _STATUSES.get(status, _Todo.GIVE_UP):
        case _Todo.READ:
            return _content(response)
        case _Todo.RETRY:
            problem = f"Databricks answered {status} to jobs/{path}{said}"
            return _Busy(problem=problem, wait_s=_retry_after_s(response))
        case _Todo.SIGN_IN:
            problem = (
                f"is not accepted by {host} (401{said}); in Azure, the app's identity must be "
            )
            raise Misconfigured("DATABRICKS_TOKEN", f"{problem}a user of the workspace")
        case _Todo.GRANT:
            allowed = _PERMISSIONS.get(path, "CAN VIEW")
            problem = (
                f"{host} refuses jobs/{path} (403{said}); grant the identity {allowed} on the job"
            )
            raise Misconfigured("databricks.jobs", problem)
        case _Todo.ABSENT:
            raise _AbsentError(path)
    if "does not exist" in said:
        raise _AbsentError(path)
    if response.is_redirect:
        raise _no_workspace(host, f"it redirects to {response.headers.get('Location', '')}")
    raise Misconfigured("databricks.jobs", f"{host} answered {status} to jobs/{path}{said}")


def _content(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError as error:
        host = response.request.url.copy_with(path="", query=None)
        raise _no_workspace(host, "what it answers is no JSON") from error
    return dict(content)


def _said(response: httpx.Response) -> str:
    """What the service says about an error, to be put behind it."""
    if response.is_success:
        return ""
    try:
        content = response.json()
        message = str(content.get("message") or content.get("error") or "")
    except (ValueError, AttributeError):
        message = response.text.strip().partition("\n")[0]
    return f": {message[:300]}" if message else ""


def _retry_after_s(response: httpx.Response) -> float | None:
    """The seconds that `Retry-After` asks for; the service never sends a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _no_job(name: str, meant: str) -> Misconfigured:
    problem = f"the workspace has no job called {name!r}{meant}: deploy it, or let the app view it"
    return Misconfigured("databricks.jobs", problem)


def _no_workspace(host: object, why: str) -> Misconfigured:
    problem = f"is {str(host)!r}, which is no Databricks workspace ({why}): https://adb-….azuredatabricks.net"
    return Misconfigured("DATABRICKS_HOST", problem)


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
