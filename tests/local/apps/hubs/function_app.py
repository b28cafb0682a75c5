"""A sample app: one Event Hub function that fails or waits as its events and some files say."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any, List  # noqa: UP035 -- The worker library refuses `list[...]`.

import azure.functions as func

app = func.FunctionApp()
GATES = Path(os.environ["GATES"])


def record(**line: Any) -> None:
    """Append one line of JSON; a single write of this size is never torn."""
    with (GATES / "record").open("a") as file:
        file.write(json.dumps(line) + "\n")


async def opened(gate: str) -> None:
    """Wait until the test creates a file."""
    while not (GATES / gate).exists():  # noqa: ASYNC110 -- Another process makes it.
        await asyncio.sleep(0.02)


@app.function_name("land")
@app.event_hub_message_trigger(
    arg_name="events",
    connection="HUBS",
    event_hub_name="%HUB%",
    consumer_group="hub-to-raw",
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
@app.retry(
    strategy="fixed_delay",
    max_retry_count=os.environ["RETRIES"],
    delay_interval="00:00:01",
)
async def land(
    events: List[func.EventHubEvent],  # noqa: UP006 -- As above.
    context: func.Context,
) -> None:
    """Say what arrived; then do what the bodies ask for."""
    metadata = events[0].metadata or {}
    bodies = [event.get_body().decode() for event in events]
    record(
        partition=metadata["PartitionContext"]["PartitionId"],
        sequences=[event.sequence_number for event in events],
        bodies=bodies,
        properties=metadata["PropertiesArray"],
        naive=all(event.enqueued_time and not event.enqueued_time.tzinfo for event in events),
        attempt=context.retry_context.retry_count,
    )
    for body in bodies:
        if body.startswith("wait for "):
            await opened(body.removeprefix("wait for "))
        if body.startswith("fail until ") and not (GATES / body.split()[-1]).exists():
            raise OSError(f"asked to fail: {body}")
    record(done=bodies)
