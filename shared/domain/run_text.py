"""The run as text: what a person or a program is told about it, and what is to be done next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.cloud_event import rfc3339
from shared.domain.errors import Misconfigured
from shared.domain.fields import nearest
from shared.domain.run import RunKind, RunState, described

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from shared.domain.run import Progress, Run

_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60
#: What a person may call the states to look at.
SELECTIONS: dict[str, frozenset[RunState]] = {
    "all": frozenset(RunState),
    "open": frozenset({RunState.PLANNED, RunState.LAUNCHED, RunState.RUNNING}),
    **{str(state): frozenset({state}) for state in RunState},
}


class RunAbsent(Misconfigured):
    """No run has this id: look at the list."""

    def __init__(self, run_id: str, *, known: Iterable[str] = ()) -> None:
        """The id, as it was asked for; `known` is what it may have been meant to be."""
        hint = nearest(run_id, known) or "; millrace runs list shows them"
        super().__init__("run", f"{run_id!r} is no run's id{hint}")


def summary(run: Run, *, now: datetime) -> dict[str, Any]:
    """A run in a listing; `durationS` of an open one is up to now."""
    return described(run) | {
        "dueAt": rfc3339(run.due_at),
        "durationS": round(duration_of(run, now=now).total_seconds(), 3),
    }


def duration_of(run: Run, *, now: datetime) -> timedelta:
    """From the plan to the end, or up to now."""
    return (run.ended_at or now) - run.planned_at


def span(duration: timedelta) -> str:
    """A duration in its two largest units."""
    seconds = duration.total_seconds()
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def next_step(run: Run, progress: Progress, *, now: datetime, late_after: timedelta) -> str:
    """What is to be done, by whom; `progress` is of the run's table."""
    if run.is_open:
        return _next_of_open(run, now=now, late_after=late_after)
    if run.state is RunState.SUCCEEDED:
        refused = run.counts.get("quarantined", 0)
        look = "millrace quarantine list --kind refusals"
        return f"{refused:,} records were refused: {look}" if refused else "nothing"
    return _next_of_undone(run, progress)


def is_covered(run: Run, progress: Progress) -> bool:
    """Whether a later run of a curated table covers what this one was to do."""
    return any(progress.planned.get(name) != place for name, place in run.inputs.items())


def _next_of_open(run: Run, *, now: datetime, late_after: timedelta) -> str:
    if run.state is RunState.PLANNED:
        if run.due_at > now:
            return f"nothing: it is tried again at {run.due_at:%H:%M:%S} UTC"
        if run.message:
            return "nothing while it is young; if it stays planned, mend what the message says"
        return "nothing: it is launched at the timer's next tick"
    if duration_of(run, now=now) > late_after:
        where = f"job run {run.job_run}" if run.job_run is not None else "the job service"
        return (
            f"it is open for longer than {span(late_after)}: look at {where}; "
            f"to stop it: millrace runs cancel {run.id}"
        )
    return "nothing: the timer follows it"


def _next_of_undone(run: Run, progress: Progress) -> str:
    if run.id in progress.queued:
        return f"nothing: it is tried again after {progress.run_open or 'what is queued before it'}"
    if run.kind is RunKind.MAINTENANCE:
        return "nothing: the table's next maintenance does what this one did not"
    if is_covered(run, progress):
        return f"nothing: a later run of {run.dataset} covers what this one did not do"
    retry = f"millrace runs retry {run.id}"
    if run.state is RunState.CANCELLED:
        return f"what it covers is not in the table; to bring it in: {retry}"
    return f"mend what the message says, then: {retry}"
