"""The tables on this machine: DuckDB over the Delta tables of the lake."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from shared.domain import document as documents
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from shared.domain.dataset import Dataset
    from shared.settings import Settings


class Tables:
    """An in-memory database that reads the lake; raises `Misconfigured` when it cannot."""

    def __init__(self, found: Settings) -> None:
        """Nothing is read before it is asked for."""
        import duckdb  # noqa: PLC0415 -- A third of a second that most commands can do without.

        if not found.lake:
            raise Misconfigured("LAKE", "is not a connection string; query Synapse instead")
        self._refused = duckdb.Error
        self._datasets = documents.load(found.pipeline_file).datasets
        _tell_emulator(found.lake)
        self._connection = duckdb.connect()
        for extension in ("delta", "azure"):
            self._connection.execute(f"LOAD '{_extension(extension)}'")
        self._connection.execute("SET TimeZone = 'UTC'")
        secret = found.lake.replace("'", "''")
        self._connection.execute(f"CREATE SECRET (TYPE azure, CONNECTION_STRING '{secret}')")

    def __enter__(self) -> Self:
        """Keep the database open for several questions."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._connection.close()

    def answer(self, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of a question; each dataset is a view of its table's name."""
        for dataset in self._datasets:
            columns = ", ".join(f'"{column}"' for column in dataset.columns)
            view = f'CREATE OR REPLACE VIEW "{dataset.table}" AS SELECT {columns} FROM '  # noqa: S608 -- The document checks names.
            self._ask(view + _scan(dataset))
        try:
            result = self._connection.execute(sql)
            return [column[0] for column in result.description or []], result.fetchall()
        except self._refused as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise Misconfigured("query", f"failed: {' '.join(lines[:2])}") from error

    def count(self) -> dict[str, int]:
        """Rows of each table; 0 for one that no run has made yet."""
        counts = {}
        for dataset in self._datasets:
            found = self._ask(f"SELECT count(*) FROM {_scan(dataset)}")  # noqa: S608 -- The same.
            counts[dataset.name] = found[0][0] if found else 0
        return counts

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows, or none while the table is not there."""
        try:
            return self._connection.execute(sql).fetchall()
        except self._refused as error:
            if "No files in log segment" in str(error) or "_delta_log" in str(error):
                return []
            raise Misconfigured("LAKE", f"cannot be read: {error}") from error


def _scan(dataset: Dataset) -> str:
    return f"delta_scan('az://clean/{dataset.name}')"


def _tell_emulator(connection_string: str) -> None:
    """The Delta reader finds Azurite by two variables of the environment, and by nothing else."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    endpoint = parts.get("BlobEndpoint", "")
    if "127.0.0.1" in endpoint:
        os.environ["AZURE_STORAGE_USE_EMULATOR"] = "true"  # noqa: TID251 -- See above.
        os.environ["AZURITE_BLOB_STORAGE_URL"] = endpoint.rpartition("/")[0]  # noqa: TID251


def _extension(name: str) -> Path:
    """Path of an extension that a PyPI package carries, so that nothing is downloaded."""
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    places = found.submodule_search_locations if found else None
    assert places, "requirements-dev.txt installs it"
    return next(Path(places[0]).rglob(f"{name}.duckdb_extension"))
