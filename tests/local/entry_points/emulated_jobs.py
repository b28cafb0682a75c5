"""Entry points for the Jobs emulator's tests: every way a run can go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

WARMED: list[int] = []


def warm() -> None:
    """Note that the interpreter was warmed up, and which one it was."""
    WARMED.append(os.getpid())


def succeed() -> None:
    """Tell how this run was started."""
    told = {"arguments": sys.argv[1:], "pid": os.getpid(), "warmed": WARMED}
    sys.stdout.write(json.dumps(told) + "\n")


def fail() -> None:
    """Raise, as a transform does that meets what it cannot read."""
    sys.stdout.write("about to fail\n")
    raise ValueError("no such column: mag")


def exit_with_three() -> None:
    """Leave with a code that means failure."""
    sys.exit(3)


def exit_with_nothing() -> None:
    """Leave early, but well."""
    sys.exit()


def crash() -> None:
    """End as an engine does that has a bug in its native code."""
    os.kill(os.getpid(), signal.SIGSEGV)


def chatter() -> None:
    """Write more than the service hands out, the last line last."""
    for number in range(6 * 1024):
        sys.stdout.write(f"{number:>1023}\n")


def wait() -> None:
    """Wait until the file named by `--gate` is there; note this process and a child of it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
    Path(options["gate"] + ".pids").write_text(f"{os.getpid()} {child.pid}")
    while not Path(options["gate"]).exists():
        time.sleep(0.02)


def refuse_to_end() -> None:
    """Wait as `wait` does, and ignore being asked to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait()
