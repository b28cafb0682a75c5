"""The sample source over real sockets: it grows, keeps the recorded bytes, and answers 304."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from local.faults import Faults
from local.sample_source.feed import STEP_S, Recording, load, published
from local.sample_source.server import PATH, Feed, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
FILE = ROOT / "local" / "sample_source" / "earthquakes.json.gz"
RECORDED = gzip.decompress(FILE.read_bytes())
STARTED = datetime(2026, 1, 1, tzinfo=UTC)
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def recording() -> Recording:
    """The recorded feed, read once."""
    return load(FILE)


class Source:
    """A feed of six seconds on a real socket, whose clock the test moves."""

    def __init__(self, recording: Recording, faults: Faults) -> None:
        self.elapsed_s = 0.0
        feed = Feed(
            recording,
            started=STARTED,
            duration=timedelta(seconds=6),
            clock=lambda: STARTED + timedelta(seconds=self.elapsed_s),
        )
        self.client = TestClient(TestServer(application(feed, faults)), auto_decompress=False)

    async def get(self, **headers: str) -> aiohttp.ClientResponse:
        """Ask for the feed, uncompressed unless `headers` say otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(PATH, headers=PLAIN | named)


@asynccontextmanager
async def serve(recording: Recording, faults: Faults | None = None) -> AsyncIterator[Source]:
    """Serve the recording, badly if `faults` say so."""
    source = Source(recording, faults or Faults())
    async with source.client:
        yield source


@pytest.fixture
async def source(recording: Recording) -> AsyncIterator[Source]:
    """A source that has just begun."""
    async with serve(recording) as source:
        yield source


def test_recording_is_the_file_its_provenance_describes() -> None:
    """A licence is only worth something for the bytes it was given for."""
    provenance = FILE.with_name("PROVENANCE.md").read_text()

    digest = hashlib.sha256(RECORDED).hexdigest()

    assert digest in provenance
    assert f"{len(RECORDED):,} bytes, {FILE.stat().st_size:,} compressed" in provenance


def test_complete_feed_is_the_recording_byte_for_byte(recording: Recording) -> None:
    """Demos and tests can be compared with the published week itself."""
    body = recording.body(len(recording.features))

    assert body == RECORDED


@pytest.mark.parametrize("count", [1, 2, 500, 1706])
def test_partial_feed_holds_what_was_updated_first_in_recorded_bytes_newest_first(
    recording: Recording, count: int
) -> None:
    """A source's bytes are evidence: the pipeline must be able to keep exactly them."""
    whole = json.loads(RECORDED)["features"]
    first_updated = sorted(whole, key=lambda feature: feature["properties"]["updated"])[:count]

    body = recording.body(count)

    part = json.loads(body)
    times = [feature["properties"]["time"] for feature in part["features"]]
    lines = body[body.index(b'"features":[') + 12 : body.rindex(b'],"bbox"')].split(b",\n")
    assert {feature["id"] for feature in part["features"]} == {one["id"] for one in first_updated}
    assert times == sorted(times, reverse=True)
    assert all(line in RECORDED for line in lines)
    assert part["metadata"]["count"] == len(part["features"]) == count
    assert part["metadata"]["generated"] == first_updated[-1]["properties"]["updated"]
    assert part["bbox"][2] == min(one["geometry"]["coordinates"][2] for one in first_updated)


def test_every_step_publishes_more_until_all_is_out() -> None:
    """A poll a step must always find something new, and then nothing more ever."""
    steps = int(6 / STEP_S)

    counts = [published(1707, elapsed_s=step * STEP_S, duration_s=6) for step in range(steps + 40)]

    assert counts[:steps] == sorted(set(counts[:steps]))
    assert counts[0] > 0
    assert set(counts[steps - 1 :]) == {1707}


def test_step_is_constant_and_a_clock_set_back_harmless() -> None:
    """Between two steps body and ETag must not change, or conditional requests would be luck."""
    counts = {published(1707, elapsed_s=s, duration_s=6) for s in (1.0, 1.1, 1.249)}

    assert len(counts) == 1
    assert published(1707, elapsed_s=-5, duration_s=6) == published(1707, elapsed_s=0, duration_s=6)
    assert published(1707, elapsed_s=0, duration_s=0) == 1707


async def test_feed_grows_with_the_clock(source: Source) -> None:
    """What was published stays published: a growing feed never takes a feature back."""
    seen: list[set[str]] = []

    for source.elapsed_s in (0, 1, 3, 6, 60):
        feed = json.loads(await (await source.get()).read())
        seen.append({feature["id"] for feature in feed["features"]})

    assert [len(ids) for ids in seen] == [72, 356, 925, 1707, 1707]
    assert all(earlier <= later for earlier, later in pairwise(seen))


async def test_unchanged_feed_answers_304_without_a_body(source: Source) -> None:
    """An unchanged source must cost one small answer and nothing else."""
    first = await source.get()
    etag = first.headers["ETag"]

    unchanged = await source.get(If_None_Match=etag)
    source.elapsed_s = STEP_S
    changed = await source.get(If_None_Match=etag)

    assert (unchanged.status, await unchanged.read()) == (304, b"")
    assert unchanged.headers["ETag"] == etag
    assert unchanged.headers["Last-Modified"] == first.headers["Last-Modified"]
    assert changed.status == 200
    assert changed.headers["ETag"] != etag


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{etag}", 304),
        ("W/{etag}", 304),
        ('"other", W/"another", {etag}', 304),
        ("*", 304),
        ('"other"', 200),
        ('"other", "another"', 200),
    ],
)
async def test_etag_condition_is_read_as_the_standard_says(
    source: Source, condition: str, status: int
) -> None:
    """Proxies weaken tags and clients send lists; both are the same feed (RFC 9110, 13.1.2)."""
    etag = (await source.get()).headers["ETag"]

    answer = await source.get(If_None_Match=condition.format(etag=etag))

    assert answer.status == status


async def test_date_condition_counts_unless_an_etag_was_sent_too(source: Source) -> None:
    """Dates are the weaker witness: they decide only where no tag does (RFC 9110, 13.1.3)."""
    modified = (await source.get()).headers["Last-Modified"]
    earlier = "Wed, 31 Jan 2018 00:00:00 GMT"

    same = await source.get(If_Modified_Since=modified)
    older = await source.get(If_Modified_Since=earlier)
    tagged = await source.get(If_Modified_Since=modified, If_None_Match='"other"')
    source.elapsed_s = 6
    grown = await source.get(If_Modified_Since=modified)

    assert [same.status, older.status, tagged.status, grown.status] == [304, 200, 200, 200]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate", "gzip"), ("gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("br", None)],
)
async def test_compressed_feed_is_the_same_feed_under_another_etag(
    source: Source, accepted: str, encoding: str | None
) -> None:
    """A strong tag promises bytes, and the compressed bytes are others."""
    plain = await source.get()

    answer = await source.get(Accept_Encoding=accepted)

    body = await answer.read()
    assert answer.headers.get("Content-Encoding") == encoding
    assert (gzip.decompress(body) if encoding else body) == await plain.read()
    assert (answer.headers["ETag"] == plain.headers["ETag"]) is (encoding is None)
    assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
async def test_head_answers_with_the_headers_of_get_and_no_body(
    source: Source, accepted: str
) -> None:
    """HEAD is for asking what GET would say (RFC 9110, 9.3.2)."""
    headers = {"Accept-Encoding": accepted}
    got = await source.client.get(PATH, headers=headers)

    head = await source.client.head(PATH, headers=headers)

    assert head.status == 200
    assert await head.read() == b""
    assert {**head.headers, "Date": ""} == {**got.headers, "Date": ""}
    assert int(head.headers["Content-Length"]) == len(await got.read())
    assert got.headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_source_can_only_be_read(source: Source, method: str) -> None:
    """The tools this pipeline is for answer GET and nothing else; so must the stand-in."""
    answer = await source.client.request(method, PATH)

    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


async def test_elsewhere_there_is_a_hint_or_nothing(source: Source) -> None:
    """A person with a browser finds the feed; a wrong URL is an error a machine can read."""
    hint = await source.client.get("/")
    missing = await source.client.get("/earthquakes/feed/v1.0/summary/all_day.geojson")

    assert PATH in await hint.text()
    assert missing.status == 404
    assert PATH in (await missing.json())["error"]


async def test_busy_source_says_when_to_come_back(recording: Recording) -> None:
    """Pollers must be tried against both ways a tool says: not now."""
    async with serve(recording, Faults(busy=1.0)) as source:
        answers = [await source.get() for _ in range(4)]

    assert [answer.status for answer in answers] == [429, 503, 429, 503]
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}


async def test_dropped_connection_never_looks_like_a_whole_feed(recording: Recording) -> None:
    """Half a feed that passed for a whole one would be silent loss; both kinds must be drawn."""
    failures: set[type[aiohttp.ClientError]] = set()

    async with serve(recording, Faults(drop=1.0, seed=1)) as source:
        for _ in range(8):
            with pytest.raises(aiohttp.ClientError) as failure:
                await (await source.get()).read()
            failures.add(failure.type)

    assert aiohttp.ClientPayloadError in failures
    assert failures & {aiohttp.ClientOSError, aiohttp.ServerDisconnectedError}


async def start(folder: Path, *options: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start the source as the stack does; return it and the feed's URL."""
    command = (sys.executable, "-m", "local.sample_source", "--data", str(folder), "--port", "0")
    running = await asyncio.create_subprocess_exec(
        *command,
        *options,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    line = (await asyncio.wait_for(running.stdout.readline(), 30)).decode().split()
    assert line[:2] == ["sample_source", "listening"]
    return running, f"http://{line[-1]}{PATH}"


async def stop(running: asyncio.subprocess.Process) -> int:
    """Let go of the source's standard input, and see it end."""
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.close()
    await running.stdout.read()
    return await asyncio.wait_for(running.wait(), 30)


async def read_count(url: str) -> Any:
    """The number of features the feed says it holds."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return (await answer.json())["metadata"]["count"]


async def test_killed_and_restarted_source_goes_on_where_it_was(tmp_path: Path) -> None:
    """A feed that began again after a crash would test something no real tool does."""
    started_at = tmp_path / "data" / "started-at"
    running, url = await start(tmp_path / "data", "--seconds", "3600")
    begun = started_at.read_text()
    first = await read_count(url)

    running.kill()
    await stop(running)
    started_at.write_text((datetime.fromisoformat(begun) - timedelta(hours=2)).isoformat())
    running, url = await start(tmp_path / "data", "--seconds", "3600", "--with-parent")
    second = await read_count(url)

    assert first < 200
    assert second == 1707
    assert await stop(running) == 0


async def test_wrong_faults_are_one_readable_line(tmp_path: Path) -> None:
    """A person who mistypes a switch needs the switch's name, not a traceback."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.sample_source", "--data", str(tmp_path), "--port", "0"),
        *("--faults", "bussy=1"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )

    _, complaint = await running.communicate()

    assert running.returncode == 1
    assert complaint.decode().startswith("sample_source: --faults knows seed, busy")
    assert complaint.count(b"\n") == 1
