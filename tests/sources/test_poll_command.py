"""`millrace poll`: what a person sees who tries out a source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient
from typer.testing import CliRunner

from cli.__main__ import commands
from shared.domain.errors import Misconfigured
from tests.threaded_tool import Answering, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = [{"id": number, "at": f"2026-11-{number + 10}", "t": "x" * 300} for number in range(8)]


class Tool(Answering):
    """Gives the rows from `since` to before `until`."""

    asked: ClassVar[list[dict[str, str]]] = []

    def answer(self) -> bytes:
        """Give the window that is asked for."""
        query = dict(parse_qsl(urlsplit(self.path).query))
        self.asked.append(query)
        if "html" in self.path:
            return b"<html>"
        since, until = query.get("since", ""), query.get("until", "~")
        return json.dumps([row for row in ROWS if since <= str(row["at"]) < until]).encode()


@pytest.fixture
def place(azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The connection string of a lake, in whose document is a tool that answers."""
    with BlobServiceClient.from_connection_string(azurite) as blobs:
        if "state" not in {container.name for container in blobs.list_containers()}:
            blobs.create_container("state")
    cursor = {"field": "at", "form": "date", "parameter": "since", "until": "until"}
    with serving(Tool) as url:
        source = {"url": url, "schedule": "0 * * * * *", "publishes": "dry-things"}
        document = {
            "name": "test",
            "sources": [
                {**source, "name": "dry", "cursor": cursor},
                {**source, "name": "dry-html", "url": url + "/html"},
            ],
            "eventhubs": [{"material": "dry-things"}],
        }
        path = tmp_path / "pipeline.json"
        path.write_text(json.dumps(document))
        monkeypatch.setenv("LAKE", azurite)
        monkeypatch.setenv("PIPELINE_FILE", str(path))
        Tool.asked.clear()
        yield azurite


def said(*arguments: str) -> list[str]:
    """The lines that the command prints."""
    done = CliRunner().invoke(commands, ["poll", *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output.splitlines()


def test_dry_run_shows_what_would_be_sent_and_changes_nothing(place: str) -> None:
    """Whoever describes a new source wants to see its records before a hub does."""
    lines = said("dry", "--dry-run")
    again = said("dry", "--dry-run")

    with BlobServiceClient.from_connection_string(place) as blobs:
        state = blobs.get_container_client("state")
        kept = list(state.list_blob_names(name_starts_with="cursors/dry"))
    assert lines[-2:] == ["… and 3 more", "dry: would send 8 of 8 records in 3 events"]
    assert len(lines) == 7
    assert all(line.startswith('{"id": ') and line.endswith("…") for line in lines[:5])
    assert (lines, kept) == (again, [])


@pytest.mark.usefixtures("place")
def test_window_and_everything_can_be_asked_for() -> None:
    """A day that was lost is had again without the years before it."""
    window = said("dry", "--dry-run", "--from", "2026-11-12", "--to", "2026-11-14")
    full = json.loads("".join(said("dry", "--dry-run", "--full", "--json")))

    assert window[-1].startswith("dry: would send 2 of 2 records")
    assert Tool.asked[0] == {"since": "2026-11-12", "until": "2026-11-14"}
    assert (full["records_sent"], Tool.asked[1]) == (8, {})


@pytest.mark.usefixtures("place")
def test_what_cannot_be_done_is_said() -> None:
    """In one line, with what to do about it."""
    with pytest.raises(Misconfigured, match="in full or for a window"):
        said("dry", "--full", "--from", "2026-11-12")
    with pytest.raises(Misconfigured, match=r"gives no page.*HTML"):
        said("dry-html", "--dry-run")
