"""Transform: what a first large run costs, and a second one of 1 %, against the job as it is.

    python benchmarks/transform.py                        # 2,000,000 events in 200 blobs
    python benchmarks/transform.py --events 200000        # quick
    python benchmarks/transform.py --history --append     # other styles

Every run is a process of its own, as on the local stack, over files in a folder: CPU and peak
memory are that process's, so neighbours on the machine do not matter. An event of about 450 bytes
is one record; 0.5 % of them are bad; a key has 2.3 versions on average; the table is in folders by
day. The second batch is half new rows and half changes of rows, of the last day (`--spread`: of
every day, which makes a MERGE write the whole table again).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro

sys.path.insert(0, str(Path(__file__).parents[1]))

from shared.domain.raw_blob import SCHEMA, Partition, blob_name

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
BLOBS = 200
DAYS = 14
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
_SCHEMA = fastavro.parse_schema(SCHEMA)
COLUMNS: dict[str, Any] = {
    "id": {"type": "string", "required": True},
    "updated": {"type": "timestamp", "format": "epochMilliseconds", "required": True},
    "day": {"type": "date", "required": True},
    "customer": {"type": "string"},
    "status": {"type": "string"},
    "amount": {"type": "decimal(12,2)"},
    "quantity": {"type": "integer"},
    "weight": {"type": "double"},
    "express": {"type": "boolean"},
    "latitude": {"type": "double", "path": "address.geo.lat"},
    "longitude": {"type": "double", "path": "address.geo.lon"},
    "note": {"type": "string"},
}


def record(key: int, *, keys: int, version: int, chance: random.Random) -> bytes:
    """One record of about 450 bytes; one in 200 is bad in one way or another."""
    day = date(2026, 11, 1) + timedelta(days=key * DAYS // keys)
    words = " ".join(f"{chance.getrandbits(32):08x}" for _ in range(18))
    text = (
        f'{{"id":"order-{key:09d}","updated":{1_795_000_000_000 + version},"day":"{day}",'
        f'"customer":"customer-{chance.randrange(50_000):06d}","status":'
        f'"{chance.choice(("new", "paid", "sent", "back"))}","amount":'
        f'"{chance.randrange(10**6)}.50","quantity":{chance.randrange(100)},"weight":{chance.random():.6f},"express":true,'
        f'"address":{{"geo":{{"lat":{chance.random() * 90:.5f},"lon":{chance.random() * 180:.5f}}},'
        f'"street":"some street {chance.randrange(999)}"}},"note":"{words}"}}'
    )
    if chance.random() < 0.005:  # noqa: PLR2004 -- Some bad ones, as in real sources.
        text = chance.choice((text[:-1], text.replace('"id"', '"ID"'), text.replace(".50", ".x")))
    return text.encode()


def write_blob(folder: Path, bodies: Iterator[bytes], *, first: int) -> dict[str, Any]:
    """Write a raw blob and return how a manifest names it."""
    rows = [
        {
            "sequence_number": first + offset,
            "offset": str(first + offset),
            "enqueued_time": NOON + timedelta(milliseconds=first + offset),
            "partition": "0",
            "attributes": {"id": f"{first + offset:032x}", "type": "dev.millrace.records"},
            "quarantined": "",
            "body": body,
        }
        for offset, body in enumerate(bodies)
    ]
    content = io.BytesIO()
    fastavro.writer(content, _SCHEMA, rows, codec="zstandard")
    name = blob_name(Partition(material="orders", id="0", hub="20261101T000000"), first, NOON)
    path = folder / "raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())
    return {
        "name": name,
        "partition": "0",
        "sequenceFirst": first,
        "sequenceLast": first + len(rows) - 1,
        "events": len(rows),
        "bytes": len(content.getvalue()),
    }


def first_batch(folder: Path, events: int) -> list[dict[str, Any]]:
    """Two hundred blobs in which every key is met now and again."""
    keys, each, chance = max(events * 9 // 20, 1), events // BLOBS, random.Random(1)
    return [
        write_blob(
            folder,
            (
                record(chance.randrange(keys), keys=keys, version=number * each + n, chance=chance)
                for n in range(each)
            ),
            first=number * each,
        )
        for number in range(BLOBS)
    ]


def second_batch(folder: Path, events: int, *, spread: bool) -> list[dict[str, Any]]:
    """One blob, a hundredth of the first batch: new rows, and changes of rows there are."""
    keys, count, chance = max(events * 9 // 20, 1), max(events // 100, 2), random.Random(2)
    oldest = 0 if spread else keys - keys // DAYS
    chosen = [keys + n if n % 2 else chance.randrange(oldest, keys) for n in range(count)]
    bodies = (
        record(key, keys=keys, version=events + n, chance=chance) for n, key in enumerate(chosen)
    )
    first = events + (events if spread else 0)  # A blob of its own, also in a folder that is kept.
    return [write_blob(folder, bodies, first=first)]


def plan(folder: Path, run: str, blobs: list[dict[str, Any]], dataset: dict[str, Any]) -> str:
    """Write the run's manifest and return where it is."""
    containers = ("raw", "clean", "curated", "quarantine", "state")
    content = {
        "version": 1,
        "run": run,
        "dataset": dataset,
        "storage": {name: str(folder / name) for name in containers},
        "blobs": blobs,
    }
    path = folder / f"state/manifests/orders/{run}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def measure(run: str, manifest: str) -> tuple[float, float, int, dict[str, Any]]:
    """Do a run in a process of its own: CPU s, wall s, peak memory in MB, and its result."""
    command = [sys.executable, "-m", "transforms.job", "--run", run, "--manifest", manifest]
    started = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{run} failed")
    cpu_s = usage.ru_utime + usage.ru_stime
    return cpu_s, time.monotonic() - started, usage.ru_maxrss // 1024, json.loads(answer)


def main() -> None:
    """Make the raw blobs, run over both batches, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--spread", action="store_true", help="change rows of every day")
    parser.add_argument("--history", action="store_true", help="keep every version")
    parser.add_argument("--append", action="store_true", help="keep every record, without a key")
    parser.add_argument("--folder", type=Path, help="keep the raw blobs here, and use them again")
    options = parser.parse_args()
    keyed = {"primaryKey": ["id"], "incrementalField": "updated", "history": options.history}
    style = {"ingestion": "append"} if options.append else keyed
    dataset = {"name": "orders", "consumes": "orders", "partitionField": "day", "columns": COLUMNS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        first, second = _batches(folder, options.events, spread=options.spread)
        for container in ("clean", "quarantine", "state"):
            shutil.rmtree(folder / container, ignore_errors=True)
        print(f"{'run':8} {'events':>10} {'CPU s':>8} {'wall s':>8} {'peak MB':>8}")
        costs = []
        for run, blobs in (("first", first), ("second", second), ("repeated", second)):
            manifest = plan(folder, run, blobs, dataset | style)
            cpu_s, wall_s, peak_mb, done = measure(run, manifest)
            costs.append(cpu_s)
            print(f"{run:8} {done['events']:10,} {cpu_s:8.2f} {wall_s:8.1f} {peak_mb:8,}  {done}")
    print(f"second / first: {costs[1] / costs[0]:.1%}")


def _batches(
    folder: Path, events: int, *, spread: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The blobs of both batches, written unless they are there."""
    listing = folder / f"blobs-{events}-{spread}.json"
    if listing.exists():
        first, second = json.loads(listing.read_text())
        return first, second
    first, second = first_batch(folder, events), second_batch(folder, events, spread=spread)
    listing.write_text(json.dumps([first, second]))
    return first, second


if __name__ == "__main__":
    main()
