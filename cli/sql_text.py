"""SQL text: what a question names, and whether it only asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.domain.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_WORD = re.compile(r"\w+")
_EXPLAIN = re.compile(r"explain(\s+analyze)?(\s*\([^)]*\))?", re.IGNORECASE)
_ASKS = ("SELECT", "EXPLAIN")
#: Whoever says one of these wants to see what there is.
_CATALOG = re.compile(r"show|information_schema|pg_catalog|duckdb_(tables|views|columns)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A name or keyword of the text, in lower case, and where it begins."""

    text: str
    position: int


def words(sql: str, duckdb: ModuleType) -> list[Word]:
    """Every name and keyword; comments and quoted texts are none."""
    return list(_words(sql, duckdb))


def _words(sql: str, duckdb: ModuleType) -> Iterator[Word]:
    named = (duckdb.token_type.identifier, duckdb.token_type.keyword)
    for position, kind in duckdb.tokenize(sql):
        if kind in named and (found := _QUOTED.match(sql, position) or _WORD.match(sql, position)):
            text = found[1].replace('""', '"') if found.re is _QUOTED else found[0]
            yield Word(text=text.lower(), position=position)


def asks_for_the_catalog(found: list[Word]) -> bool:
    """Whether the question is about the tables themselves."""
    about = any(_CATALOG.fullmatch(word.text) for word in found)
    return about or [word.text for word in found] in (["describe"], ["desc"])


def place_of(sql: str, position: int) -> str:
    """Line and column of a position in the text."""
    line = sql.count("\n", 0, position) + 1
    return f"line {line}, column {position - (sql.rfind(chr(10), 0, position) + 1) + 1}"


def check_it_asks(statements: Sequence[Any], sql: str, duckdb: ModuleType) -> None:
    """Raise `Misconfigured` unless the text is one statement that only reads."""
    kinds = [statement.type.name for statement in statements]
    said = words(sql, duckdb)
    if kinds == ["CREATE", "SELECT"] and "create" not in {word.text for word in said}:
        return  # That is how DuckDB reads a PIVOT.
    if not kinds:
        raise Misconfigured("SQL", "is empty; ask something, for example: SHOW TABLES")
    writes = [kind for kind in kinds if kind not in _ASKS]
    if writes:
        kind = writes[0].replace("_", " ")
        raise Misconfigured("SQL", f"must only ask: {kind} is no SELECT; nothing was changed")
    if len(kinds) > 1:
        raise Misconfigured("SQL", f"is {len(kinds)} statements; ask one at a time")
    if kinds == ["EXPLAIN"]:  # EXPLAIN ANALYZE does what it explains.
        explained = _EXPLAIN.sub("", sql[said[0].position :], count=1)
        check_it_asks(duckdb.extract_statements(explained), explained, duckdb)
