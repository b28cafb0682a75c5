"""The job, which dies as SIGKILL does while the engine is at its N-th statement.

python -m tests.transforms.mortal_job N MILLISECONDS --run RUN --manifest URL
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from typing import Any

from pyspark.sql.connect.client.core import SparkConnectClient

from transforms.job import main


def die_at(statement: int, *, after_s: float) -> None:
    """Let this process be killed so long after the statement began."""
    numbers = itertools.count(1)
    execute = SparkConnectClient._execute_and_fetch

    def executed(*arguments: Any, **options: Any) -> Any:
        if next(numbers) == statement:
            threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return execute(*arguments, **options)

    SparkConnectClient._execute_and_fetch = executed  # type: ignore[method-assign] # On purpose.


if __name__ == "__main__":
    _, number, milliseconds, *rest = sys.argv
    sys.argv = ["job", *rest]
    die_at(int(number), after_s=int(milliseconds) / 1000)
    main()
