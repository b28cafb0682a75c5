"""The JSON scanner: finds a page's records one by one, slowly, and says what is wrong with a page.

The fast way is `shared.domain.json_page`; this one takes over for what that refuses: it is more
lenient (a lone surrogate, `NaN`), because one odd value in a record must not hold up a whole page,
and it names the place of what nobody could read.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")


def slices(text: str, path: Sequence[str]) -> list[str]:
    """The text of each item of the array at `path`; raise `ValueError` if the page is not whole."""
    position = array_at(text, path)
    found, end = _items(text, position)
    _finish(text, end, depth=len(path))
    return found


def array_at(text: str, path: Sequence[str]) -> int:
    """Where the array at `path` begins; raise `ValueError` when there is none."""
    position = _skip(text, 0)
    for step in path:
        position = _member(text, position, step)
    if text[position : position + 1] != "[":
        raise ValueError(f"{'.'.join(path) or 'the body'} is not an array")
    return position


def items_followed(text: str) -> tuple[list[str], int]:
    """The items of an array that has begun, as far as a comma follows each; where the rest begins.

    An item behind which nothing follows yet may go on: `12` becomes `123`.
    """
    found: list[str] = []
    position = 0
    while True:
        begin = _skip(text, position)
        try:
            _, end = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return found, position
        after = _skip(text, end)
        if text[after : after + 1] != ",":
            return found, position
        found.append(text[begin:end])
        position = after + 1


def _member(text: str, position: int, name: str) -> int:
    if text[position : position + 1] != "{":
        raise ValueError(f"no object holds {name!r}")
    position = _skip(text, position + 1)
    while text[position : position + 1] == '"':
        found, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        if text[position : position + 1] != ":":
            raise ValueError(f"expected ':' at {position}")
        position = _skip(text, position + 1)
        if found == name:
            return position
        _, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position = _skip(text, position + 1)
    raise ValueError(f"the records path {name!r} is missing")


def _items(text: str, position: int) -> tuple[list[str], int]:
    """The items of the array at `position`, and the position after it."""
    found: list[str] = []
    position = _skip(text, position + 1)
    if text[position : position + 1] == "]":
        return found, position + 1
    while True:
        _, end = _DECODER.raw_decode(text, position)
        found.append(text[position:end])
        position = _skip(text, end)
        separator = text[position : position + 1]
        if separator == "]":
            return found, position + 1
        if separator != ",":
            raise ValueError(f"expected ',' or ']' at {position}: the page is cut off")
        position = _skip(text, position + 1)


def _finish(text: str, position: int, *, depth: int) -> None:
    """Read what follows the array: unless the page is whole, records may be missing."""
    for _ in range(depth):
        position = _skip(text, position)
        while text[position : position + 1] == ",":
            _, position = _DECODER.raw_decode(text, _skip(text, position + 1))
            position = _skip(text, position)
            if text[position : position + 1] != ":":
                raise ValueError(f"expected ':' at {position}")
            _, position = _DECODER.raw_decode(text, _skip(text, position + 1))
            position = _skip(text, position)
        if text[position : position + 1] != "}":
            raise ValueError(f"expected '}}' at {position}: the page is cut off")
        position += 1
    if _skip(text, position) != len(text):
        raise ValueError("something follows the page's end")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    assert match is not None, "an empty match is a match"
    return match.end()
