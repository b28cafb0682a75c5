"""The timer trigger: sleeps until the next occurrence, remembers it in a status blob."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ResourceNotFoundError

from local.functions_host.clock import utc_now
from local.functions_host.connections import HOST_STORAGE
from local.functions_host.errors import FunctionBroken
from local.functions_host.payload import Payload, as_json, aware_time, text
from local.functions_host.schedule import Schedule, parse

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient

    from local.functions_host.services import Services
    from local.functions_host.worker import Function

_log = logging.getLogger(__name__)

#: .NET's default DateTime: this never happened.
_NEVER = datetime(1, 1, 1, tzinfo=UTC)
#: A sleep ends by the monotonic clock; waking now and then follows a wall clock that was set.
_SLEEP_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """When a timer last ran and runs next; `last` and `updated` may be never."""

    last: datetime = _NEVER
    next: datetime
    updated: datetime = _NEVER

    def as_document(self) -> dict[str, str]:
        """As the .NET host stores it and hands it to functions."""
        moments = {"Last": self.last, "Next": self.next, "LastUpdated": self.updated}
        return {
            name: "0001-01-01T00:00:00" if moment == _NEVER else aware_time(moment)
            for name, moment in moments.items()
        }


def read_status(document: str | bytes) -> Status:
    """Read a stored status; a time without a zone is UTC."""
    stored = json.loads(document)
    moments = [datetime.fromisoformat(stored[name]) for name in ("Last", "Next", "LastUpdated")]
    last, following, updated = (m if m.tzinfo else m.replace(tzinfo=UTC) for m in moments)
    return Status(last=last, next=following, updated=updated)


def starting_status(stored: Status | None, schedule: Schedule, now: datetime) -> Status:
    """The status to start with; a past `next` means that an occurrence was missed.

    A schedule that changed while the host was away is not past due: it starts from now.
    """
    if stored is None:
        return Status(next=schedule.next_after(now), updated=now)
    base = next((m for m in (stored.last, stored.updated) if m != _NEVER), now)
    expected = schedule.next_after(base)
    if stored.next == expected:
        return stored
    if now > expected:
        base, expected = now, schedule.next_after(now)
    return Status(next=expected, updated=base)


class TimerListener:
    """One timer function: sequential, never overlapping, never stopped by a failure."""

    def __init__(self, function: Function, services: Services) -> None:
        settings = services.settings
        self.name = function.name
        self._function = function
        self._connections = services.connections
        self._invocations = services.invocations
        self._stopped = asyncio.Event()
        try:
            self._schedule = parse(settings.resolve(function.trigger["schedule"]))
        except ValueError as error:
            raise FunctionBroken(str(error)) from error
        monitored = bool(function.trigger.get("useMonitor", True))
        self._is_monitored = monitored and not self._schedule.is_dense
        self._status_path = f"timers/{settings.host_id}/Host.Functions.{function.name}/status"
        if self._is_monitored:
            self._connections.blobs(HOST_STORAGE)  # Say now that it is not set.
        self._status = Status(next=self._schedule.next_after(utc_now()))

    def stop(self) -> None:
        """End a wait between two retries."""
        self._stopped.set()

    async def run(self) -> None:
        """Fire until cancelled; a running invocation is seen through."""
        now = utc_now()
        if self._is_monitored:
            stored = await self._stored_status()
            self._status = starting_status(stored, self._schedule, now)
            if self._status != stored:
                await self._store()
        if self._is_monitored and now > self._status.next:
            due = aware_time(self._status.next)
            _log.info("%s is past due: it should have run at %s", self.name, due)
            await self._invocations.see_through(self._fire(is_past_due=True))
        elif self._function.trigger.get("runOnStartup", False):
            await self._invocations.see_through(self._fire())
        while True:
            await self._sleep_until(self._status.next)
            await self._invocations.see_through(self._fire())

    async def run_now(self) -> None:
        """Fire once on request, outside the schedule and without touching its status."""
        await self._invocations.run(self._function, self._payload(), given_up=self._stopped)

    async def _fire(self, *, is_past_due: bool = False) -> None:
        started = utc_now()
        payload = self._payload(is_past_due=is_past_due)
        await self._invocations.run(self._function, payload, given_up=self._stopped)
        # From the start, not the end: an invocation longer than the interval is followed by the
        # occurrence it ran over, once.
        following = self._schedule.next_after(started)
        self._status = replace(self._status, last=started, next=following, updated=started)
        if self._is_monitored:
            await self._store()

    def _payload(self, *, is_past_due: bool = False) -> Payload:
        status: dict[str, Any] | None = self._status.as_document() if self._is_monitored else None
        value = {
            "Schedule": {"AdjustForDST": True},
            "ScheduleStatus": status,
            "IsPastDue": is_past_due,
        }
        now = utc_now().strftime("%m/%d/%Y %H:%M:%S")
        return Payload(value=as_json(value), metadata={"TimerTrigger": text(now)})

    async def _sleep_until(self, moment: datetime) -> None:
        # No event to wait for: time passes by itself.
        while (left_s := (moment - utc_now()).total_seconds()) > 0:  # noqa: ASYNC110 -- As above.
            await asyncio.sleep(min(left_s, _SLEEP_S_MAX))

    async def _stored_status(self) -> Status | None:
        try:
            blob = await self._status_blob()
            download = await blob.download_blob()
            return read_status(await download.readall())
        except ResourceNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("%s: its stored status is unreadable and replaced: %s", self.name, error)
            return None

    async def _store(self) -> None:
        document = json.dumps(self._status.as_document(), separators=(",", ":"))
        try:
            blob = await self._status_blob()
            await blob.upload_blob(document.encode(), overwrite=True)
        except AzureError as error:
            # As in Azure: the schedule goes on, a restart may repeat or miss an occurrence.
            _log.warning("%s: its status was not stored: %s", self.name, error)

    async def _status_blob(self) -> BlobClient:
        return (await self._connections.host_container()).get_blob_client(self._status_path)
