"""Curated rewrites: what has to be added or said otherwise so that it means what Spark means."""

from __future__ import annotations

from sqlglot import exp

from cli.curated_checks import CONDITIONS, WHOLE, is_compared, kind_of, type_of


def say_alike(query: exp.Query) -> exp.Query:
    """Add the casts that make each engine compute with the types that Spark computes with."""
    for node in _inside_out(query):
        if isinstance(node, exp.Sum) and kind_of(node.this) == "integer":
            node.set("this", exp.cast(node.this.copy(), "bigint"))
        elif isinstance(node, exp.Sum) and kind_of(node.this) == "decimal":
            scale = type_of(node.this).rpartition(",")[2].rstrip(")")
            node.set("this", exp.cast(node.this.copy(), f"decimal(38, {scale})"))
        elif isinstance(node, exp.Avg | exp.Div) and kind_of(node.this) in WHOLE:
            node.set("this", exp.cast(node.this.copy(), "double"))
        elif isinstance(node, exp.CountIf):
            node.replace(exp.Count(this=exp.case().when(node.this.copy(), "1"), big_int=True))
        elif isinstance(node, exp.Floor | exp.Ceil):
            node.replace(exp.cast(node.copy(), "bigint"))
    return query


def say_conditions(query: exp.Query) -> exp.Query:
    """Turn values into conditions and conditions into values, which T-SQL tells apart."""
    for node in _inside_out(query):
        if isinstance(node, exp.Where | exp.Having | exp.Not):
            node.set("this", _condition(node.this))
        elif isinstance(node, exp.And | exp.Or):
            node.set("this", _condition(node.this))
            node.set("expression", _condition(node.expression))
        elif isinstance(node, exp.Join) and node.args.get("on"):
            node.set("on", _condition(node.args["on"]))
        elif isinstance(node, exp.If) and not is_compared(node):
            node.set("this", _condition(node.this))
        elif isinstance(node, exp.Alias) and isinstance(node.this.unnest(), CONDITIONS):
            node.set("this", _value(node.this))
    for truth in list(query.find_all(exp.Boolean)):
        truth.replace(exp.Literal.number(1 if truth.this else 0))
    return query


def _condition(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Paren):
        return exp.paren(_condition(node.this), copy=False)
    if isinstance(node, CONDITIONS):
        return node.copy()
    return exp.EQ(this=node.copy(), expression=exp.Literal.number(1))


def _value(condition: exp.Expr) -> exp.Case:
    """The condition as 1, 0 or NULL."""
    no = exp.Not(this=exp.paren(condition.copy()))
    return exp.case().when(condition.copy(), "1").when(no, "0")


def _inside_out(query: exp.Query) -> list[exp.Expr]:
    """Every node, what is inside it first, so that each may be replaced."""
    return list(query.walk(bfs=False))[::-1]
