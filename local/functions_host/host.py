"""The host: indexes an app, starts a listener per trigger, and stops them without losing work."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from local.functions_host.connections import Connections
from local.functions_host.errors import HostError
from local.functions_host.http_server import HttpServer
from local.functions_host.invocations import Invocations
from local.functions_host.services import Services
from local.functions_host.triggers import Triggers, check_emulated
from local.functions_host.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from random import Random

    from local.functions_host.settings import Settings
    from local.functions_host.triggers import Listener
    from local.functions_host.worker import Function

_log = logging.getLogger(__name__)

#: What running invocations get to end once the host stops, as in Azure.
_GRACE_S = 10.0
_RESTART_S = 2.0


class Host:
    """One app, running."""

    def __init__(self, *, app: Path, settings: Settings, random: Random) -> None:
        self._worker = Worker(app)
        self._connections = Connections(settings)
        self._invocations = Invocations(worker=self._worker, random=random)
        services = Services(
            settings=settings, connections=self._connections, invocations=self._invocations
        )
        self._triggers = Triggers(services=services)
        self._http = HttpServer(services)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, port: int, only: Sequence[str]) -> int:
        """Start everything and return the port; raise `HostError` if the app cannot run here."""
        functions = _chosen(await self._worker.start(), only)
        for function in functions:
            check_emulated(function)
        started = self._triggers.connect(functions)
        if not started:
            raise HostError("no function of the app can start")
        await self._http.start(port, functions=started, triggers=self._triggers)
        self._tasks = [asyncio.create_task(_kept_up(one)) for one in self._triggers.listeners]
        self._print_functions(started)
        return self._http.port

    async def stop(self) -> int:
        """Stop listening, let invocations end; say how many had not after the time of grace."""
        for listener in self._triggers.listeners:
            listener.stop()
        await self._http.close()
        for task in self._tasks:
            task.cancel()
        closing = asyncio.wait(self._tasks, timeout=_GRACE_S) if self._tasks else asyncio.sleep(0)
        left, _ = await asyncio.gather(self._invocations.settle(_GRACE_S), closing)
        await self._http.stop()
        await self._connections.close()
        self._worker.stop()
        return left

    def _print_functions(self, functions: Sequence[Function]) -> None:
        lines = ["", "Functions:", ""]
        for function in functions:
            kind = function.trigger["type"]
            if kind.lower() == "httptrigger":
                methods = ",".join(function.trigger.get("methods") or [])
                kind = f"{f'[{methods}] ' if methods else ''}{self._http.url(function)}"
            lines.append(f"    {function.name}: {kind}")
        sys.stderr.write("\n".join([*lines, "", ""]))
        sys.stderr.flush()


async def _kept_up(listener: Listener) -> None:
    """Run a listener, and again after a failure."""
    while True:
        try:
            await listener.run()
        except Exception as error:  # noqa: BLE001 -- The boundary to the SDKs: Azure restarts too.
            text = " ".join(str(error).split()) or type(error).__name__
            _log.warning("%s: listening failed, again in %g s: %s", listener.name, _RESTART_S, text)
            _log.debug("the listener's error", exc_info=error)
        await asyncio.sleep(_RESTART_S)


def _chosen(functions: Sequence[Function], only: Sequence[str]) -> list[Function]:
    known = {function.name for function in functions}
    for name in only:
        if name not in known:
            raise HostError(f"the app has no function {name!r}; it has {', '.join(sorted(known))}")
    return [function for function in functions if not only or function.name in only]
