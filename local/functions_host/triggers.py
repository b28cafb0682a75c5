"""Triggers: which listener serves which function, and what of a binding is emulated at all."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from local.functions_host.errors import FunctionBroken, NotEmulated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from local.functions_host.blob_trigger import BlobTrigger
    from local.functions_host.services import Services
    from local.functions_host.worker import Function

_log = logging.getLogger(__name__)

_EMULATED = {"timertrigger", "eventhubtrigger", "blobtrigger", "httptrigger"}
_RETRIED = {"timertrigger", "eventhubtrigger"}

#: Starts an invocation by hand; gets the `input` of the request.
type RunNow = Callable[[str], Awaitable[None]]


class Listener(Protocol):
    """What waits for something and then invokes functions."""

    name: str

    def stop(self) -> None:
        """Begin no retry from here on."""

    async def run(self) -> None:
        """Listen until cancelled."""


@dataclass(slots=True, kw_only=True)
class Triggers:
    """The listeners of an app, what can be started by hand, and what cannot start at all."""

    services: Services
    listeners: list[Listener] = field(default_factory=list)
    by_hand: dict[str, RunNow] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def connect(self, functions: Iterable[Function]) -> list[Function]:
        """Make the listeners; return the functions that can start, report the others."""
        started: list[Function] = []
        blobs: list[BlobTrigger] = []
        for function in functions:
            if self.services.settings.is_disabled(function.name):
                _log.info("%s is disabled by a setting", function.name)
                continue
            try:
                self._connect(function, blobs)
            except FunctionBroken as error:
                _log.error("%s cannot start: %s", function.name, error)
                self.problems.append(f"{function.name}: {error}")
            else:
                started.append(function)
        if blobs:
            self._connect_blobs(blobs)
        return started

    # The SDKs behind a listener take up to half a second to import: only those the app needs.

    def _connect(self, function: Function, blobs: list[BlobTrigger]) -> None:
        match function.trigger["type"].lower():
            case "timertrigger":
                from local.functions_host.timer import TimerListener  # noqa: PLC0415 -- See above.

                timer = TimerListener(function, self.services)
                self.listeners.append(timer)
                self.by_hand[function.name] = lambda _: timer.run_now()
            case "eventhubtrigger":
                from local.functions_host.event_hub import (  # noqa: PLC0415 -- See above.
                    EventHubListener,
                )

                self.listeners.append(EventHubListener(function, self.services))
            case "blobtrigger":
                from local.functions_host.blob_trigger import BlobTrigger  # noqa: PLC0415 -- See above.

                blobs.append(BlobTrigger.of(function, self.services))
            case "httptrigger":
                self.services.settings.resolve(function.trigger.get("route") or "")

    def _connect_blobs(self, blobs: Sequence[BlobTrigger]) -> None:
        from local.functions_host.blob_queue import BlobQueue  # noqa: PLC0415 -- See above.
        from local.functions_host.blob_scan import BlobScan  # noqa: PLC0415 -- See above.

        queue = BlobQueue(blobs, self.services)
        self.listeners.append(queue)
        containers: dict[tuple[str, str], list[BlobTrigger]] = {}
        for blob in blobs:
            containers.setdefault((blob.connection, blob.path.container), []).append(blob)
            self.by_hand[blob.function.name] = functools.partial(queue.run_now, blob)
        for triggers in containers.values():
            self.listeners.append(BlobScan(triggers, queue, self.services))


def check_emulated(function: Function) -> None:
    """Raise `NotEmulated` for a function that would run differently in Azure, or not at all here.

    The host then ends: leaving the function out would go unnoticed until it is missed.
    """
    kind = function.trigger["type"]
    for binding in function.bindings:
        if binding["type"].lower() not in _EMULATED and binding["type"] != "http":
            raise NotEmulated(
                f"{function.name}: binding type {binding['type']} is not emulated; "
                "name the other functions with --functions to run without it"
            )
        if (binding.get("properties") or {}).get("SupportsDeferredBinding"):
            raise NotEmulated(f"{function.name}: SDK types as parameters are not emulated")
    if function.retry is not None and kind.lower() not in _RETRIED:
        raise NotEmulated(f"{function.name}: a {kind} has no retry policy in Azure either")
