"""Whether a value is what a parameter's type and decorators say, as the service would check it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.infra.bicep_syntax import properties, read, said, text_of, walk

if TYPE_CHECKING:
    from tree_sitter import Node

    from tests.infra.bicep_syntax import Declaration, Template

_PRIMITIVES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "int": (int,),
    "bool": (bool,),
    "object": (dict,),
    "array": (list,),
}


def check(value: Any, declaration: Declaration, template: Template) -> None:
    """Raise `AssertionError` naming the parameter and what is wrong with its value."""
    where = f"{template.path.name}: {declaration.name}"
    assert declaration.type is not None, f"{where} has no type"
    _check(value, declaration.type, template, where)
    for call in declaration.decorators:
        _limit(value, call, where)


def _check(value: Any, node: Node, template: Template, where: str) -> None:
    kind = node.type
    if kind == "type":
        _check(value, node.named_children[0], template, where)
    elif kind == "primitive_type":
        expected = _PRIMITIVES[said(node)]
        fits = isinstance(value, expected) and (int not in expected or not isinstance(value, bool))
        assert fits, f"{where}: {value!r} is no {said(node)}"
    elif kind == "array_type":
        assert isinstance(value, list), f"{where}: {value!r} is no array"
        for index, item in enumerate(value):
            _check(item, node.named_children[0], template, f"{where}[{index}]")
    elif kind == "union_type":
        known = [text_of(each) for each in walk(node) if each.type == "string" and each.is_named]
        assert value in known, f"{where}: {value!r} is none of {known}"
    elif kind == "object":
        _check_object(value, node, template, where)
    else:
        assert kind == "identifier", f"{where}: a type of kind {kind}"
        home = read(template.imports[said(node)]) if said(node) in template.imports else template
        inner = home.declared[said(node)].type
        assert inner is not None
        _check(value, inner, home, where)


def _check_object(value: Any, node: Node, template: Template, where: str) -> None:
    assert isinstance(value, dict), f"{where}: {value!r} is no object"
    wanted = {name: (kind, limits) for name, kind, limits in properties(node)}
    assert set(value) == set(wanted), f"{where}: has {sorted(value)}, wants {sorted(wanted)}"
    for name, (kind, limits) in wanted.items():
        _check(value[name], kind, template, f"{where}.{name}")
        for call in limits:
            _limit(value[name], call, f"{where}.{name}")


def _limit(value: Any, call: Node, where: str) -> None:
    """Check one decorator; those that are no limit say nothing of the value."""
    name, arguments = said(call.named_children[0]), call.named_children[1].named_children
    if name == "allowed":
        known = [said(item).strip("'") for item in arguments[0].named_children]
        assert str(value) in known, f"{where}: {value!r} is none of {known}"
    elif name in ("minValue", "minLength"):
        size = value if name == "minValue" else len(value)
        assert size >= int(said(arguments[0])), f"{where}: {value!r} is too small"
    elif name in ("maxValue", "maxLength"):
        size = value if name == "maxValue" else len(value)
        assert size <= int(said(arguments[0])), f"{where}: {value!r} is too large"
