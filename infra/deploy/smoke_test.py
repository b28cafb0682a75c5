"""The smoke test: one synthetic record goes all the way into the view, and out again.

`python -m infra.deploy.smoke_test TOKEN` sends the record to its hub and waits for it in the view.
Where rows follow deletions, it then sends the deletion and waits until no view shows the row. What
it needs to know is in the environment, as a deployment puts it out. Exit code 1: it did not happen.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from infra.deploy import synapse, synthetic
from shared import connections
from shared.adapters.event_hubs import EventHubs
from shared.domain import cloud_event
from shared.domain import document as documents
from shared.domain.errors import Misconfigured, TryLater
from shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.cloud_event import CloudEvent
    from shared.domain.dataset import Dataset
    from shared.domain.document import EventHub

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT_S = 1200  # A cluster or a serverless environment may have to start first.
PAUSE_S = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One record on its way: what is sent, and the question that finds it."""

    dataset: Dataset
    hub: EventHub
    arrival: bytes
    departure: bytes
    view: str
    question: str


def trial_of(document: documents.Document, token: str, *, now: datetime) -> Trial:
    """Choose a dataset and make its record; raise `Misconfigured` when none can be made for any."""
    dataset, record = synthetic.suitable(document, token, now=now)
    conditions = []
    for name in (*dataset.primary_key, synthetic.marker_of(dataset)):
        value = synthetic.value_at(record, synthetic.path_of(dataset, name))
        conditions.append("[{}] = '{}'".format(name, str(value).replace("'", "''")))
    where = " AND ".join(conditions)
    view = f"[dbo].[{dataset.table}]"
    return Trial(
        dataset=dataset,
        hub=document.hub(dataset.consumes),
        arrival=json.dumps(record).encode(),
        departure=json.dumps(synthetic.key_of(dataset, record)).encode(),
        view=view,
        question=f"SELECT COUNT(*) FROM {view} WHERE {where}",  # noqa: S608 -- Names of the document, and values without quotes.
    )


def event_of(body: bytes, hub: EventHub, *, kind: str, now: datetime) -> CloudEvent:
    """The event that a body travels in."""
    return cloud_event.of_records(
        body, source="smoke-test", records=1, group=0, now=now, expires=now + hub.expires_after,
        kind=kind,
    )  # fmt: skip


async def send(event: CloudEvent, hub: EventHub, settings: Settings) -> None:
    """Send one event to the hub's first partition."""
    async with connections.identity_for(settings) or _Nobody() as identity:
        hubs = EventHubs(
            lambda name: connections.producer_client(settings, identity, hub=name),
            lambda name: connections.reader_client(settings, identity, hub=name),
        )
        try:
            await hubs.send(hub.material, {0: [event]})
        finally:
            await hubs.close()


class _Nobody:
    """Stands for an identity where a connection string is enough."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


def wait_for(rows: int, trial: Trial, environment: Mapping[str, str]) -> bool:
    """Ask the view until it shows so many rows; say every time what it shows.

    In a new environment the record is what the table is written for, and only then has a view one.
    """
    began, absent = time.monotonic(), True
    scripts = ROOT / "sql" / environment["AZURE_ENV_NAME"]
    while (waited := time.monotonic() - began) < TIME_LIMIT_S:
        absent = absent and trial.view in synapse.run_scripts(scripts, environment)
        endpoint, database = environment["SYNAPSE_ENDPOINT"], environment["SYNAPSE_DATABASE"]
        found = synapse.count(endpoint, database, trial.question)
        sys.stdout.write(f"{waited:5.0f} s: {found} of {rows} rows in {trial.dataset.table}\n")
        sys.stdout.flush()
        if found == rows:
            return True
        time.sleep(PAUSE_S)
    return False


def main(token: str, environment: Mapping[str, str]) -> str:
    """Send, wait, delete, wait; the text says what did not happen."""
    document = documents.load(ROOT / "pipeline.json")
    settings = Settings.read(environment)
    now = datetime.now(UTC)  # noqa: TID251 -- A program's own look at the clock.
    trial = trial_of(document, token, now=now)
    steps = [(trial.arrival, cloud_event.RECORDS_TYPE, 1, "did not come into the view")]
    if trial.dataset.ingestion == "full":
        steps += [(trial.departure, cloud_event.DELETIONS_TYPE, 0, "did not leave the view")]
    for body, kind, rows, problem in steps:
        event = event_of(body, trial.hub, kind=kind, now=now)
        asyncio.run(send(event, trial.hub, settings))
        if not wait_for(rows, trial, environment):
            return (
                f"the record {problem} within {TIME_LIMIT_S} s; `millrace status` says where it is"
            )
    return ""


if __name__ == "__main__":
    try:
        reason = main(sys.argv[1], os.environ)  # noqa: TID251 -- A program's own look.
    except (Misconfigured, TryLater) as error:
        reason = str(error)
    sys.exit(f"smoke test: {reason}" if reason else 0)
