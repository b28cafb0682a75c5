"""What every local service does alike: announce itself, and stop when told or left alone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys


def announce(name: str, port: int) -> None:
    """Say on standard output that the service can be used; the stack waits for this line."""
    sys.stdout.write(f"{name} listening on 127.0.0.1:{port}\n")
    sys.stdout.flush()


async def stopped(*, with_parent: bool) -> None:
    """Return at SIGTERM or SIGINT, or, `with_parent`, at the end of standard input.

    A parent that holds the other end of that pipe takes its services with it however it dies,
    SIGKILL included; nothing is left running and no process id needs to be remembered.
    """
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if with_parent:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        left = asyncio.create_task(reader.read())
        left.add_done_callback(lambda _: told.set())
    await told.wait()
    if with_parent:
        left.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await left
