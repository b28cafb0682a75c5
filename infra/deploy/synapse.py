"""Synapse, as the steps of a deployment use it: scripts are run, and rows are counted.

`python -m infra.deploy.synapse FOLDER` runs the scripts of a folder in the order of their names;
without a folder it only finds out whether the endpoint lets it in.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BATCH_END = re.compile(r"^\s*GO\s*$", re.IGNORECASE | re.MULTILINE)
_VARIABLE = re.compile(r"\$\((\w+)\)")


def batches(script: str, variables: Mapping[str, str]) -> list[str]:
    """The statements between lines that say GO, with `$(Name)` replaced, as sqlcmd does it."""
    filled = _VARIABLE.sub(lambda found: variables[found[1]], script)
    return [batch for part in _BATCH_END.split(filled) if (batch := part.strip())]


def connect(endpoint: str, database: str = "master") -> Any:  # noqa: ANN401 -- The driver has no types.
    """Open a connection, signed in as the Azure CLI is."""
    # Only a deployment needs the driver, so only a deployment installs it.
    import mssql_python  # type: ignore[import-not-found] # noqa: PLC0415

    return mssql_python.connect(
        f"Server={endpoint};Database={database};Encrypt=yes;Authentication=ActiveDirectoryDefault",
        autocommit=True,  # A database cannot be made inside a transaction.
    )


def run_scripts(folder: Path, *, endpoint: str, variables: Mapping[str, str]) -> None:
    """Run every script; they may be repeated."""
    with closing(connect(endpoint)) as connection, closing(connection.cursor()) as cursor:
        for path in sorted(folder.glob("*.sql")):
            sys.stdout.write(f"{path.name}\n")
            for batch in batches(path.read_text(encoding="utf-8"), variables):
                cursor.execute(batch)


def count(endpoint: str, database: str, question: str) -> int:
    """The one number that a question is answered with."""
    with closing(connect(endpoint, database)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(question)
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    environment = os.environ  # noqa: TID251 -- A program's own look at its environment.
    if sys.argv[1:]:
        run_scripts(
            Path(sys.argv[1]),
            endpoint=environment["SYNAPSE_ENDPOINT"],
            variables={"LakeUrl": f"https://{environment['LAKE_NAME']}.dfs.core.windows.net"},
        )
    else:
        connect(environment["SYNAPSE_ENDPOINT"]).close()
