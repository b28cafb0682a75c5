"""The log of a partition: what is appended stays, in order, until it is too old."""

from __future__ import annotations

import resource
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.event_hubs import EventHubs
from local.event_hubs.log import CHUNK_BYTES, Cursor, Log
from local.event_hubs.messages import Event
from tests.local_event_hubs import Clock, body, fill, hub, offset_of, producer, stored

if TYPE_CHECKING:
    from pathlib import Path

DAY_MS = 24 * 60 * 60 * 1000


def events(*texts: str) -> list[Event]:
    """Make a batch."""
    return [Event(b"", 0, b"", body(text)) for text in texts]


def open_log(folder: Path, *, segment_bytes: int = 10_000) -> Log:
    """Open a log whose events live for a day."""
    return Log(folder, lifetime_ms=DAY_MS, segment_bytes=segment_bytes)


def taken(cursor: Cursor) -> list[tuple[int, bytes]]:
    """Read on to the end: sequence numbers and the last byte of each body."""
    found = []
    while records := cursor.take(10):
        found += [(record.sequence, record.message[-1:]) for record in records]
    return found


def everything(log: Log) -> list[tuple[int, bytes]]:
    """Read everything."""
    return taken(Cursor(log, log.offset_begin))


def test_a_log_torn_anywhere_keeps_every_whole_batch(tmp_path: Path) -> None:
    """A kill in the middle of a write must cost what was not acknowledged, nothing else."""
    log = open_log(tmp_path)
    log.append(events("a", "b"), 1)
    whole_bytes = log.offset_end
    log.append(events("c", "d", "e"), 2)
    log.close()
    (path,) = tmp_path.glob("*.log")
    content = path.read_bytes()

    for torn_bytes in range(whole_bytes, len(content)):
        path.write_bytes(content[:torn_bytes])
        log = open_log(tmp_path)
        log.append(events("x"), 3)

        assert everything(log) == [(0, b"a"), (1, b"b"), (2, b"x")]
        log.close()


def test_a_damaged_end_is_cut_off(tmp_path: Path) -> None:
    """After a power cut blocks of zeros may follow the last event; they are not events."""
    log = open_log(tmp_path)
    log.append(events("a"), 1)
    log.append(events("b"), 1)
    log.close()
    (path,) = tmp_path.glob("*.log")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?" + bytes(4096))

    log = open_log(tmp_path)

    assert everything(log) == [(0, b"a")]
    assert path.stat().st_size == log.offset_end
    log.close()


def test_a_batch_that_does_not_fit_on_the_disk_leaves_no_trace(tmp_path: Path) -> None:
    """A full disk must be an error to the sender and not a torn log to the consumers."""
    log = open_log(tmp_path)
    log.append(events("a"), 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            log.append(events(*"x" * 100), 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.append(events("b"), 3)
    log.close()

    log = open_log(tmp_path)

    assert everything(log) == [(0, b"a"), (1, b"b")]
    log.close()


def test_an_expired_segment_goes_and_the_numbers_stay(tmp_path: Path) -> None:
    """Sequence numbers that began again would make the landing take new events for old ones."""
    log = open_log(tmp_path)
    log.append(events("a", "b"), 1)
    offset_end = log.offset_end
    log.expire(DAY_MS + 1)
    assert everything(log) == [(0, b"a"), (1, b"b")]

    log.expire(DAY_MS + 2)

    assert (log.sequence_begin, log.offset_begin, log.is_empty) == (2, offset_end, True)
    log.close()
    log = open_log(tmp_path)
    log.append(events("c"), DAY_MS)
    assert everything(log) == [(2, b"c")]
    assert log.last.sequence == 2
    assert [path.name[:20] for path in tmp_path.glob("*.log")] == [f"{offset_end:020}"]
    log.close()


def test_a_reader_that_retention_overtakes_goes_on_at_the_beginning(tmp_path: Path) -> None:
    """That is what the service does; stopping there would stop the partition for ever."""
    log = open_log(tmp_path, segment_bytes=1)
    log.append(events("a"), 1)
    cursor = Cursor(log, 0)
    log.append(events("b"), DAY_MS)

    log.expire(DAY_MS + 2)

    assert taken(cursor) == [(1, b"b")]
    log.close()


def test_damage_in_an_old_segment_is_an_error_and_not_an_event(tmp_path: Path) -> None:
    """Old segments are not checked at the start; reading on as if nothing was would invent data."""
    log = open_log(tmp_path, segment_bytes=1)
    log.append(events("a"), 1)
    log.append(events("b"), 1)
    log.append(events("c"), 1)
    log.close()
    (_, damaged, _) = sorted(tmp_path.glob("*.log"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    log = open_log(tmp_path, segment_bytes=1)
    cursor = Cursor(log, 0)

    with pytest.raises(OSError, match="the log is damaged at offset"):
        taken(cursor)

    log.close()


def test_a_reader_holds_no_more_than_a_chunk(tmp_path: Path) -> None:
    """A consumer a gigabyte behind must not cost a gigabyte of memory."""
    log = open_log(tmp_path, segment_bytes=1_000_000)
    for _ in range(20):
        log.append(events(*["x" * 50_000] * 3), 1)
    cursor = Cursor(log, 0)

    held = [sum(len(record.message) for record in cursor.take(1000)) for _ in range(20)]

    assert max(held) <= CHUNK_BYTES
    log.close()


@settings(deadline=None, max_examples=60)
@given(
    batches=st.lists(st.tuples(st.integers(-2, 4), st.integers(1, 3)), max_size=12),
    segment_bytes=st.sampled_from([1, 300, 10_000]),
    sought=st.integers(-1, 30),
    expired=st.integers(0, 40),
    reopened=st.booleans(),
)
def test_a_place_is_found_whatever_the_segments(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[int, int]],
    segment_bytes: int,
    sought: int,
    expired: int,
    *,
    reopened: bool,
) -> None:
    """Sequence numbers, times and offsets must lead to the same events as reading everything."""
    folder = tmp_path_factory.mktemp("log")
    log = open_log(folder, segment_bytes=segment_bytes)
    times: list[int] = []
    now_ms = 10
    for pause_ms, count in batches:
        now_ms += pause_ms  # Clocks are set back now and then; enqueued times are not.
        log.append(events(*"x" * count), now_ms)
        times += [max([now_ms, *times])] * count
    log.expire(DAY_MS + expired)
    if reopened:
        log.close()
        log = open_log(folder, segment_bytes=segment_bytes)

    kept = range(log.sequence_begin, len(times))

    assert all(times[number] < expired for number in range(log.sequence_begin))
    assert sequences(log.from_sequence(sought)) == [n for n in kept if n >= sought]
    assert sequences(log.from_time(sought)) == [n for n in kept if times[n] >= sought]
    assert all(follows_offset(log, number) for number in kept)
    log.close()


def sequences(cursor: Cursor) -> list[int]:
    """Read on to the end."""
    return [sequence for sequence, _ in taken(cursor)]


def follows_offset(log: Log, sequence: int) -> bool:
    """Whether an event's offset, as its consumer is told it, leads to it and to the next."""
    offset = int(offset_of(log.from_sequence(sequence).take(1)[0].message))
    found = [log.from_offset(offset, inclusive=inclusive) for inclusive in (True, False)]
    nowhere = log.from_offset(offset + 1, inclusive=True)
    return nowhere is None and [cursor and sequences(cursor) for cursor in found] == [
        [*range(first, log.sequence_end)] for first in (sequence, sequence + 1)
    ]


async def test_retention_raises_the_beginning_a_client_sees(tmp_path: Path) -> None:
    """The detector of holes compares with this number; a hub that forgets has to say so."""
    clock = Clock()
    plan = hub(partitions=1, expires_after=timedelta(hours=3))
    async with EventHubs([plan], tmp_path, now_ms=clock) as server:
        fill(server, ["old", "older"])
        clock.now_ms += 2 * 3_600_000
        fill(server, ["new"])
        clock.now_ms += 2 * 3_600_000

        server.broker.expire()

        async with producer(server.connection_string) as client:
            described = await client.get_partition_properties("0")
        kept = stored(server)
    assert (described["beginning_sequence_number"], kept) == (2, ["new"])
