"""Invocations: one place that retries, reports and waits for whatever the app is running."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from typing import TYPE_CHECKING, Any

from local.functions_host.retry import FOR_EVER
from local.functions_host.worker import Attempt, Outcome

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from random import Random

    from local.functions_host.payload import Payload
    from local.functions_host.worker import Function, Worker

_log = logging.getLogger(__name__)

#: An invocation that takes longer is worth a line of its own.
_SLOW_S = 5.0


class Invocations:
    """Everything the app runs at the moment."""

    def __init__(self, *, worker: Worker, random: Random) -> None:
        self._worker = worker
        self._random = random
        self._running: set[asyncio.Task[Any]] = set()

    async def run(
        self, function: Function, payload: Payload, *, given_up: asyncio.Event | None = None
    ) -> Outcome:
        """Run a function until it succeeds, its retries are exhausted or `given_up` is set.

        Never raises for what the function does. Every attempt carries the same invocation id.
        """
        policy = function.retry
        invocation_id, trace_parent = _new_ids()
        error_before = ""
        for retries in itertools.count():
            attempt = Attempt(
                invocation_id=invocation_id,
                trace_parent=trace_parent,
                retries=retries,
                retries_max=policy.max_retry_count if policy else 0,
                error_before=error_before,
            )
            started = time.monotonic()
            outcome = await self._worker.invoke(function, payload, attempt)
            again_s = None
            if not outcome.ok and policy and not policy.is_exhausted(retries):
                again_s = policy.delay_s(retries, self._random)
            _report(function, outcome, took_s=time.monotonic() - started, attempt=attempt)
            if again_s is None or await _set_within(given_up, again_s):
                return outcome
            error_before = outcome.error
        raise AssertionError("the attempts end inside the loop")

    async def see_through[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Do work to its end, even if whoever waits for it is cancelled meanwhile."""
        return await asyncio.shield(self._tracked(work))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin work that nobody but `settle` waits for."""
        task = self._tracked(work)
        task.add_done_callback(_report_error)
        return task

    async def settle(self, timeout_s: float) -> int:
        """Wait for running work; say how much of it is still running then."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
        return len(self._running)

    def _tracked[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


def _report_error(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the host failed to do its part", exc_info=error)


async def _set_within(event: asyncio.Event | None, timeout_s: float) -> bool:
    if event is None:
        await asyncio.sleep(timeout_s)
        return False
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        return False
    return True


def _new_ids() -> tuple[str, str]:
    """An invocation id and a sampled W3C trace parent: they name this invocation, no more."""
    digits = secrets.token_hex(16)
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(parts), f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _report(function: Function, outcome: Outcome, *, took_s: float, attempt: Attempt) -> None:
    if outcome.ok:
        level = logging.INFO if took_s > _SLOW_S else logging.DEBUG
        _log.log(level, "%s succeeded in %.3f s", function.name, took_s)
        return
    place = f" ({outcome.place})" if outcome.place else ""
    retry = function.retry
    total = "" if retry is None else f", attempt {attempt.retries + 1}"
    if retry is not None and retry.max_retry_count != FOR_EVER:
        total += f" of {retry.max_retry_count + 1}"
    _log.error("%s failed%s: %s%s", function.name, total, outcome.error, place)
    _log.debug("%s", outcome.stack)
