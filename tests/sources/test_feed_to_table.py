"""From a feed to its table: the real poller, landing, planning and job, and SQL at the end.

The table is compared with what follows directly from every answer that the feed ever gave.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient

from cli.tables import Tables
from shared.adapters.blob_storage import CONTAINERS, BlobRunFiles
from shared.adapters.http_source import HttpSource
from shared.adapters.memory import (
    MemoryAttempts,
    MemoryClaims,
    MemoryClock,
    MemoryHub,
    MemoryJobs,
    MemoryLedger,
    MemoryQuarantine,
)
from shared.adapters.memory_source import MemoryCursorStore
from shared.adapters.raw_blobs import BlobRawStore
from shared.domain import document as documents
from shared.domain.errors import TryLater
from shared.domain.job_run import JobOutcome, JobRun
from shared.domain.raw_blob import HubBatch, HubEvent
from shared.flow.hub_to_raw import land_batch
from shared.flow.raw_to_run import launch_runs
from shared.flow.source_to_hub import poll_source
from shared.flow.track_runs import track_runs
from shared.settings import Settings
from tests import replay_server
from tests.source_tool import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.document import Document

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "id, epoch_ms(occurred), epoch_ms(updated), magnitude, place, kind, status, tsunami, "
    "longitude, latitude, depth_km"
)

type Json = dict[str, Any]


@dataclass
class LossyHub(MemoryHub):
    """A hub that numbers its events, and now and then does not say that it has taken them."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    sends: int = 0

    async def send(self, material: str, events: Mapping[int, Sequence[CloudEvent]]) -> None:  # noqa: ARG002 -- There is one.
        """Append."""
        for partition, members in events.items():
            log = self.log.setdefault(str(partition), [])
            log += [
                HubEvent(
                    sequence=number,
                    offset=str(number),
                    enqueued_at=self.clock.now(),
                    attributes=event.attributes,
                    body=event.body,
                )
                for number, event in enumerate(members, len(log))
            ]
        self.sends += 1
        if self.sends % 5 == 0:
            raise TryLater("the acknowledgement was lost")


@dataclass
class ProcessJobs(MemoryJobs):
    """Jobs: each run is a process of the transform that has ended when `start` returns."""

    environment: dict[str, str] = field(default_factory=dict)

    async def start(self, job: str, *, token: str, parameters: Mapping[str, str]) -> int:
        """Run it, unless the token is known."""
        known = token in self.tokens
        number = await super().start(job, token=token, parameters=parameters)
        if not known:
            command = [sys.executable, "-m", "transforms.job"]
            for name, value in parameters.items():
                command += [f"--{name}", value]
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=self.environment, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, said = await process.communicate()
            assert process.returncode == 0, said.decode()
            self.states[number] = JobRun(outcome=JobOutcome.SUCCEEDED)
        return number


@dataclass(kw_only=True)
class Line:
    """Everything from the feed to the table."""

    document: Document
    reader: HttpSource
    blobs: BlobServiceClient
    hub: LossyHub
    jobs: ProcessJobs
    clock: MemoryClock
    cursors: MemoryCursorStore = field(default_factory=MemoryCursorStore)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    quarantine: MemoryQuarantine = field(default_factory=MemoryQuarantine)
    landed: dict[str, int] = field(default_factory=dict)

    async def poll(self) -> None:
        """What the timer does, and again when the hub did not answer."""
        for _ in range(2):
            with suppress(TryLater):
                await poll_source(
                    self.document.sources[0],
                    self.document,
                    reader=self.reader,
                    hub=self.hub,
                    cursors=self.cursors,
                    quarantine=self.quarantine,
                    clock=self.clock,
                )
                return

    async def land(self) -> None:
        """Deliver what is new, and the two events before it once more."""
        for partition, log in self.hub.log.items():
            first = max(0, self.landed.get(partition, 0) - 2)
            batch = HubBatch(
                material=self.document.eventhubs[0].material,
                partition=partition,
                events=tuple(log[first:]),
            )
            await land_batch(
                batch,
                hub=self.hub,
                raw=BlobRawStore(self.blobs),
                claims=MemoryClaims(),
                quarantine=self.quarantine,
                attempts=MemoryAttempts(),
                clock=self.clock,
            )
            self.landed[partition] = len(log)

    async def transform(self) -> None:
        """Plan a run over what is landed, let it end, and note it."""
        files = BlobRunFiles(self.blobs)
        await launch_runs(
            self.document.datasets, self.document, raw=BlobRawStore(self.blobs),
            ledger=self.ledger, files=files, jobs=self.jobs, clock=self.clock,
        )  # fmt: skip
        await track_runs(
            self.document.datasets, ledger=self.ledger, files=files, jobs=self.jobs,
            clock=self.clock,
        )  # fmt: skip


def described(name: str) -> Json:
    """The project's own `pipeline.json`, under names that no other test has."""
    content: Json = json.loads((ROOT / "pipeline.json").read_text())
    content.pop("curated")
    content["eventhubs"][0]["material"] = content["sources"][0]["publishes"] = name
    content["datasets"][0] |= {"name": name, "consumes": name}
    content["sources"][0]["name"] = name
    return content


@asynccontextmanager
async def line(connection: str, name: str, url: str) -> AsyncIterator[Line]:
    """A pipeline on Azurite over a feed at this address."""
    clock = MemoryClock()
    async with (
        BlobServiceClient.from_connection_string(connection) as blobs,
        aiohttp.ClientSession(auto_decompress=False) as session,
    ):
        for container in CONTAINERS:
            with suppress(ResourceExistsError):
                await blobs.create_container(container)
        address = blobs.url.rstrip("/").removesuffix(f"/{blobs.account_name}")
        emulator = {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": address}
        yield Line(
            document=documents.parse(json.dumps(described(name))),
            reader=HttpSource(session, {"EARTHQUAKES_URL": url}, clock),
            blobs=blobs,
            hub=LossyHub(clock=clock),
            jobs=ProcessJobs(environment={**os.environ, **emulator, "RUST_LOG": "error"}),
            clock=clock,
        )


async def follow(
    connection: str, name: str, polls: Iterable[tuple[datetime, bytes]], *, every: int
) -> tuple[Line, list[bytes]]:
    """Poll each edition of a feed; land a few times, and transform once, `every` so many polls."""
    feed, bodies = replay_server.Feed(), []
    async with running(feed.answer) as tool, line(connection, name, tool.url) as all_of_it:
        for number, (moment, body) in enumerate(polls, 1):
            bodies.append(body)
            feed.body, all_of_it.clock.moment = body, moment
            await all_of_it.poll()
            if number % max(1, every // 4) == 0:
                await all_of_it.land()
            if number % every == 0:
                await all_of_it.transform()
        await all_of_it.poll()
        await all_of_it.land()
        all_of_it.clock.moment += timedelta(hours=1)  # The example's table has a run now and then.
        await all_of_it.transform()
    return all_of_it, bodies


def rows(connection: str, name: str, folder: Path) -> list[tuple[Any, ...]]:
    """The table, as SQL shows it."""
    path = folder / "pipeline.json"
    path.write_text(json.dumps(described(name)))
    settings = Settings.read({"LAKE": connection, "PIPELINE_FILE": str(path)})
    with Tables(settings, curated_folder=folder) as tables:
        sql = f"SELECT {COLUMNS} FROM {name.replace('-', '_')}"  # noqa: S608 -- Our own names.
        return sorted(tables.answer(sql)[1])


def computed(bodies: Iterable[bytes]) -> list[tuple[Any, ...]]:
    """The rows that follow from the feed's answers: for each id its newest version.

    That is the one with the greatest `updated`, and of those with the same the one seen last: this
    feed edits records without a new `updated`, and sometimes goes back to an older one.
    """
    newest: dict[str, Json] = {}
    for body in bodies:
        for feature in json.loads(body)["features"]:
            known = newest.get(feature["id"])
            updated = feature["properties"]["updated"]
            if known is None or updated >= known["properties"]["updated"]:
                newest[feature["id"]] = feature
    return sorted(_row(feature) for feature in newest.values())


def _row(feature: Json) -> tuple[Any, ...]:
    told, place = feature["properties"], feature["geometry"]["coordinates"]
    return (
        feature["id"], told["time"], told["updated"], told["mag"], told["place"], told["type"],
        told["status"], bool(told["tsunami"]), *place,
    )  # fmt: skip


def feature(name: str, updated: int, place: str | None = "here", mag: float | None = 2) -> Json:
    """A feature, as the earthquake feed gives it."""
    return {
        "type": "Feature",
        "id": name,
        "properties": {
            "mag": mag, "place": place, "time": 1_600_000_000_000 + updated, "updated": updated,
            "type": "earthquake", "status": "automatic", "tsunami": 0,
        },
        "geometry": {"type": "Point", "coordinates": [-67.1, 19, 6.5]},
    }  # fmt: skip


#: What was odd in the recorded feed, one edition after the other.
EDITIONS: tuple[list[Json], ...] = (
    [feature("a", 1), feature("b", 1, mag=None), feature("c", 5)],
    [feature("a", 1, "edited without a new time"), feature("b", 2), feature("c", 4, "went back")],
    [feature("a", 1), feature("c", 4, "went back")],  # Edited back; b is gone for a while.
    [feature("d", 9, "ümläut"), feature("c", 5, "the same time"), feature("a", 1)],
    [feature("b", 2, "came back"), feature("d", 9, None, 2.25), feature("d", 8, "twice")],
    [feature("b", 2, "came back"), feature("d", 9, None, 2.25), feature("e", 3, mag=-0.5)],
)


async def test_twin_of_the_recorded_feed_becomes_the_table_that_it_tells(
    azurite: str, tmp_path: Path
) -> None:
    """Whatever a feed does to its records, the table is what a look at all its answers gives."""
    start = datetime(2026, 11, 20, 12, tzinfo=UTC)
    polls = [
        (start + timedelta(minutes=number), json.dumps({"features": edition}).encode())
        for number, edition in enumerate(EDITIONS)
    ]

    done, bodies = await follow(azurite, "feed-twin", polls, every=4)

    assert rows(azurite, "feed-twin", tmp_path) == computed(bodies)
    assert len(done.jobs.tokens) == 2
    assert done.quarantine.entries == {}


async def test_recorded_feed_becomes_the_table_that_it_tells(azurite: str, tmp_path: Path) -> None:
    """1,524 real polls in two weeks, with 746 ids in 2,540 versions."""
    done, bodies = await follow(azurite, "feed-archive", replay_server.timed_polls(), every=150)

    found = rows(azurite, "feed-archive", tmp_path)
    assert found == computed(bodies)
    assert (len(bodies), len(found)) == (1524, 746)
    assert done.quarantine.entries == {}
