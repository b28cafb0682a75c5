"""The log: one partition's events in append-only segment files, oldest segments deleted whole.

A segment's file name says what came before it: `<offset>-<sequence>-<time in ms>.log`. So numbers
never go back, even when retention has emptied the partition, and no second file can disagree.

An event's offset is the place of its record in the unending log. A record is, big-endian,

    u32 payload bytes | u32 crc32 of what follows | i64 sequence | i64 enqueued ms
    | u16 header bytes | u16 last of its batch | payload: the message as it is delivered
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import logging
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from local.event_hubs.messages import Event, LastEnqueued, position_annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_LOG = logging.getLogger(__name__)

_SIZES = struct.Struct(">II")
_POSITION = struct.Struct(">qqHH")
_RECORD = struct.Struct(">IIqqHH")
#: A reader holds this much of the log in memory, or one larger record.
CHUNK_BYTES = 256 * 1024
#: The largest message, what the service puts in front of it, and room to spare.
RECORD_BYTES_MAX = 2 * 1024 * 1024
SEGMENT_BYTES = 16 * 1024 * 1024
#: Retention works by whole segments; ten a lifetime make it 10 % late at most.
SEGMENTS_PER_LIFETIME = 10
_BUFFERS_MAX = 1024
#: What the SDK takes for "there never was one": the first day of the year 1.
NEVER_MS = -62135596800000


class Record(NamedTuple):
    """An event as it is stored: a message, whose first `header_bytes` are its header section."""

    sequence: int
    time_ms: int
    header_bytes: int
    message: bytes


@dataclass(frozen=True, slots=True, order=True)
class _Segment:
    """A file, named by the offset and sequence it starts with and the time of the event before."""

    offset: int
    sequence: int
    time_before_ms: int

    @property
    def name(self) -> str:
        return f"{self.offset:020}-{self.sequence:020}-{self.time_before_ms:013}.log"


class Log:
    """What is appended is in the operating system's hands before `append` returns."""

    def __init__(
        self, folder: Path, *, lifetime_ms: int, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.folder = folder
        self._lifetime_ms = lifetime_ms
        self._segment_bytes = segment_bytes
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = sorted(
            _Segment(*map(int, path.stem.split("-"))) for path in folder.glob("*.log")
        ) or [_Segment(0, 0, 0)]
        self._time_first_ms = self._time_last_ms = self._segments[-1].time_before_ms
        self._offset_last = self._segments[-1].offset - 1
        self.offset_end, self.sequence_end = self._segments[-1].offset, self._segments[-1].sequence
        self._file = self._open(self._segments[-1])
        self._recover()

    @property
    def offset_begin(self) -> int:
        """Where the oldest event is, or the next will be."""
        return self._segments[0].offset

    @property
    def sequence_begin(self) -> int:
        """The oldest event's sequence number, or the next one's."""
        return self._segments[0].sequence

    @property
    def is_empty(self) -> bool:
        """Whether there is no event, or none any more."""
        return self.offset_begin == self.offset_end

    @property
    def last(self) -> LastEnqueued:
        """The newest event there ever was."""
        if self.sequence_end == 0:
            return LastEnqueued(-1, "-1", NEVER_MS)
        return LastEnqueued(self.sequence_end - 1, str(self._offset_last), self._time_last_ms)

    def append(self, events: Sequence[Event], now_ms: int) -> None:
        """Store a batch, whole or, after `OSError`, not at all."""
        self._roll_when_due(now_ms)
        time_ms = max(now_ms, self._time_last_ms)
        offset, sequence = self.offset_end, self.sequence_end
        offset_last, sequence_last = self._offset_last, sequence + len(events) - 1
        buffers: list[bytes] = []
        for event in events:
            head = (
                _POSITION.pack(sequence, time_ms, len(event.header), sequence == sequence_last)
                + event.header
                + position_annotations(event, sequence=sequence, offset=offset, time_ms=time_ms)
            )
            size = len(head) - _POSITION.size + len(event.rest)
            crc = zlib.crc32(event.rest, zlib.crc32(head))
            buffers += (_SIZES.pack(size, crc) + head, event.rest)
            offset_last = offset
            offset += _RECORD.size + size
            sequence += 1
        self._write(buffers)
        if self.offset_end == self._segments[-1].offset:
            self._time_first_ms = time_ms
        self.offset_end, self.sequence_end = offset, sequence
        self._offset_last, self._time_last_ms = offset_last, time_ms

    def read(self, offset: int, bytes_min: int) -> bytes:
        """Read on from `offset`, which is not before the beginning; empty at the end."""
        size = min(max(CHUNK_BYTES, bytes_min), self.offset_end - offset)
        index = bisect.bisect_right(self._segments, offset, key=lambda one: one.offset) - 1
        segment = self._segments[index]
        if segment is self._segments[-1]:
            return os.pread(self._file, size, offset - segment.offset)
        file = os.open(self.folder / segment.name, os.O_RDONLY)
        try:
            return os.pread(file, size, offset - segment.offset)
        finally:
            os.close(file)

    def from_sequence(self, sequence: int) -> Cursor:
        """Start at the first event with at least this sequence number."""
        index = bisect.bisect_right(self._segments, sequence, key=lambda one: one.sequence) - 1
        cursor = Cursor(self, self._segments[max(index, 0)].offset)
        cursor.pass_while(lambda record: record.sequence < sequence)
        return cursor

    def from_time(self, time_ms: int) -> Cursor:
        """Start at the first event enqueued at this time or later."""
        index = bisect.bisect_left(
            self._segments, time_ms, lo=1, key=lambda one: one.time_before_ms
        )
        cursor = Cursor(self, self._segments[index - 1].offset)
        cursor.pass_while(lambda record: record.time_ms < time_ms)
        return cursor

    def from_offset(self, offset: int, *, inclusive: bool) -> Cursor | None:
        """Start at an event, or after it; None when no event was ever stored there."""
        cursor = Cursor(self, offset)
        if offset < self.offset_begin:
            return cursor
        content = self.read(offset, RECORD_BYTES_MAX) if offset < self.offset_end else b""
        if len(content) < _RECORD.size:
            return None
        sequence = _RECORD.unpack_from(content)[2]
        if not _checked(content, 0, sequence):
            return None
        if not inclusive:
            cursor.take(1)
        return cursor

    def expire(self, now_ms: int) -> None:
        """Delete the segments whose newest event is older than the lifetime."""
        limit_ms = now_ms - self._lifetime_ms
        if self._time_last_ms < limit_ms and self.offset_end > self._segments[-1].offset:
            self._roll()
        while len(self._segments) > 1 and self._segments[1].time_before_ms < limit_ms:
            expired = self._segments.pop(0)
            (self.folder / expired.name).unlink()
            _LOG.info(
                "%s: events before sequence %d have expired", self.folder, self.sequence_begin
            )

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, buffers: list[bytes]) -> None:
        """Write a batch after the last whole one, over what a failed write may have left there."""
        end = self.offset_end - self._segments[-1].offset
        os.lseek(self._file, end, os.SEEK_SET)
        try:
            for start in range(0, len(buffers), _BUFFERS_MAX):
                part = buffers[start : start + _BUFFERS_MAX]
                written = os.writev(self._file, part)
                rest = b"".join(part)[written:] if written < sum(map(len, part)) else b""
                while rest:
                    rest = rest[os.write(self._file, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
            raise

    def _roll_when_due(self, now_ms: int) -> None:
        size = self.offset_end - self._segments[-1].offset
        age_ms = now_ms - self._time_first_ms
        if size >= self._segment_bytes or (
            size and age_ms > self._lifetime_ms / SEGMENTS_PER_LIFETIME
        ):
            self._roll()

    def _roll(self) -> None:
        segment = _Segment(self.offset_end, self.sequence_end, self._time_last_ms)
        file = self._open(segment)
        os.close(self._file)
        self._file = file
        self._segments.append(segment)

    def _open(self, segment: _Segment) -> int:
        return os.open(self.folder / segment.name, os.O_RDWR | os.O_CREAT, 0o644)

    def _recover(self) -> None:
        """Read the newest segment up to its last whole batch and cut off what is torn after it."""
        newest = self._segments[-1]
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        position, sequence = 0, newest.sequence
        while record := _checked(content, position, sequence):
            size, time_ms, ends_batch = record
            if sequence == newest.sequence:
                self._time_first_ms = time_ms
            start, position = position, position + size
            sequence += 1
            if ends_batch:
                self.offset_end, self.sequence_end = newest.offset + position, sequence
                self._offset_last, self._time_last_ms = newest.offset + start, time_ms
        whole_bytes = self.offset_end - newest.offset
        if whole_bytes < len(content):
            torn_bytes = len(content) - whole_bytes
            _LOG.warning("%s: cut off %d torn bytes at the end", self.folder, torn_bytes)
            os.ftruncate(self._file, whole_bytes)


class Cursor:
    """A place in a log that moves on as records are taken; never ahead of its end."""

    def __init__(self, log: Log, offset: int) -> None:
        self._log = log
        self._chunk = b""
        self._chunk_offset = offset
        self._position = 0

    def take(self, count_max: int) -> list[Record]:
        """Take some of the next records; none at the end. Raise `OSError` when they are damaged."""
        taken: list[Record] = []
        while len(taken) < count_max:
            needed = _RECORD.size
            if len(self._chunk) - self._position >= needed:
                size, _, sequence, time_ms, header_bytes, _ = _RECORD.unpack_from(
                    self._chunk, self._position
                )
                needed += size
            if len(self._chunk) - self._position < needed:
                if taken or not self._refill(needed):
                    break
                continue
            end = self._position + needed
            message = self._chunk[self._position + _RECORD.size : end]
            taken.append(Record(sequence, time_ms, header_bytes, message))
            self._position = end
        return taken

    def pass_while(self, early: Callable[[Record], bool]) -> None:
        """Move to the first record that is not early, or to the end."""
        while records := self.take(1):
            if not early(records[0]):
                self._position -= _RECORD.size + len(records[0].message)
                return

    def _refill(self, bytes_min: int) -> bool:
        """Read on; continue at the beginning when retention was faster than the reader."""
        offset = max(self._chunk_offset + self._position, self._log.offset_begin)
        self._chunk_offset, self._position = offset, 0
        self._chunk = self._log.read(offset, bytes_min)
        if len(self._chunk) < bytes_min and offset < self._log.offset_end:
            folder = self._log.folder
            raise OSError(errno.EIO, f"{folder}: the log is damaged at offset {offset}")
        return bool(self._chunk)


def _checked(content: bytes, position: int, sequence: int) -> tuple[int, int, int] | None:
    """Return size, time and place in the batch of a record, if it is there and undamaged."""
    if len(content) - position < _RECORD.size:
        return None
    size, crc, found, time_ms, _, ends_batch = _RECORD.unpack_from(content, position)
    end = position + _RECORD.size + size
    checked = content[position + _SIZES.size : end]
    if end > len(content) or found != sequence or zlib.crc32(checked) != crc:
        return None
    return _RECORD.size + size, time_ms, ends_batch
