"""What a deployment would make: a template and its modules, worked out for given parameters.

A small interpreter of the part of Bicep that our templates use. What only the service knows stands
as a path in angle brackets. It is no compiler: the continuous integration runs that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.infra import bicep_types
from tests.infra.bicep_functions import FUNCTIONS, SUBSCRIPTION, Later, later
from tests.infra.bicep_syntax import pieces, read, said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tree_sitter import Node

    from tests.infra.bicep_syntax import Declaration, Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource of the plan; `scope` is the id of what it is attached to."""

    type: str
    version: str
    name: str
    id: str
    scope: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""

    @property
    def properties(self) -> Mapping[str, Any]:
        """The properties it is made with."""
        found: Mapping[str, Any] = self.body.get("properties", {})
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """A module that was worked out; a condition that is not met leaves none."""

    outputs: Mapping[str, Any]


def plan(path: Path, **parameters: Any) -> tuple[list[Resource], dict[str, Any]]:
    """Every resource of a deployment, and what it puts out."""
    made: list[Resource] = []
    outputs = _Scope(read(path), parameters, made).work_out()
    return made, outputs


class _Scope:
    """One template with its parameters: every name worked out once, when it is asked for."""

    def __init__(
        self, template: Template, parameters: Mapping[str, Any], made: list[Resource]
    ) -> None:
        self._template = template
        self._parameters = parameters
        self._made = made
        self._known: dict[str, Any] = {}
        foreign = set(parameters) - {each.name for each in template.of("param")}
        assert not foreign, f"{template.path.name} has no parameters {sorted(foreign)}"

    def work_out(self) -> dict[str, Any]:
        for declaration in self._template.declared.values():
            if declaration.kind != "type":
                self.named(declaration.name)
        outputs = {}
        for name, declaration in self._template.outputs.items():
            assert declaration.value is not None
            outputs[name] = self.value(declaration.value, {})
        return outputs

    def named(self, name: str) -> Any:
        if name not in self._known:
            declaration = self._template.declared[name]
            self._known[name] = getattr(self, f"_{declaration.kind}")(declaration)
        return self._known[name]

    def _param(self, declaration: Declaration) -> Any:
        if declaration.name in self._parameters:
            value = self._parameters[declaration.name]
        else:
            assert declaration.value, f"{self._template.path.name}: {declaration.name} is missing"
            value = self.value(declaration.value, {})
        bicep_types.check(value, declaration, self._template)
        return value

    def _var(self, declaration: Declaration) -> Any:
        assert declaration.value is not None
        return self.value(declaration.value, {})

    def _func(self, declaration: Declaration) -> Callable[..., Any]:
        listed = next(n for n in declaration.node.named_children if n.type == "parameters")
        names = [said(each.named_children[0]) for each in listed.named_children]
        assert declaration.value is not None
        body = declaration.value
        return lambda *arguments: self.value(body, dict(zip(names, arguments, strict=True)))

    def _resource(self, declaration: Declaration) -> Any:
        assert declaration.value is not None
        return self._each(declaration.value, {}, lambda body: self._make(declaration, body))

    def _module(self, declaration: Declaration) -> Any:
        assert declaration.value is not None
        return self._each(declaration.value, {}, lambda body: self._call(declaration, body))

    def _each(self, node: Node, env: dict[str, Any], make: Callable[[Any], Any]) -> Any:
        """Work out a body: once, once for each item of a loop, or not at all."""
        if node.type == "for_statement":
            body = node.named_children[-1]
            return [self._each(body, turn, make) for turn in self._turns(node, env)]
        if node.type == "if_statement":
            condition, body = node.named_children
            return self._each(body, env, make) if self.value(condition, env) else None
        return make(self.value(node, env))

    def _make(self, declaration: Declaration, body: dict[str, Any]) -> Resource:
        kind, _, version = declaration.title.partition("@")
        parent, scope = body.pop("parent", None), body.pop("scope", None)
        body.pop("dependsOn", None)
        name = f"{parent.name}/{body['name']}" if parent else str(body["name"])
        resource = Resource(
            type=kind,
            version=version,
            name=name,
            id=f"/subscriptions/{SUBSCRIPTION}/{kind}/{name}",
            scope=scope.id if scope else "",
            body=body,
            module=self._template.path.name,
        )
        if not declaration.exists_already:
            self._made.append(resource)
        return resource

    def _call(self, declaration: Declaration, body: dict[str, Any]) -> _Module:
        inner = read(self._template.module_path(declaration))
        return _Module(outputs=_Scope(inner, body.get("params", {}), self._made).work_out())

    def _turns(self, node: Node, env: dict[str, Any]) -> list[dict[str, Any]]:
        variables, items = node.named_children[0], self.value(node.named_children[1], env)
        parts = variables.named_children or [variables]
        return [
            env | dict(zip([said(part) for part in parts], (item, index), strict=False))
            for index, item in enumerate(items)
        ]

    # Expressions: one method a kind of node.

    def value(self, node: Node, env: dict[str, Any]) -> Any:
        method = getattr(self, f"_x_{node.type}", None)
        assert method, f"{self._template.path.name}:{node.start_point[0] + 1}: {node.type}?"
        return method(node, env)

    def _x_string(self, node: Node, env: dict[str, Any]) -> str:
        parts = []
        for piece in pieces(node):
            found = piece if isinstance(piece, str) else self.value(piece.named_children[0], env)
            parts.append(found if isinstance(found, str) else json.dumps(found))
        return "".join(parts)

    def _x_number(self, node: Node, _env: dict[str, Any]) -> int:
        return int(said(node))

    def _x_boolean(self, node: Node, _env: dict[str, Any]) -> bool:
        return said(node) == "true"

    def _x_null(self, _node: Node, _env: dict[str, Any]) -> None:
        return None

    def _x_identifier(self, node: Node, env: dict[str, Any]) -> Any:
        name = said(node)
        return env[name] if name in env else self.named(name)

    def _x_parenthesized_expression(self, node: Node, env: dict[str, Any]) -> Any:
        return self.value(node.named_children[0], env)

    def _x_object(self, node: Node, env: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for child in node.named_children:
            if child.type == "object_property":
                key, value = [each for each in child.named_children if each.type != "comment"]
                name = self.value(key, env) if key.type == "string" else said(key)
                found[name] = self.value(value, env)
        return found

    def _x_array(self, node: Node, env: dict[str, Any]) -> list[Any]:
        return [self.value(child, env) for child in node.named_children if child.type != "comment"]

    def _x_for_statement(self, node: Node, env: dict[str, Any]) -> list[Any]:
        return [self.value(node.named_children[-1], turn) for turn in self._turns(node, env)]

    def _x_ternary_expression(self, node: Node, env: dict[str, Any]) -> Any:
        condition, yes, no = [each for each in node.named_children if each.type != "comment"]
        return self.value(yes if self.value(condition, env) else no, env)

    def _x_unary_expression(self, node: Node, env: dict[str, Any]) -> Any:
        value = self.value(node.named_children[0], env)
        return -value if said(node).startswith("-") else not value

    def _x_binary_expression(self, node: Node, env: dict[str, Any]) -> Any:
        first, second = node.named_children
        sign = next(said(child) for child in node.children if not child.is_named)
        left = self.value(first, env)
        if sign == "??":
            return self.value(second, env) if left is None else left
        if sign in ("&&", "||") and bool(left) is (sign == "||"):
            return left
        right = self.value(second, env)
        return right if sign in ("&&", "||") else _SIGNS[sign](left, right)

    def _x_lambda_expression(self, node: Node, env: dict[str, Any]) -> Callable[..., Any]:
        variables, body = node.named_children
        names = [said(each) for each in (variables.named_children or [variables])]
        return lambda *values: self.value(body, env | dict(zip(names, values, strict=False)))

    def _x_subscript_expression(self, node: Node, env: dict[str, Any]) -> Any:
        whole, key = (self.value(child, env) for child in node.named_children)
        return whole.part(str(key)) if isinstance(whole, Later) else whole[key]

    def _x_member_expression(self, node: Node, env: dict[str, Any]) -> Any:
        base, name = node.named_children[0], said(node.named_children[-1])
        whole = self.value(base, env)
        safely = any(child.type == ".?" for child in node.children)
        if whole is None and ".?" in said(node):  # One question mark spares the rest of the chain.
            return None
        return _member(whole, name, safely=safely)

    def _x_call_expression(self, node: Node, env: dict[str, Any]) -> Any:
        name, listed = said(node.named_children[0]), node.named_children[1]
        arguments = [self.value(child, env) for child in listed.named_children]
        if name in ("loadTextContent", "loadJsonContent"):
            text = (self._template.path.parent / arguments[0]).read_text()
            return json.loads(text) if name == "loadJsonContent" else text
        if name == "readEnvironmentVariable":
            return arguments[1] if len(arguments) > 1 else f"the {arguments[0]}"
        found = self.named(name) if name in self._template.declared else FUNCTIONS[name]
        return found(*arguments)


def _member(whole: Any, name: str, *, safely: bool) -> Any:
    if isinstance(whole, Resource):
        if name in ("id", "name"):
            return getattr(whole, name) if name == "id" else whole.name.rpartition("/")[2]
        return later(f"{whole.type}/{whole.name}").part(name)
    if isinstance(whole, _Module):
        return getattr(whole, name)
    if isinstance(whole, Later):
        return whole.part(name)
    return whole.get(name) if safely else whole[name]


_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left // right,
}
