r"""The text pattern: a regular expression that Python, Java and Rust understand alike.

Spark's engines are written in Java and in Rust. A pattern is checked when the document is read, so
that no run ends in one engine's complaint, and written out so that it means the same in both: a
class such as `\d` holds ASCII only, `.` is anything but a line feed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPEATS_MAX = 1000  # Rust refuses expressions that become too large.

_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r" \t\n\r\f\x0B"}
_TOKEN = re.compile(
    r"""
      (?P<escape> \\ (?: x[0-9A-Fa-f]{2} | u[0-9A-Fa-f]{4} | . ))
    | (?P<repeat> (?: [*+?] | \{ \d+ (?: , \d* )? \} ) \?? )
    | (?P<group> \( (?: \?: )? )
    | (?P<set> \[ \^? (?: \\. | [^\]\\] )* \] )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_MEMBER = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|.)|&&|--|~~|\|\||.", re.DOTALL)
_ANCHORS = {".": r"[^\n]", "^": r"\A", "$": r"\z"}


def portable(expression: str) -> str:
    """Return the expression as Java and Rust both take it; raise `ValueError` when they cannot."""
    written = "".join(_parts(expression))  # First: Python only warns of what is dubious in a set.
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return written


def _parts(expression: str) -> Iterator[str]:
    after_repeat = False
    for token in _TOKEN.finditer(expression):
        kind, text = token.lastgroup, token[0]
        if kind == "repeat":
            if after_repeat or any(int(n) > REPEATS_MAX for n in re.findall(r"\d+", text)):
                raise _unportable(text)
            yield text
        elif kind == "escape":
            yield _escape(text)
        elif kind == "set":
            yield _set(text)
        elif kind == "group":
            if expression.startswith("?", token.end()) and text == "(":
                raise _unportable(expression[token.start() : token.end() + 2])
            yield text
        else:
            yield _other(text)
        after_repeat = kind == "repeat"


def _escape(text: str) -> str:
    letter = text[1]
    if letter.lower() in _CLASSES:
        return f"[{'^' if letter.isupper() else ''}{_CLASSES[letter.lower()]}]"
    return _character(text)


def _character(text: str) -> str:
    r"""Return an escaped character: engines differ on all but these (`\<` begins a word in one)."""
    letter = text[1]
    if code := text[2:]:
        if 0xD800 <= int(code, 16) <= 0xDFFF:  # noqa: PLR2004 -- Half of a character.
            raise _unportable(text)
        return text
    if letter in "<>" or not letter.isascii():
        return letter
    if letter.isalnum() and letter not in "tnrf":
        raise _unportable(text)
    return text


def _set(text: str) -> str:
    start = 2 if text.startswith("[^") else 1
    members = text[start:-1]
    if not members:
        raise _unportable(text)
    return text[:start] + "".join(map(_member, _MEMBER.findall(members))) + "]"


def _member(text: str) -> str:
    if text[0] != "\\":
        if text in ("[", "&&", "--", "~~", "||"):
            raise _unportable(text)
        return text
    return _CLASSES[text[1]] if text[1] in _CLASSES else _character(text)


def _other(text: str) -> str:
    if text in "{[":
        raise _unportable(text)
    return _ANCHORS.get(text, f"\\{text}" if text in "]}" else text)


def _unportable(text: str) -> ValueError:
    return ValueError(f"uses {text!r}, which not every engine understands alike")
