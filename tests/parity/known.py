"""Where the engines differ, exactly: a difference that disappears is an error as a new one is.

`transforms/README.md` says what they mean for whoever sends such values.
"""

from __future__ import annotations

import json
from functools import cache

from tests.parity import inputs

type Differences = list[tuple[str, str, str]]

#: Why; the values, and the columns of `inputs.COLUMNS` in which they differ.
_ALWAYS: Differences = [
    (
        "Sail takes these for no JSON; Spark reads the last as '?' and the others as text",
        r'NaN Infinity -Infinity 1e309 -1e309 "\ud83d"',
        "record",
    ),
    (
        "the text of a number: Spark writes an exponent much earlier than Sail",
        """
        0.0001 1e-5 0.000001 0.000000001 0.0000000004 0.0000000005 1e-320 5e-324 10000000.5
        12345678.905 99999999.99 99999999.994 99999999.995 1795176000.1234567 1795176000.25
        1795176000123.5 1e7 1e15 1e16 1e19 1e22 1e308 [1e19,1e-7,100.10] [-0,-0.0,0.0]
        """,
        "text",
    ),
    (
        "more digits than a double has: Sail keeps them all, Spark rounds to a double",
        "12345678901234567890.123456789 123456789.123456789",
        "text exact",
    ),
    ("minus zero keeps its sign on Sail, and is then no flag", "-0", "text double flag"),
    ("Spark escapes letters beyond the first 65,536 in JSON text", '{"k":"é😀"}', "text"),
]
#: What `from_json` reads, all columns at once.
TOGETHER: Differences = [
    *_ALWAYS,
    (
        "the text of an integer beyond 64 bits is a double's on Sail",
        "99999999999999999999 -9223372036854775809",
        "text",
    ),
    ("minus zero is a double on Sail", "-0", "int long"),
    ("Spark keeps both of two equal keys in JSON text, Sail the second", '{"a":1,"a":2}', "text"),
]
#: What `get_json_object` reads, because its name differs from another one in case only.
ALONE: Differences = [
    *_ALWAYS,
    (
        "Sail keeps a text as it is written",
        r"""
        0.10 100.10 1e0 1e3 1E3 1e+3 1e-3 1.5e2 1e-400 [1.0,1e2,0.10,12345678901234567890]
        {"\u0041":"\u00e9"}
        """,
        "text",
    ),
]

#: Why; the column; the lines.
LINES = [
    (
        "Spark reads an object and does not look at what follows it",
        "record",
        [
            b'{"id":"a"}}', b'{"id":"a"} x', b'{"id":"a"}{"id":"b"}', b'{"id":"a"},',
            b'{"id":"a"}//', '{"id":"a"}\u2028'.encode(),
        ],
    ),
    ("Spark takes single quotes", "record", [b"{'id':'a'}"]),
    ("Spark takes what is no number for one", "record", [b'{"id":NaN}']),
    (
        "Spark passes over an error within an object or array that is read",
        "record",
        [
            b'{"id":"a","p":{"n":tru}}', b'{"id":"a","p":{"o":{"x":tru}}}',
            b'{"id":"a","p":{"list":[1,"\\q",3]}}',
        ],
    ),
    (
        "Sail reads 127 levels, Spark 1,000",
        "record",
        [
            b'{"p":' * 200 + b"1" + b"}" * 200,
            b'{"id":"a","deep":' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"id":"a","deep":' + b'{"x":' * 300 + b"1" + b"}" * 300 + b"}",
        ],
    ),
    ("Sail reads no number of 1,000 digits", "record", [b'{"id":' + b"9" * 1000 + b"}"]),
    ("Spark reads no name of over 50,000 letters", "record", [b'{"' + b"k" * 60_000 + b'":1}']),
    (
        "Spark gives up an array of objects in which something is none",
        "tag",
        [b'{"id":"a","tags":[{"v":"x"},5]}', b'{"id":"a","tags":[{"v":"x"},[]]}'],
    ),
]  # fmt: skip


def cells(differences: Differences) -> set[tuple[str, str]]:
    """Return each value and column in which the engines differ."""
    return {
        (value, column)
        for _, values, columns in differences
        for value in values.split()
        for column in columns.split()
    }


def lines() -> dict[bytes, str]:
    """Return each line that the engines read differently, and where."""
    return {line: column for _, column, found in LINES for line in found}


@cache
def equal_values(column: str) -> list[str]:
    """Return the JSON values that both engines read alike in a column of `inputs.COLUMNS`.

    `first` is for a place that is read as two types.
    """
    columns = ("double", "text") if column == "first" else (column,)
    unlike = {value for value, where in cells(TOGETHER) if where in (*columns, "record")}
    return [value for value in inputs.VALUES if value not in unlike and _is_json(value)]


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
