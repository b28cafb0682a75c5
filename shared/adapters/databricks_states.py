"""Databricks' states of a job run: what each of them means for a run of ours.

The service says it twice: in `state`, which is old, and in `status`, which is newer and names a
cause. Whichever is there is read; where both are, the cause decides, because it tells a run that a
person cancelled from one that the platform did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.job_run import JobOutcome, JobRun

if TYPE_CHECKING:
    from collections.abc import Mapping

#: `state.life_cycle_state` and `status.state` while a run has not ended.
_UNDER_WAY = {
    "PENDING": JobOutcome.WAITING,
    "QUEUED": JobOutcome.WAITING,
    "BLOCKED": JobOutcome.WAITING,
    "WAITING": JobOutcome.WAITING,
    "WAITING_FOR_RETRY": JobOutcome.WAITING,
    "RUNNING": JobOutcome.RUNNING,
    "TERMINATING": JobOutcome.RUNNING,
}

#: `status.termination_details.code`, where it says more than the result. Other codes are failures.
_CAUSES = {
    "SUCCESS": JobOutcome.SUCCEEDED,
    "SUCCESS_WITH_FAILURES": JobOutcome.SUCCEEDED,
    "USER_CANCELED": JobOutcome.CANCELLED,
    "CANCELED": JobOutcome.FAILED,  # By the platform: it took too long, for example.
    "SKIPPED": JobOutcome.SKIPPED,
    "DISABLED": JobOutcome.SKIPPED,
    "MAX_CONCURRENT_RUNS_EXCEEDED": JobOutcome.SKIPPED,
    "MAX_JOB_QUEUE_SIZE_EXCEEDED": JobOutcome.SKIPPED,
    "WORKSPACE_RUN_LIMIT_EXCEEDED": JobOutcome.SKIPPED,
}

#: `state.result_state`, and those life cycle states that are ends.
_RESULTS = {
    "SUCCESS": JobOutcome.SUCCEEDED,
    "SUCCESS_WITH_FAILURES": JobOutcome.SUCCEEDED,  # The result that the run left decides.
    "FAILED": JobOutcome.FAILED,
    "TIMEDOUT": JobOutcome.FAILED,
    "UPSTREAM_FAILED": JobOutcome.FAILED,
    "EXCLUDED": JobOutcome.FAILED,
    "CANCELED": JobOutcome.CANCELLED,
    "UPSTREAM_CANCELED": JobOutcome.CANCELLED,
    "DISABLED": JobOutcome.SKIPPED,
    "MAXIMUM_CONCURRENT_RUNS_REACHED": JobOutcome.SKIPPED,
    "INTERNAL_ERROR": JobOutcome.FAILED,
    "SKIPPED": JobOutcome.SKIPPED,
}


def job_run_of(answer: Mapping[str, Any]) -> JobRun:
    """Read `state` and `status` of a run, or of a task (Jobs API 2.2)."""
    state, status = answer.get("state") or {}, answer.get("status") or {}
    details = status.get("termination_details") or {}
    cycle = state.get("life_cycle_state") or status.get("state") or ""
    if cycle in _UNDER_WAY:
        return JobRun(outcome=_UNDER_WAY[cycle])
    result, cause = state.get("result_state") or "", details.get("code") or ""
    names = [name for name in (cycle, result, cause) if name and name != "TERMINATED"]
    if not names:  # Neither ended nor a state that we know.
        return JobRun(outcome=JobOutcome.WAITING)
    outcomes = [_CAUSES.get(cause), _RESULTS.get(result), _RESULTS.get(cycle), JobOutcome.FAILED]
    outcome = next(each for each in outcomes if each is not None)
    if outcome is JobOutcome.SUCCEEDED:
        return JobRun(outcome=outcome)
    said = (state.get("state_message") or details.get("message") or "").strip()
    label = ", ".join(dict.fromkeys(names))
    return JobRun(outcome=outcome, message=f"{label}: {said}" if said else label)
