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
_VIEW = re.compile(r"(?:--.*\n)*CREATE OR ALTER VIEW (\S+)")
#: What the service says of a view whose table, or whose inner view, is not there yet.
_ABSENT = re.compile(r"cannot be listed|does not exist|Invalid object name|Resolving Delta logs")
_VARIABLE = re.compile(r"\$\((\w+)\)")


def batches(script: str, variables: Mapping[str, str]) -> list[str]:
    """The statements between lines that say GO, with `$(Name)` replaced, as sqlcmd does it."""
    filled = _VARIABLE.sub(lambda found: variables[found[1]], script)
    return [batch for part in _BATCH_END.split(filled) if (batch := part.strip())]


def waiting(batch: str, problem: str) -> str:
    """The view that waits for its table to be written, or empty: then the problem is a real one."""
    view = _VIEW.match(batch)
    return view[1] if view and _ABSENT.search(problem) else ""


def connect(endpoint: str, database: str = "master") -> Any:  # noqa: ANN401 -- The driver has no types.
    """Open a connection, signed in as the Azure CLI is."""
    # Only a deployment needs the driver, so only a deployment installs it.
    import mssql_python  # type: ignore[import-not-found] # noqa: PLC0415

    return mssql_python.connect(
        f"Server={endpoint};Database={database};Encrypt=yes;Authentication=ActiveDirectoryDefault",
        autocommit=True,  # A database cannot be made inside a transaction.
    )


def run_scripts(folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Run every script; they may be repeated. Returns the views that wait for their tables."""
    import mssql_python  # noqa: PLC0415 -- As above.

    variables = {"LakeUrl": f"https://{environment['LAKE_NAME']}.dfs.core.windows.net"}
    absent = []
    with (
        closing(connect(environment["SYNAPSE_ENDPOINT"])) as connection,
        closing(connection.cursor()) as cursor,
    ):
        for path in sorted(folder.glob("*.sql")):
            for batch in batches(path.read_text(encoding="utf-8"), variables):
                try:
                    cursor.execute(batch)
                except mssql_python.Error as error:
                    if not (view := waiting(batch, str(error))):
                        raise
                    absent.append(view)
    return absent


def count(endpoint: str, database: str, question: str) -> int:
    """The one number that a question is answered with; 0 where its view is not there yet."""
    import mssql_python  # noqa: PLC0415 -- As above.

    with closing(connect(endpoint, database)) as connection, closing(connection.cursor()) as cursor:
        try:
            cursor.execute(question)
        except mssql_python.Error as error:
            if not _ABSENT.search(str(error)):
                raise
            return 0
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    environment = os.environ  # noqa: TID251 -- A program's own look at its environment.
    if sys.argv[1:]:
        for view in run_scripts(Path(sys.argv[1]), environment):
            sys.stdout.write(f"{view} waits for its table: run this again once it is written\n")
    else:
        connect(environment["SYNAPSE_ENDPOINT"]).close()
