"""The pins: every version the project runs with, resolved anew from the `requirements*.in` files.

Runtime first, so that the development set contains exactly what the function app will run with.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
HEADER = "# Made from {source} by `make pins`: do not edit.\n"


def resolve(source: str) -> dict[str, str]:
    """Names to versions of everything that `source` leads to; pip speaks for itself if it fails."""
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        subprocess.run(  # noqa: S603 -- The arguments are this file's own.
            [*pip, "--report", str(report), "--requirement", source], cwd=ROOT, check=True
        )
        found = [package["metadata"] for package in json.loads(report.read_text())["install"]]
    return {re.sub(r"[-_.]+", "-", each["name"]).lower(): each["version"] for each in found}


def write(target: str, first: str, pins: dict[str, str]) -> None:
    """Replace `target` by `first` and the pins, one a line."""
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    (ROOT / target).write_text(first + "".join(lines))


def main() -> int:
    """Resolve and write both files; return the exit code."""
    try:
        runtime = resolve("requirements.in")
        write("requirements.txt", HEADER.format(source="requirements.in"), runtime)
        rest = resolve("requirements-dev.in").items() - runtime.items()
    except subprocess.CalledProcessError as error:
        return error.returncode
    first = HEADER.format(source="requirements-dev.in") + "-r requirements.txt\n"
    write("requirements-dev.txt", first, dict(rest))
    return 0


if __name__ == "__main__":
    sys.exit(main())
