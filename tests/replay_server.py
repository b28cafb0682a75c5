"""Recordings of real tools, played again: archives of polls, and cassettes of requests.

`MILLRACE_RECORDINGS` names a folder with `usgs/*.tar.xz` (one file a poll, in their order),
`cassettes/*.ndjson.gz` (a line a request: `cassette`, `url`, `status`, `headers`, and `body` or
`body_b64`), and `events`, `pokeapi` and `weather` with files as tools serve them. The recordings
are not part of the project; tests that need them are skipped where they are absent.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import tarfile
from collections import defaultdict, deque
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHANGED = "Wed, 01 Aug 2018 15:27:41 GMT"
#: What describes the recorded connection, not the answer.
_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "status", "date"}


def recordings() -> Path:
    """The folder of recordings; skip the test where there is none."""
    folder = os.environ.get("MILLRACE_RECORDINGS", "")
    if not folder:
        pytest.skip("MILLRACE_RECORDINGS names no folder of recordings")
    return Path(folder)


def timed_polls() -> Iterator[tuple[datetime, bytes]]:
    """When each poll of an archive of one address was made, and its body, in their order."""
    (path,) = (recordings() / "usgs").glob("*.tar.xz")
    with tarfile.open(path, "r:xz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content:
                moment = Path(member.name).name.partition("_")[0]
                yield datetime.strptime(moment, "%Y%m%dT%H%M%S%z"), content.read()


def polls() -> Iterator[bytes]:
    """The bodies of an archive of polls."""
    for _, body in timed_polls():
        yield body


def member(archive: str, name: str) -> bytes:
    """One file of an archive."""
    (path,) = recordings().glob(archive)
    with tarfile.open(path, "r:xz") as files:
        content = files.extractfile(name)
        assert content, f"{name} is a file"
        return content.read()


class Feed:
    """One address whose content is replaced from outside, with an ETag."""

    def __init__(self) -> None:
        """Nothing is published yet."""
        self.body = b""

    def answer(self, request: web.Request) -> web.Response:
        """The content, or 304 to whoever has it."""
        tag = f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        return web.Response(body=self.body, content_type="application/json", headers={"ETag": tag})


class File:
    """One address that gives a file, with when it was changed; `headers` are the recorded ones."""

    def __init__(self, body: bytes, headers: Mapping[str, str], *, zipped: bool = False) -> None:
        """`zipped` compresses the body on its way."""
        self.headers = {"Last-Modified": CHANGED} | {
            name: value for name, value in headers.items() if name.lower() not in _HOP
        }
        self.headers.pop("Content-Encoding", None)
        self.body = gzip.compress(body) if zipped else body
        if zipped:
            self.headers["Content-Encoding"] = "gzip"

    def answer(self, request: web.Request) -> web.Response:
        """The file, or 304 to whoever has it."""
        if request.headers.get("If-Modified-Since") == self.headers["Last-Modified"]:
            return web.Response(status=304)
        return web.Response(body=self.body, headers=self.headers)


def cassette_names(file: str) -> list[str]:
    """The cassettes of a file."""
    return list(dict.fromkeys(line["cassette"] for line in _lines(file)))


class Cassette:
    """Answers as recorded: those of one address in their order, the last one for ever."""

    def __init__(self, file: str, name: str) -> None:
        """`file` is a pattern below `cassettes`."""
        self._answers: dict[Any, deque[dict[str, Any]]] = defaultdict(deque)
        self.hosts: set[str] = set()
        self.missing: list[str] = []
        for line in _lines(file):
            if line["cassette"] == name and line["method"] == "GET":
                self._answers[_address(line["url"])].append(line)
                parts = urlsplit(line["url"])
                self.hosts.add(f"{parts.scheme}://{parts.netloc}")

    @property
    def addresses(self) -> list[Any]:
        """Path and query of what was asked."""
        return list(self._answers)

    def statuses(self) -> dict[Any, list[int]]:
        """What each address answered."""
        return {
            address: [line["status"] for line in lines] for address, lines in self._answers.items()
        }

    def answer(self, request: web.Request) -> web.Response:
        """What was answered then, with links that lead here."""
        found = self._answers.get(_address(str(request.url)))
        if not found:
            self.missing.append(str(request.url))
            return web.Response(status=404)
        line = found.popleft() if len(found) > 1 else found[0]
        tags = [value for name, value in line["headers"] if name.lower() == "etag"]
        if request.headers.get("If-None-Match") in tags:
            return web.Response(status=304)
        here = str(request.url.origin())
        body = base64.b64decode(line["body_b64"]) if "body_b64" in line else line["body"].encode()
        headers = {
            name: self._here(value, here)
            for name, value in line["headers"]
            if name.lower() not in _HOP
        }
        zipped = headers.pop("Content-Encoding", headers.pop("content-encoding", ""))
        if line.get("body_was_gzip"):
            body = gzip.compress(body)
        if zipped and (line.get("body_was_gzip") or body.startswith(b"\x1f\x8b")):
            headers["Content-Encoding"] = zipped
        return web.Response(status=line["status"], body=body, headers=headers)

    def _here(self, text: str, here: str) -> str:
        for host in self.hosts:
            text = text.replace(host, here)
        return text


def _lines(file: str) -> Iterator[dict[str, Any]]:
    (path,) = (recordings() / "cassettes").glob(file)
    with gzip.open(path, "rt") as lines:
        for line in lines:
            yield json.loads(line)


def _address(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    parts = urlsplit(url)
    return parts.path.rstrip("/"), tuple(sorted(parse_qsl(parts.query, keep_blank_values=True)))
