"""Curated dialects: a curated view's Spark SQL, said in the SQL of the engine that serves it.

A view is never written: Synapse and DuckDB compute it when they are asked. The same words often
mean something else there (`sum` of integers overflows, `avg` of them is one, `/` cuts off, a
condition is no value), so only what is known to mean the same is let through. The rest is refused
and can be a curated table, which Spark itself writes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from cli.curated_checks import JSON, check_nodes, type_of
from cli.curated_rewrites import say_alike, say_conditions
from shared.domain.errors import Misconfigured
from shared.domain.fields import nearest
from shared.domain.sql_types import sql_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.sql_views import CuratedView

#: Synapse tells names apart by case, so a view's SQL has to be exact although Spark would not mind.
_SPARK = "spark,normalization_strategy=case_sensitive"
_COLUMN = re.compile(r"Column '([^']+)'")
_LINE_COLUMN = re.compile(r"[. ]*Line:? (\d+), Col(?:umn)?:? (\d+)")

Dialect = Literal["tsql", "duckdb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A view's query in one dialect, and the types of its columns as a document names them."""

    sql: str
    columns: Mapping[str, str] = field(repr=False)


def translate(
    view: CuratedView,
    *,
    known: Mapping[str, Mapping[str, str]],
    dialect: Dialect,
    schema: str,
) -> Translated:
    """Say the view's SQL in `dialect`; `known` are the columns of the tables it may read.

    Raise `Misconfigured` naming the file and the first thing that cannot be said.
    """
    try:
        query = _parse(view)
        _check_tables(query, view)
        columns = _columns(known)
        query = annotate_types(
            qualify(query, dialect=_SPARK, schema=columns, quote_identifiers=False),
            schema=columns,
            dialect="spark",
        )
        _check_names(query)
        check_nodes(query)
        query = annotate_types(say_alike(query), schema=columns, dialect="spark")
    except (ParseError, OptimizeError, ValueError) as error:
        problem = f"cannot be a view: {_line(error, known)}"
        raise Misconfigured(view.path.name, problem) from error
    types = {each.alias_or_name: type_of(each) for each in query.selects}
    if dialect == "tsql":
        query = say_conditions(query)
    for each in query.find_all(exp.Cast):
        each.set("to", _named(type_of(each), dialect))
    _move_into_schema(query, known, schema)
    whole = _with_types(query, types, dialect)
    sql = whole.sql(dialect, pretty=True, identify=True, comments=False)
    return Translated(sql=sql, columns=types)


def _parse(view: CuratedView) -> exp.Query:
    found = [each for each in sqlglot.parse(view.sql(), read="spark") if each is not None]
    if len(found) != 1 or not isinstance(found[0], exp.Query):
        raise ValueError("it has to be one SELECT")
    query = found[0]
    nameless = [
        each.sql("spark")
        for each in query.selects
        if not isinstance(each, exp.Column | exp.Alias | exp.Star)
    ]
    if nameless:
        raise ValueError(f"{nameless[0]} needs a name: add AS and one")
    return query


def _check_names(query: exp.Query) -> None:
    names = [each.alias_or_name.lower() for each in query.selects]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"two of its columns are called {twice[0]!r}")


def _check_tables(query: exp.Query, view: CuratedView) -> None:
    own = {each.alias for each in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        name = table.sql("spark").partition(" AS ")[0]
        if name not in own and name not in view.reads:
            raise ValueError(
                f"it reads {name!r}, which is not in its reads{nearest(name, view.reads)}"
            )


def _columns(known: Mapping[str, Mapping[str, str]]) -> MappingSchema:
    types: dict[str, object] = {
        table: {name: _spark_type(kind) for name, kind in columns.items()}
        for table, columns in known.items()
    }
    return MappingSchema(types, dialect="spark", normalize=False)


def _spark_type(kind: str) -> str:
    """The type as Spark names it; for JSON one that no expression has, so that it can be told."""
    return JSON if kind == "json" else sql_type(kind).spark


def _move_into_schema(query: exp.Query, known: Mapping[str, object], schema: str) -> None:
    own = {each.alias for each in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        if table.name in known and table.name not in own:
            table.set("db", exp.to_identifier(schema))


def _with_types(query: exp.Query, types: Mapping[str, str], dialect: Dialect) -> exp.Select:
    """Cast what the query gives to exactly the types that the other engine has for it."""
    inner = [each.pop() for each in query.ctes]
    query.set("with_", None)
    casts = [
        exp.alias_(exp.cast(exp.column(name, table="answer"), _named(kind, dialect)), name)
        for name, kind in types.items()
    ]
    whole = exp.select(*casts).from_("answer")
    for each in inner:
        whole = whole.with_(each.args["alias"], as_=each.this, copy=False)
    return whole.with_("answer", as_=query, copy=False)


def _named(kind: str, dialect: Dialect) -> exp.DataType:
    found = sql_type(kind)
    return exp.DataType.build(found.synapse if dialect == "tsql" else found.duckdb, dialect=dialect)


def _line(error: Exception, known: Mapping[str, Mapping[str, str]]) -> str:
    """The message on one line: the place first when it has one, the nearest name last."""
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        return f"line {first['line']}, column {first['col']}: {first['description']}"
    text = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()[0]
    if place := _LINE_COLUMN.search(text):
        text = f"line {place[1]}, column {place[2]}: {_LINE_COLUMN.sub('', text)}"
    if column := _COLUMN.search(text):
        text += nearest(column[1], {name for columns in known.values() for name in columns})
    return text
