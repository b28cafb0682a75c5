"""The local event hubs under consumers that share partitions and remember where they were."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
from azure.storage.blob.aio import ContainerClient

from local.event_hubs import EventHubs
from tests.local_event_hubs import ROOT, bodies, consumer, consuming, fill, hub, readers, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from azure.eventhub import EventData
    from azure.eventhub.aio import PartitionContext

pytestmark = pytest.mark.skipif(
    not (ROOT / "local/azurite/node_modules/azurite").exists(),
    reason="Azurite is not installed: run `make setup`",
)


@contextlib.asynccontextmanager
async def checkpoints(azurite: str, name: str) -> AsyncIterator[str]:
    """Make a container for checkpoints."""
    async with ContainerClient.from_connection_string(azurite, name) as container:
        await container.create_container()
        yield name


class Member:
    """One of the consumers of a group; checkpoints after each batch unless told otherwise."""

    def __init__(
        self, server: EventHubs, azurite: str, container: str, *, checkpoints: int = 99
    ) -> None:
        self.events: list[EventData] = []
        self.partitions: set[str] = set()
        self._checkpoints = checkpoints
        self._store = BlobCheckpointStore.from_connection_string(azurite, container)
        self._client = consumer(
            server.connection_string, checkpoint_store=self._store, load_balancing_interval=0.5,
            partition_ownership_expiration_interval=5,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Receive for a while."""
        async with self._store, consuming(
            self._client, self._take, starting_position="-1", max_batch_size=1,
            on_partition_initialize=self._gain, on_partition_close=self._lose,
        ):  # fmt: skip
            yield

    async def _take(self, context: PartitionContext, batch: list[EventData]) -> None:
        self.events += batch
        if batch and len(self.events) <= self._checkpoints:
            await context.update_checkpoint(batch[-1])

    async def _gain(self, context: PartitionContext) -> None:
        self.partitions.add(context.partition_id)

    async def _lose(self, context: PartitionContext, _: object) -> None:
        self.partitions.discard(context.partition_id)


async def test_two_consumers_share_the_partitions(tmp_path: Path, azurite: str) -> None:
    """A second instance must take half of the work, by stealing it with an equal epoch."""
    async with (
        EventHubs([hub(partitions=4)], tmp_path) as server,
        checkpoints(azurite, "balanced") as container,
    ):
        first, second = (Member(server, azurite, container) for _ in range(2))
        async with first.at_work():
            await until(lambda: len(first.partitions) == 4)
            async with second.at_work():
                await until(lambda: len(first.partitions) == len(second.partitions) == 2)
                await until(lambda: all(len(readers(server, number)) == 1 for number in "0123"))
                for number in "0123":
                    fill(server, [number], number)

                await until(lambda: len(first.events) + len(second.events) >= 4)

                assert {*bodies(first.events)} == first.partitions
                assert {*bodies(second.events)} == second.partitions


async def test_a_consumer_goes_on_where_it_had_checkpointed(tmp_path: Path, azurite: str) -> None:
    """After a restart of everything, offsets in checkpoints must mean the same events as before."""
    async with checkpoints(azurite, "resumed") as container:
        async with EventHubs([hub(partitions=1)], tmp_path) as server:
            fill(server, ["one", "two", "three"])
            before = Member(server, azurite, container, checkpoints=2)
            async with before.at_work():
                await until(lambda: len(before.events) == 3)
        async with EventHubs([hub(partitions=1)], tmp_path, port=server.port) as server:
            fill(server, ["four"])
            after = Member(server, azurite, container)

            async with after.at_work():
                await until(lambda: len(after.events) >= 2)

    assert bodies(after.events) == ["three", "four"]
