"""The job: `python -m transforms.job --run RUN --manifest URL`, on Databricks and on Sail alike."""

from __future__ import annotations

import argparse
import sys
import traceback
from typing import TYPE_CHECKING, assert_never

from transforms.curated_table import write_curated
from transforms.maintenance import maintain_tables
from transforms.manifest import CuratedManifest, MaintenanceManifest, Manifest, read_manifest
from transforms.raw_to_table import write_table
from transforms.session import on_databricks, open_session, warm

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from transforms.result import CuratedWritten, TablesMaintained, TableWritten

__all__ = ["do_run", "main", "warm"]


def main() -> None:
    """Do one run: bring raw blobs into a table, make a curated table, or compact tables."""
    parser = argparse.ArgumentParser(prog="python -m transforms.job", description=main.__doc__)
    parser.add_argument("--run", required=True, help="the run's id")
    parser.add_argument("--manifest", required=True, help="URL of the run's manifest")
    parser.add_argument("--debug", action="store_true", help="show where a failure came from")
    arguments = parser.parse_args()
    try:
        with open_session() as session:
            done = do_run(session, run=arguments.run, manifest_url=arguments.manifest)
    except Exception as error:  # The process boundary: whatever it is, somebody must read it.
        if on_databricks():
            raise  # It is what the run's page shows there.
        if arguments.debug:
            traceback.print_exc()
        reason = str(error).strip().partition("\n")[0]
        sys.exit(f"run {arguments.run} failed: {reason or type(error).__name__}")
    sys.stdout.write(f"{done.to_json()}\n")


def do_run(
    session: SparkSession, *, run: str, manifest_url: str
) -> TableWritten | CuratedWritten | TablesMaintained:
    """Do what the manifest says; write and return the result."""
    manifest = read_manifest(session, manifest_url, run=run)
    match manifest:
        case Manifest():
            return write_table(session, manifest)
        case CuratedManifest():
            return write_curated(session, manifest)
        case MaintenanceManifest():
            return maintain_tables(session, manifest)
        case _:
            assert_never(manifest)


if __name__ == "__main__":
    main()
