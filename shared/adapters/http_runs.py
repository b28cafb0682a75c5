"""HTTP for people who operate the pipeline: runs."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from shared.adapters.http_operate import answered
from shared.domain.errors import BadRecord, Misconfigured
from shared.domain.quarantine import Refused
from shared.domain.run_text import SELECTIONS, summary
from shared.flow.operate_runs import cancel_run, retry_run
from shared.flow.read_runs import find_run, list_runs, show_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from azure.functions import HttpRequest

    from shared.domain.document import Document
    from shared.flow.operate_runs import RunOperated
    from shared.ports import Clock, Jobs, Ledger, RunFiles

    type Emit = Callable[[RunOperated], None]

_RUNS_USUAL, _RUNS_MAX = 100, 1000


@answered
async def list_all(
    request: HttpRequest, *, document: Document, ledger: Ledger, clock: Clock
) -> dict[str, Any]:
    """The newest of the selected runs, and how many are selected."""
    dataset, state = request.params.get("dataset", ""), request.params.get("state", "all")
    names = [table.name for table in document.tables]
    for name, value, known in (("dataset", dataset, ("", *names)), ("state", state, SELECTIONS)):
        if value not in known:
            meant = ", ".join(filter(None, known))
            raise BadRecord("bad-request", f"{name}={value!r} is none of {meant}")
    limit = _limit(request.params.get("limit", str(_RUNS_USUAL)))
    tables = [table for table in document.tables if dataset in ("", table.name)]
    found = await list_runs(tables, states=SELECTIONS[state], ledger=ledger)
    now = clock.now()
    return {"selected": len(found), "runs": [summary(run, now=now) for run in found[:limit]]}


@answered
async def show(
    request: HttpRequest, *, document: Document, ledger: Ledger, files: RunFiles, clock: Clock
) -> dict[str, Any]:
    """Everything about one run."""
    now = clock.now()
    shown = await show_run(_id(request), document, ledger=ledger, files=files, now=now)
    return shown.described(now=now)


@answered
async def retry(
    request: HttpRequest, *, document: Document, ledger: Ledger, clock: Clock, emit: Emit
) -> dict[str, Any]:
    """Try a run again."""
    run_id, tables = _id(request), document.tables
    await find_run(run_id, tables=tables, ledger=ledger)
    step = retry_run(run_id, datasets=tables, ledger=ledger, clock=clock)
    return await _operated(step, emit=emit)


@answered
async def cancel(
    request: HttpRequest,
    *,
    document: Document,
    ledger: Ledger,
    jobs: Jobs,
    clock: Clock,
    emit: Emit,
) -> dict[str, Any]:
    """Cancel a run."""
    run_id, tables = _id(request), document.tables
    await find_run(run_id, tables=tables, ledger=ledger)
    step = cancel_run(run_id, datasets=tables, ledger=ledger, jobs=jobs, clock=clock)
    return await _operated(step, emit=emit)


async def _operated(step: Awaitable[RunOperated], *, emit: Emit) -> dict[str, Any]:
    """What the step did; that a run's state forbids it is no fault of the server's settings."""
    try:
        report = await step
    except Misconfigured as error:
        if error.setting != "run":
            raise
        raise Refused(error.setting, error.problem) from error
    emit(report)
    return dataclasses.asdict(report)


def _id(request: HttpRequest) -> str:
    return str(request.route_params.get("run", ""))


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _RUNS_MAX:
        raise BadRecord("bad-request", f"limit={text!r} is no number from 1 to {_RUNS_MAX}")
    return int(text)
