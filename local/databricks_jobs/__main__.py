"""Run the Jobs emulator: `python -m local.databricks_jobs --pipeline FILE --data DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import time
from pathlib import Path

from aiohttp import web

from local import faults
from local.databricks_jobs.model import Workspace, jobs_of
from local.databricks_jobs.runner import Runner
from local.databricks_jobs.server import Interface, application
from local.databricks_jobs.store import RunFolder
from local.service import announce, stopped
from shared.domain import document
from shared.domain.errors import Misconfigured

_log = logging.getLogger("databricks_jobs")


def main() -> int:
    """Read the arguments and serve until told to stop."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    arguments = _parser().parse_args()
    code = 0
    try:
        asyncio.run(_serve(arguments))
    except* (Misconfigured, OSError) as errors:  # One readable line, not a traceback.
        _log.error("%s", errors.exceptions[0])
        code = 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.databricks_jobs", description=__doc__)
    parser.add_argument("--pipeline", type=Path, required=True, help="the document with the jobs")
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps the runs")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--token", help="what clients must send; by default DATABRICKS_TOKEN")
    parser.add_argument("--places", type=int, default=2, help="runs that may be active at once")
    parser.add_argument("--timeout", type=float, help="seconds a run may take; none by default")
    parser.add_argument("--faults", default="", help="for example seed=7,busy=0.01,drop=0.001")
    parser.add_argument("--with-parent", action="store_true", help="stop at the end of stdin")
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    # The process boundary: this is the emulator's only look at its environment.
    token = arguments.token or os.environ.get("DATABRICKS_TOKEN")  # noqa: TID251 -- See above.
    if not token:
        raise Misconfigured(
            "--token", "is needed, or DATABRICKS_TOKEN: clients must prove themselves"
        )
    store = RunFolder(arguments.data / "runs")
    jobs = jobs_of(document.load(arguments.pipeline))
    workspace = Workspace(jobs, store.load(), places=arguments.places)
    drawn = faults.parse(arguments.faults)
    async with asyncio.TaskGroup() as tasks:
        runner = Runner(
            workspace, store, clock_ms=_clock_ms, timeout_s=arguments.timeout, tasks=tasks
        )
        await runner.open()
        app = application(Interface(runner, store), token=token, faults=drawn)
        server = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await server.setup()
        try:
            await web.TCPSite(server, "127.0.0.1", arguments.port).start()
            announce("databricks_jobs", server.addresses[0][1])
            await stopped(with_parent=arguments.with_parent)
        finally:
            await server.cleanup()
            await runner.close()


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
