"""The command line of the host: `python -m local.functions_host --app DIR --port N`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
from pathlib import Path
from random import Random

from local.functions_host import settings as app_settings
from local.functions_host import telemetry
from local.functions_host.errors import AppBroken, HostError
from local.functions_host.host import Host
from local.service import announce, stopped

_QUIET = {
    "azure": logging.WARNING,
    "uamqp": logging.WARNING,
    "httpx": logging.WARNING,
    "asyncio": logging.WARNING,
    # Its warnings come once more, in one line, from the listener.
    "azure.eventhub": logging.ERROR,
    # The worker library's own words on failures: tracebacks that the host reports as one line.
    "azure.functions": logging.CRITICAL,
    # Somebody who watches sees that nothing arrives; each attempt is not worth a line.
    "opentelemetry": logging.ERROR,
}


def main() -> None:
    """Run the host until it is told to stop."""
    arguments = _arguments()
    _set_up_logging(verbose=arguments.verbose)
    try:
        code = asyncio.run(_run(arguments))
    except AppBroken as error:
        sys.stderr.write(f"{error}\n")
        if arguments.verbose:
            sys.stderr.write(error.stack)
        code = 1
    except HostError as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: a function that does not end would hold up the interpreter, and the clients
    # that the app never closes would complain. Azure ends its workers no more gently.
    os._exit(code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.functions_host", description=__doc__)
    parser.add_argument("--app", type=Path, required=True, help="the folder of function_app.py")
    parser.add_argument("--port", type=int, default=7071, help="HTTP port; 0 picks one")
    parser.add_argument("--settings", type=Path, help="a local.settings.json to take Values from")
    parser.add_argument("--functions", nargs="+", default=[], help="run only these functions")
    parser.add_argument("--with-parent", action="store_true", help="stop when stdin ends")
    parser.add_argument("--verbose", action="store_true", help="log invocations, with tracebacks")
    return parser.parse_args()


async def _run(arguments: argparse.Namespace) -> int:
    app = arguments.app.resolve()
    if arguments.settings:
        # The app itself reads the environment: that is where its settings are in Azure.
        for name, value in app_settings.local_values(arguments.settings.resolve()).items():
            os.environ.setdefault(name, value)  # noqa: TID251 -- As above.
    environment = dict(os.environ)  # noqa: TID251 -- Read once, here.
    settings = app_settings.load(app=app, environment=environment, machine=platform.node())
    if app.is_dir():
        os.chdir(app)
    end_telemetry = telemetry.set_up(environment)
    host = Host(app=app, settings=settings, random=Random())  # noqa: S311 -- Jitter, no secret.
    port = await host.start(port=arguments.port, only=arguments.functions)
    announce("functions", port)
    await stopped(with_parent=arguments.with_parent)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 1)  # Told twice: now.
    left = await host.stop()
    await asyncio.to_thread(end_telemetry)
    if left:
        logging.getLogger(__name__).warning("%d invocations had not ended and are cut off", left)
    return 0


def _set_up_logging(*, verbose: bool) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    if verbose:
        logging.getLogger("local").setLevel(logging.DEBUG)


if __name__ == "__main__":
    main()
