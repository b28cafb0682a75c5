"""One interpreter for one run: warm up, wait for the arguments, call the entry point, end.

Started by the runner as `python -m local.databricks_jobs.worker package.module:function`. Standard
input carries one line of JSON, the assignment, and is the lifeline besides: at its end, which comes
however the emulator dies, this process and everything it started are gone.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import queue
import signal
import sys
import sysconfig
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> NoReturn:
    """Live the one life of a worker."""
    entry_point, *assigned = sys.argv[1:]
    lifeline, line = _hold_lifeline()
    function = _warm_up(entry_point)
    sources = _sources()
    assignment = json.loads(assigned[0] if assigned else line.get())
    if _sources() != sources:
        _start_over(lifeline, assignment)
    sys.argv = [entry_point, *assignment["arguments"]]
    failure = _call(function)
    if failure is not None:
        _tell(failure, Path(assignment["failure"]))
    # What the entry point started, an engine perhaps, need not be taken down piece by piece, and
    # must not turn a success into a crash: on Databricks too, the interpreter outlives the task.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if failure is None else 1)


def _hold_lifeline() -> tuple[int, queue.SimpleQueue[bytes]]:
    """Watch standard input from a thread; the first line that comes is the assignment."""
    lifeline = os.dup(0)  # Not inherited: what a job starts cannot hold or drain it.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    line: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def watch() -> None:
        received = b""
        while some := os.read(lifeline, 65536):
            received += some
            if received.endswith(b"\n"):
                line.put(received)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
    return lifeline, line


def _warm_up(entry_point: str) -> Callable[[], object]:
    """Import the entry point and let its module warm itself; a problem is the run's to report."""
    try:
        module_name, _, function_name = entry_point.partition(":")
        module = importlib.import_module(module_name)
        function: Callable[[], object] = getattr(module, function_name)
        getattr(module, "warm", lambda: None)()
    except BaseException as error:  # noqa: BLE001 -- Whatever it is, it belongs to the coming run.
        return functools.partial(_raise, error)
    return function


def _raise(error: BaseException) -> NoReturn:
    raise error


def _sources() -> dict[str, int]:
    """The loaded modules that somebody here may edit, and when their files last changed."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    own = [Path(file) for file in files if file and not file.startswith(libraries)]
    return {str(file): file.stat().st_mtime_ns for file in own if file.exists()}


def _start_over(lifeline: int, assignment: dict[str, Any]) -> NoReturn:
    """Run the assignment in a fresh interpreter: somebody edited the code this one has loaded."""
    os.dup2(lifeline, 0)
    command = [sys.executable, "-u", "-m", "local.databricks_jobs.worker", sys.argv[1]]
    os.execv(sys.executable, [*command, json.dumps(assignment)])  # noqa: S606 -- Itself, anew.


def _call(function: Callable[[], object]) -> BaseException | None:
    """Call the entry point as Databricks does: what it returns is nobody's business."""
    try:
        function()
    except SystemExit as error:
        return None if error.code in {None, 0} else error
    except BaseException as error:  # noqa: BLE001 -- The process boundary: the run reports it.
        return error
    return None


def _tell(failure: BaseException, path: Path) -> None:
    """Leave the failure where the emulator reads it, and its traceback in the output."""
    frames = failure.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next  # How the entry point was called explains nothing.
    trace = "".join(traceback.format_exception(failure.with_traceback(frames)))
    sys.stderr.write(trace)
    path.write_text(json.dumps({"error": f"{type(failure).__name__}: {failure}", "trace": trace}))


if __name__ == "__main__":
    main()
