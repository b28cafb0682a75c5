"""A blob trigger, and the message that asks for one run of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from local.functions_host import blob_path
from local.functions_host.connections import HOST_STORAGE

if TYPE_CHECKING:
    from local.functions_host.services import Services
    from local.functions_host.worker import Function


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobTrigger:
    """A function and the blobs it is for."""

    function: Function
    connection: str
    path: blob_path.BlobPath
    #: Azure's Event Grid source says that a blob changed; the function gets what it is by then.
    takes_any_version: bool

    @classmethod
    def of(cls, function: Function, services: Services) -> Self:
        """Read a binding; raise `FunctionBroken` for a setting or a connection it lacks."""
        settings, trigger = services.settings, function.trigger
        connection = settings.resolve(trigger.get("connection") or HOST_STORAGE)
        for name in (connection, HOST_STORAGE):
            services.connections.blobs(name)  # Say now that it is not set.
        return cls(
            function=function,
            connection=connection,
            path=blob_path.parse(settings.resolve(trigger["path"])),
            takes_any_version=trigger.get("source") == "EventGrid",
        )

    @property
    def id(self) -> str:
        """How receipts and messages name the function."""
        return f"Host.Functions.{self.function.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a blob that a function is to run for: a message of the control queue."""

    function_id: str
    container: str
    name: str
    etag: str

    def as_message(self) -> str:
        """As the .NET host writes it."""
        message = {
            "Type": "BlobTrigger",
            "FunctionId": self.function_id,
            "BlobType": "BlockBlob",
            "ContainerName": self.container,
            "BlobName": self.name,
            "ETag": self.etag,
        }
        return json.dumps(message)

    @classmethod
    def of_message(cls, message: str) -> Self | None:
        """Read a message; none if it is something else."""
        try:
            found = json.loads(message)
            return cls(
                function_id=found["FunctionId"],
                container=found["ContainerName"],
                name=found["BlobName"],
                etag=found["ETag"],
            )
        except (ValueError, KeyError, TypeError):
            return None
