"""The landing function in a process that dies of one event, as of a fault in native code."""

import os

import azure.functions as func

from functions import hub_to_raw
from shared.adapters import raw_avro
from shared.domain.raw_blob import RawBlob

whole = raw_avro.encode


def encode(blob: RawBlob) -> object:
    """Die of the poison, or encode."""
    if any(event.body == b"POISON" for event in blob.events):
        os._exit(139)
    return whole(blob)


raw_avro.encode = encode  # type: ignore[assignment]  # The fault is injected where it would be.

app = func.FunctionApp()
app.register_functions(hub_to_raw.blueprint)
