"""What the service says: jobs, runs and errors in the JSON shapes of the Jobs API 2.2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.databricks_jobs.model import LifeCycle, Result

if TYPE_CHECKING:
    from local.databricks_jobs.model import Ending, Job, Run

#: The service's own ceiling; here only the places limit how many runs are active.
_CONCURRENT_RUNS_MAX = 1000

#: States that the newer `status` calls otherwise; its ends differ in their code only.
_NEWER = {
    LifeCycle.WAITING_FOR_RETRY: "WAITING",
    LifeCycle.SKIPPED: "TERMINATED",
    LifeCycle.INTERNAL_ERROR: "TERMINATED",
}

_QUEUED = "Queued until one of the places for processes is free."


def tell_job(job: Job, *, timeout_s: float | None, with_tasks: bool) -> dict[str, Any]:
    """One job, as `jobs/get` and `jobs/list` give it."""
    settings: dict[str, Any] = {
        "name": job.name,
        "email_notifications": {},
        "timeout_seconds": int(timeout_s or 0),
        "max_concurrent_runs": _CONCURRENT_RUNS_MAX,
        "queue": {"enabled": True},
        "format": "MULTI_TASK",
    }
    if with_tasks:
        settings["tasks"] = [{"task_key": job.task_key, **_tell_work(job)}]
    return {"job_id": job.job_id, "settings": settings}


def tell_run(run: Run, *, with_tasks: bool) -> dict[str, Any]:
    """One run of a job, as `jobs/runs/get` and `jobs/runs/list` give it."""
    message = run.ending.message if run.ending else ""
    if run.ending and run.ending.result is Result.FAILED:
        message = f"Task {run.job.task_key} failed with message: {message}."
    answer: dict[str, Any] = {
        "job_id": run.job.job_id,
        "run_id": run.run_id,
        "number_in_job": run.run_id,
        "original_attempt_run_id": run.run_id,
        "job_run_id": run.run_id,
        "run_name": run.job.name,
        "run_type": "JOB_RUN",
        "trigger": "ONE_TIME",
        "format": "MULTI_TASK",
        "job_parameters": [
            {"name": name, "value": value} for name, value in run.parameters.items()
        ],
        # Jobs whose work is in tasks tell these three as 0; the tasks tell them truly.
        "setup_duration": 0,
        "execution_duration": 0,
        "cleanup_duration": 0,
        "run_duration": max(run.ended_ms - run.created_ms, 0),
        **_tell_times(run),
        **_tell_state(run, message),
    }
    if with_tasks:
        answer["tasks"] = [tell_task(run)]
    return answer


def tell_task(run: Run) -> dict[str, Any]:
    """The only task of a run; its id is the one that `jobs/runs/get-output` takes."""
    placed = run.placed_ms or run.ended_ms
    began = run.began_ms or run.ended_ms
    return {
        "run_id": run.task_run_id,
        "job_run_id": run.run_id,
        "task_key": run.job.task_key,
        "run_if": "ALL_SUCCESS",
        **_tell_work(run.job),
        "attempt_number": 0,
        "setup_duration": max(began - placed, 0),
        "execution_duration": max(run.ended_ms - began, 0),
        "cleanup_duration": 0,
        **_tell_times(run),
        **_tell_state(run, run.ending.message if run.ending else ""),
    }


def tell_error(code: str | int, message: str) -> dict[str, Any]:
    """An error, in the shape that the official clients turn into exceptions."""
    return {"error_code": code, "message": message}


def _tell_work(job: Job) -> dict[str, Any]:
    if job.entry_point is None:
        return {"notebook_task": {"notebook_path": job.notebook, "source": "WORKSPACE"}}
    module, _, function = job.entry_point.partition(":")
    package = module.partition(".")[0]
    return {"python_wheel_task": {"package_name": package, "entry_point": function}}


def _tell_times(run: Run) -> dict[str, Any]:
    left_queue = run.placed_ms or run.ended_ms or run.created_ms
    return {
        "start_time": run.created_ms,
        "end_time": run.ended_ms,
        "queue_duration": left_queue - run.created_ms,
    }


def _tell_state(run: Run, message: str) -> dict[str, Any]:
    """The state twice: `state` for clients of long standing, `status` for newer ones."""
    waiting = run.life_cycle is LifeCycle.QUEUED
    state: dict[str, Any] = {
        "life_cycle_state": run.life_cycle,
        "state_message": message,
        "user_cancelled_or_timedout": _was_stopped(run.ending),
    }
    status: dict[str, Any] = {"state": _NEWER.get(run.life_cycle, run.life_cycle)}
    if waiting:
        state["queue_reason"] = _QUEUED
        status["queue_details"] = {"code": "ACTIVE_RUNS_LIMIT_REACHED", "message": _QUEUED}
    if run.ending is not None:
        status["termination_details"] = {
            "code": run.ending.code,
            "type": run.ending.type,
            "message": message,
        }
    if run.ending is not None and not run.is_active:
        state["result_state"] = run.ending.result
    return {"state": state, "status": status}


def _was_stopped(ending: Ending | None) -> bool:
    return ending is not None and ending.result in {Result.CANCELED, Result.TIMEDOUT}
