"""The REST interface: the part of the Jobs API 2.2 (and 2.1) that the pipeline uses."""

from __future__ import annotations

import base64
import hmac
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.databricks_jobs.answers import tell_error, tell_job, tell_run, tell_task
from local.databricks_jobs.model import NEXT, Ending, Fate, LifeCycle, Refused, Result
from local.http_faults import misbehave

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp.typedefs import Handler, Middleware

    from local.databricks_jobs.runner import Runner
    from local.databricks_jobs.store import RunFolder
    from local.faults import Faults

_VERSIONS = ("2.1", "2.2")
_PAGE_DEFAULT = 20
_JOBS_PAGE_MAX = 100
_RUNS_PAGE_MAX = 25

#: From the service's documentation of job parameters.
_PARAMETER_NAME = re.compile(r"[\w.-]+")

#: The emulator's own: what becomes of the next run.
_NEXT_RUN = "/emulator/next-run"

#: The official SDK asks here first, without a token, and takes 404 for an answer.
_DISCOVERY = "/.well-known/databricks-config"


class Interface:
    """One method an operation: read the request, ask the runner, word the answer."""

    def __init__(self, runner: Runner, store: RunFolder) -> None:
        """Requests act on `runner`; outputs are read from `store`."""
        self._runner = runner
        self._workspace = runner.workspace
        self._store = store

    def routes(self) -> Iterable[web.RouteDef]:
        """Every operation under every version of the API."""
        for version in _VERSIONS:
            jobs = f"/api/{version}/jobs"
            yield web.get(f"{jobs}/list", self.list_jobs, allow_head=False)
            yield web.get(f"{jobs}/get", self.get_job, allow_head=False)
            yield web.post(f"{jobs}/run-now", self.run_now)
            yield web.get(f"{jobs}/runs/get", self.get_run, allow_head=False)
            yield web.get(f"{jobs}/runs/list", self.list_runs, allow_head=False)
            yield web.get(f"{jobs}/runs/get-output", self.get_output, allow_head=False)
            yield web.post(f"{jobs}/runs/cancel", self.cancel_run)
        yield web.post(_NEXT_RUN, self.ordain)

    async def list_jobs(self, request: web.Request) -> web.Response:
        """`jobs/list`: by exact name whatever its case, page by page."""
        query = _query(request, {"name", "limit", "offset", "page_token", "expand_tasks"})
        name = query.get("name", "").casefold()
        jobs = [job for job in self._workspace.jobs.values() if name in {"", job.name.casefold()}]
        with_tasks = _flag(query, "expand_tasks")
        told = [
            tell_job(job, timeout_s=self._runner.timeout_s, with_tasks=with_tasks) for job in jobs
        ]
        limit = _limit(query, _JOBS_PAGE_MAX)
        start = _number(query, "offset", 0)
        if "page_token" in query:
            start = _open_token(query["page_token"])
        return _page(
            "jobs", told[start : start + limit], rest=told[start + limit :], next_=start + limit
        )

    async def get_job(self, request: web.Request) -> web.Response:
        """`jobs/get`."""
        job = self._workspace.job(_number(_query(request, {"job_id"}), "job_id"))
        return web.json_response(tell_job(job, timeout_s=self._runner.timeout_s, with_tasks=True))

    async def run_now(self, request: web.Request) -> web.Response:
        """`jobs/run-now`: a run, the same one for the same token."""
        body = await _body(request, {"job_id", "idempotency_token", "job_parameters", "queue"})
        queue, token = body.get("queue"), body.get("idempotency_token")
        if not isinstance(token, str | None):
            raise _invalid("idempotency_token must be a string.")
        run = self._runner.submit(
            _number(body, "job_id"),
            token=token,
            parameters=_parameters(body.get("job_parameters")),
            queue=not (isinstance(queue, dict) and queue.get("enabled") is False),
        )
        return web.json_response({"run_id": run.run_id, "number_in_job": run.run_id})

    async def get_run(self, request: web.Request) -> web.Response:
        """`jobs/runs/get`."""
        run = self._workspace.run(self._job_run_id(_query(request, {"run_id"})))
        return web.json_response(tell_run(run, with_tasks=True))

    async def list_runs(self, request: web.Request) -> web.Response:
        """`jobs/runs/list`: the latest first; a page token stays good while new runs arrive."""
        flags = {"active_only", "completed_only", "expand_tasks"}
        query = _query(request, {"job_id", "limit", "page_token", *flags})
        active, completed = _flag(query, "active_only"), _flag(query, "completed_only")
        if active and completed:
            raise _invalid("active_only and completed_only cannot both be true")
        runs = self._workspace.newest_first()
        if "page_token" in query:
            below = _open_token(query["page_token"])
            runs = [run for run in runs if run.number < below]
        if "job_id" in query:
            runs = [run for run in runs if run.job.job_id == _number(query, "job_id")]
        if active or completed:
            runs = [run for run in runs if run.is_active is active]
        if query.get("limit") == "0":
            query["limit"] = _RUNS_PAGE_MAX  # The service reads 0 as: as many as possible.
        limit = _limit(query, _RUNS_PAGE_MAX)
        told = [tell_run(run, with_tasks=_flag(query, "expand_tasks")) for run in runs[:limit]]
        last = runs[:limit][-1].number if told else 0
        return _page("runs", told, rest=runs[limit:], next_=last)

    async def get_output(self, request: web.Request) -> web.Response:
        """`jobs/runs/get-output`: of a task run, never of a job run, even if it has one task."""
        run_id = _number(_query(request, {"run_id"}), "run_id")
        run = self._workspace.run_of_task(run_id)
        if run is None:
            self._workspace.run(run_id)
            raise _invalid(
                "Retrieving the output of runs with multiple tasks is not supported. "
                "Please retrieve the output of each individual task run instead."
            )
        output = self._store.output_of(run.run_id)
        answer: dict[str, Any] = {
            "metadata": {**tell_run(run, with_tasks=False), **tell_task(run)},
            "logs": output.logs,
            "logs_truncated": output.truncated,
        }
        error = output.error or (run.ending and run.ending.message)
        if error:
            answer["error"] = error
        if output.trace:
            answer["error_trace"] = output.trace
        return web.json_response(answer)

    async def cancel_run(self, request: web.Request) -> web.Response:
        """`jobs/runs/cancel`: asks, and does not wait; ended runs stay as they are."""
        self._runner.cancel(self._job_run_id(await _body(request, {"run_id"})))
        return web.json_response({})

    async def ordain(self, request: web.Request) -> web.Response:
        """Not of the service: put the next run into a state, and let no process run."""
        words = {"life_cycle_state", "result_state", "code", "type", "message"}
        self._workspace.ordain(_fate(await _body(request, words)))
        return web.json_response({})

    def _job_run_id(self, fields: dict[str, Any]) -> int:
        run_id = _number(fields, "run_id")
        if self._workspace.run_of_task(run_id) is not None:
            raise _not_emulated("this operation on a task run; use the job run's id")
        return run_id


def application(interface: Interface, *, token: str, faults: Faults) -> web.Application:
    """The routes behind the token check; every other path is not implemented."""
    guards = [misbehave(faults, busy=_busy), _answer_errors, _check_token(token)]
    app = web.Application(middlewares=guards)
    app.add_routes(list(interface.routes()))
    app.router.add_get(_DISCOVERY, _discover)
    app.router.add_route("*", "/{elsewhere:.*}", _miss)
    return app


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refusal:
        answer = tell_error(refusal.code, refusal.message)
        return web.json_response(answer, status=refusal.status)


def _check_token(token: str) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if request.path == _DISCOVERY:
            return await handler(request)
        # The service puts numbers, not names, into `error_code` of these two.
        if scheme.lower() != "bearer":
            problem = "Credential was not sent or was of an unsupported type for this API."
            return web.json_response(tell_error(401, problem), status=401)
        if not hmac.compare_digest(given.strip().encode(), token.encode()):
            return web.json_response(tell_error(403, "Invalid access token."), status=403)
        return await handler(request)

    return check


async def _discover(_: web.Request) -> web.Response:
    return web.json_response(tell_error("ENDPOINT_NOT_FOUND", "no discovery here"), status=404)


async def _miss(request: web.Request) -> web.Response:
    raise _not_emulated(f"{request.method} {request.path}")


def _busy(status: int) -> web.Response:
    codes = {429: "REQUEST_LIMIT_EXCEEDED", 503: "TEMPORARILY_UNAVAILABLE"}
    return web.json_response(tell_error(codes[status], "try again later"), status=status)


def _not_emulated(what: str) -> Refused:
    return Refused(501, "NOT_IMPLEMENTED", f"The local emulator does not know {what}.")


def _invalid(problem: str) -> Refused:
    return Refused(400, "INVALID_PARAMETER_VALUE", problem)


def _query(request: web.Request, known: set[str]) -> dict[str, Any]:
    return _only(dict(request.query), known)


async def _body(request: web.Request, known: set[str]) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise Refused(
            400, "MALFORMED_REQUEST", f"Invalid JSON given in the body: {error}"
        ) from error
    if not isinstance(body, dict):
        raise Refused(400, "MALFORMED_REQUEST", "The body is not a JSON object.")
    return _only(body, known)


def _only(fields: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Refuse what would otherwise be ignored: a caller must not believe that it had an effect."""
    unknown = sorted(set(fields) - known)
    if unknown:
        raise _not_emulated(f"the field {', '.join(unknown)} here")
    return fields


def _fate(fields: dict[str, Any]) -> Fate:
    """The state that a test asks for, in the service's words."""
    try:
        life_cycle = LifeCycle(fields.get("life_cycle_state", LifeCycle.TERMINATED))
        result = Result(fields["result_state"]) if "result_state" in fields else None
    except ValueError as error:
        raise _invalid(f"{error}.") from error
    if (result is None) != bool(NEXT[life_cycle]):
        raise _invalid("A run that has ended has a result_state, and no other has one.")
    if result is None:
        return Fate(life_cycle=life_cycle, ending=None)
    ending = Ending(
        result=result,
        code=str(fields.get("code", result)),
        type=str(fields.get("type", "CLIENT_ERROR")),
        message=str(fields.get("message", "")),
    )
    return Fate(life_cycle=life_cycle, ending=ending)


def _number(fields: dict[str, Any], name: str, default: int | None = None) -> int:
    """A number, which JSON clients also send as a string, as the service allows for longs."""
    value = fields.get(name, default)
    if value is None:
        raise _invalid(f"{name} is required.")
    if isinstance(value, bool) or not re.fullmatch(r"\d{1,19}", str(value)):
        raise _invalid(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def _flag(query: dict[str, Any], name: str) -> bool:
    return str(query.get(name, "")).lower() == "true"


def _limit(query: dict[str, Any], largest: int) -> int:
    limit = _number(query, "limit", _PAGE_DEFAULT)
    if not 1 <= limit <= largest:
        raise _invalid(f"limit must be from 1 to {largest}, not {limit}.")
    return limit


def _parameters(given: Any) -> dict[str, str]:  # noqa: ANN401 -- Whatever JSON came.
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _invalid("job_parameters must be a map from names to strings.")
    for name, value in given.items():
        if not _PARAMETER_NAME.fullmatch(name):
            raise _invalid(f"job parameter {name!r}: names hold letters, digits and _ - . only.")
        if not isinstance(value, str):
            raise _invalid(f"job parameter {name!r}: values are strings.")
    return given


def _page(key: str, items: Sequence[object], *, rest: Sequence[object], next_: int) -> web.Response:
    """One page. As in the service, an empty list is left out, and so is the token of no page."""
    answer: dict[str, Any] = {"has_more": bool(rest)}
    if items:
        answer[key] = items
    if rest:
        answer["next_page_token"] = base64.urlsafe_b64encode(str(next_).encode()).decode()
    return web.json_response(answer)


def _open_token(token: str) -> int:
    try:
        return int(base64.urlsafe_b64decode(token))
    except ValueError as error:
        raise _invalid("page_token is not one that this service gave out.") from error
