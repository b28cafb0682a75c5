"""The same with dlt: the records of a source into a Delta table on this disk, merged by id.

    /path/to/venv/bin/python benchmarks/chain_dlt.py http://127.0.0.1:8000 FOLDER

Needs `dlt[filesystem,deltalake]` and nothing of this project. Prints one line of JSON. The disk is
less work than a storage service: the comparison is in favour of dlt.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import dlt
from deltalake import DeltaTable
from dlt.sources.rest_api import rest_api_source


def source(url: str) -> object:
    """The pages of the source, from the newest record seen on."""
    return rest_api_source(
        {
            "client": {
                "base_url": url,
                "paginator": {"type": "json_link", "next_url_path": "next"},
            },
            "resources": [
                {
                    "name": "records",
                    "primary_key": "id",
                    "write_disposition": {"disposition": "merge", "strategy": "upsert"},
                    "table_format": "delta",
                    "endpoint": {
                        "path": "records",
                        "data_selector": "items",
                        "incremental": {"start_param": "since", "cursor_path": "updated"},
                    },
                }
            ],
        }
    )


def cpu_s() -> float:
    """CPU of this process and its ended children."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def main() -> None:
    """Load all, then nothing new; count what is in the table."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    pipeline = dlt.pipeline(
        "chain",
        destination=dlt.destinations.filesystem(str(folder / "lake")),
        dataset_name="chain",
        pipelines_dir=str(folder / "work"),
    )
    started, spent = time.monotonic(), cpu_s()
    pipeline.run(source(url))
    loaded, loaded_spent = time.monotonic(), cpu_s()
    pipeline.run(source(url))
    again_spent = cpu_s()
    table = DeltaTable(str(folder / "lake/chain/records")).to_pyarrow_table(columns=["id"])
    result = {
        "version": dlt.__version__,
        "cpu_s": loaded_spent - spent,
        "wall_s": loaded - started,
        "nothing_new_cpu_s": again_spent - loaded_spent,
        "rows": table.num_rows,
        "distinct": len(set(table["id"].to_pylist())),
    }
    print(json.dumps(result), flush=True)
    os._exit(0)  # deltalake 1.6.6 may abort when an interpreter that has read a table ends.


if __name__ == "__main__":
    main()
