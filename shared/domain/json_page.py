"""The JSON page: records sliced out of it, and what it says beside them.

`msgspec` skips through the text at the speed of C, checks that it is JSON to its last byte, and
hands out slices; nothing is re-serialised. Paths are dotted; a step may also be the number of an
item. What is asked for beside the records (a link, a token, a total) comes along in the same pass.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import msgspec
from msgspec import Raw

from shared.domain import json_scan
from shared.domain.errors import BadRecord
from shared.domain.record import Record, Records

#: The fields of an object, each as it is written.
fields_of = msgspec.json.Decoder(dict[str, Raw]).decode
_LINE_BREAKS = re.compile(rb"[\r\n]+")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class JsonPaths(msgspec.Struct, frozen=True):
    """Where things are: the array of records, what names each, its cursor field, and the rest."""

    records: str = ""
    keys: tuple[str, ...] = ("id",)
    cursor: str = ""
    beside: tuple[str, ...] = ()


def slice_page(body: bytes, paths: JsonPaths) -> tuple[Records, dict[str, Any]]:
    """The records of a page, and the values at the paths beside them.

    Raises `BadRecord` with the reason when the page is not what it claims to be; nothing of such a
    page may be used, because what is missing from it is unknown.
    """
    body = checked(body)
    try:
        raws, beside = _envelope(paths.records, paths.beside)(body)
        bodies = list(map(bytes, raws))
        array = body
    except (msgspec.DecodeError, RecursionError):
        bodies = _scan(body, paths.records)
        array, beside = b"", _look(body, paths.beside)
    if b"\n" in body or b"\r" in body:
        bodies = [one_line(each) for each in bodies]
    return describe(bodies, paths, array=array), beside


def checked(body: bytes) -> bytes:
    """The body without its byte order mark; raise `BadRecord` if it is empty or not UTF-8."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    if not body or body.isspace():
        raise BadRecord("empty-body", "the source answered 200 with an empty body")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadRecord("not-utf8", f"byte {error.start} is not UTF-8") from error
    return body


def describe(
    bodies: list[bytes], paths: JsonPaths, *, array: bytes = b"", lenient: bool = False
) -> Records:
    """What names each record, and its cursor value; `array` is the page they are slices of.

    `lenient` is for bodies of which some are no JSON.
    """
    fields = (*paths.keys, paths.cursor) if paths.cursor else paths.keys
    columns = None if lenient else _columns_fast(bodies, paths, fields, array=array)
    columns = columns or _columns_slowly(bodies, fields)
    if paths.cursor:
        return Records(bodies=bodies, keys=columns[:-1], cursors=columns[-1])
    return Records(bodies=bodies, keys=columns)


def records_of(body: bytes, *, path: str, key: str | tuple[str, ...]) -> list[Record]:
    """The records of a JSON page, one by one: for few of them."""
    keys = (key,) if isinstance(key, str) else key
    found, _ = slice_page(body, JsonPaths(records=path, keys=keys))
    return [
        Record(body=each, key="" if name == each else name.decode())
        for each, name in zip(found.bodies, found.names(), strict=True)
    ]


def value_at(value: Any, path: str) -> Any:  # noqa: ANN401 -- JSON is any value.
    """The value at a dotted path; None when there is none."""
    for step in path.split(".") if path else ():
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def one_line(body: bytes) -> bytes:
    """A record without line breaks: in JSON they are white space between its parts."""
    return _LINE_BREAKS.sub(b" ", body) if b"\n" in body or b"\r" in body else body


def _scan(body: bytes, path: str) -> list[bytes]:
    text = body.decode()
    try:
        return [each.encode() for each in json_scan.slices(text, path.split(".") if path else [])]
    except (ValueError, RecursionError) as error:
        start = text[:80].strip()
        hint = "HTML" if start.startswith("<") else "not JSON"
        raise BadRecord("not-json", f"the page is {hint}: {error}; it begins {start!r}") from error


def _look(body: bytes, paths: tuple[str, ...]) -> dict[str, Any]:
    if not paths:
        return {}
    whole = json.loads(body)
    return {path: value_at(whole, path) for path in paths}


def _columns_fast(
    bodies: list[bytes], paths: JsonPaths, fields: tuple[str, ...], *, array: bytes
) -> list[list[Any]] | None:
    text = array or b"[" + b",".join(bodies) + b"]"
    try:
        found: list[list[Any]] = _columns(paths.records if array else "", fields)(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found


def _columns_slowly(bodies: list[bytes], fields: tuple[str, ...]) -> list[list[Any]]:
    rows = [_loaded(body) for body in bodies]
    return [[value_at(row, field) for row in rows] for field in fields]


def _loaded(body: bytes) -> Any:  # noqa: ANN401 -- JSON is any value.
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


@cache
def _envelope(records: str, beside: tuple[str, ...]) -> Any:  # noqa: ANN401 -- A decoder of a type made here.
    """What decodes a page to its records, raw, and the values beside them."""
    tree: dict[str, Any] = {}
    for path in beside:
        _grow(tree, path.split("."), inner=records.split("."))
    shape = _shape(tree, records.split(".") if records else [], list[Raw])
    decode = msgspec.json.Decoder(shape).decode
    steps = [_field(step) for step in records.split(".")] if records else []

    def read(body: bytes) -> tuple[list[Raw], dict[str, Any]]:
        page = decode(body)
        values = {path: _dig(page, path.split("."), records=not records) for path in beside}
        found = page
        for step in steps:
            found = getattr(found, step)
        return found, values

    return read


def _grow(tree: dict[str, Any], path: list[str], *, inner: list[str]) -> None:
    """Note the fields to decode: structures along the way to the records, whole values beside."""
    for depth, step in enumerate(path):
        on_the_way = depth < len(inner) - 1 and path[: depth + 1] == inner[: depth + 1]
        if not on_the_way or depth == len(path) - 1:
            tree.setdefault(step, {})
            return
        tree = tree.setdefault(step, {})


def _shape(tree: dict[str, Any], path: list[str], leaf: Any) -> Any:  # noqa: ANN401 -- Types.
    if not path:
        return leaf
    first, rest = path[0], path[1:]
    fields: list[Any] = [(_field(first), _shape(tree.get(first, {}), rest, leaf))]
    names = {_field(first): first}
    for step in tree:
        if step != first:
            fields.append((_field(step), Any, None))
            names[_field(step)] = step
    return msgspec.defstruct("Page", fields, rename=names, gc=False)


def _dig(page: Any, path: list[str], *, records: bool) -> Any:  # noqa: ANN401 -- JSON is any value.
    if records:  # The page is the array itself: nothing is beside it.
        return None
    for depth, step in enumerate(path):
        if not isinstance(page, msgspec.Struct):
            return value_at(page, ".".join(path[depth:]))
        page = getattr(page, _field(step), None)
    return page


@cache
def _columns(records: str, fields: tuple[str, ...]) -> Any:  # noqa: ANN401 -- A decoder of a type made here.
    """What decodes only the named fields of each record, a list a field."""
    tree: dict[str, Any] = {}
    for path in fields:
        branch = tree
        for step in path.split("."):
            branch = branch.setdefault(step, {})
    steps = records.split(".") if records else []
    items: Any = list[_item(tree)]  # type: ignore[misc]  # A type made at run time.
    decode = msgspec.json.Decoder(_shape({}, steps, items)).decode
    ways = [[_field(step) for step in path.split(".")] for path in fields]

    def read(body: bytes) -> list[list[Any]]:
        rows = decode(body)
        for step in steps:
            rows = getattr(rows, _field(step))
        columns = []
        for way in ways:
            column = rows
            for step in way:
                column = [None if each is None else getattr(each, step) for each in column]
            columns.append(column)
        return columns

    return read


def _item(tree: dict[str, Any]) -> Any:  # noqa: ANN401 -- A type.
    fields = [
        (_field(step), _item(branch) | None if branch else Any, None)
        for step, branch in tree.items()
    ]
    names = {_field(step): step for step in tree}
    return msgspec.defstruct("Item", fields, rename=names, gc=False)


def _field(step: str) -> str:
    """A legal attribute name for a key of the page."""
    return "at_" + step.encode().hex()
