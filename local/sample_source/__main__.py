"""Run the sample source: `python -m local.sample_source --data DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from local import faults
from local.sample_source.feed import load
from local.sample_source.server import Feed, application
from local.service import announce, stopped
from shared.domain.errors import Misconfigured

_RECORDING = Path(__file__).with_name("earthquakes.json.gz")

_log = logging.getLogger("sample_source")


def main() -> int:
    """Read the arguments and serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    arguments = _parser().parse_args()
    try:
        asyncio.run(_serve(arguments))
    except (Misconfigured, OSError) as error:
        _log.error("%s", error)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.sample_source", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps `started-at`")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--seconds", type=float, default=6, help="until the feed is complete")
    parser.add_argument("--faults", default="", help="for example seed=7,busy=0.01,drop=0.001")
    parser.add_argument("--with-parent", action="store_true", help="stop at the end of stdin")
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    feed = Feed(
        load(_RECORDING),
        started=_first_start(arguments.data, now=_now()),
        duration=timedelta(seconds=arguments.seconds),
        clock=_now,
    )
    app = application(feed, faults.parse(arguments.faults))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", arguments.port).start()
        announce("sample_source", runner.addresses[0][1])
        await stopped(with_parent=arguments.with_parent)
    finally:
        await runner.cleanup()


def _first_start(folder: Path, *, now: datetime) -> datetime:
    """When the feed began: noted once, so that a restart goes on where the feed was."""
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "started-at"
    if not note.exists():
        draft = folder / "started-at.new"
        draft.write_text(now.isoformat())
        draft.replace(note)  # Whole or not at all, whenever this process is killed.
    return datetime.fromisoformat(note.read_text())


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 -- The process boundary: here the clock is read.


if __name__ == "__main__":
    sys.exit(main())
