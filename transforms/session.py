"""The session: Databricks' own when there is one, otherwise Sail inside this process."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

if TYPE_CHECKING:
    from collections.abc import Iterator

# This package is handed nothing but its arguments, so these two variables are read here.
_ENVIRONMENT = os.environ  # noqa: TID251 -- as above; `shared.wiring` is not part of the wheel.


def on_databricks() -> bool:
    """Say whether a Databricks runtime started this process."""
    return "DATABRICKS_RUNTIME_VERSION" in _ENVIRONMENT


def emulator_options() -> dict[str, str]:
    """Return what `deltalake` must be told to find Azurite as Sail does; nothing in Azure."""
    emulated = _ENVIRONMENT.get("AZURE_STORAGE_USE_EMULATOR", "false") == "true"
    return {"use_emulator": "true"} if emulated else {}


_warm = contextlib.ExitStack()
_warmed: list[SparkSession] = []


def warm() -> None:
    """Open the session before there is a run: a pool's spare process has nothing else to do."""
    if not on_databricks():
        session = _warm.enter_context(_opened())
        session.sql("select 1").collect()  # What is loaded at the first query is loaded now.
        _warmed.append(session)


@contextlib.contextmanager
def open_session() -> Iterator[SparkSession]:
    """Lend a session in UTC, the warm one if there is one; it is stopped afterwards."""
    with _warm if _warmed else contextlib.nullcontext():
        if _warmed:
            yield _warmed.pop()
        else:
            with _opened() as session:
                yield session


@contextlib.contextmanager
def _opened() -> Iterator[SparkSession]:
    with contextlib.nullcontext() if on_databricks() else _sail() as address:
        builder = SparkSession.builder if address is None else SparkSession.builder.remote(address)
        session = builder.getOrCreate()
        # Times without a zone are UTC whatever machine this is, and so is midnight.
        session.conf.set("spark.sql.session.timeZone", "UTC")
        try:
            yield session
        finally:
            if address is not None:
                session.stop()


@contextlib.contextmanager
def _sail() -> Iterator[str]:
    # All before Sail is loaded. It logs every query, and keeps a row group of each file that it
    # writes in memory: of the million rows it takes by default, that is half a gigabyte a core.
    _ENVIRONMENT.setdefault("RUST_LOG", "error")
    _ENVIRONMENT.setdefault("SAIL_PARQUET__MAX_ROW_GROUP_SIZE", "100000")
    # pysail is not installed on Databricks, and carries no types.
    from pysail.spark import SparkConnectServer  # type: ignore[import-untyped] # noqa: PLC0415

    server = SparkConnectServer()
    server.start(background=True)
    try:
        host, port = server.listening_address
        yield f"sc://{host}:{port}"
    finally:
        server.stop()
