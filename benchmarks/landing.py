"""Landing: what exactly once costs beside bare encoding and one upload; memory; storage calls.

    python benchmarks/landing.py

Everything runs against a real Azurite that the script starts. CPU is this process's own
(`time.process_time`), so neighbours on the machine do not matter; ratios are of one run.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import fastavro

sys.path.insert(0, str(Path(__file__).parents[1]))

from azure.storage.blob.aio import BlobServiceClient

from local import azurite_process
from shared.adapters.blob_storage import CONTAINERS, BlobQuarantine
from shared.adapters.claim_check import BlobClaims
from shared.adapters.memory import MemoryClock, MemoryHub
from shared.adapters.raw_blobs import BlobAttempts, BlobRawStore
from shared.domain.raw_blob import SCHEMA, HubBatch, HubEvent
from shared.flow.hub_to_raw import land_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
_SCHEMA = fastavro.parse_schema(SCHEMA)


def events_of(first: int, *, count: int, size: int) -> tuple[HubEvent, ...]:
    """Events whose bodies compress like JSON does."""
    chance = random.Random(first)
    words = [f'"{chance.randrange(10**9)}":{chance.random():.6f},' for _ in range(200)]
    return tuple(
        HubEvent(
            sequence=number,
            offset=str(number),
            enqueued_at=NOON + timedelta(milliseconds=number),
            attributes={
                "specversion": "1.0", "id": f"{number:032x}", "source": "/sources/bench",
                "type": "dev.millrace.records", "recordcount": "40",
            },
            body="".join(chance.choices(words, k=size // 20 + 1))[:size].encode(),
        )
        for number in range(first, first + count)
    )  # fmt: skip


async def bare(service: BlobServiceClient, events: tuple[HubEvent, ...], name: str) -> None:
    """What nobody can do without: encode, upload."""
    buffer = io.BytesIO()
    rows = (
        {
            "sequence_number": event.sequence,
            "offset": event.offset,
            "enqueued_time": event.enqueued_at,
            "partition": "0",
            "attributes": event.attributes,
            "quarantined": "",
            "body": event.body,
        }
        for event in events
    )
    fastavro.writer(buffer, _SCHEMA, rows, codec="zstandard")
    await service.get_blob_client("raw", name).upload_blob(buffer.getvalue())


class Landing:
    """The step, with its real adapters."""

    def __init__(self, service: BlobServiceClient, material: str) -> None:
        """Each material is a chain of its own."""
        self.material = material
        self.ports = {
            "hub": MemoryHub(),
            "raw": BlobRawStore(service),
            "claims": BlobClaims(service),
            "quarantine": BlobQuarantine(service),
            "attempts": BlobAttempts(service),
            "clock": MemoryClock(),
        }

    async def land(self, events: tuple[HubEvent, ...]) -> None:
        """Land one batch."""
        batch = HubBatch(material=self.material, partition="0", events=events)
        await land_batch(batch, **self.ports)  # type: ignore[arg-type]  # Ports by name.


async def compare(service: BlobServiceClient, *, count: int, size: int) -> None:
    """CPU of both, batch by batch in turn."""
    landing = Landing(service, f"m{count}x{size}")
    await landing.land(events_of(0, count=count, size=size))
    ratios, ours, theirs = [], [], []
    for number in range(1, ROUNDS + 1):
        events = events_of(number * count, count=count, size=size)
        start = time.process_time()
        await bare(service, events, f"bare/{count}x{size}/{number}")
        middle = time.process_time()
        await landing.land(events)
        end = time.process_time()
        theirs.append((middle - start) / count * 1e6)
        ours.append((end - middle) / count * 1e6)
        ratios.append((end - middle) / (middle - start))
    print(
        f"{count:>5} events of {size:>6} B: landing {statistics.median(ours):6.1f} µs an event, "
        f"bare {statistics.median(theirs):6.1f} µs, ratio {statistics.median(ratios):.2f}"
    )


async def memory(service: BlobServiceClient) -> None:
    """Peak of a large batch, beside its own size."""
    events = events_of(0, count=1000, size=64_000)
    size = sum(len(event.body) for event in events)
    landing = Landing(service, "large")
    tracemalloc.start()
    await landing.land(events)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f" 1000 events of  64000 B: batch {size / 1e6:.0f} MB, landing takes {peak / 1e6:.0f} MB "
        f"more, together {1 + peak / size:.2f} times the batch"
    )


async def calls(service: BlobServiceClient) -> None:
    """Requests of one batch, with few blobs there and with 10,000."""
    counted: list[str] = []
    landing = Landing(service, "many")
    sequence = 0
    for blobs in (1, 10_000):
        while sequence < blobs:
            await landing.land(events_of(sequence, count=1, size=10))
            sequence += 1
            if sequence % 2000 == 0:
                print(f"       {sequence:,} blobs landed", file=sys.stderr)
        counted.clear()
        with counting(service, counted):
            await landing.land(events_of(sequence, count=1, size=10))
        sequence += 1
        print(f"{blobs:>6} blobs before: {len(counted)} storage calls: {', '.join(counted)}")


class counting:  # noqa: N801 -- Reads as a statement.
    """Note each request that leaves through the service's pipeline."""

    def __init__(self, service: BlobServiceClient, into: list[str]) -> None:
        """`into` takes the methods."""
        self.transport = service._pipeline._transport  # noqa: SLF001 -- The SDK has no hook for it.
        self.into = into

    def __enter__(self) -> None:
        """Stand between."""
        self.send = self.transport.send

        async def send(request, **options):  # noqa: ANN001, ANN003, ANN202 -- The SDK's own types.
            self.into.append(request.method)
            return await self.send(request, **options)

        self.transport.send = send

    def __exit__(self, *_: object) -> None:
        """Step aside."""
        self.transport.send = self.send


def azurite(folder: str) -> Iterator[str]:
    """A real Azurite."""
    base = 20_000 + os.getpid() % 10_000
    ports = {"blob": base, "queue": base + 1, "table": base + 2}
    command = azurite_process.command(Path(folder), **ports)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield azurite_process.connection_string(**ports)
        process.terminate()


async def main() -> None:
    """All three."""
    with tempfile.TemporaryDirectory() as folder:
        for connection in azurite(folder):
            async with BlobServiceClient.from_connection_string(connection) as service:
                for container in CONTAINERS:
                    await service.create_container(container)
                for count, size in ((1000, 1000), (1000, 10_000), (100, 60_000)):
                    await compare(service, count=count, size=size)
                await memory(service)
                await calls(service)


if __name__ == "__main__":
    asyncio.run(main())
