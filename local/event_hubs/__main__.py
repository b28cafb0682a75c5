"""The command: `python -m local.event_hubs --pipeline FILE --data DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from local import faults
from local.event_hubs.server import EventHubs
from local.service import announce, stopped
from shared.domain import document
from shared.domain.errors import Misconfigured


def main() -> int:
    """Serve until told to stop; say what is wrong in one line when that cannot be."""
    options = _options()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s event_hubs: %(message)s"
    )
    try:
        asyncio.run(_serve(options))
    except (Misconfigured, OSError) as error:
        sys.stderr.write(f"event_hubs: {error}\n")
        return 2
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.event_hubs", description="A local stand-in for Azure Event Hubs."
    )
    parser.add_argument("--pipeline", type=Path, required=True, help="pipeline.json: the hubs")
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps the events")
    parser.add_argument("--port", type=int, default=5672, help="0 picks a free one")
    parser.add_argument("--with-parent", action="store_true", help="stop at the end of stdin")
    parser.add_argument("--faults", default="", help="seed=7,busy=0.01,drop=0,crash=0,delay_ms=20")
    return parser.parse_args()


async def _serve(options: argparse.Namespace) -> None:
    hubs = document.load(options.pipeline).eventhubs
    chosen = faults.parse(options.faults)
    async with EventHubs(hubs, options.data, port=options.port, faults=chosen) as server:
        announce("event_hubs", server.port)
        await stopped(with_parent=options.with_parent)


if __name__ == "__main__":
    sys.exit(main())
