"""The outputs of a deployment as lines a shell takes: `python -m infra.deploy.outputs < JSON`."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def exports(outputs: Mapping[str, Mapping[str, Any]]) -> str:
    """An `export` for each output; lists are joined by blanks."""
    lines = []
    for name, output in sorted(outputs.items()):
        value = output["value"]
        text = " ".join(value) if isinstance(value, list) else str(value)
        # The service hands names back with a small first letter now and then.
        lines.append(f"export {name.upper()}={shlex.quote(text)}\n")
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(exports(json.load(sys.stdin)))
