"""Blob paths: `container/pattern` with `{tokens}`, as a blob trigger binds them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from local.functions_host.errors import FunctionBroken

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobPath:
    """The blobs a trigger is for."""

    container: str
    tokens: tuple[str, ...]
    pattern: re.Pattern[str]

    def match(self, name: str) -> dict[str, str] | None:
        """The token values of a blob's name, or none if the trigger is not for it.

        A token is greedy, may be empty and crosses slashes; the case matters.
        """
        found = self.pattern.fullmatch(name)
        return dict(zip(self.tokens, found.groups(), strict=True)) if found else None


def parse(path: str) -> BlobPath:
    """Read a trigger's path; a container alone means each of its blobs."""
    container, _, blob = path.partition("/")
    if not container or "{" in container:
        raise FunctionBroken(f"the path {path!r} does not start with the name of a container")
    tokens: list[str] = []
    pattern, end = "", 0
    for match in _TOKEN.finditer(blob):
        pattern += re.escape(blob[end : match.start()])
        end = match.end()
        if match[1] is None:
            pattern += re.escape(match[0][0])  # A doubled brace stands for itself.
            continue
        tokens.append(match[1])
        pattern += "(.*)"
    pattern += re.escape(blob[end:])
    compiled = re.compile(pattern if blob else ".*", re.DOTALL)
    return BlobPath(container=container, tokens=tuple(tokens), pattern=compiled)
