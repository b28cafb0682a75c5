"""Bicep files as trees, and the declarations in them.

The grammar of the package index reads `x => x.a` as `(x => x).a` and `!x.a` as `(!x).a`, so such
bodies stand in parentheses in our files: `misread` finds those that do not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import tree_sitter_bicep
from tree_sitter import Language, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tree_sitter import Node

_PARSER = Parser(Language(tree_sitter_bicep.language()))
_KINDS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
    "user_defined_function": "func",
    "type_declaration": "type",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One declaration; `decorators` are the calls written above it."""

    kind: str
    name: str
    node: Node
    decorators: tuple[Node, ...] = ()

    @property
    def value(self) -> Node | None:
        """What stands behind the sign; none for a parameter without a default."""
        children = self.node.children
        signs = [at for at, child in enumerate(children) if child.type in ("=", "=>")]
        return children[signs[0] + 1] if signs else None

    @property
    def type(self) -> Node | None:
        """The type that is written down."""
        if self.kind == "type":
            return self.value
        found = [child for child in self.node.named_children if child.type in _TYPES]
        return found[0] if found else None

    @property
    def title(self) -> str:
        """The text of a resource or module: its type and version, or its path."""
        return text_of(self.node.named_children[1])

    @property
    def exists_already(self) -> bool:
        """Whether a resource is only referred to."""
        return any(child.type == "existing" for child in self.node.children)

    def decorated(self, name: str) -> Node | None:
        """The decorator of that name."""
        for call in self.decorators:
            if said(call.named_children[0]) == name:
                return call
        return None


_TYPES = ("type", "union_type", "array_type", "nullable_type", "primitive_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One file; `declared` is what it names, `imports` is where else names come from."""

    path: Path
    root: Node
    declared: dict[str, Declaration] = field(default_factory=dict)
    outputs: dict[str, Declaration] = field(default_factory=dict)
    imports: dict[str, Path] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[Declaration]:
        """Every declaration of a kind, in the order they are written."""
        return [each for each in self.declared.values() if each.kind == kind]

    def module_path(self, declaration: Declaration) -> Path:
        """The file a module declaration names."""
        return (self.path.parent / declaration.title).resolve()


@cache
def read(path: Path) -> Template:
    """Parse a file; a `.bicepparam` too, whose `param x = …` this grammar knows as `var x = …`."""
    source = path.read_text()
    if path.suffix == ".bicepparam":
        source = source.replace("\nparam ", "\nvar ").replace("using '", "// using '")
    root = _PARSER.parse(source.encode()).root_node
    template = Template(path=path, root=root)
    decorators: tuple[Node, ...] = ()
    for node in root.named_children:
        if node.type == "decorators":
            decorators = _calls(node)
            continue
        _declare(template, node, decorators)
        if node.type != "comment":
            decorators = ()
    return template


def _declare(template: Template, node: Node, decorators: tuple[Node, ...]) -> None:
    if node.type == "import_functionality":
        source = template.path.parent / text_of(node.named_children[-1])
        for name in node.named_children[:-1]:
            template.imports[said(name)] = source.resolve()
    if node.type not in _KINDS:
        return
    kind, called = _KINDS[node.type], said(node.named_children[0])
    where = template.outputs if kind == "output" else template.declared
    if called in where:
        template.twice.append(called)
    where[called] = Declaration(kind=kind, name=called, node=node, decorators=decorators)


def _calls(decorators: Node) -> tuple[Node, ...]:
    return tuple(decorator.named_children[0] for decorator in decorators.named_children)


def properties(node: Node) -> Iterator[tuple[str, Node, tuple[Node, ...]]]:
    """Name, value and decorators of each property of an object; dynamic names are left out."""
    decorators: tuple[Node, ...] = ()
    for child in node.named_children:
        if child.type == "decorators":
            decorators = _calls(child)
        elif child.type == "object_property":
            name, *values = [each for each in child.named_children if each.type != "comment"]
            if name.type != "string":
                yield said(name), values[-1], decorators
            elif not interpolations(name):
                yield text_of(name), values[-1], decorators
            decorators = ()


def interpolations(string: Node) -> list[Node]:
    """The `${…}`s of a string."""
    return [child for child in string.named_children if child.type == "interpolation"]


def said(node: Node) -> str:
    """A node as it is written."""
    return (node.text or b"").decode()


_ESCAPES = {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\$": "$"}


def text_of(string: Node) -> str:
    """What a string without interpolation says."""
    return "".join(str(piece) for piece in pieces(string))


def pieces(string: Node) -> Iterator[str | Node]:
    """Texts and interpolations of a string, in order.

    The texts are cut out of the source: this grammar has no node for one that is only blanks.
    """
    source, place = string.text or b"", string.start_byte
    after = 1
    for child in string.named_children:
        if child.type == "string_content":
            continue
        yield source[after : child.start_byte - place].decode()
        yield child if child.type == "interpolation" else _ESCAPES[said(child)]
        after = child.end_byte - place
    yield source[after:-1].decode()


def walk(node: Node) -> Iterator[Node]:
    """Every node below, itself first."""
    yield node
    for child in node.children:
        yield from walk(child)


def faults(template: Template) -> list[str]:
    """Where the grammar found no sense."""
    return [
        f"{template.path.name}:{node.start_point[0] + 1}: {said(node)[:60]!r}"
        for node in walk(template.root)
        if node.type == "ERROR" or node.is_missing
    ]


def misread(template: Template) -> list[str]:
    """Lambdas and negations that swallow less than is meant, as this grammar reads them."""
    return [
        f"{template.path.name}:{node.start_point[0] + 1}: {said(node)[:60]!r}"
        for node in walk(template.root)
        if node.parent is not None
        and (
            (node.type == "lambda_expression" and node.parent.type != "arguments")
            or (node.type == "unary_expression" and node.parent.type == "member_expression")
        )
    ]
