"""SQL problems: what DuckDB complains of, as one line that says where and what was meant."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from cli.sql_text import place_of
from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cli.sql_text import Word

_TABLE = re.compile(r'Table with name "?([^"\s]+?)"? does not exist')
_COLUMN = re.compile(r'Referenced column "([^"]+)" not found|have a column named "([^"]+)"')
_FUNCTION = re.compile(r"Function with name (\S+) does not exist")
_EXCERPT = re.compile(r"\n\nLINE (\d+): (.*)\n( *)\^")
_LAKE = re.compile(r"IO Error: (DeltaKernel|AzureBlobStorage)")
_NAMES_MAX = 20
_CHARACTERS_MAX = 300


def explained(
    error: Exception,
    sql: str,
    *,
    said: Iterable[Word],
    views: Mapping[str, Iterable[str]],
    asked: Iterable[str],
) -> Misconfigured:
    """The error for a person; `views` are all tables and their columns, `asked` those it names."""
    text = str(error)
    if _LAKE.search(text):
        return Misconfigured("LAKE", f"cannot be read: {_short(text)}")
    if found := _TABLE.search(text):
        name = found[1].rpartition(".")[2]
        problem = f"no table is called {found[1]!r}{_meant(name, views, 'tables')}"
        return _at(sql, _position(name, said), problem)
    if found := _COLUMN.search(text):
        name = found[1] or found[2]
        columns = [column for view in asked for column in views[view]]
        problem = f"no column is called {name!r}{_meant(name, columns, 'columns')}"
        return _at(sql, _position(name, said), problem)
    if found := _FUNCTION.search(text):
        return _at(sql, _position(found[1], said), f"no function is called {found[1]!r}")
    return _at(sql, _excerpt_position(sql, text), _short(text))


def _meant(name: str, known: Iterable[str], what: str) -> str:
    names = list(dict.fromkeys(known))
    lower = {each.lower(): each for each in reversed(names)}
    if close := difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5):
        return f"; did you mean {lower[close[0]]!r}?"
    shown = ", ".join(names[:_NAMES_MAX]) + (", …" if len(names) > _NAMES_MAX else "")
    return f"; the {what} are: {shown}" if names else ""


def _position(name: str, said: Iterable[Word]) -> int | None:
    return next((word.position for word in said if word.text == name.lower()), None)


def _excerpt_position(sql: str, text: str) -> int | None:
    """Where the mark below DuckDB's excerpt of a line points; a long line is only shown in part."""
    found = _EXCERPT.search(text)
    if found is None:
        return None
    number, excerpt, blanks = int(found[1]), found[2], len(found[3])
    lines = sql.split("\n")
    if number > len(lines):
        return None
    begins = sum(len(line) + 1 for line in lines[: number - 1])
    shift = lines[number - 1].find(excerpt.strip("."))
    dots = len(excerpt) - len(excerpt.lstrip(".")) if shift > 0 else 0
    return begins + max(shift, 0) - dots + blanks - len(f"LINE {number}: ")


def _at(sql: str, position: int | None, problem: str) -> Misconfigured:
    if position is None or not 0 <= position <= len(sql):
        return Misconfigured("SQL", f"failed: {problem}")
    return Misconfigured("SQL", f"{place_of(sql, position)}: {problem}")


def _short(text: str) -> str:
    """The first lines of DuckDB's message as one, without its kind and its excerpt."""
    lines = [line.strip() for line in _EXCERPT.split(text)[0].splitlines() if line.strip()]
    line = " ".join(lines[:2]).partition("Error: ")[2] or " ".join(lines[:2])
    return line if len(line) <= _CHARACTERS_MAX else f"{line[:_CHARACTERS_MAX]}…"
