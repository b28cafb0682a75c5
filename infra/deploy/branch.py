"""The environment of a branch: `python -m infra.deploy.branch NAME` prints what it is called."""

from __future__ import annotations

import hashlib
import re
import sys

_LONGEST = 20


def environment_of(branch: str) -> str:
    """A name legal wherever it travels to; two branches never share one."""
    readable = re.sub(r"[^a-z0-9]+", "-", branch.lower()).strip("-")[:_LONGEST].strip("-")
    digest = hashlib.sha256(branch.encode()).hexdigest()[:6]
    return f"b-{readable or 'branch'}-{digest}"


if __name__ == "__main__":
    sys.stdout.write(f"{environment_of(sys.argv[1])}\n")
