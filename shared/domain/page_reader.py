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
from shared.domain.json_page import JsonPaths, checked, describe, one_line, slice_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.record import Records
    from shared.domain.source import Source

#: A JSON page up to this size is read whole; a larger one is cut into pieces between records.
WHOLE_BYTES = 8 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
#: How many places are tried to cut a piece: a wrong one lies inside a record and is no JSON.
_CUTS_MAX = 40
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
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
    if source.format == "ndjson":
        return LineReader(paths)
    if source.format in ("csv", "tsv"):
        return TableReader(paths, delimiter="," if source.format == "csv" else "\t")
    return JsonReader(paths)


class JsonReader:
    """JSON: whole, or piece by piece when it is large."""

    def __init__(self, paths: JsonPaths) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._pieces: list[bytes] = []
        self._size = 0
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
            yield describe(bodies, self._paths)

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Read the rest as if it were the page: it has the same beginning and the same end."""
        page = b"".join((self._before, *self._pieces))
        self._pieces.clear()
        return slice_page(page, self._paths)

    def _find_array(self, held: bytes) -> bytes:
        """Split off what stands before the records; give the rest."""
        path = self._paths.records.split(".") if self._paths.records else []
        # Latin-1 gives a character for each byte: the structure of JSON is ASCII anyway.
        text = held.decode("latin-1").removeprefix("\xef\xbb\xbf")
        try:
            start = json_scan.array_at(text, [step.encode().decode("latin-1") for step in path])
        except ValueError:
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
        return [], held


class LineReader:
    """NDJSON: a record a line.

    A line that is no JSON is passed on as it is, for the transform to refuse with its reason: the
    others are good. Only when the first or the last is none, the page is not what it claims.
    """

    def __init__(self, paths: JsonPaths) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._held = b""
        self._first = True

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Give the lines that have ended."""
        lines, found, rest = piece.rpartition(b"\n")
        if not found:
            self._held += piece
            return
        lines, self._held = self._held + lines, rest
        if lines.strip():
            yield self._read(lines)

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Give the last line, if nothing ended it."""
        rest, self._held = self._held, b""
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
    """CSV or TSV with a header: each row becomes an object of texts; an empty field is null."""

    def __init__(self, paths: JsonPaths, *, delimiter: str) -> None:
        """Nothing is read yet."""
        self._paths = paths
        self._delimiter = delimiter
        self._held = b""
        self._header: list[str] = []

    def feed(self, piece: bytes) -> Iterator[Records]:
        """Give the rows that have ended: a line break between quotes ends none."""
        self._held += piece
        end = self._held.rfind(b"\n")
        while end >= 0 and self._held.count(b'"', 0, end) % 2:
            end = self._held.rfind(b"\n", 0, end)
        if end >= 0:
            rows, self._held = self._held[: end + 1], self._held[end + 1 :]
            if rows.strip():
                yield self._read(rows, cut=False)

    def finish(self) -> tuple[Records, dict[str, Any]]:
        """Give the last row, if nothing ended it."""
        rest, self._held = self._held, b""
        if rest.strip():
            return self._read(rest, cut=True), {}
        if not self._header:
            raise BadRecord("empty-body", "the source answered 200 with an empty body")
        return describe([], self._paths), {}

    def _read(self, text: bytes, *, cut: bool) -> Records:
        try:
            rows = list(
                csv.reader(
                    io.StringIO(checked(text).decode(), newline=""),
                    delimiter=self._delimiter,
                    strict=True,
                )
            )
        except csv.Error as error:
            raise BadRecord("not-csv", f"the page is cut off or no table: {error}") from error
        rows = [row for row in rows if row]
        if not self._header and rows:
            self._header = _header(rows.pop(0))
        if cut and rows and len(rows[-1]) < len(self._header):
            raise BadRecord("not-csv", "the last row has too few fields: the page is cut off")
        return describe([self._object(row) for row in rows], self._paths)

    def _object(self, row: list[str]) -> bytes:
        fields: dict[str, Any] = {
            name: value or None for name, value in zip(self._header, row, strict=False)
        }
        if len(row) > len(self._header):
            fields["_extra"] = row[len(self._header) :]
        return orjson.dumps(fields)


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
    except ValueError as error:
        start = line[:80].decode(errors="replace")
        hint = "HTML" if start.startswith("<") else "cut off" if cut else "not JSON"
        detail = f"the page is {hint}: {what}: {error}; it begins {start!r}"
        raise BadRecord("not-json", detail) from error
