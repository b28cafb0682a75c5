"""Notebook: Python that opens the tables of the local stack, a cell for each way to read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_DUCKDB = """\
# %% DuckDB: the tables as `millrace query` shows them
import os

import duckdb

os.environ["AZURE_STORAGE_USE_EMULATOR"] = "true"  # DuckDB's Delta reader looks here.
os.environ["AZURITE_BLOB_STORAGE_URL"] = "{blobs}"
lake = duckdb.connect()
for extension in (
    "{azure}",
    "{delta}",
):
    lake.execute(f"LOAD '{{extension}}'")
lake.execute("SET TimeZone = 'UTC'")
lake.execute(
    "CREATE SECRET (TYPE azure, CONNECTION_STRING '{connection_string}')"
)
{views}
print(lake.sql("SHOW TABLES").df())
"""
_PANDAS = """\
# %% pandas: a whole table as it is stored, with the columns that say where a row comes from
from deltalake import DeltaTable

storage = {{
    "azure_storage_account_name": "{name}",
    "azure_storage_account_key": "{key}",
    "endpoint": "{endpoint}",
    "allow_http": "true",
}}
frame = DeltaTable("{table}", storage_options=storage).to_pandas()
{pandas_kept}print(frame)
"""
_POLARS = """\
# %% polars: only the columns and rows that are asked for are read
import polars

rows = polars.scan_delta("{table}", storage_options=storage)
{polars_kept}print(rows.head(5).collect())
"""
_NOTHING = "# No table is written yet; `millrace wait` says when the first is.\n"


def notebook(
    connection_string: str,
    *,
    extensions: Mapping[str, Path],
    definitions: Sequence[str],
    written: Mapping[str, bool],
) -> str:
    """The cells; raise `Misconfigured` when they would show the key of a real account."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if "=" in part)
    endpoint = parts.get("BlobEndpoint", "")
    if not endpoint.startswith("http://127.0.0.1"):
        raise Misconfigured(
            "LAKE", "is no local stack's: its key is not for printing; see docs/sql"
        )
    cells = [
        _DUCKDB.format(
            blobs=endpoint.rpartition("/")[0],
            azure=extensions["azure"],
            delta=extensions["delta"],
            connection_string=connection_string,
            views="\n".join(f"lake.execute({each!r})" for each in definitions),
        )
    ]
    if not written:
        return "\n".join([*cells, _NOTHING])
    table, marks_deleted = next(iter(written.items()))
    kept = {
        "pandas_kept": 'frame = frame[frame["_deleted"].ne(True)]\n',
        "polars_kept": 'rows = rows.filter(polars.col("_deleted").ne_missing(True))\n',
    }
    facts = {"table": table, "endpoint": endpoint} | {
        name: text if marks_deleted else "" for name, text in kept.items()
    }
    facts |= {"name": parts["AccountName"], "key": parts["AccountKey"]}
    return "\n".join([*cells, *(cell.format(**facts) for cell in (_PANDAS, _POLARS))])
