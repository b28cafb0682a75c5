"""The cost: what a document would cost in a month, part by part, and what packing saves.

An estimate from list prices and the document's expected volume; what it assumes is a constant here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from croniter import croniter  # type: ignore[import-untyped]  # It carries no types.

if TYPE_CHECKING:
    from shared.domain.document import Document, EventHub

PRICES = Path(__file__).with_name("prices.json")
ALERTS = Path(__file__).parents[1] / "infra" / "alerts"
SIZES = Path(__file__).parents[1] / "infra" / "bicep" / "sizes.json"

DAYS = 365 / 12
HOURS = DAYS * 24
DAY_S = 86_400
INGRESS_BYTES = 65_536  # The service bills an event by units of 64 KB.
THROUGHPUT_UNIT_BYTES_S = 1_000_000
EXECUTION_S = 1.0  # The least that one is billed for; measured locally, they take less.
TRACKS_DAY, MEASURES_DAY = DAY_S / 30, DAY_S / 60  # TRACK_SCHEDULE, MEASURE_SCHEDULE in Azure.
BATCH_EVENTS, BATCH_WAIT_S = 100, 30  # host.json: minEventBatchSize and maxWaitTime.
RAW_SHARE, TABLE_SHARE = 0.2, 0.1  # Bytes left of a record's JSON: zstandard Avro, Parquet.
RUN_S = 60.0  # A run over little is all start-up; one that is open takes in what comes meanwhile.
RECORD_S = 20e-6  # Of a transform, per record, on one core.
DBU_HOUR = 2.0  # Of the smallest serverless job.
SCANS_DAY = 10  # How often all tables of a month are read through SQL.
LOG_GB_DAY = 0.1


class Size(StrEnum):
    """How large an environment is: the keys of infra/bicep/sizes.json."""

    BRANCH = "branch"
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One part of the bill: so many units of something a month."""

    part: str
    what: str
    units: float
    price: float
    free: float = 0.0

    @property
    def monthly(self) -> float:
        """The cost of a month, beyond what is free."""
        return max(0.0, self.units - self.free) * self.price


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What a hub carries on an average day."""

    records: float
    bytes: float
    events: float
    batches: float


class Prices:
    """The price list, with its date and sources."""

    def __init__(self, path: Path = PRICES) -> None:
        """Read it."""
        content = json.loads(path.read_text())
        self.date, self.currency = content["date"], content["currency"]
        self.region, self.note = content["region"], content["note"]
        self._prices = content["prices"]

    def line(self, part: str, what: str, units: float, *, price: str) -> CostLine:
        """A line at the listed price."""
        listed = self._prices[price]
        return CostLine(
            part=part, what=what, units=units, price=listed["price"], free=listed.get("free", 0.0)
        )


@cache
def polls_a_day(schedule: str) -> float:
    """How often a schedule ticks on an average day of the next four weeks."""
    seconds, *rest = schedule.split()
    start, days = datetime(2026, 1, 5, tzinfo=UTC), 28
    ticks = croniter(f"{' '.join(rest)} {seconds}", start, second_at_beginning=False)
    first = next_of(ticks)
    if first is None:
        return 0.0
    # A schedule that ticks often is counted over a day, a rare one over all of them.
    span = 1 if first - start < timedelta(hours=1) else days
    end, count = start + timedelta(days=span), 0
    tick: datetime | None = first
    while tick is not None and tick <= end:
        count += 1
        tick = next_of(ticks)
    return count / span


def next_of(ticks: croniter) -> datetime | None:
    """The next tick."""
    found = ticks.get_next(datetime)
    return found if isinstance(found, datetime) else None


def volume(hub: EventHub, document: Document, *, packed: bool = True) -> Volume:
    """What the hub carries, with records packed into events or one record an event."""
    records = float(hub.expected_records_per_day)
    polls = sum(
        polls_a_day(source.schedule)
        for source in document.sources
        if source.publishes == hub.material
    )
    if packed:
        news = min(max(polls, 1.0), records)  # Polls that bring something.
        each = records / news
        groups = min(float(hub.partitions), each)
        events = news * max(groups, math.ceil(each * hub.record_bytes / hub.max_event_bytes))
    else:
        events = records
    most = hub.partitions * DAY_S / BATCH_WAIT_S
    batches = min(events, max(events / BATCH_EVENTS, min(events, most)))
    return Volume(records=records, bytes=records * hub.record_bytes, events=events, batches=batches)


def runs_a_day(document: Document, volumes: dict[str, Volume], *, coalesced: bool = True) -> float:
    """How many runs start: one a raw blob, or, coalesced, as many as fit one after another.

    A curated table runs after each run of an input; each table is maintained once a day.
    """
    runs: dict[str, float] = {}
    for dataset in document.datasets:
        blobs = volumes[dataset.consumes].batches
        every_s = dataset.run_every.total_seconds() if dataset.run_every else 0.0
        runs[dataset.name] = min(blobs, DAY_S / max(RUN_S, every_s)) if coalesced else blobs
    for curated in document.curated:
        if curated.kind == "table":
            causes = sum(runs.get(name, 0.0) for name in curated.reads)
            runs[curated.name] = min(causes, DAY_S / RUN_S) if coalesced else causes
    return sum(runs.values()) + len(runs)


def estimate(
    document: Document, *, size: Size = Size.DEV, packed: bool = True, coalesced: bool = True
) -> list[CostLine]:
    """The bill of a month; `packed` and `coalesced` off show what those two save."""
    listed = Prices()
    sized = json.loads(SIZES.read_text())[size]
    instance_gb = sized["functionMemoryMb"] / 1024
    volumes = {hub.material: volume(hub, document, packed=packed) for hub in document.eventhubs}
    polls = sum(polls_a_day(source.schedule) for source in document.sources)
    batches = sum(each.batches for each in volumes.values())
    data = sum(each.bytes for each in volumes.values())
    records = sum(each.records for each in volumes.values())
    units = sum(
        each.events * math.ceil(each.bytes / each.events / INGRESS_BYTES)
        for each in volumes.values()
        if each.events
    )
    throughput = max(sized["throughputUnits"], math.ceil(data / DAY_S / THROUGHPUT_UNIT_BYTES_S))
    runs = runs_a_day(document, volumes, coalesced=coalesced)
    executions = polls + 2 * batches + TRACKS_DAY + MEASURES_DAY
    ready_s = sized["landingAlwaysReady"] * len(volumes) * instance_gb * HOURS * 3600
    kept_gb = data * DAYS * (RAW_SHARE + TABLE_SHARE) / 1e9
    scanned_tb = data * DAYS * TABLE_SHARE * SCANS_DAY * DAYS / 1e12 / 2
    dbu = DBU_HOUR * (runs * RUN_S + records * RECORD_S) / 3600
    serverless = all(job.cluster == "serverless" for job in document.databricks.jobs)
    line = listed.line
    return [
        line("Event Hubs", "throughput unit hours", throughput * HOURS,
             price="eventHubsThroughputUnitHour"),
        line("Event Hubs", "million events of 64 KB", units * DAYS / 1e6,
             price="eventHubsMillionIngressEvents"),
        line("Functions", "million executions", executions * DAYS / 1e6,
             price="functionsMillionExecutions"),
        line("Functions", "GB-seconds at work", executions * EXECUTION_S * DAYS * instance_gb,
             price="functionsGigabyteSecond"),
        line("Functions", "GB-seconds ready", ready_s, price="functionsReadyGigabyteSecond"),
        line("Storage", "GB kept after the first month", kept_gb,
             price=f"storageGigabyteMonth{sized['storageRedundancy'].removeprefix('Standard_')}"),
        line("Storage", "10,000 writes", (2 * batches + 6 * runs + polls) * DAYS / 1e4,
             price="storageTenThousandWrites"),
        line("Storage", "10,000 reads", (batches + 10 * runs + 4 * TRACKS_DAY) * DAYS / 1e4,
             price="storageTenThousandReads"),
        line("Event Grid", "million operations", batches * DAYS / 1e6,
             price="eventGridMillionOperations"),
        line("Databricks", f"DBU, {runs * DAYS:,.0f} runs", dbu * DAYS,
             price="databricksJobsServerlessDbu" if serverless else "databricksJobsDbuWithMachine"),
        line("Synapse", "TB scanned", scanned_tb, price="synapseTerabyteScanned"),
        line("Monitor", "GB of logs and metrics", LOG_GB_DAY * DAYS, price="logGigabyte"),
        line("Monitor", "alert queries", len(list(ALERTS.glob("*.kql"))), price="alertQueryMonth"),
    ]  # fmt: skip


def total(lines: list[CostLine]) -> float:
    """The sum."""
    return sum(line.monthly for line in lines)
