"""The app with a plain landing: unique blob names, and the host's checkpoint as the only memory.

What most samples do; `benchmarks/chaos.py --plain` shows what becomes of the events.
"""

import uuid
from typing import List  # noqa: UP035 -- The worker knows no other list.

import azure.functions as func
from azure.storage.blob.aio import BlobServiceClient

from functions import source_to_hub
from shared import wiring
from shared.adapters import raw_avro
from shared.adapters.functions_host import hub_batch
from shared.domain.document import LANDING_GROUP
from shared.domain.raw_blob import START, Partition, RawBlob
from shared.settings import Settings

blueprint = func.Blueprint()


@blueprint.function_name("land_readings")
@blueprint.event_hub_message_trigger(
    arg_name="events",
    connection="EVENT_HUBS",
    event_hub_name="readings",
    consumer_group=LANDING_GROUP,
    cardinality=func.Cardinality.MANY,
    data_type=func.DataType.BINARY,
)
async def land(events: List[func.EventHubEvent]) -> None:  # noqa: UP006 -- The same.
    """Write what came, under a name that nobody else has."""
    import os  # noqa: PLC0415

    batch = hub_batch(events, material="readings")
    partition = Partition(material="readings", id=batch.partition, hub="plain")
    blob = RawBlob(partition=partition, events=batch.events, previous=START)
    settings = Settings.read(os.environ)
    async with BlobServiceClient.from_connection_string(settings.lake) as service:
        container = service.get_container_client("raw")
        name = f"readings/plain/{uuid.uuid4()}.avro"
        await container.upload_blob(name, raw_avro.encode(blob))
    await wiring.app()


app = func.FunctionApp()
app.register_functions(source_to_hub.blueprint)
app.register_functions(blueprint)
