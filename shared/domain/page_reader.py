"""The page reader: records out of a page while it comes, whatever its format.

A reader is fed UTF-8 in pieces and gives records as soon as they are whole. Only a JSON page up to
`WHOLE_BYTES` is kept until its end, so that of a page that is cut off nothing at all is used; of a
larger one, or of lines, what was read before the cut is sent, and the poll then stops.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import orjson
from msgspec import Raw

from shared.domain import json_scan
from shared.domain.errors import BadRecord
from shared.domain.json_page import (
    JsonPaths,
    checked,
    describe,
    fields_of,
    one_line,
    slice_page,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.record import Records
    from shared.domain.source import Source

#: A JSON page up to this size is read whole; a larger one is cut into pieces between records.
WHOLE_BYTES = 8 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
#: How many places are tried to cut quickly: a wrong one lies inside a record and is no JSON.
_CUTS_MAX = 8
#: What stands between two fields; nothing: any number of blanks.
_DELIMITERS = {"csv": ",", "tsv": "\t", "text": ""}
_array = msgspec.json.Decoder(list[Raw]).decode


class PageReader(Protocol):
    """Records of one page; every method raises `BadRecord` for what is not what it claims."""

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Take a piece; give the records that are whole by now."""

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Give the last records, and what the page says beside them."""


def reader_for(source: Source, *, beside: tuple[str, ...]) -> PageReader:
    """The reader of a source's format; `beside` are the paths of what paging wants to know."""
    paths = JsonPaths(
        records=source.records_path,
        keys=source.keys,
        cursor=source.cursor.field if source.cursor else "",
        beside=beside,
    )
    if source.format == "object":
        return ObjectReader(paths)
    if source.format == "ndjson":
        return LineReader(paths)
    if source.format in _DELIMITERS:
        return TableReader(paths, delimiter=_DELIMITERS[source.format])
    return JsonReader(paths)


class JsonReader:
    """JSON: whole, or piece by piece when it is large."""

    def __init__(self, paths: JsonPaths) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_cut = False
        self._before = b""  # What stands before the first record, once the page is cut.
        self._cut_at = WHOLE_BYTES

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Hold the piece back; cut off what is whole once there is much of it."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size < self._cut_at:
            return
        held = b"".join(self._pieces)
        if not self._before:
            held = self._find_array(held)
        bodies, held = self._cut(held) if self._before else ([], held)
        self._pieces, self._size = [held], len(held)
        # What could not be cut now is tried again when there is twice as much.
        self._cut_at = self._size + (_PIECE_BYTES if bodies else self._size)
        if bodies:
            self._is_cut = True
            checked(b"".join(bodies))
            yield describe(bodies, self._paths)

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Read the rest as if it were the page: it has the same beginning and the same end."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        if self._is_cut and rest.lstrip().startswith(b"]"):
            rest = b"," + rest  # The comma that was cut off must not go unnoticed.
        return slice_page(self._before + rest, self._paths)

    def _find_array(self, held: bytes) -> bytes:
        """Split off what stands before the records; give the rest."""
        path = self._paths.records.split(".") if self._paths.records else []
        # Latin-1 gives a character for each byte: the structure of JSON is ASCII anyway.
        text = held.decode("latin-1").removeprefix("\xef\xbb\xbf")
        try:
            start = json_scan.array_at(text, [step.encode().decode("latin-1") for step in path])
        except (ValueError, RecursionError):
            return held
        self._before = text[: start + 1].encode("latin-1")
        return text[start + 1 :].encode("latin-1")

    def _cut(self, held: bytes) -> tuple[list[bytes], bytes]:
        """Cut behind the last record that is whole: only there do both sides stay JSON."""
        end = len(held)
        for _ in range(_CUTS_MAX):
            end = held.rfind(b"}", 0, end)
            rest = held[end + 1 : end + 64].lstrip()
            if end < 0:
                break
            if not rest.startswith(b","):
                continue
            try:
                raws = _array(b"[" + held[: end + 1] + b"]")
            except (msgspec.DecodeError, RecursionError):
                continue
            return [one_line(bytes(raw)) for raw in raws], held[held.index(b",", end) + 1 :]
        return _cut_slowly(held)


class ObjectReader:
    """JSON whose value at the path of records, or which itself, is one record.

    Only a source that says so is read like this: else an error that a tool answers with 200 would
    be a record.
    """

    def __init__(self, paths: JsonPaths) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._held = bytearray()

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Hold the piece back: a record is not whole before its page is."""
        self._held += piece
        return iter(())

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Give the record."""
        body = checked(bytes(self._held))
        path = self._paths.records
        try:
            whole = json.loads(body)
            found = Raw(body)
            for step in path.split(".") if path else ():
                found = fields_of(found)[step]
        except (ValueError, KeyError, RecursionError) as error:
            raise _no_object(body, path) from error
        if not bytes(found).lstrip().startswith(b"{"):
            raise _no_object(body, path)
        beside = {each: value_at(whole, each) for each in self._paths.beside}
        return describe([one_line(bytes(found).strip())], self._paths), beside


def _no_object(body: bytes, path: str) -> BadRecord:
    start = body[:80].decode(errors="replace").strip()
    hint = "HTML" if start.startswith("<") else f"without an object at {path!r}, or cut off"
    return BadRecord("not-json", f"the page is {hint}; it begins {start!r}")


class LineReader:
    """NDJSON: a record a line.

    A line that is no JSON is passed on as it is, for the transform to refuse with its reason: the
    others are good. Only when the first or the last is none, the page is not what it claims.
    """

    def __init__(self, paths: JsonPaths) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._held = bytearray()
        self._first = True

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Give the lines that have ended."""
        end = piece.rfind(b"\n") + 1
        lines = _taken(self._held, piece, end)
        if lines.strip():
            yield self._read(lines)

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Give the last line, if nothing ended it."""
        rest = _taken(self._held, b"", 0, last=True)
        if rest.strip():
            _expect_json(rest, what="the last line", cut=True)
            return self._read(rest), {}
        if self._first:
            raise BadRecord("empty-body", "the source answered 200 with an empty body")
        return describe([], self._paths), {}

    def _read(self, text: bytes) -> Records:
        bodies = [line.strip() for line in checked(text).split(b"\n")]
        bodies = [line.replace(b"\r", b" ") for line in bodies if line]
        if self._first and bodies:
            self._first = False
            _expect_json(bodies[0], what="the first line", cut=False)
        if all_json(bodies):
            return describe(bodies, self._paths)
        return describe(bodies, self._paths, lenient=True)


class TableReader:
    """A table with a header: each row becomes an object of texts; an empty field is null."""

    def __init__(self, paths: JsonPaths, *, delimiter: str) -> None:
        """Without a delimiter, blanks stand between fields, and `#` begins the header or a note."""
        self._paths = paths
        self._delimiter = delimiter
        self._held = bytearray()
        self._is_quoted = False
        self._header: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Give the rows that have ended: a line break between quotes ends none."""
        rows = _taken(self._held, piece, self._end_of_rows(piece))
        if rows.strip():
            yield self._read(rows, cut=False)

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Give the last row, if nothing ended it."""
        rest = _taken(self._held, b"", 0, last=True)
        if rest.strip():
            return self._read(rest, cut=True), {}
        if not self._header:
            raise BadRecord("empty-body", "the source answered 200 with an empty body")
        return describe([], self._paths), {}

    def _end_of_rows(self, piece: bytes) -> int:
        """Where the last row that ends in a piece ends; 0 if none does."""
        if not self._delimiter:
            return piece.rfind(b"\n") + 1
        parts = piece.split(b'"')
        quoted = self._is_quoted ^ (len(parts) % 2 == 0)
        self._is_quoted = quoted
        end = len(piece)
        for part in reversed(parts):
            begin = end - len(part)
            if not quoted and (found := piece.rfind(b"\n", begin, end)) >= 0:
                return found + 1
            end, quoted = begin - 1, not quoted
        return 0

    def _read(self, text: bytes, *, cut: bool) -> Records:
        rows = [row for row in self._rows(checked(text).decode()) if row]
        if not self._header and rows:
            self._header = _header(rows.pop(0))
        if cut and rows and len(rows[-1]) < len(self._header):
            raise BadRecord("not-csv", "the last row has too few fields: the page is cut off")
        return describe([self._object(row) for row in rows], self._paths)

    def _rows(self, text: str) -> list[list[str]]:
        if not self._delimiter:
            lines = text.splitlines()
            if not self._header and lines:
                lines[0] = lines[0].removeprefix("#")
            return [line.split() for line in lines if not line.startswith("#")]
        lines_ = io.StringIO(text, newline="")
        try:
            return list(csv.reader(lines_, delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            raise BadRecord("not-csv", f"the page is cut off or no table: {error}") from error

    def _object(self, row: list[str]) -> bytes:
        fields: dict[str, Any] = {
            name: value or None for name, value in zip(self._header, row, strict=False)
        }
        if len(row) > len(self._header):
            fields["_extra"] = row[len(self._header) :]
        return orjson.dumps(fields)


def _taken(held: bytearray, piece: bytes, end: int, *, last: bool = False) -> bytes:
    """What was held back and a piece up to its `end`; the rest is held back, also if that is all.

    What is held grows where it is: to copy it for each piece of a long line would take for ever.
    """
    if not end and not last:
        held += piece
        return b""
    taken = bytes(held) + piece[:end]
    held[:] = piece[end:]
    return taken


def _cut_slowly(held: bytes) -> tuple[list[bytes], bytes]:
    """Cut behind the last record that is whole, whatever is in it, record by record."""
    # Latin-1 gives a character for each byte: the structure of JSON is ASCII anyway.
    found, end = json_scan.items_followed(held.decode("latin-1"))
    return [one_line(each.encode("latin-1")) for each in found], held[end:]


def all_json(lines: list[bytes]) -> bool:
    """Whether each line is one JSON value: joined by commas they must come apart the same way."""
    try:
        return [bytes(raw) for raw in _array(b"[" + b",".join(lines) + b"]")] == lines
    except (msgspec.DecodeError, RecursionError):
        return False


def _header(names: list[str]) -> list[str]:
    names = [name.strip() for name in names]
    if names[0].startswith("<"):
        raise BadRecord("not-csv", f"the page is HTML: it begins {names[0][:80]!r}")
    if len(set(names)) < len(names) or "" in names:
        raise BadRecord("not-csv", f"the header names no columns, or one twice: {names[:20]}")
    return names


def _expect_json(line: bytes, *, what: str, cut: bool) -> None:
    try:
        json.loads(line)
    except (ValueError, RecursionError) as error:
        start = line[:80].decode(errors="replace")
        hint = "HTML" if start.startswith("<") else "cut off" if cut else "not JSON"
        detail = f"the page is {hint}: {what}: {error}; it begins {start!r}"
        raise BadRecord("not-json", detail) from error
