"""The server: the emulator as one object, to be entered, used through its port, and left."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import time
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Self

from local.event_hubs.broker import Broker, Hub
from local.event_hubs.connection import Connection
from local.event_hubs.frames import Failure
from local.faults import Faults
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from shared.domain.document import EventHub

_LOG = logging.getLogger(__name__)

_EXPIRY_INTERVAL_S = 30.0
_GOODBYE_S = 1.0


def wall_clock_ms() -> int:
    """Read the time that events are enqueued at."""
    return time.time_ns() // 1_000_000


class EventHubs:
    """A namespace of hubs on 127.0.0.1, its events in `folder`, from entering to leaving."""

    def __init__(
        self,
        hubs: Sequence[EventHub],
        folder: Path,
        *,
        port: int = 0,
        faults: Faults | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.port = port
        self._plans = hubs
        self._folder = folder
        self._faults = faults or Faults()
        self._now_ms = now_ms
        self._connections: set[Connection] = set()
        self._resources = AsyncExitStack()

    @property
    def connection_string(self) -> str:
        """What a client of the Azure SDK connects with; the key is never checked."""
        return (
            f"Endpoint=sb://127.0.0.1:{self.port};SharedAccessKeyName=local;SharedAccessKey=local;"
            "UseDevelopmentEmulator=true"
        )

    async def __aenter__(self) -> Self:
        """Recover the events and listen; raise `Misconfigured` when that cannot be."""
        async with AsyncExitStack() as resources:
            resources.enter_context(_locked(self._folder))
            hubs = [
                resources.enter_context(closing(Hub(plan, self._folder, self._now_ms())))
                for plan in self._plans
            ]
            self.broker = Broker(hubs, now_ms=self._now_ms, faults=self._faults)
            await self._listen(resources)
            expiry = asyncio.create_task(self._expire_for_ever())
            resources.push_async_callback(_cancel, expiry)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    def inject(self, faults: Faults) -> None:
        """Misbehave like this from now on."""
        self.broker.inject(faults)

    async def _listen(self, resources: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(
                lambda: Connection(self.broker, self._connections), "127.0.0.1", self.port
            )
        except OSError as error:
            raise Misconfigured(
                "--port", f"{self.port} cannot be used: {error.strerror}"
            ) from error
        resources.push_async_callback(self._hang_up, server)
        self.port = server.sockets[0].getsockname()[1]

    async def _hang_up(self, server: asyncio.Server) -> None:
        server.close()
        for connection in list(self._connections):
            connection.close(Failure("amqp:connection:forced", "The emulator stops."))
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), _GOODBYE_S)
        server.abort_clients()
        await server.wait_closed()

    async def _expire_for_ever(self) -> None:
        while True:
            try:
                self.broker.expire()
            except OSError as error:
                _LOG.error("expired events could not be deleted: %s", error)
            await asyncio.sleep(_EXPIRY_INTERVAL_S)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second emulator out of the folder; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Misconfigured("--data", f"{folder} is in use by another emulator") from error
        yield


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
