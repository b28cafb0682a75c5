"""The Event Hub trigger: one batch at a time per partition, partitions side by side.

The SDK balances partitions and calls back with batches. A batch is checkpointed once its function
succeeded or its retries are exhausted, and never after the partition is lost or the host stops:
it is then delivered again, to whoever owns the partition next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from azure.eventhub import LoadBalancingStrategy, TransportType
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

from local.functions_host.connections import HOST_STORAGE, RETRY, TRANSPORT, named_parts
from local.functions_host.errors import FunctionBroken, HostError
from local.functions_host.event_payload import batch_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from azure.eventhub import CloseReason, EventData
    from azure.eventhub.aio import PartitionContext

    from local.functions_host.services import Services
    from local.functions_host.settings import Settings
    from local.functions_host.worker import Function

_log = logging.getLogger(__name__)

CHECKPOINT_CONTAINER = "azure-webjobs-eventhub"
_SECTION = "extensions.eventhubs"
#: How often the SDK calls back without events, so that held events meet their deadline.
_HELD_CHECK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`extensions.eventHubs` of host.json."""

    batch_events_max: int
    batch_events_min: int
    wait_s_max: float
    prefetch_events: int
    batches_per_checkpoint: int
    start: str | datetime
    transport: TransportType
    balance_s: float

    @classmethod
    def of(cls, settings: Settings) -> Options:
        """Read the options; raise `HostError` naming a wrong one."""
        transport = str(settings.option(f"{_SECTION}.transportType", "amqpTcp")).lower()
        websocket = transport == "amqpwebsockets"
        least = settings.whole_number(f"{_SECTION}.minEventBatchSize", 1)
        most = settings.whole_number(f"{_SECTION}.maxEventBatchSize", 100)
        if not 1 <= least <= most:
            raise HostError(f"host.json: batches of {least} to {most} events cannot be made")
        return cls(
            batch_events_max=most,
            batch_events_min=least,
            wait_s_max=settings.duration_s(f"{_SECTION}.maxWaitTime", 60),
            prefetch_events=settings.whole_number(f"{_SECTION}.prefetchCount", 300),
            batches_per_checkpoint=settings.whole_number(f"{_SECTION}.batchCheckpointFrequency", 1),
            start=_start_position(settings),
            transport=TransportType.AmqpOverWebsocket if websocket else TransportType.Amqp,
            balance_s=settings.seconds("MILLRACE_HOST_BALANCE_S", 10),
        )


def _start_position(settings: Settings) -> str | datetime:
    kind = str(settings.option(f"{_SECTION}.initialOffsetOptions.type", "fromStart"))
    if kind.lower() == "fromenqueuedtime":
        moment = settings.option(f"{_SECTION}.initialOffsetOptions.enqueuedTimeUtc", "")
        try:
            return datetime.fromisoformat(moment)
        except (TypeError, ValueError):
            raise HostError(f"host.json: enqueuedTimeUtc is {moment!r}, not a time") from None
    try:
        # The SDK's own default would be the end.
        return {"fromstart": "-1", "fromend": "@latest"}[kind.lower()]
    except KeyError:
        raise HostError(f"host.json: initialOffsetOptions.type is {kind!r}") from None


@dataclass(slots=True, kw_only=True)
class _Partition:
    """One partition, for as long as this host owns it."""

    # Shared with the owner before: its last batch may still be running when we get it back.
    busy: asyncio.Lock
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    held: list[EventData] = field(default_factory=list)
    # The first batch does not wait: nobody knows how long its events have waited already.
    deadline_s: float = 0.0
    batches_since_checkpoint: int = 0

    def take(self, events: Sequence[EventData], options: Options, now_s: float) -> list[EventData]:
        """Hold events until there are enough of them or the oldest waited long enough."""
        if events and not self.held and self.deadline_s:
            self.deadline_s = now_s + options.wait_s_max
        self.held.extend(events)
        if len(self.held) < options.batch_events_min and now_s < self.deadline_s:
            return []
        batch = self.held[: options.batch_events_max]
        self.held = self.held[options.batch_events_max :]
        self.deadline_s = now_s + options.wait_s_max
        return batch


class EventHubListener:
    """One function on one hub and consumer group."""

    def __init__(self, function: Function, services: Services) -> None:
        settings, connections = services.settings, services.connections
        self.name = function.name
        self._function = function
        self._options = Options.of(settings)
        self._invocations = services.invocations
        self._connections = connections
        trigger = function.trigger
        if trigger.get("cardinality", "").lower() != "many" or trigger.get("dataType") != "BINARY":
            raise FunctionBroken(
                "its Event Hub trigger needs cardinality=many and data_type=BINARY here: anything "
                "else loses or rewrites bytes"
            )
        self._hub = settings.resolve(trigger["eventHubName"])
        self._group = settings.resolve(trigger.get("consumerGroup") or "$Default")
        connection = settings.resolve(trigger["connection"])
        self._text, self._namespace = connections.event_hub(connection)
        if self._text and "endpoint" not in named_parts(self._text):
            raise FunctionBroken(f"the setting {connection} is no connection string of a namespace")
        self._storage = settings.connection_text(HOST_STORAGE)
        connections.blobs(HOST_STORAGE)  # Say now that it is not set.
        self._partitions: dict[str, _Partition] = {}
        self._is_stopped = False

    def stop(self) -> None:
        """Give up every partition: no retry and no checkpoint from here on."""
        self._is_stopped = True
        for partition in self._partitions.values():
            partition.lost.set()

    async def run(self) -> None:
        """Receive until cancelled; a batch in flight is seen through, but not checkpointed."""
        await self._connections.host_container(CHECKPOINT_CONTAINER)
        options = self._options
        holds = options.batch_events_min > 1
        async with self._checkpoints() as store, self._client(store) as client:
            await client.receive_batch(
                self._receive,
                max_batch_size=options.batch_events_max,
                max_wait_time=min(_HELD_CHECK_S, options.wait_s_max) if holds else None,
                prefetch=options.prefetch_events,
                starting_position=options.start,
                on_error=self._on_error,
                on_partition_initialize=self._on_gained,
                on_partition_close=self._on_lost,
            )

    def _checkpoints(self) -> BlobCheckpointStore:
        if self._storage:
            return BlobCheckpointStore.from_connection_string(
                self._storage, CHECKPOINT_CONTAINER, **RETRY, **TRANSPORT
            )
        url = self._connections.blobs(HOST_STORAGE).url
        identity = self._connections.identity()
        return BlobCheckpointStore(
            url, CHECKPOINT_CONTAINER, credential=identity, **RETRY, **TRANSPORT
        )

    def _client(self, store: BlobCheckpointStore) -> EventHubConsumerClient:
        options: dict[str, Any] = {
            "checkpoint_store": store,
            "load_balancing_interval": self._options.balance_s,
            # A killed host's partitions are free again after this; Azure waits 2 min.
            "partition_ownership_expiration_interval": self._options.balance_s * 3,
            "load_balancing_strategy": LoadBalancingStrategy.GREEDY,
            "transport_type": self._options.transport,
        }
        if self._text:
            hub = None if "entitypath" in named_parts(self._text) else self._hub
            return EventHubConsumerClient.from_connection_string(
                self._text, self._group, eventhub_name=hub, **options
            )
        assert self._namespace, "a connection is a string or a namespace"
        identity = self._connections.identity()
        return EventHubConsumerClient(
            self._namespace, self._hub, self._group, credential=identity, **options
        )

    async def _receive(self, context: PartitionContext, events: list[EventData]) -> None:
        partition = self._partitions[context.partition_id]
        batch = partition.take(events, self._options, time.monotonic())
        if batch:
            # The SDK cancels this callback when it stops; the function must not notice.
            await self._invocations.see_through(self._deliver(context, partition, batch))

    async def _deliver(
        self, context: PartitionContext, partition: _Partition, batch: list[EventData]
    ) -> None:
        async with partition.busy:
            if partition.lost.is_set():
                return
            partition.batches_since_checkpoint += 1
            due = partition.batches_since_checkpoint >= self._options.batches_per_checkpoint
            description = {
                "IsCheckpointingAfterInvocation": due,
                "FullyQualifiedNamespace": context.fully_qualified_namespace,
                "EventHubName": context.eventhub_name,
                "ConsumerGroup": context.consumer_group,
                "PartitionId": context.partition_id,
            }
            payload = batch_payload(batch, partition=description)
            # Checkpointed whether it succeeded or not: Event Hubs knows no poison events.
            await self._invocations.run(self._function, payload, given_up=partition.lost)
            if due and not partition.lost.is_set():
                await context.update_checkpoint(batch[-1])
                partition.batches_since_checkpoint = 0

    async def _on_gained(self, context: PartitionContext) -> None:
        before = self._partitions.get(context.partition_id)
        partition = _Partition(busy=before.busy if before else asyncio.Lock())
        if self._is_stopped:
            partition.lost.set()
        self._partitions[context.partition_id] = partition

    async def _on_lost(self, context: PartitionContext, _reason: CloseReason) -> None:
        self._partitions[context.partition_id].lost.set()

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        where = f"partition {context.partition_id}" if context else "balancing"
        text = " ".join(str(error).split())
        _log.warning("%s: %s of %s: %s", self.name, where, self._hub, text)
