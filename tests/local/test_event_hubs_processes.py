"""The local event hubs as a process: started, refused, told to stop, killed in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import TYPE_CHECKING

import pytest
from azure.eventhub import EventData

from local.event_hubs import EventHubs
from local.faults import CRASH_EXIT_CODE
from tests.local_event_hubs import (
    HUB,
    PATIENCE_S,
    ROOT,
    bodies,
    body,
    connections_break,
    hub,
    peer,
    producer,
    receive,
    sending,
    stored,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


#: Draws a crash after the append.
SEED_OF_CRASH_AFTER = 0


async def start(folder: Path, *options: str, port: int = 0, partitions: int = 1) -> Process:
    """Start the command."""
    pipeline = folder / "pipeline.json"
    plan = {"material": HUB, "partitions": partitions}
    pipeline.write_text(json.dumps({"name": "test", "eventhubs": [plan]}))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local.event_hubs", "--pipeline", str(pipeline),
        "--data", str(folder / "data"), "--port", str(port), "--with-parent", *options,
        cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def announced_port(process: Process) -> int:
    """Wait for the line that says where it listens."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    assert line.startswith(b"event_hubs listening on 127.0.0.1:")
    return int(line.rpartition(b":")[2])


@contextlib.asynccontextmanager
async def running(folder: Path, *options: str, port: int = 0) -> AsyncIterator[tuple[Process, int]]:
    """Run the command; hands over the process and its port."""
    process = await start(folder, *options, port=port)
    try:
        yield process, await announced_port(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def connection_string(port: int) -> str:
    """Address a process."""
    return (
        f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=local;SharedAccessKey=local;"
        "UseDevelopmentEmulator=true"
    )


@connections_break
async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """The landing behind the hub is exactly once; it can only be if the hub keeps its word."""
    acknowledged: list[str] = []

    async def send_until(enough: asyncio.Event, port: int) -> None:
        async with producer(
            connection_string(port), retry_total=200, retry_mode="fixed", retry_backoff_factor=0.1
        ) as client:
            for batch in itertools.count():
                texts = [f"{batch}-{number}" for number in range(20)]
                await client.send_batch([EventData(text + " " * 5000) for text in texts])
                acknowledged.extend(texts)
                if enough.is_set():
                    return

    async with running(tmp_path) as (process, port):
        enough = asyncio.Event()
        sender = asyncio.create_task(send_until(enough, port))
        await until(lambda: len(acknowledged) > 200)
        process.kill()
        await process.wait()
    acknowledged_before = len(acknowledged)
    async with running(tmp_path, port=port):
        await until(lambda: len(acknowledged) > acknowledged_before + 100)
        enough.set()
        await sender
    gc.collect()

    async with EventHubs([hub(partitions=1)], tmp_path / "data") as server:
        count = len(stored(server))
        received = await receive(server.connection_string, count, prefetch=3000)

    texts = [text.strip() for text in bodies(received)]
    assert list(dict.fromkeys(texts)) == acknowledged
    assert [event.sequence_number for event in received] == list(range(count))


async def test_a_drawn_crash_happens_after_the_append(tmp_path: Path) -> None:
    """Between storing and answering is where a sender and its hub disagree."""
    async with (
        running(tmp_path, "--faults", f"seed={SEED_OF_CRASH_AFTER},crash=1") as (
            process,
            port,
        ),
        peer(port) as client,
    ):
        await client.open()
        await client.attach(HUB, receives=False)
        client.write(sending(body("one")))

        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == CRASH_EXIT_CODE
    async with EventHubs([hub(partitions=1)], tmp_path / "data") as server:
        assert stored(server) == ["one"]


async def test_a_refused_start_is_one_line(tmp_path: Path) -> None:
    """Somebody changed a number in pipeline.json; a traceback would hide which."""
    async with running(tmp_path):
        in_use = await start(tmp_path)
        second_said = (await in_use.communicate())[1].decode()
    changed = await start(tmp_path, partitions=2)
    changed_said = (await changed.communicate())[1].decode()
    misspelt = await start(tmp_path, "--faults", "bussy=1")
    misspelt_said = (await misspelt.communicate())[1].decode()

    assert [one.returncode for one in (in_use, changed, misspelt)] == [2, 2, 2]
    assert "is in use by another emulator" in second_said
    assert "wants 2 partitions for the hub 'quakes', which has 1" in changed_said
    assert "but not 'bussy'" in misspelt_said
    assert all(said.count("\n") == 1 for said in (second_said, changed_said, misspelt_said))


@pytest.mark.parametrize("how", ["terminated", "orphaned"])
async def test_it_ends_cleanly_when_told_or_left_alone(tmp_path: Path, how: str) -> None:
    """An emulator nobody ends keeps its port, and the next start fails."""
    async with running(tmp_path) as (process, port), peer(port) as client:
        await client.open()
        if how == "terminated":
            process.send_signal(signal.SIGTERM)
        elif process.stdin:
            process.stdin.close()

        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
