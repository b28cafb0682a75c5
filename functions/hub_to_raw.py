"""hub → raw: one Event Hub function a hub, in a consumer group of its own.

The retry policy has no end: the host checkpoints a failed batch once its retries are exhausted, and
what it checkpoints is never delivered again. A batch fails only while the world is unwell.
"""

from typing import List  # noqa: UP035 -- The worker knows no other list.

import azure.functions as func

from shared import wiring
from shared.adapters.functions_host import hub_batch
from shared.domain.document import LANDING_GROUP, EventHub
from shared.flow.hub_to_raw import land_batch
from shared.telemetry import invocation

blueprint = func.Blueprint()


def register(hub: EventHub) -> None:
    """Register the function `land_<material>`."""
    name = f"land_{hub.material.replace('-', '_')}"

    @blueprint.function_name(name)
    @blueprint.event_hub_message_trigger(
        arg_name="events",
        connection="EVENT_HUBS",
        event_hub_name=hub.material,
        consumer_group=LANDING_GROUP,
        cardinality=func.Cardinality.MANY,
        data_type=func.DataType.BINARY,
    )
    @blueprint.retry(
        strategy="exponential_backoff",
        max_retry_count="-1",
        minimum_interval="00:00:01",
        maximum_interval="00:01:00",
    )
    @invocation(name, trigger="pubsub")
    async def land(events: List[func.EventHubEvent]) -> None:  # noqa: UP006 -- The same.
        app = await wiring.app()
        batch = hub_batch(events, material=hub.material)
        with app.telemetry.landing(batch):
            report = await land_batch(
                batch,
                hub=app.hub,
                raw=app.raw,
                claims=app.claims,
                quarantine=app.quarantine,
                attempts=app.attempts,
                clock=app.clock,
            )
        app.telemetry.emit(report)


for each in wiring.document().eventhubs:
    register(each)
