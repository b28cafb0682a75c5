"""The whole chain: GET to queryable Delta rows on the local stack, in CPU per record.

    python benchmarks/chain.py --records 50000
    python benchmarks/chain.py --records 500000 --dlt /path/to/venv/bin/python

CPU is what the kernel has counted for each process and its ended children, from when the stack is
idle until every row is in the table. Wall times say how busy the machine was, no more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.tables import Tables
from local.stack import Ports, Stack, running
from shared import wiring
from shared.domain import document as documents
from shared.flow.source_to_hub import poll_source
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).parent
#: The stack is made to be watched: it hands over each event at once and looks for work all the
#: time, at the cost of many small blobs and runs. Here it looks for work no oftener than Azure
#: does, and lands batches as host.json says (which lets them wait for 30 s, even).
CALM = {
    "AzureFunctionsJobHost__extensions__eventHubs__minEventBatchSize": "100",
    "AzureFunctionsJobHost__extensions__eventHubs__maxWaitTime": "00:00:05",
    "MILLRACE_HOST_BLOB_SCAN_S": "30",
    "MILLRACE_HOST_BALANCE_S": "10",
}
#: Runs are looked after as often as in Azure. The stack takes a few seconds to start.
TRACK_S = 30
START_S = 4
TICKS = os.sysconf("SC_CLK_TCK")
IDLE_S = 6
POLLS = 50
COLUMNS = {
    "id": "string", "number": "long", "updated": "timestamp", "created": "timestamp",
    "count": "integer", "price": "double", "score": "double", "ratio": "double",
    "active": "boolean", "place": "string", "kind": "string", "owner": "string", "text": "string",
}  # fmt: skip


def document(partitions: int) -> dict[str, Any]:
    """The pipeline: one source, one hub, one table."""
    return {
        "name": "chain",
        "sources": [
            {
                "name": "records",
                "url": "%CHAIN_URL%/records",
                "schedule": "*/5 * * * * *",
                "records": "items",
                "paging": {"kind": "nextLink", "in": "body", "path": "next"},
                "cursor": {"field": "updated", "parameter": "since"},
                "limits": {"seconds": 540},
                "publishes": "records",
            }
        ],
        "eventhubs": [{"material": "records", "partitions": partitions}],
        "datasets": [
            {
                "name": "records",
                "consumes": "records",
                "primaryKey": ["id"],
                "incrementalField": "updated",
                "columns": {name: {"type": kind} for name, kind in COLUMNS.items()},
            }
        ],
    }


class CalmStack(Stack):
    """The stack, with runs looked after more rarely."""

    def settings(self) -> dict[str, str]:
        """The app's settings."""
        return super().settings() | {"TRACK_SCHEDULE": f"*/{TRACK_S} * * * * *"}


def cpu_of(stack: Stack) -> dict[str, float]:
    """CPU seconds of every part of the stack so far.

    The function app runs on threads of its own in the host's process; the main one is the host's.
    """
    found = {}
    for system in stack.systems:
        assert system.process is not None
        pid = system.process.pid
        own, ended = spent(f"/proc/{pid}/stat")
        if system.name == "functions":
            main, _ = spent(f"/proc/{pid}/task/{pid}/stat")
            found |= {"function app": own - main + ended, "functions host": main}
        elif system.name == "jobs":
            living = sum(spent_with_ended(child) for child in children(pid))
            found |= {"transform": ended + living, "jobs": own}
        else:
            found[system.name] = own + ended
    return found


def since(before: dict[str, float], now: dict[str, float]) -> dict[str, float]:
    """What was spent meanwhile."""
    return {name: seconds - before[name] for name, seconds in now.items()}


def spent(stat: str) -> tuple[float, float]:
    """CPU seconds of a process or thread itself, and of its children that have ended."""
    fields = Path(stat).read_text().rpartition(")")[2].split()
    user, system, user_ended, system_ended = (int(field) / TICKS for field in fields[11:15])
    return user + system, user_ended + system_ended


def spent_with_ended(pid: int) -> float:
    """CPU seconds of a process, its children and theirs."""
    try:
        return sum(spent(f"/proc/{pid}/stat")) + sum(map(spent_with_ended, children(pid)))
    except FileNotFoundError:
        return 0


def children(pid: int) -> list[int]:
    """The living children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


@contextlib.asynccontextmanager
async def source(records: int) -> AsyncIterator[str]:
    """The source's address; it is a process of its own, and what it spends is nobody's."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "chain_source.py"), "--records", str(records),
        stdin=PIPE, stdout=PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        announced = (await process.stdout.readline()).decode()
        yield f"http://{announced.strip().rpartition(' ')[2]}"
    finally:
        process.stdin.close()
        await process.wait()


def stats(url: str) -> dict[str, Any]:
    """What the source was asked, and how many ids it has."""
    with urllib.request.urlopen(f"{url}/stats") as answer:  # noqa: S310 -- Our own server.
        found: dict[str, Any] = json.load(answer)
    return found


async def fill(app: wiring.App, ids: int, *, limit_s: float) -> int:
    """Wait until every id is in the table; how many runs it took."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        await asyncio.sleep(1)
        runs = await app.ledger.runs("records")
        inserted = sum(run.counts.get("inserted", 0) for run in runs)
        if inserted >= ids and not (await app.ledger.progress("records")).run_open:
            return len(runs)
    raise SystemExit("the table is not complete in time; see the logs with --keep")


async def poll_for_nothing(app: wiring.App, url: str) -> tuple[float, float]:
    """Requests and CPU seconds of a poll that finds nothing new, in this process once it is warm.

    The function app polls, too, but every five seconds only.
    """
    [each] = app.document.sources
    for number in range(2 * POLLS):
        if number == POLLS:
            asked, start = sum(stats(url)["asked"].values()), time.process_time()
        report = await poll_source(
            each, app.document, reader=app.source, hub=app.hub, cursors=app.cursors,
            quarantine=app.quarantine, clock=app.clock,
        )  # fmt: skip
        assert not report.records_sent, "the source has told everything"
    spent_s = time.process_time() - start
    return (sum(stats(url)["asked"].values()) - asked) / POLLS, spent_s / POLLS


async def measure(arguments: argparse.Namespace, folder: Path, url: str) -> bool:
    """Run the chain and tell; whether every row is there, once."""
    ids = stats(url)["ids"]
    pipeline = folder / "pipeline.json"
    pipeline.write_text(json.dumps(document(arguments.partitions)))
    os.environ.update(CALM | {"CHAIN_URL": url})
    stack = CalmStack(
        pipeline=pipeline,
        data=folder / "data",
        ports=Ports(base=arguments.ports),
        source_seconds=1,
        say=lambda line: print(f"    {line}", flush=True),
    )
    # Just before the clock strikes: then how many runs it takes is no matter of chance.
    await asyncio.sleep((-time.time() - START_S) % TRACK_S)
    async with running(stack):
        settings = Settings.read({**os.environ, **stack.settings()})
        started, before = time.monotonic(), cpu_of(stack)
        async with wiring.connected(settings, documents.load(pipeline)) as app:
            runs = await fill(app, ids, limit_s=arguments.limit)
            wall_s, used = time.monotonic() - started, since(before, cpu_of(stack))
            await asyncio.sleep(IDLE_S)  # Until the spare process of the next run is warm.
            before = cpu_of(stack)
            await asyncio.sleep(IDLE_S)
            idle = since(before, cpu_of(stack))
            tell(arguments.records, used, idle, wall_s)
            requests, nothing_s = await poll_for_nothing(app, url)
        with Tables(settings) as tables:
            _, [(rows, distinct)] = tables.answer(
                "SELECT count(*), count(DISTINCT id) FROM records"
            )
    print(f"rows {rows:,}, distinct ids {distinct:,}, the source's {ids:,}; runs {runs}")
    print(f"a poll that finds nothing new: {requests:.2f} requests, {nothing_s * 1000:.2f} ms CPU")
    return bool(rows == distinct == ids)


OWN = ("function app", "transform")
EMULATED = ("functions host", "hubs", "storage", "jobs")


def tell(records: int, used: dict[str, float], idle: dict[str, float], wall_s: float) -> None:
    """Print the table."""
    print(f"{records:,} records in {wall_s:.1f} s ({records / wall_s:,.0f} a second)")
    print(f"{'':18} {'µs a record':>12} {'CPU s':>8} {'idle, % of a core':>18}")
    lines = {name: (name,) for name in (*OWN, *EMULATED)}
    for title, names in (lines | {"our own": OWN, "with emulators": OWN + EMULATED}).items():
        cpu_s, idle_s = (sum(each[name] for name in names) for each in (used, idle))
        share = idle_s / IDLE_S * 100
        print(f"{title:18} {cpu_s / records * 1e6:12.1f} {cpu_s:8.2f} {share:18.1f}")


async def compare(arguments: argparse.Namespace, folder: Path, url: str) -> None:
    """The same records with dlt, in one process."""
    command = [arguments.dlt, str(HERE / "chain_dlt.py"), url, str(folder / "dlt")]
    environment = {**os.environ, "RUNTIME__DLTHUB_TELEMETRY": "false"}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=environment)
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit("dlt did not come to its end; what it says is above")
    found = json.loads(output.splitlines()[-1])
    print(
        f"dlt {found['version']}: {found['cpu_s'] / arguments.records * 1e6:.1f} µs a record, "
        f"{found['cpu_s']:.2f} CPU s, {arguments.records / found['wall_s']:,.0f} records a second"
    )
    print(f"rows {found['rows']:,}, distinct ids {found['distinct']:,}")
    print(f"a run that finds nothing new: {found['nothing_new_cpu_s'] * 1000:.0f} ms CPU")


async def run(arguments: argparse.Namespace, folder: Path) -> bool:
    """The chain, and its peer when asked for."""
    async with source(arguments.records) as url:
        is_right = await measure(arguments, folder, url)
        if arguments.dlt:
            await compare(arguments, folder, url)
    return is_right


def main() -> None:
    """Read the arguments, run, clean up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--limit", type=float, default=600, help="seconds until it gives up")
    parser.add_argument("--ports", type=int, default=17270)
    parser.add_argument("--dlt", help="interpreter that has dlt, to do the same with it")
    parser.add_argument("--keep", action="store_true", help="keep the data, and say where it is")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chain-"))
    try:
        is_right = asyncio.run(run(arguments, folder))
    finally:
        if arguments.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(0 if is_right else 1)


if __name__ == "__main__":
    main()
