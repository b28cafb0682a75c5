"""Our client of the Jobs API against the emulator: states, errors, and the official SDK's requests.

What the emulator never answers is answered by a server that says what a test tells it to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiohttp import web
from azure.core.exceptions import ClientAuthenticationError
from databricks.sdk.service.jobs import QueueSettings

from shared.adapters.databricks_jobs import DatabricksJobs
from shared.adapters.databricks_states import job_run_of
from shared.domain.errors import Misconfigured, TryLater
from shared.domain.job_run import JobOutcome, JobRun
from tests.local_databricks_jobs import TOKEN, Emulator, looks_at_processes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

WAITING, RUNNING, SUCCEEDED, FAILED, CANCELLED, SKIPPED = (
    JobOutcome.WAITING,
    JobOutcome.RUNNING,
    JobOutcome.SUCCEEDED,
    JobOutcome.FAILED,
    JobOutcome.CANCELLED,
    JobOutcome.SKIPPED,
)


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for all tests."""
    with contextlib.closing(Emulator(tmp_path_factory.mktemp("client"))) as emulator:
        yield emulator


@contextlib.asynccontextmanager
async def client_of(
    url: str, token: str = TOKEN, *, pauses: list[float] | None = None
) -> AsyncIterator[DatabricksJobs]:
    """Our client; how long it would pause is written down instead of waited for."""

    async def bearer() -> str:
        return token

    async def pause(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    async with httpx.AsyncClient(base_url=url, timeout=20) as web_client:
        yield DatabricksJobs(web_client, prefix="quakes-test", token=bearer, sleep=pause)


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[DatabricksJobs]:
    """A client of the emulator."""
    async with client_of(emulator.url) as client:
        yield client


async def start(client: DatabricksJobs, job: str, *, once: str, **parameters: str) -> int:
    """Start a job; `once` is its idempotency token."""
    return await client.start(job, token=once, parameters=parameters)


async def look_at(client: DatabricksJobs, run: int, *, until: JobOutcome) -> JobRun:
    """The run once it has come so far."""
    async with asyncio.timeout(30):
        while True:
            found = await client.look(run)
            assert found is not None
            if found.outcome is until:
                return found
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def answering(*answers: web.Response) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that gives these answers, the last one again and again; and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        chosen = answers[min(len(asked), len(answers)) - 1]
        return web.Response(status=chosen.status, text=chosen.text, headers=chosen.headers)

    async with _serving(answer) as url:
        yield url, asked


@contextlib.asynccontextmanager
async def _serving(
    answer: Callable[[web.Request], Awaitable[web.Response]],
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await server.setup()
    try:
        await web.TCPSite(server, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{server.addresses[0][1]}"
    finally:
        await server.cleanup()


@pytest.mark.parametrize(
    ("fate", "outcome", "message"),
    [
        ({"life_cycle_state": "QUEUED"}, WAITING, ""),
        ({"life_cycle_state": "PENDING"}, WAITING, ""),
        ({"life_cycle_state": "BLOCKED"}, WAITING, ""),
        ({"life_cycle_state": "WAITING_FOR_RETRY"}, WAITING, ""),
        ({"life_cycle_state": "RUNNING"}, RUNNING, ""),
        ({"life_cycle_state": "TERMINATING"}, RUNNING, ""),
        ({"result_state": "SUCCESS", "code": "SUCCESS"}, SUCCEEDED, ""),
        ({"result_state": "SUCCESS_WITH_FAILURES"}, SUCCEEDED, ""),
        ({"result_state": "FAILED", "message": "boom"}, FAILED, "boom"),
        ({"result_state": "TIMEDOUT", "code": "CANCELED", "message": "late"}, FAILED, "late"),
        ({"result_state": "UPSTREAM_FAILED"}, FAILED, "UPSTREAM_FAILED"),
        ({"result_state": "EXCLUDED"}, FAILED, "EXCLUDED"),
        (
            {"result_state": "CANCELED", "code": "USER_CANCELED", "message": "by ann"},
            CANCELLED,
            "CANCELED, USER_CANCELED: by ann",
        ),
        ({"result_state": "CANCELED", "code": "CANCELED"}, FAILED, "CANCELED"),
        ({"result_state": "UPSTREAM_CANCELED"}, CANCELLED, "UPSTREAM_CANCELED"),
        ({"result_state": "DISABLED"}, SKIPPED, "DISABLED"),
        (
            {"result_state": "MAXIMUM_CONCURRENT_RUNS_REACHED"},
            SKIPPED,
            "MAXIMUM_CONCURRENT_RUNS_REACHED",
        ),
        (
            {
                "life_cycle_state": "SKIPPED",
                "result_state": "MAXIMUM_CONCURRENT_RUNS_REACHED",
                "code": "MAX_JOB_QUEUE_SIZE_EXCEEDED",
                "message": "full",
            },
            SKIPPED,
            "SKIPPED, MAXIMUM_CONCURRENT_RUNS_REACHED, MAX_JOB_QUEUE_SIZE_EXCEEDED: full",
        ),
        (
            {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED", "message": "lost"},
            FAILED,
            "lost",
        ),
    ],
    ids=lambda part: "-".join(map(str, part.values())) if isinstance(part, dict) else "",
)
async def test_every_state_of_the_service_has_its_outcome(
    emulator: Emulator,
    client: DatabricksJobs,
    fate: dict[str, str],
    outcome: JobOutcome,
    message: str,
) -> None:
    """A state nobody thought of would leave a run open for ever, or lose its reason."""
    emulator.ask("POST", "/emulator/next-run", json=fate).raise_for_status()
    run = await start(client, "succeed", once=f"fate-{json.dumps(fate)}"[:64])

    found = await client.look(run)

    assert found is not None
    assert found.outcome is outcome
    assert message in found.message
    await client.cancel(run)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"status": {"state": "WAITING"}}, JobRun(outcome=WAITING)),
        ({"status": {"state": "RUNNING"}}, JobRun(outcome=RUNNING)),
        (
            {"status": {"state": "TERMINATED", "termination_details": {"code": "SUCCESS"}}},
            JobRun(outcome=SUCCEEDED),
        ),
        (
            {
                "status": {
                    "state": "TERMINATED",
                    "termination_details": {"code": "CLUSTER_ERROR", "message": "no machine"},
                }
            },
            JobRun(outcome=FAILED, message="CLUSTER_ERROR: no machine"),
        ),
        (
            {
                "state": {"life_cycle_state": "TERMINATED", "result_state": "CANCELED"},
                "status": None,
            },
            JobRun(outcome=CANCELLED, message="CANCELED"),
        ),
        ({}, JobRun(outcome=WAITING)),
        (
            {"state": {"life_cycle_state": "TERMINATED", "result_state": "BRAND_NEW"}},
            JobRun(outcome=FAILED, message="BRAND_NEW"),
        ),
    ],
)
def test_old_state_or_new_status_is_enough(answer: dict[str, Any], found: JobRun) -> None:
    """The service has announced that `state` will go; a result we do not know is no success."""
    assert job_run_of(answer) == found


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("SUCCESS", SUCCEEDED),
        ("SUCCESS_WITH_FAILURES", SUCCEEDED),
        ("FAILED", FAILED),
        ("TIMEDOUT", FAILED),
        ("UPSTREAM_FAILED", FAILED),
        ("EXCLUDED", FAILED),
        ("INTERNAL_ERROR", FAILED),
        ("CANCELED", CANCELLED),
        ("UPSTREAM_CANCELED", CANCELLED),
        ("SKIPPED", SKIPPED),
        ("DISABLED", SKIPPED),
        ("MAXIMUM_CONCURRENT_RUNS_REACHED", SKIPPED),
    ],
)
def test_old_state_alone_has_its_outcome(name: str, outcome: JobOutcome) -> None:
    """A workspace that does not give a cause yet is read by its result, or its last state."""
    ends = ("INTERNAL_ERROR", "SKIPPED")
    state = {"life_cycle_state": name} if name in ends else {"life_cycle_state": "TERMINATED"}

    found = job_run_of({"state": state if name in ends else state | {"result_state": name}})

    assert found == JobRun(outcome=outcome, message="" if outcome is SUCCEEDED else name)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("USER_CANCELED", CANCELLED),
        ("CANCELED", FAILED),
        ("RUN_EXECUTION_ERROR", FAILED),
        ("INTERNAL_ERROR", FAILED),
        ("SKIPPED", SKIPPED),
        ("DISABLED", SKIPPED),
        ("MAX_CONCURRENT_RUNS_EXCEEDED", SKIPPED),
        ("MAX_JOB_QUEUE_SIZE_EXCEEDED", SKIPPED),
        ("WORKSPACE_RUN_LIMIT_EXCEEDED", SKIPPED),
    ],
)
def test_new_cause_alone_has_its_outcome(code: str, outcome: JobOutcome) -> None:
    """What a person cancelled stays so; what the platform ended or refused is tried again."""
    status = {"state": "TERMINATED", "termination_details": {"code": code}}

    assert job_run_of({"status": status}) == JobRun(outcome=outcome, message=code)


async def test_run_is_started_once_and_followed_to_its_reason(client: DatabricksJobs) -> None:
    """The same token is the same run, and what a person reads is what the job said."""
    first = await start(client, "fail", once="reason-1", run="r")
    again = await start(client, "fail", once="reason-1", run="r")

    ended = await look_at(client, first, until=FAILED)

    assert again == first
    assert ended.message == "ValueError: no such column: mag"


@looks_at_processes
async def test_running_run_is_cancelled(emulator: Emulator, client: DatabricksJobs) -> None:
    """Cancelling asks; a second time, and for a run that nobody knows, it does nothing."""
    gate = str(emulator.folder / "never")
    run = await start(client, "wait", once="cancelled-1", gate=gate)
    await look_at(client, run, until=RUNNING)

    await client.cancel(run)
    ended = await look_at(client, run, until=CANCELLED)
    await client.cancel(run)
    await client.cancel(1)

    assert "USER_CANCELED" in ended.message


async def test_run_that_the_service_forgot_is_none(client: DatabricksJobs) -> None:
    """It keeps runs for sixty days."""
    assert await client.look(1) is None


async def test_wrong_job_name_names_the_nearest(tmp_path: Any) -> None:
    """A typo among hundreds of jobs is found, also beyond the first page of the list."""
    names = [f"report-{number}" for number in range(130)] + ["transform"]
    jobs = [{"name": name, "notebook": f"/{name}"} for name in names]
    content = {"name": "quakes", "environment": "test", "databricks": {"jobs": jobs}}
    (tmp_path / "pipeline.json").write_text(json.dumps(content))

    with contextlib.closing(Emulator(tmp_path)) as emulator:
        async with client_of(emulator.url) as client:
            with pytest.raises(Misconfigured) as caught:
                await start(client, "trasnform", once="t")

    assert str(caught.value) == (
        "databricks.jobs the workspace has no job called 'quakes-test-trasnform'; did you mean "
        "'quakes-test-transform'?: deploy it, or let the app view it"
    )


async def test_job_made_anew_is_found_again(emulator: Emulator, client: DatabricksJobs) -> None:
    """A deployment that deletes and creates a job must not need a restart of the app."""
    client._ids["succeed"] = 1

    run = await start(client, "succeed", once="anew-1")

    assert client._ids["succeed"] == emulator.job_id("succeed")
    assert (await look_at(client, run, until=SUCCEEDED)).message == ""


async def test_two_jobs_of_one_name_are_for_a_person_to_sort_out() -> None:
    """Names are not unique in Databricks; a wrong guess would run somebody else's code."""
    two = web.json_response({"jobs": [{"job_id": 1}, {"job_id": 2}]})

    async with answering(two) as (url, _), client_of(url) as client:
        with pytest.raises(Misconfigured, match=r"several jobs called 'quakes-test-x' \(1, 2\)"):
            await start(client, "x", once="t")


async def test_not_signed_in_and_not_allowed_are_told_apart(emulator: Emulator) -> None:
    """They are mended in different places."""
    unknown = web.json_response({"message": "Credential was not sent"}, status=401)
    refused = web.json_response({"message": "User lacks Manage Run"}, status=403)
    listed = web.json_response({"jobs": [{"job_id": 1}]})

    async with answering(unknown) as (url, _), client_of(url) as client:
        with pytest.raises(Misconfigured, match=r"DATABRICKS_TOKEN is not accepted by http.*401"):
            await client.look(1)
    async with client_of(emulator.url, "other") as client:
        with pytest.raises(Misconfigured, match=r"403: Invalid access token.*CAN VIEW"):
            await client.look(1)
    async with answering(listed, refused) as (url, _), client_of(url) as client:
        with pytest.raises(Misconfigured, match=r"Manage Run.*grant the identity CAN MANAGE RUN"):
            await start(client, "x", once="t")


async def test_token_that_is_none_is_not_told(emulator: Emulator) -> None:
    """A line end copied along is a common mistake; the log must not show the secret for it."""
    async with client_of(emulator.url, "secret\n") as client:
        with pytest.raises(Misconfigured) as caught:
            await client.look(1)

    assert str(caught.value).startswith("DATABRICKS_TOKEN is no token")
    assert "secret" not in str(caught.value)


async def test_identity_that_cannot_sign_in_says_so() -> None:
    """The reason is the identity's, and one line of it is enough."""

    async def bearer() -> str:
        raise ClientAuthenticationError("no managed identity endpoint\nmore\nlines")

    async with httpx.AsyncClient(base_url="http://127.0.0.1:1") as web_client:
        client = DatabricksJobs(web_client, prefix="p", token=bearer)
        with pytest.raises(Misconfigured) as caught:
            await client.look(1)

    assert str(caught.value) == (
        "AZURE_CLIENT_ID cannot sign in to Databricks: no managed identity endpoint"
    )


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("http://127.0.0.1:1", TryLater, "cannot be reached at http://127.0.0.1:1"),
        ("http://adb-1.invalid", TryLater, "cannot be reached at http://adb-1.invalid"),
        ("adb-1.azuredatabricks.net", Misconfigured, "DATABRICKS_HOST is '"),
        ("", Misconfigured, "DATABRICKS_HOST is ''"),
    ],
    ids=["nobody listens", "unknown name", "no scheme", "not set"],
)
async def test_unreachable_workspace_names_the_host(
    url: str, error: type[Exception], message: str
) -> None:
    """The first thing to check is the address."""
    async with client_of(url) as client:
        with pytest.raises(error) as caught:
            await client.look(1)

    assert message in str(caught.value)
    assert "DATABRICKS_HOST" in str(caught.value)


async def test_silent_workspace_is_not_waited_for_for_ever() -> None:
    """A connection that says nothing would block every other run."""

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(0.6)
        return web.Response()

    async def bearer() -> str:
        return TOKEN

    async with (
        _serving(silent) as url,
        httpx.AsyncClient(base_url=url, timeout=0.1) as web_client,
    ):
        client = DatabricksJobs(web_client, prefix="p", token=bearer)
        with pytest.raises(TryLater, match="ReadTimeout"):
            await client.look(1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (web.Response(text="<html>sign in</html>"), "what it answers is no JSON"),
        (web.Response(status=302, headers={"Location": "/login"}), "it redirects to /login"),
        (web.json_response({"message": "odd"}, status=418), "answered 418 to jobs/runs/get: odd"),
    ],
    ids=["a page", "a redirect", "something else"],
)
async def test_what_is_no_workspace_is_recognised(answer: web.Response, said: str) -> None:
    """A proxy's page under status 200 must not become a traceback."""
    async with answering(answer) as (url, _), client_of(url) as client:
        with pytest.raises(Misconfigured) as caught:
            await client.look(1)

    assert said in str(caught.value)


def busy(status: int, **headers: str) -> web.Response:
    """The service wants to be left alone."""
    return web.json_response({"message": "slow down"}, status=status, headers=headers)


RUNNING_ANSWER = web.json_response({"state": {"life_cycle_state": "RUNNING"}})


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_busy_service_is_asked_again_when_it_says(status: int) -> None:
    """What it asks for is waited for; without a word of it, a second."""
    pauses: list[float] = []

    async with (
        answering(busy(status, **{"Retry-After": "4"}), busy(status), RUNNING_ANSWER) as (url, _),
        client_of(url, pauses=pauses) as client,
    ):
        found = await client.look(1)

    assert found == JobRun(outcome=RUNNING)
    assert pauses == [4.0, 1.0]


async def test_service_that_stays_busy_is_given_up_for_now() -> None:
    """The timer comes again; a function that waits costs money."""
    async with answering(busy(503)) as (url, asked), client_of(url) as client:
        with pytest.raises(TryLater, match="Databricks answered 503 to jobs/runs/get: slow down"):
            await client.look(1)

    assert len(asked) == 3


async def test_long_wait_is_kept_to_without_asking() -> None:
    """Asking again before that is what gets a workspace throttled for longer."""
    async with (
        answering(busy(429, **{"Retry-After": "60"}), RUNNING_ANSWER) as (url, asked),
        client_of(url) as client,
    ):
        with pytest.raises(TryLater) as first:
            await client.look(1)
        with pytest.raises(TryLater, match="left alone for"):
            await client.look(1)
        client._quiet_until_s = 0
        found = await client.look(1)

    assert first.value.retry_after_s == 60
    assert found == JobRun(outcome=RUNNING)
    assert len(asked) == 2


async def test_faults_of_the_service_start_no_second_run(tmp_path: Any) -> None:
    """Busy, reset and cut answers: with the token, asking again is always safe."""
    with contextlib.closing(Emulator(tmp_path, "--faults", "seed=3,busy=0.2,drop=0.3")) as emulator:
        async with client_of(emulator.url) as client:
            numbers = {await _patiently(client) for _ in range(12)}

    assert len(numbers) == 1


async def _patiently(client: DatabricksJobs) -> int:
    """Start the run as the timer would: again and again."""
    for _ in range(50):
        try:
            return await start(client, "succeed", once="only-1")
        except TryLater:
            continue
    pytest.fail("the service never answered")


async def test_requests_are_those_of_the_official_sdk(emulator: Emulator) -> None:
    """The SDK is Databricks' own word on method, path, query and body; ours must say the same."""
    asked: list[tuple[str, str, dict[str, str], Any]] = []

    async with httpx.AsyncClient(base_url=emulator.url, timeout=20) as behind:

        async def pass_on(request: web.Request) -> web.Response:
            body = await request.read()
            if request.path.startswith("/api/"):
                content = json.loads(body) if body else None
                asked.append((request.method, request.path, dict(request.query), content))
            answer = await behind.request(
                request.method,
                request.path_qs,
                content=body,
                headers={"Authorization": request.headers.get("Authorization", "")},
            )
            return web.Response(status=answer.status_code, body=answer.content)

        async with _serving(pass_on) as url, client_of(url) as ours:
            run = await start(ours, "succeed", once="shape-1", run="r1")
            await ours.look(run)
            await ours.cancel(run)
            _ = [name async for name in ours._names()]
            of_ours, asked[:] = list(asked), []

            await asyncio.to_thread(_same_by_sdk, emulator, url, run)

    assert of_ours == asked
    assert [path for _, path, _, _ in asked] == [
        f"/api/2.2/jobs/{each}" for each in ("list", "run-now", "runs/get", "runs/cancel", "list")
    ]


def _same_by_sdk(emulator: Emulator, url: str, run: int) -> None:
    """What our client just asked for, asked for by the SDK."""
    sdk = emulator.connect_to(url)
    (job,) = sdk.jobs.list(name="quakes-test-succeed")
    sdk.jobs.run_now(
        job.job_id or 0,
        idempotency_token="shape-1",  # noqa: S106 -- Opens nothing.
        job_parameters={"run": "r1"},
        queue=QueueSettings(enabled=True),
    )
    sdk.jobs.get_run(run)
    sdk.jobs.cancel_run(run)
    list(sdk.jobs.list(limit=100))
