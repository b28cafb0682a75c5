"""A local stand-in for Azure Event Hubs: AMQP 1.0 on asyncio, events in segment files."""

from local.event_hubs.server import EventHubs

__all__ = ["EventHubs"]
