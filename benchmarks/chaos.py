"""Chaos: many records through the local stack while its processes are killed at random.

    python benchmarks/chaos.py --seed 1                the pipeline: nothing lost, nothing doubled
    python benchmarks/chaos.py --seed 1 --plain        the same with a plain landing, to compare

The source answers 429 and 503, resets connections and drips, by the same seed. It shows the next
window of records only when the one before is acknowledged by a conditional GET, and no faster than
processes are killed, so that the kills are spread over the whole run. Exit code 1 when a record or
an event is lost or doubled (`--plain` only tells).
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import fastavro
from aiohttp import web
from azure.storage.blob.aio import BlobServiceClient

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.tables import Tables
from cli.wait import look
from local.stack import Ports, Stack, running
from shared import wiring
from shared.domain import document as documents
from shared.domain.cloud_event import BODY_BYTES_MAX
from shared.domain.errors import MillraceError
from shared.flow.audit_raw import audit_raw
from shared.settings import ROOT, Settings

WINDOWS = 100
REPEATED = 0.1  # Of each window: records of an earlier one, in a newer version.
LARGE_EVERY = 10  # Windows whose first record is too large for an event.
DOCUMENT = {
    "name": "chaos",
    "sources": [
        {
            "name": "readings",
            "url": "%CHAOS_URL%/readings",
            "schedule": "* * * * * *",
            "records": "items",
            "publishes": "readings",
            "limits": {"seconds": 10},
        }
    ],
    "eventhubs": [{"material": "readings", "partitions": 4}],
    "datasets": [
        {
            "name": "readings",
            "consumes": "readings",
            "primaryKey": ["id"],
            "incrementalField": "version",
            "columns": {
                "id": {"type": "string", "required": True},
                "version": {"type": "long", "required": True},
                "value": {"type": "double"},
            },
        }
    ],
}


@dataclass(slots=True)
class Feed:
    """The tool: windows of records, faults by seed, and what it has told for certain."""

    records: int
    kills_planned: int
    random: random.Random
    versions: dict[str, int] = field(default_factory=dict)
    windows: list[bytes] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    done: bool = False

    def make(self) -> None:
        """Write every window; `versions` ends as the table must."""
        fresh = round(self.records / WINDOWS / (1 + REPEATED))
        for number in range(WINDOWS):
            ids = [f"r{number * fresh + each}" for each in range(fresh)]
            known = list(self.versions)
            ids += self.random.sample(known, min(len(known), round(fresh * REPEATED)))
            items = []
            for name in ids:
                self.versions[name] = self.versions.get(name, 0) + 1
                text = "x" * self.random.randrange(100, 300)
                if number % LARGE_EVERY == 0 and not items:
                    text = "x" * (BODY_BYTES_MAX + 1)
                value = round(self.random.random(), 6)
                items.append(
                    {"id": name, "version": self.versions[name], "value": value, "text": text}
                )
            self.windows.append(json.dumps({"items": items}).encode())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The window after the one that the client knows, if it is time; sometimes a fault."""
        known = request.headers.get("If-None-Match", "").strip('"')
        number = int(known) + 1 if known else 0
        if number >= len(self.windows):
            self.done = True
            return web.Response(status=304)
        if known and number > self.kills * len(self.windows) / max(1, self.kills_planned):
            return web.Response(status=304)
        fault = self.random.choices(["", "429", "503", "reset", "drip"], weights=[80, 5, 5, 5, 5])[
            0
        ]
        self.answers[fault or "200"] += 1
        if fault in {"429", "503"}:
            return web.Response(status=int(fault), headers={"Retry-After": "1"})
        body = self.windows[number]
        response = web.StreamResponse(headers={"ETag": f'"{number}"'})
        response.content_type = "application/json"
        response.content_length = len(body)
        await response.prepare(request)
        if fault == "reset":
            await response.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        with suppress(ConnectionError):  # Whoever asked was killed meanwhile.
            if fault == "drip":
                for start in range(0, len(body), len(body) // 8 + 1):
                    await response.write(body[start : start + len(body) // 8 + 1])
                    await asyncio.sleep(0.2)
            else:
                await response.write(body)
        return response


async def kill_at_random(stack: Stack, feed: Feed, *, seed: int) -> Counter[str]:
    """SIGKILL a process of the stack every few seconds, until it is enough."""
    chance = random.Random(seed + 1)
    killed: Counter[str] = Counter()
    while feed.kills < feed.kills_planned:
        await asyncio.sleep(chance.uniform(1.0, 3.0))
        system = chance.choice([each for each in stack.systems if each.name != "source"])
        if system.process is not None and system.process.returncode is None:
            system.process.kill()
            killed[system.name] += 1
            feed.kills += 1
            if feed.kills % 10 == 0:
                print(f"  {feed.kills} kills, answers {dict(feed.answers)}", flush=True)
    return killed


async def raw_events(settings: Settings) -> tuple[Counter[tuple[str, int]], int]:
    """How often each event is in raw, by partition and sequence number, and how many are large."""
    found: Counter[tuple[str, int]] = Counter()
    large = 0
    async with BlobServiceClient.from_connection_string(settings.lake) as service:
        container = service.get_container_client("raw")
        async for blob in container.list_blobs():
            download = await container.download_blob(blob.name)
            for row in fastavro.reader(io.BytesIO(await download.readall())):
                assert isinstance(row, dict)
                found[str(row["partition"]), int(str(row["sequence_number"]))] += 1
                large += len(cast("bytes", row["body"])) > BODY_BYTES_MAX
    return found, large


async def settle(app: wiring.App, feed: Feed, *, plain: bool, limit_s: float) -> list[str]:
    """Wait until everything is caught up; what is left when the time is over."""
    until = time.monotonic() + limit_s
    left = ["nothing was looked at yet"]
    while left and time.monotonic() < until:
        await asyncio.sleep(2)
        try:
            left, status = await look(app)
        except MillraceError as error:
            left = [str(error)]
            continue
        if plain and feed.done:
            await asyncio.sleep(40)  # Nothing tells when a plain landing is done.
            return []
        del status
    return left


def table_of(settings: Settings) -> tuple[int, dict[str, int]]:
    """Rows, and the version of each id."""
    with Tables(settings) as tables:
        _, rows = tables.answer("SELECT id, version FROM readings")
    return len(rows), dict(rows)


async def run(arguments: argparse.Namespace, folder: Path) -> int:
    """One chaos run; the exit code."""
    feed = Feed(arguments.records, arguments.kills, random.Random(arguments.seed))
    feed.make()
    server = web.AppRunner(web.Application(), access_log=None)
    server.app.router.add_get("/readings", feed.answer)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", arguments.ports - 1)
    await site.start()
    os.environ["CHAOS_URL"] = f"http://127.0.0.1:{arguments.ports - 1}"
    pipeline = folder / "pipeline.json"
    pipeline.write_text(json.dumps(DOCUMENT))
    stack = Stack(
        pipeline=pipeline,
        data=folder / "data",
        ports=Ports(base=arguments.ports),
        source_seconds=1,
        say=lambda line: print(f"    {line}", flush=True) if arguments.verbose else None,
        app=ROOT / "benchmarks/plain_landing" if arguments.plain else ROOT,
    )
    started = time.monotonic()
    async with running(stack):
        settings = Settings.read({**os.environ, **stack.settings()})
        async with wiring.connected(settings, documents.load(pipeline)) as app:
            killed = await kill_at_random(stack, feed, seed=arguments.seed)
            left = await settle(app, feed, plain=arguments.plain, limit_s=arguments.limit)
            sent = await app.hub.last_sequences("readings", partitions=4)
            inside, large = await raw_events(settings)
            print(f"seed {arguments.seed}: {sum(killed.values())} kills {dict(killed)}")
            print(f"source answered {dict(feed.answers)}; {time.monotonic() - started:.0f} s")
            expected = {(part, each) for part, last in sent.items() for each in range(last + 1)}
            lost = len(expected - set(inside))
            doubled = sum(times - 1 for times in inside.values())
            print(f"hub events {len(expected):,}: lost {lost:,}, doubled in raw {doubled:,},")
            print(f"  larger than an event may be {large}")
            if arguments.plain:
                return 0
            audited = await audit_raw("", files=app.raw_files, tell=lambda *_: None)
            rows, versions = await asyncio.to_thread(table_of, settings)
            missing = len(set(feed.versions) - set(versions))
            stale = sum(versions.get(key) != each for key, each in feed.versions.items()) - missing
            runs = await app.ledger.runs("readings")
            print(f"audit: {len(audited.findings)} findings in {len(audited.partitions)} chains")
            print(f"runs {len(runs):,}, tried again {sum(each.attempt - 1 for each in runs):,}")
            total = sum(feed.versions.values())
            print(
                f"records {total:,}, ids {len(feed.versions):,}: rows {rows:,}, lost {missing:,},"
            )
            print(f"  in an old version {stale:,}, doubled {rows - len(versions):,}")
            for line in left:
                print(f"still pending: {line}")
            bad = lost + doubled + missing + stale + rows - len(versions)
            return 1 if bad or left or audited.findings else 0


def main() -> None:
    """Read the arguments, run, clean up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--records", type=int, default=205_000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--limit", type=float, default=300, help="seconds to catch up at the end")
    parser.add_argument("--ports", type=int, default=17170)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true", help="keep the data, and say where it is")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        code = asyncio.run(run(arguments, folder))
    finally:
        if arguments.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
