"""The Jobs emulator, driven by the official SDK: what the pipeline relies on, and what it must not.

Shapes of answers and errors come from the documentation of the Jobs API 2.2 as the SDK carries it,
and from answers of the real service that its users published.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import (
    InvalidParameterValue,
    NotImplemented,  # noqa: A004 -- The SDK's name for 501.
    PermissionDenied,
    ResourceDoesNotExist,
    Unauthenticated,
)
from databricks.sdk.service.jobs import QueueSettings, RunLifeCycleState

from local.databricks_jobs import store
from tests.local_databricks_jobs import (
    JOBS,
    Emulator,
    finish,
    lives,
    looks_at_processes,
    output_of,
    result_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for the tests that leave it as they find it."""
    with contextlib.closing(Emulator(tmp_path_factory.mktemp("jobs"))) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def client(shared: Emulator) -> WorkspaceClient:
    """The official client of the shared emulator."""
    return shared.connect()


def test_job_is_found_by_its_exact_name_in_any_case(client: WorkspaceClient) -> None:
    """Finding the job by name is the only way from the document to Databricks."""
    found = list(client.jobs.list(name="QUAKES-test-Succeed"))
    missing = list(client.jobs.list(name="quakes-test"))

    assert [job.settings and job.settings.name for job in found] == ["quakes-test-succeed"]
    assert missing == []


def test_job_list_comes_in_pages(shared: Emulator, client: WorkspaceClient) -> None:
    """A client that never saw a second page would lose the 21st job in the cloud."""
    pages = shared.ask("GET", "/api/2.2/jobs/list?limit=4").json()
    offset = shared.ask("GET", "/api/2.1/jobs/list?limit=4&offset=8").json()

    names = [job.settings and job.settings.name for job in client.jobs.list(limit=4)]

    assert len(pages["jobs"]) == 4
    assert pages["has_more"] is True
    assert len(names) == len(set(names)) == len(JOBS) + 2
    assert [job["settings"]["name"] for job in offset["jobs"]] == names[8:]
    assert offset["has_more"] is False
    assert "next_page_token" not in offset


def test_job_tells_its_wheel_task(shared: Emulator, client: WorkspaceClient) -> None:
    """What runs is what the document names."""
    job = client.jobs.get(shared.job_id("fail"))

    assert job.settings
    assert job.settings.tasks
    [task] = job.settings.tasks
    assert task.task_key == "fail"
    assert task.python_wheel_task
    assert task.python_wheel_task.entry_point == "fail"


def test_run_goes_through_the_states_of_the_service(
    shared: Emulator, client: WorkspaceClient
) -> None:
    """The tracker reads these states and times; their order is the contract."""
    gate = shared.folder / "states"
    run_id = shared.start("wait", gate=str(gate))
    running = until(
        lambda: (
            (run := client.jobs.get_run(run_id)).state
            and run.state.life_cycle_state is RunLifeCycleState.RUNNING
            and run
        )
    )

    gate.touch()
    run = finish(client, run_id)

    assert running.state.result_state is None
    assert (running.end_time, running.status.state.value) == (0, "RUNNING")
    assert result_of(run) == ("TERMINATED", "SUCCESS", "SUCCESS")
    assert run.tasks
    assert run.start_time
    assert run.end_time
    assert abs(run.start_time / 1000 - time.time_ns() / 1e9) < 600
    assert run.end_time >= run.start_time
    assert run.run_duration == run.end_time - run.start_time
    assert run.tasks[0].execution_duration
    assert run.job_parameters
    assert run.job_parameters[0].as_dict() == {"name": "gate", "value": str(gate)}


def test_job_parameters_become_named_arguments(shared: Emulator, client: WorkspaceClient) -> None:
    """Databricks hands job parameters to a wheel as `--name=value`; the transform parses those."""
    waited = client.jobs.run_now(
        shared.job_id("succeed"), job_parameters={"dataset": "earth quakes", "run_id": "r=1"}
    )

    output = output_of(client, finish(client, waited.run_id))

    assert output.logs
    assert json.loads(output.logs)["arguments"] == ["--dataset=earth quakes", "--run_id=r=1"]
    assert output.error is None
    assert output.logs_truncated is False


@pytest.mark.parametrize(
    ("job", "error", "logged"),
    [
        ("fail", "ValueError: no such column: mag", "about to fail\nTraceback"),
        ("exit-with-three", "SystemExit: 3", "SystemExit: 3"),
        ("crash", "the run's process ended with signal 11", ""),
        ("absent", "ModuleNotFoundError: No module named 'no_such_module'", "Traceback"),
    ],
)
def test_failed_run_says_why(
    shared: Emulator, client: WorkspaceClient, job: str, error: str, logged: str
) -> None:
    """A person reads the reason from the output; the run itself only points there, as the real."""
    run = finish(client, shared.start(job))

    output = output_of(client, run)

    assert result_of(run) == ("TERMINATED", "FAILED", "RUN_EXECUTION_ERROR")
    assert run.state
    assert run.state.state_message == (
        f"Task {job} failed with message: Workload failed, see run output for details."
    )
    assert output.error == error
    assert logged in str(output.logs)
    assert (output.error_trace is None) is (job == "crash")
    assert "worker.py" not in str(output.error_trace)


def test_entry_point_may_leave_early_but_well(shared: Emulator, client: WorkspaceClient) -> None:
    """`sys.exit()` without a code says: done."""
    run = finish(client, shared.start("exit-with-nothing"))

    assert result_of(run) == ("TERMINATED", "SUCCESS", "SUCCESS")


def test_long_output_is_given_from_its_end(shared: Emulator, client: WorkspaceClient) -> None:
    """The reason of a failure stands at the end; the service gives the last 5 MB, and says so."""
    run = finish(client, shared.start("chatter"))

    output = output_of(client, run)

    assert output.logs_truncated is True
    assert len(str(output.logs)) == store.LOG_BYTES_MAX
    assert str(output.logs).endswith(" 6143\n")


def test_output_of_a_job_run_is_refused(shared: Emulator, client: WorkspaceClient) -> None:
    """The service gives output for task runs only; code that asks otherwise fails in the cloud."""
    run = finish(client, shared.start("succeed"))

    with pytest.raises(InvalidParameterValue, match="each individual task run"):
        client.jobs.get_run_output(run.run_id or 0)


def test_notebook_is_an_honest_error(shared: Emulator, client: WorkspaceClient) -> None:
    """A notebook needs Databricks; a pretended success would hide that nothing was written."""
    run = client.jobs.get_run(shared.start("notebook"))

    assert result_of(run) == ("INTERNAL_ERROR", "FAILED", "FEATURE_DISABLED")
    assert run.state
    assert "notebooks are not emulated" in str(run.state.state_message)


def test_same_token_finds_the_same_run(shared: Emulator, client: WorkspaceClient) -> None:
    """Asking twice after a lost answer must not run a batch twice."""
    first = shared.start("succeed", "a" * 64)
    finish(client, first)

    again = shared.start("succeed", "a" * 64)
    other = shared.start("succeed", "b" * 64)

    assert again == first
    assert other != first


def test_too_long_a_token_is_refused(shared: Emulator, client: WorkspaceClient) -> None:
    """The service takes 64 characters; a longer id must be noticed here, not in the cloud."""
    with pytest.raises(InvalidParameterValue, match="more than 64"):
        client.jobs.run_now(shared.job_id("succeed"), idempotency_token="c" * 65)


@looks_at_processes
def test_cancelled_run_is_ended_with_all_it_started(
    shared: Emulator, client: WorkspaceClient
) -> None:
    """A cancelled transform must not go on writing behind the caller's back."""
    run_id, pids = shared.hold("wait", "cancelled")

    client.jobs.cancel_run(run_id)
    run = finish(client, run_id)
    client.jobs.cancel_run(run_id)

    assert result_of(run) == ("TERMINATED", "CANCELED", "USER_CANCELED")
    assert run.state
    assert run.state.user_cancelled_or_timedout is True
    assert client.jobs.get_run(run_id).end_time == run.end_time
    assert not any(lives(pid) for pid in pids)


@looks_at_processes
def test_run_that_ignores_cancellation_is_made_to_end(
    shared: Emulator, client: WorkspaceClient
) -> None:
    """After the grace comes SIGKILL: a place must never be lost to a stubborn process."""
    run_id, pids = shared.hold("refuse-to-end", "stubborn")

    client.jobs.cancel_run(run_id)
    stopping = client.jobs.get_run(run_id)
    run = finish(client, run_id)

    assert stopping.state
    assert stopping.state.life_cycle_state is RunLifeCycleState.TERMINATING
    assert stopping.state.result_state is None
    assert result_of(run) == ("TERMINATED", "CANCELED", "USER_CANCELED")
    assert not any(lives(pid) for pid in pids)


def test_third_run_waits_for_a_place(shared: Emulator, client: WorkspaceClient) -> None:
    """Two cores, two processes; the rest waits, visibly, and is cancelled or skipped on demand."""
    held = [shared.hold("wait", f"place-{number}")[0] for number in (1, 2)]
    waiting, dropped = shared.start("succeed"), shared.start("succeed")

    queued = client.jobs.get_run(waiting)
    client.jobs.cancel_run(dropped)
    unqueued = client.jobs.run_now(shared.job_id("succeed"), queue=QueueSettings(enabled=False))
    skipped = client.jobs.get_run(unqueued.run_id)
    active = {run.run_id for run in client.jobs.list_runs(active_only=True)}
    (shared.folder / "place-1").touch()
    (shared.folder / "place-2").touch()
    run = finish(client, waiting)

    assert queued.state
    assert queued.state.life_cycle_state is RunLifeCycleState.QUEUED
    assert queued.status
    assert queued.status.queue_details
    assert active == {*held, waiting}
    assert result_of(run) == ("TERMINATED", "SUCCESS", "SUCCESS")
    assert (run.queue_duration or 0) > 0
    assert result_of(client.jobs.get_run(dropped)) == ("TERMINATED", "CANCELED", "USER_CANCELED")
    assert result_of(skipped) == (
        "SKIPPED",
        "MAXIMUM_CONCURRENT_RUNS_REACHED",
        "MAX_CONCURRENT_RUNS_EXCEEDED",
    )
    assert [finish(client, run_id).state is None for run_id in held] == [False, False]


def test_runs_are_listed_latest_first_in_pages_that_stay_good(
    shared: Emulator, client: WorkspaceClient
) -> None:
    """The tracker walks pages while runs are being started; none may be missed or seen twice."""
    job_id = shared.job_id("exit-with-three")
    started = [shared.start("exit-with-three") for _ in range(5)]
    for run_id in started:
        finish(client, run_id)

    listed = client.jobs.list_runs(job_id=job_id, limit=2, completed_only=True)
    first = [next(listed).run_id, next(listed).run_id]
    shared.start("exit-with-three")
    rest = [run.run_id for run in listed]

    assert first + rest[:3] == started[::-1]
    assert len(set(rest)) == len(rest)
    assert len(shared.ask("GET", "/api/2.2/jobs/runs/list?limit=0").json()["runs"]) > 5
    with pytest.raises(InvalidParameterValue, match="from 1 to 25"):
        list(client.jobs.list_runs(limit=26))


def test_empty_list_has_no_list_at_all(shared: Emulator) -> None:
    """The service leaves an empty array out; a client that indexes it fails in the cloud."""
    answer = shared.ask("GET", "/api/2.2/jobs/runs/list?job_id=1").json()

    assert answer == {"has_more": False}


def test_absent_job_and_run_are_the_sdks_own_exceptions(client: WorkspaceClient) -> None:
    """The service says 400 with its own words, which the SDK turns into this exception."""
    with pytest.raises(ResourceDoesNotExist, match="Job 1 does not exist"):
        client.jobs.get(1)
    with pytest.raises(ResourceDoesNotExist, match="Run 1 does not exist"):
        client.jobs.get_run(1)
    with pytest.raises(InvalidParameterValue, match="Job 1 does not exist"):
        client.jobs.run_now(1)


def test_request_without_the_right_token_changes_nothing(shared: Emulator) -> None:
    """401 and 403 mean different repairs, and the SDK tells them apart by status."""
    path = "/api/2.2/jobs/list"

    missing = httpx.get(shared.url + path)
    wrong = shared.ask("GET", path, headers={"Authorization": "Bearer other"})

    assert (missing.status_code, missing.json()["error_code"]) == (401, 401)
    assert (wrong.status_code, wrong.json()["error_code"]) == (403, 403)
    with pytest.raises(PermissionDenied, match="Invalid access token"):
        list(shared.connect("other").jobs.list())
    with pytest.raises(Unauthenticated, match="Credential was not sent"):
        list(
            WorkspaceClient(
                host=shared.url,
                auth_type="basic",
                username="who",
                password="what",  # noqa: S106 -- Anything but a bearer token.
            ).jobs.list()
        )


def test_what_is_not_emulated_says_so(shared: Emulator, client: WorkspaceClient) -> None:
    """Something plausible in place of an unknown operation would be a lie the tests believe."""
    with pytest.raises(NotImplemented, match=r"POST /api/2\.2/jobs/create"):
        client.jobs.create(name="another")
    with pytest.raises(NotImplemented, match="python_params"):
        client.jobs.run_now(shared.job_id("succeed"), python_params=["--ignored"])
    task_run = client.jobs.get_run(shared.start("notebook")).tasks
    with pytest.raises(NotImplemented, match="task run"):
        client.jobs.get_run(task_run[0].run_id if task_run and task_run[0].run_id else 0)


@pytest.mark.parametrize(
    ("body", "code", "reason"),
    [
        ("{", "MALFORMED_REQUEST", "Invalid JSON"),
        ("[]", "MALFORMED_REQUEST", "not a JSON object"),
        ("{}", "INVALID_PARAMETER_VALUE", "job_id is required"),
        ('{"job_id": "x"}', "INVALID_PARAMETER_VALUE", "must be a whole number"),
        ('{"job_id": 1, "job_parameters": []}', "INVALID_PARAMETER_VALUE", "must be a map"),
        ('{"job_id": 1, "job_parameters": {"a b": "c"}}', "INVALID_PARAMETER_VALUE", "'a b'"),
        ('{"job_id": 1, "job_parameters": {"a": 1}}', "INVALID_PARAMETER_VALUE", "'a'"),
        ('{"job_id": 1, "idempotency_token": 7}', "INVALID_PARAMETER_VALUE", "must be a string"),
    ],
)
def test_unreadable_request_is_refused_with_a_reason(
    shared: Emulator, body: str, code: str, reason: str
) -> None:
    """A caller's mistake must come back as a mistake, not as a failed run or a 500."""
    answer = shared.ask("POST", "/api/2.2/jobs/run-now", content=body)

    assert (answer.status_code, answer.json()["error_code"]) == (400, code)
    assert reason in answer.json()["message"]


def test_run_whose_fate_is_decided_takes_no_place(
    shared: Emulator, client: WorkspaceClient
) -> None:
    """Every state of the service can be had without waiting for it, and beside real runs."""
    for state in ("BLOCKED", "RUNNING", "PENDING"):
        fate = {"life_cycle_state": state}
        shared.ask("POST", "/emulator/next-run", json=fate).raise_for_status()
    blocked, running, pending = (shared.start("succeed") for _ in range(3))
    real = finish(client, shared.start("succeed"))
    states = [client.jobs.get_run(run).status for run in (blocked, running, pending)]

    for run in (blocked, running, pending):
        client.jobs.cancel_run(run)

    assert result_of(real) == ("TERMINATED", "SUCCESS", "SUCCESS")
    assert [status and status.state and status.state.value for status in states] == [
        "BLOCKED",
        "RUNNING",
        "PENDING",
    ]
    assert {result_of(client.jobs.get_run(run)) for run in (blocked, running, pending)} == {
        ("TERMINATED", "CANCELED", "USER_CANCELED")
    }


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ({"life_cycle_state": "ASLEEP"}, "'ASLEEP' is not a valid LifeCycle"),
        ({"result_state": "FINE"}, "'FINE' is not a valid Result"),
        ({"life_cycle_state": "TERMINATED"}, "has a result_state"),
        ({"life_cycle_state": "RUNNING", "result_state": "SUCCESS"}, "has a result_state"),
        ({"lifecycle": "RUNNING"}, "the field lifecycle here"),
    ],
)
def test_fate_that_no_run_can_have_is_refused(
    shared: Emulator, fate: dict[str, str], reason: str
) -> None:
    """A test that misspells a state must not go on with an ordinary run."""
    answer = shared.ask("POST", "/emulator/next-run", json=fate)

    assert answer.status_code in {400, 501}
    assert reason in answer.json()["message"]
