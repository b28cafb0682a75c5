"""What the functions host hands to Microsoft's worker library, byte for byte and name for name."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from azure.eventhub import EventData
from azure.eventhub._pyamqp.message import Message, Properties
from azure.functions.decorators.core import DataType
from azure.functions.eventhub import EventHubTriggerConverter
from azure_functions_runtime import native_invocation  # type: ignore[import-untyped]  # No types.
from azure_functions_runtime.bindings.datumdef import (  # type: ignore[import-untyped]  # No types.
    Datum,
)

from local.functions_host.event_hub import Options, _Partition
from local.functions_host.event_payload import batch_payload
from local.functions_host.settings import load
from local.functions_host.worker import _datum, app_place

if TYPE_CHECKING:
    from pathlib import Path


ENQUEUED_MS = 1_795_193_625_120  # 2026-11-20T16:53:45.12Z


def event(
    sequence: int,
    *,
    body: bytes = b"{}",
    key: bytes | None = None,
    properties: dict[str | bytes, Any] | None = None,
    content_type: bytes | None = None,
) -> EventData:
    """An event as the SDK hands it over after receiving it."""
    annotations: dict[str | bytes, Any] = {
        b"x-opt-sequence-number": sequence,
        b"x-opt-offset": str(sequence * 100).encode(),
        b"x-opt-enqueued-time": ENQUEUED_MS + sequence,
    }
    if key is not None:
        annotations[b"x-opt-partition-key"] = key
    message = Message(
        data=[body],
        properties=Properties(content_type=content_type) if content_type else None,
        message_annotations=annotations,
        application_properties=properties,
    )
    return EventData._from_message(message)


def decoded(events: list[EventData]) -> Any:
    """What the app gets to see of a batch, through the SDK's own decoder."""
    payload = batch_payload(events, partition={"PartitionId": "0"})
    metadata = {key: _datum(value) for key, value in payload.metadata.items()}
    return EventHubTriggerConverter.decode(_datum(payload.value), trigger_metadata=metadata)


def test_batch_payload_is_what_the_dotnet_host_sends() -> None:
    """The golden payload: times without a zone, absent keys dropped, annotations by their names."""
    properties: dict[str | bytes, Any] = {
        b"cloudEvents:id": b"7",
        b"recordcount": 3,
        b"raw": b"\xff\xfe",
        b"none": None,
    }
    events = [
        event(0, body=b"\x00\xff", properties=properties, content_type=b"application/x-ndjson"),
        event(1, body=b"", key=b"device-7"),
    ]

    payload = batch_payload(events, partition={"PartitionId": "3"})

    found = {key: value.content for key, value in payload.metadata.items()}
    assert payload.value.kind == "collection_bytes"
    assert payload.value.content == [b"\x00\xff", b""]
    assert {key: value.kind for key, value in payload.metadata.items()} == {
        "PartitionContext": "json",
        "PartitionKeyArray": "collection_string",
        "OffsetArray": "collection_string",
        "SequenceNumberArray": "collection_sint64",
        "EnqueuedTimeUtcArray": "json",
        "PropertiesArray": "json",
        "SystemPropertiesArray": "json",
    }
    assert found["PartitionContext"] == '{"PartitionId":"3"}'
    assert found["PartitionKeyArray"] == ["device-7"]
    assert found["OffsetArray"] == ["0", "100"]
    assert found["SequenceNumberArray"] == [0, 1]
    assert found["EnqueuedTimeUtcArray"] == '["2026-11-20T16:53:45.12","2026-11-20T16:53:45.121"]'
    assert json.loads(found["PropertiesArray"]) == [
        {"cloudEvents:id": "7", "recordcount": 3, "raw": "//4=", "none": None},
        {},
    ]
    assert json.loads(found["SystemPropertiesArray"]) == [
        {
            "content-type": "application/x-ndjson",
            "x-opt-sequence-number": 0,
            "x-opt-offset": "0",
            "x-opt-enqueued-time": "2026-11-20T16:53:45.12+00:00",
            "SequenceNumber": 0,
            "Offset": "0",
            "PartitionKey": None,
            "EnqueuedTimeUtc": "2026-11-20T16:53:45.12",
        },
        {
            "x-opt-sequence-number": 1,
            "x-opt-offset": "100",
            "x-opt-enqueued-time": "2026-11-20T16:53:45.121+00:00",
            "x-opt-partition-key": "device-7",
            "SequenceNumber": 1,
            "Offset": "100",
            "PartitionKey": "device-7",
            "EnqueuedTimeUtc": "2026-11-20T16:53:45.121",
        },
    ]


def test_app_sees_naive_enqueued_times() -> None:
    """An app that compares them with aware times must fail here as it would in Azure."""
    seen = decoded([event(5, key=b"k")])[0]

    assert seen.enqueued_time == datetime(2026, 11, 20, 16, 53, 45, 125000)  # noqa: DTZ001 -- Naive.
    assert (seen.sequence_number, seen.offset, seen.partition_key) == (5, 500, "k")
    assert seen.get_body() == b"{}"


def test_events_are_held_until_enough_or_until_the_oldest_waited(tmp_path: Path) -> None:
    """`minEventBatchSize` saves invocations; `maxWaitTime` bounds what that costs in time."""
    limits = {"minEventBatchSize": 3, "maxEventBatchSize": 4, "maxWaitTime": "00:00:10"}
    (tmp_path / "host.json").write_text(json.dumps({"extensions": {"eventHubs": limits}}))
    options = Options.of(load(app=tmp_path, environment={}, machine="box"))
    partition = _Partition(busy=asyncio.Lock())
    many = [event(number) for number in range(10)]

    batches = [
        partition.take(events, options, now_s)
        for events, now_s in (
            (many[:1], 100),  # the first batch does not wait
            (many[1:3], 101),
            (many[3:8], 102),  # enough, and one more than fits into four twice
            ([], 103),
            ([], 113),  # the rest has waited ten seconds
            ([], 200),
            (many[8:9], 201),  # waiting starts with the event, not with the time before it
            ([], 210),
            ([], 211),
        )
    ]

    taken = [[one.sequence_number for one in batch] for batch in batches]
    assert taken == [[0], [], [1, 2, 3, 4], [5, 6, 7], [], [], [], [], [8]]


def test_payload_of_ten_times_the_events_does_not_take_a_hundred_times_as_long() -> None:
    """Payloads are built for every batch; a quadratic one would be the slowest part of it."""

    def spent_s(count: int) -> float:
        events = [event(number, properties={b"a": b"b"}) for number in range(count)]
        started = time.process_time()
        batch_payload(events, partition={})
        return time.process_time() - started

    spent_s(100)
    assert spent_s(3000) < 50 * max(spent_s(300), 0.001)


def test_worker_library_is_the_version_this_host_was_written_for() -> None:
    """`native_invocation` is internal: an upgrade has to be looked at before it is trusted."""
    entry = inspect.signature(native_invocation.invocation_request_native)
    datum = inspect.signature(Datum.__init__)

    assert version("azure-functions-runtime") == "1.3.0"
    assert str(entry) == (
        "(invocation_id, function_id, inputs, trigger_metadata, trace_parent='', trace_state='', "
        "retry_count=0, max_retry_count=0, retry_exception=None)"
    )
    assert str(datum) == "(self, value, type)"
    assert DataType.BINARY.name == "BINARY"


def test_place_is_the_innermost_line_of_the_app(tmp_path: Path) -> None:
    """Libraries raise deep inside; people want to know which of their lines was it."""
    stack = (
        f'  File "{tmp_path}/function_app.py", line 3, in one\n'
        f'  File "{tmp_path}/shared/flow.py", line 42, in two\n'
        f'  File "{tmp_path}/.venv/lib/python3.13/site-packages/x.py", line 9, in three\n'
        '  File "/usr/lib/python3.13/json.py", line 1, in four\n'
    )

    assert app_place(stack, tmp_path) == "shared/flow.py:42"
    assert app_place("no frames", tmp_path) == ""
