"""Curated checks: what a curated view may say, because it means the same in every engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What JSON is declared as: a text type that no function gives.
JSON = "char(1)"
WHOLE = ("integer", "long")
_NUMBERS = (*WHOLE, "double", "decimal")

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_CONNECTIVES = (exp.And, exp.Or, exp.Not)
CONDITIONS = (*_COMPARISONS, *_CONNECTIVES, exp.In, exp.Between, exp.Like, exp.Is, exp.Exists)
_ALLOWED = frozenset(
    {
        *(exp.Select, exp.From, exp.Join, exp.Where, exp.Group, exp.Having, exp.Distinct),
        *(exp.With, exp.CTE, exp.Subquery, exp.TableAlias, exp.Table, exp.Identifier, exp.Union),
        *(exp.Alias, exp.Column, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Star),
        *CONDITIONS,
        *(exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Neg, exp.Abs, exp.Round, exp.Floor),
        *(exp.Ceil, exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Cast, exp.TryCast),
        *(
            exp.DataType,
            exp.DataTypeParam,
            exp.Count,
            exp.CountIf,
            exp.Sum,
            exp.Avg,
            exp.Min,
            exp.Max,
        ),
        *(exp.Window, exp.Order, exp.Ordered, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Lag),
        *(exp.Lead, exp.Upper, exp.Lower, exp.Trim, exp.Substring, exp.Concat, exp.DPipe),
        *(exp.Replace, exp.Year, exp.Month, exp.Day, exp.TsOrDsToDate),
    }
)
#: What a value of one type may be cast to: elsewhere the engines round, print or read differently.
_CASTS = {
    "integer": ("long", "double", "decimal", "string"),
    "long": ("double", "decimal", "string"),
    "double": ("decimal",),
    "decimal": ("double", "decimal"),
    "date": ("timestamp", "string"),
    "timestamp": ("date",),
}
_KINDS = {
    exp.DataType.Type.TINYINT: "integer",  # What the parts of a date are taken for.
    exp.DataType.Type.INT: "integer",
    exp.DataType.Type.BIGINT: "long",
    exp.DataType.Type.DOUBLE: "double",
    exp.DataType.Type.BOOLEAN: "boolean",
    exp.DataType.Type.DATE: "date",
    exp.DataType.Type.TIMESTAMP: "timestamp",
    exp.DataType.Type.TIMESTAMPTZ: "timestamp",
    exp.DataType.Type.TIMESTAMPLTZ: "timestamp",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?)?")
_SHOWN_MAX = 80


def check_nodes(query: exp.Query) -> None:
    """Raise `ValueError` at the first part of the query that does not mean the same everywhere."""
    for node in query.walk(bfs=False):
        problem = (
            ""
            if type(node) in _ALLOWED
            else "is not what every engine knows; a curated table may use it"
        )
        if not problem and isinstance(node, CONDITIONS) and not _is_asked(node):
            problem = "is a condition where a value is wanted; use CASE WHEN … THEN … ELSE … END"
        for types, rule in _RULES:
            if not problem and isinstance(node, types):
                problem = rule(node)
        if problem:
            raise ValueError(f"{_shown(node)} {problem}")
    for each in query.selects:
        if not kind_of(each):
            raise ValueError(f"{_shown(each)} has no type that is known; CAST it to one")


def type_of(node: exp.Expr) -> str:
    """The type of what a node gives, as a document names it; "" when it is none of those."""
    found = node.type
    if found is None:
        return ""
    if found.is_type(exp.DataType.Type.CHAR):
        return "json"
    if found.is_type(*exp.DataType.TEXT_TYPES):
        return "string"
    if found.is_type(exp.DataType.Type.DECIMAL):
        digits = ",".join(each.name for each in found.find_all(exp.DataTypeParam))
        return f"decimal({digits})" if digits else "decimal(10,0)"
    return _KINDS.get(found.this, "")


def kind_of(node: exp.Expr) -> str:
    """The same, without the digits."""
    return type_of(node).partition("(")[0]


def is_compared(branch: exp.If) -> bool:
    """Whether the branch is of a `CASE x WHEN …`, where a value stands for the condition."""
    return isinstance(branch.parent, exp.Case) and branch.parent.this is not None


def _is_asked(condition: exp.Expr) -> bool:
    """Whether the condition is where a condition belongs, or is what a column shows."""
    node = condition
    while isinstance(node.parent, exp.Paren):
        node = node.parent
    parent = node.parent
    if isinstance(parent, exp.If):
        return node.arg_key == "this" and not is_compared(parent)
    places = (exp.Where, exp.Having, exp.Join, exp.Alias, exp.CountIf, *_CONNECTIVES)
    return isinstance(parent, places)


def _shown(node: exp.Expr) -> str:
    text = node.sql("spark", comments=False)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _families(node: exp.Expr) -> set[str]:
    """What a value can be compared with, as it is."""
    kind = kind_of(node)
    if kind in _NUMBERS:
        return {"number"}
    if kind in ("date", "timestamp"):
        return {"time"}
    if isinstance(node, exp.Literal) and _TIME.fullmatch(node.this):
        return {"string", "time"}
    return {kind} if kind else {"string", "number", "time", "boolean"}  # NULL is anything.


def _check_alike(nodes: Iterable[exp.Expr | None]) -> str:
    families = [_families(node) for node in nodes if node is not None]
    if not families or set.intersection(*families):
        return ""
    return "mixes types, which not every engine does; CAST them to one"


def _check_numbers(nodes: Iterable[exp.Expr]) -> str:
    kinds = {kind_of(node) for node in nodes}
    if "decimal" in kinds:
        return "is of decimals, which each engine rounds in its own way; CAST them to double"
    return "" if kinds <= {*_NUMBERS, ""} else "is not of numbers only"


def _check_strings(nodes: Iterable[exp.Expr]) -> str:
    kinds = {kind_of(node) for node in nodes}
    return "" if kinds <= {"string", ""} else "is not of strings only; CAST them"


def _check_in(node: exp.In) -> str:
    inner = node.args.get("query")
    others = inner.this.selects if inner is not None else node.expressions
    return _check_alike([node.this, *others])


def _check_case(node: exp.Case) -> str:
    branches = node.args["ifs"]
    values = [*(each.args["true"] for each in branches), node.args.get("default")]
    compared = [node.this, *(each.this for each in branches)] if node.this is not None else []
    return _check_alike(values) or _check_alike(compared)


def _check_join(node: exp.Join) -> str:
    if node.method or node.side not in ("", "LEFT", "RIGHT", "FULL"):
        return "is a join that not every engine knows"
    if node.kind == "CROSS":
        return ""
    if node.kind not in ("", "INNER", "OUTER") or not node.args.get("on"):
        return "is a join that not every engine knows; use JOIN … ON, or CROSS JOIN"
    return ""


def _check_union(node: exp.Union) -> str:
    both = zip(node.left.selects, node.right.selects, strict=False)
    if node.args.get("by_name") or len(node.left.selects) != len(node.right.selects):
        return "is of queries that do not have the same columns"
    mixed = [
        left.alias_or_name for left, right in both if type_of(right) not in ("", type_of(left))
    ]
    return f"is of different types in column {mixed[0]!r}; CAST them to one" if mixed else ""


def _check_group(node: exp.Group) -> str:
    others = {name for name, value in node.args.items() if value} - {"expressions"}
    return "groups in a way that not every engine knows" if others else ""


def _check_count(node: exp.Count) -> str:
    distinct = node.this if isinstance(node.this, exp.Distinct) else None
    several = node.expressions or (distinct is not None and len(distinct.expressions) > 1)
    return "counts several columns at once, which not every engine does" if several else ""


def _check_cast(node: exp.Cast) -> str:
    source, target = kind_of(node.this), type_of(node).partition("(")[0]
    if isinstance(node.this, exp.Literal) and "time" in _families(node.this):
        source = "date" if target == "timestamp" else "timestamp"
    fits = source in ("", target) or target in _CASTS.get(source, ())
    return "" if fits and target else "is a cast that the engines do not do alike"


def _check_like(node: exp.Like) -> str:
    pattern = node.expression
    if isinstance(pattern, exp.Literal) and not set("[\\") & set(pattern.this):
        return ""
    return "needs a pattern in quotes, without [ and \\, which mean something else in T-SQL"


def _check_substring(node: exp.Substring) -> str:
    start, length = node.args.get("start"), node.args.get("length")
    if isinstance(start, exp.Literal) and int(start.this) >= 1 and length is not None:
        return _check_strings([node.this])
    return "needs a start of 1 or more, and a length"


def _check_round(node: exp.Round) -> str:
    if not isinstance(node.args.get("decimals"), exp.Literal):
        return "needs the number of digits"
    return _check_numbers([node.this])


def _check_trim(node: exp.Trim) -> str:
    if node.args.get("position") or node.expression:
        return "trims in a way that not every engine does"
    return _check_strings([node.this])


def _check_window(node: exp.Window) -> str:
    ranks = isinstance(node.this, exp.RowNumber | exp.Rank | exp.DenseRank | exp.Lag | exp.Lead)
    return "needs an ORDER BY in its OVER" if ranks and not node.args.get("order") else ""


def _check_order(node: exp.Order) -> str:
    if isinstance(node.parent, exp.Window):
        return ""
    return "cannot be in a view: rows have an order only in the answer to a question"


def _check_column(node: exp.Column) -> str:
    if kind_of(node) != "json" or isinstance(node.parent, exp.Alias | exp.Is):
        return ""
    return "is JSON, which a view can only show, or ask whether it is NULL"


_Types = tuple[type[exp.Expr], ...]
_RULES: tuple[tuple[_Types, Callable[..., str]], ...] = (
    ((*_COMPARISONS, exp.Nullif), lambda node: _check_alike([node.this, node.expression])),
    ((exp.Between,), lambda node: _check_alike([node.this, node.args["low"], node.args["high"]])),
    ((exp.In,), _check_in),
    ((exp.Coalesce,), lambda node: _check_alike([node.this, *node.expressions])),
    ((exp.Case,), _check_case),
    (
        (exp.Is,),
        lambda node: "" if isinstance(node.expression, exp.Null) else "is not IS NULL",
    ),
    (
        (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod),
        lambda node: _check_numbers([node.this, node.expression]),
    ),
    ((exp.Avg, exp.Floor, exp.Ceil), lambda node: _check_numbers([node.this])),
    (
        (exp.Sum, exp.Neg, exp.Abs),
        lambda node: "" if kind_of(node.this) in _NUMBERS else "is not of a number",
    ),
    (
        (exp.Min, exp.Max),
        lambda node: "is of a boolean" if kind_of(node.this) == "boolean" else "",
    ),
    ((exp.Upper, exp.Lower), lambda node: _check_strings([node.this])),
    ((exp.DPipe,), lambda node: _check_strings([node.this, node.expression])),
    ((exp.Concat,), lambda node: _check_strings(node.expressions)),
    ((exp.Replace,), lambda node: _check_strings([node.this, node.expression])),
    (
        (exp.TsOrDsToDate,),
        lambda node: "" if "time" in _families(node.this) else "is not of a date or timestamp",
    ),
    ((exp.Column,), _check_column),
    ((exp.Cast,), _check_cast),
    ((exp.Like,), _check_like),
    ((exp.Substring,), _check_substring),
    ((exp.Round,), _check_round),
    ((exp.Trim,), _check_trim),
    ((exp.Window,), _check_window),
    ((exp.Order,), _check_order),
    ((exp.Join,), _check_join),
    ((exp.Union,), _check_union),
    ((exp.Group,), _check_group),
    ((exp.Count,), _check_count),
    (
        (exp.Distinct,),
        lambda node: "is a DISTINCT ON" if node.args.get("on") else "",
    ),
)
