"""Fixtures that more than one folder of tests needs: the real Azurite, started once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from local import azurite_process

if TYPE_CHECKING:
    from collections.abc import Iterator

# PySpark looks for a JVM in a program that is no file, which a worker of pytest-xdist is.
vars(sys.modules["__main__"]).setdefault("__file__", __file__)

# Property tests try the same examples each time, however slow the machine is: what fails does so
# because of what was changed. `make explore` tries new ones.
PROFILE = settings(
    derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("same", PROFILE)
settings.register_profile("explore", PROFILE, derandomize=False)
settings.load_profile("same")
# Hypothesis also tries constants of the modules that happen to be imported: which ones these are
# depends on the tests that ran before, so it is shown none.
assert "_get_local_constants" in vars(providers), "Hypothesis has another way to find them now"
vars(providers)["_get_local_constants"] = Constants


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of a real Azurite that lives as long as the tests."""
    blob, queue, table = free_ports(3)
    folder = tmp_path_factory.mktemp("azurite")
    command = azurite_process.command(folder, blob=blob, queue=queue, table=table)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"listening" in process.stdout.readline()
        yield azurite_process.connection_string(blob=blob, queue=queue, table=table)
        process.terminate()


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's shell must not change results."""
    for name in os.environ:
        if name.startswith(("LAKE", "LEDGER", "EVENT_HUBS", "DATABRICKS_", "PIPELINE_")):
            monkeypatch.delenv(name)
