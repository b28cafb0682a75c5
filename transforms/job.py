"""The job: `python -m transforms.job --run RUN --manifest URL`, on Databricks and on Sail alike."""

from __future__ import annotations

import argparse
import sys
import traceback

from transforms.raw_to_table import write_table
from transforms.session import on_databricks, open_session, warm

__all__ = ["main", "warm"]


def main() -> None:
    """Turn the raw blobs of one run into rows of its dataset's table."""
    parser = argparse.ArgumentParser(prog="python -m transforms.job", description=main.__doc__)
    parser.add_argument("--run", required=True, help="the run's id")
    parser.add_argument("--manifest", required=True, help="URL of the run's manifest")
    parser.add_argument("--debug", action="store_true", help="show where a failure came from")
    arguments = parser.parse_args()
    try:
        with open_session() as session:
            written = write_table(session, run=arguments.run, manifest_url=arguments.manifest)
    except Exception as error:  # The process boundary: whatever it is, somebody must read it.
        if on_databricks():
            raise  # It is what the run's page shows there.
        if arguments.debug:
            traceback.print_exc()
        reason = str(error).strip().partition("\n")[0]
        sys.exit(f"run {arguments.run} failed: {reason or type(error).__name__}")
    sys.stdout.write(f"{written.to_json()}\n")


if __name__ == "__main__":
    main()
