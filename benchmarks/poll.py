"""Polling: what a record costs from the source to the hub, beside bare parsing and re-writing.

    python benchmarks/poll.py [--pages 100]

A local server gives pages of 1,000 records of 500 bytes; the hub is the emulator, the cursor and
the journal are in a real Azurite. CPU is this process's own (`time.process_time`): what the
function process spends. Ratios are of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from azure.eventhub.aio import EventHubProducerClient
from xxhash import xxh3_64_digest

from local import azurite_process
from shared.adapters.blob_storage import CONTAINERS
from shared.adapters.cursor_blobs import BlobCursorStore
from shared.adapters.event_hubs import EventHubs
from shared.adapters.http_source import HttpSource
from shared.adapters.memory import MemoryQuarantine
from shared.adapters.system import SystemClock
from shared.connections import lake_clients
from shared.domain import document as documents
from shared.domain.json_page import JsonPaths, slice_page
from shared.domain.seen import Seen
from shared.flow.source_to_hub import poll_source
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.domain.document import Document
    from shared.domain.poll import SourcePolled

ROOT = Path(__file__).parents[1]
PAGE = 1000
SERVER = """
import hashlib, random, sys, orjson
from aiohttp import web
pages = int(sys.argv[1]); made = {}
def page(number):
    chance = random.Random(number)
    return orjson.dumps({"items": [{
        "id": number * 1000 + i, "created": "2026-11-20T12:00:00.123Z",
        "updated": "2026-11-20T12:00:00.123Z", "a": chance.random(), "b": chance.random(),
        "c": None, "ok": True, "n": chance.randrange(10**6), "s": "x" * 100, "t": "y" * 100,
        "u": "z" * 120} for i in range(1000 if number < pages else 0)]})
async def answer(request):
    number = int(request.query.get("page", 0))
    if number not in made:
        made.clear(); body = page(number); made[number] = body, hashlib.md5(body).hexdigest()
    body, tag = made[number]
    tagged = "tag" in request.query
    if tagged and request.headers.get("If-None-Match") == tag:
        return web.Response(status=304)
    return web.Response(
        body=body, content_type="application/json", headers={"ETag": tag} if tagged else {})
app = web.Application(); app.router.add_get("/items", answer)
async def main():
    runner = web.AppRunner(app); await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0); await site.start()
    print(site._server.sockets[0].getsockname()[1], flush=True)
    import asyncio; await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
import asyncio; asyncio.run(main())
"""


def start(stack: ExitStack, command: list[str]) -> bytes:
    """Start a service that ends with this script; its first line."""
    process = stack.enter_context(
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    return process.stdout.readline()


def document_of(port: int, *, size: int) -> Document:
    """Three sources: many pages, one page without and one with an ETag."""
    base: dict[str, Any] = {
        "schedule": "0 0 0 1 1 *", "records": "items", "publishes": "things",
        "limits": {"seconds": 500},
    }  # fmt: skip
    url = f"http://127.0.0.1:{port}/items"
    paging = {"kind": "pageNumber", "first": 0, "size": PAGE, "sizeParameter": "size"}
    return documents.parse(
        json.dumps(
            {
                "name": "bench",
                "sources": [
                    {**base, "name": "many", "url": url, "paging": paging},
                    {**base, "name": "plain", "url": url},
                    {**base, "name": "tagged", "url": url + "?tag=1"},
                ],
                "eventhubs": [{"material": "things", "partitions": 4, "maxEventBytes": size}],
            }
        )
    )


def floor(body: bytes) -> float:
    """Microseconds a record of parsing a page and writing each record again."""
    begin = time.process_time()
    for _ in range(20):
        lines = [orjson.dumps(record) for record in orjson.loads(body)["items"]]
    assert len(lines) == PAGE
    return (time.process_time() - begin) / 20 / PAGE * 1e6


def slicing(body: bytes) -> float:
    """Microseconds a record of slicing a page."""
    paths = JsonPaths(records="items")
    begin = time.process_time()
    for _ in range(20):
        records, _ = slice_page(body, paths)
    assert len(records) == PAGE
    return (time.process_time() - begin) / 20 / PAGE * 1e6


def index_of_a_million() -> None:
    """Memory and time of what is seen of a source with 1,000,000 records."""
    import resource  # noqa: PLC0415 -- Only here.

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before, begin = peak(), time.process_time()
    seen = Seen()
    for start_ in range(0, 1_000_000, PAGE):
        hashes = [xxh3_64_digest(str(i).encode()) for i in range(start_, start_ + PAGE)]
        seen.sift(hashes, [each[:7] for each in hashes], all_=False)
    filled = time.process_time() - begin
    entries = sum(len(piece) for piece in seen.pieces(1 << 20))
    held = (peak() - before) / 1024
    other, begin = Seen(), time.process_time()
    for piece in seen.pieces(1 << 20):
        other.load(piece)
    loaded = time.process_time() - begin
    print(
        f"1,000,000 records seen: {held:.0f} MB of memory, {entries / 1e6:.0f} MB in the journal; "
        f"{filled:.2f} µs to sift one, {loaded:.2f} s to load all"
    )


async def measure(document: Document, connection: str, hubs: str, *, pages: int) -> None:
    """Poll from nothing, then again, then two sources that have nothing new."""
    async with (
        lake_clients(Settings.read({"LAKE": connection}), None)[0] as blobs,
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        for container in CONTAINERS:
            await blobs.create_container(container)
        hub = EventHubs(
            lambda name: EventHubProducerClient.from_connection_string(hubs, eventhub_name=name),
            lambda _: None,  # type: ignore[arg-type, return-value]  # Nothing is read back.
        )
        clock, quarantine = SystemClock(), MemoryQuarantine()
        ports: dict[str, Any] = {
            "reader": HttpSource(session, {}, clock), "hub": hub, "quarantine": quarantine,
            "cursors": BlobCursorStore(blobs), "clock": clock,
        }  # fmt: skip

        async def poll(name: str) -> tuple[SourcePolled, float]:
            begin = time.process_time()
            report = await poll_source(document.source(name), document, **ports)
            return report, time.process_time() - begin

        await poll("plain")  # Opens connections.
        report, cpu = await poll("many")
        sent = report.records_sent
        print(f"first poll: {sent:,} records, {cpu / sent * 1e6:.2f} µs CPU a record")
        assert sent == pages * PAGE
        report, cpu = await poll("many")
        print(f"again, unchanged, without ETag: {cpu / report.records_seen * 1e6:.2f} µs a record")
        await poll("tagged")
        for name in ("plain", "tagged"):
            best = 1e9
            for _ in range(10):
                report, cpu = await poll(name)
                best = min(best, cpu)
            print(f"{name}, nothing new: {report.requests} request, {best * 1e3:.2f} ms CPU")
        await hub.close()


def main() -> None:
    """Start what is needed, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=100)
    pages = parser.parse_args().pages
    chance = random.Random(0)
    body = orjson.dumps(
        {"items": [{"id": i, "a": chance.random(), "s": "x" * 455} for i in range(PAGE)]}
    )
    print(f"floor (orjson, parse and write again): {floor(body):.2f} µs a record")
    print(f"slicing: {slicing(body):.2f} µs a record")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = int(start(stack, [sys.executable, "-c", SERVER, str(pages)]))
        document = document_of(port, size=60_000)
        (folder / "pipeline.json").write_text(document.model_dump_json(by_alias=True))
        blob, queue, table = (17_000 + os.getpid() % 1000 * 3 + i for i in range(3))
        start(stack, azurite_process.command(folder, blob=blob, queue=queue, table=table))
        line = start(
            stack,
            [sys.executable, "-m", "local.event_hubs", "--pipeline", str(folder / "pipeline.json"),
             "--data", str(folder / "hubs"), "--port", "0", "--with-parent"],
        )  # fmt: skip
        hubs = (
            f"Endpoint=sb://{line.split()[-1].decode()};SharedAccessKeyName=x;"
            "SharedAccessKey=eA==;UseDevelopmentEmulator=true;"
        )
        connection = azurite_process.connection_string(blob=blob, queue=queue, table=table)
        asyncio.run(measure(document, connection, hubs, pages=pages))
    index_of_a_million()


if __name__ == "__main__":
    main()
