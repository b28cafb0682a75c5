"""The cursor: how far a source has been read, and what it last said.

The cursor itself is small and replaced only at the beginning and the end of a poll that has news.
In between, a journal grows by one frame a page: where the walk is, and what was seen.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_hexdigest

from shared.domain.page import Request, Validators
from shared.domain.seen import CONTENT_BYTES, HASH_BYTES, UNSETTLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shared.domain.cursor_field import Value
    from shared.domain.seen import Seen

#: A poll claims its source for so long, and again when half of it is over. One that is killed holds
#: up the next no longer than this.
CLAIM = timedelta(seconds=20)
#: Validators of so many addresses are kept; those of the others cost a body each.
ANSWERS_MAX = 1000
_HEADER = struct.Struct(">4s5I")
_MAGIC = b"mj1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an address answered at the last complete walk, and which request followed."""

    validators: Validators
    records: int
    following: Request | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """What is remembered between two polls.

    `value` is the greatest value of the cursor field, and never moves backwards. `journal` is the
    number of the journal in use, `keyed` whether it holds keys, and `unfinished` whether its last
    frame is of a walk to go on with, which began at the position `began_at`. Totals are for people;
    nothing is decided by them.
    """

    value: Value = None
    answers: Mapping[str, Known] = field(default_factory=dict)
    digest: str = ""
    journal: int = 0
    keyed: bool = False
    unfinished: bool = False
    began_at: int = 0
    claimed_until: datetime | None = None
    resting_until: datetime | None = None
    records_sent: int = 0
    events_sent: int = 0
    changed_at: str = ""

    def claimed(self, now: datetime, *, goes_on: bool) -> Cursor:
        """The cursor of a poll that begins to send; `goes_on`: after a kill the next takes over."""
        unfinished = self.unfinished or goes_on
        until = now + CLAIM
        return replace(self, claimed_until=until, unfinished=unfinished, resting_until=None)

    def is_claimed(self, now: datetime) -> bool:
        """Whether another poll of the source is running."""
        return self.claimed_until is not None and self.claimed_until > now

    def is_resting(self, now: datetime) -> bool:
        """Whether the source has asked to be left alone."""
        return self.resting_until is not None and self.resting_until > now


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One step of a journal.

    The walk's state (empty: as before); the contents of the records that the frame before has
    named, for they are in the hub now; the names of those that are to be sent now; entries that
    stand for themselves; keys by the hash of their names.
    """

    state: Mapping[str, Any] = field(default_factory=dict)
    contents: bytes = b""
    names: bytes = b""
    entries: bytes = b""
    keys: bytes = b""

    def to_bytes(self) -> bytes:
        """The frame as it is appended."""
        state = json.dumps(self.state).encode() if self.state else b""
        parts = (state, self.contents, self.names, self.entries, self.keys)
        return b"".join((_HEADER.pack(_MAGIC, *map(len, parts)), *parts))


class Frames:
    """Reads frames from a journal that comes in pieces."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._held = bytearray()
        self.bytes_read = 0

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """Give the frames that are whole by now."""
        self._held += piece
        at = 0
        while len(self._held) - at >= _HEADER.size:
            magic, *sizes = _HEADER.unpack_from(self._held, at)
            assert magic == _MAGIC, "a journal is made of frames"
            end = at + _HEADER.size + sum(sizes)
            if len(self._held) < end:
                break
            start = at + _HEADER.size
            parts = []
            for size in sizes:
                parts.append(bytes(self._held[start : start + size]))
                start += size
            state = json.loads(parts[0]) if parts[0] else {}
            yield Frame(
                state=state, contents=parts[1], names=parts[2], entries=parts[3], keys=parts[4]
            )
            self.bytes_read += end - at
            at = end
        del self._held[:at]


class Restored:
    """Takes the frames of a journal, one after the other, and notes in `seen` what they say."""

    def __init__(self, seen: Seen) -> None:
        """Nothing is noted yet."""
        self._seen = seen
        self._named: list[bytes] = []

    def take(self, frame: Frame) -> None:
        """Note a frame; whether what it names is in the hub, only the next one can tell."""
        packed = frame.contents
        contents = [packed[at : at + CONTENT_BYTES] for at in range(0, len(packed), CONTENT_BYTES)]
        if contents:
            self._seen.put_all(self._named, contents)
        else:
            self.end()
        self._named = [
            frame.names[at : at + HASH_BYTES] for at in range(0, len(frame.names), HASH_BYTES)
        ]
        self._seen.load(frame.entries)

    def end(self) -> None:
        """What was named last is on its way, as far as anybody knows."""
        for name in self._named:
            self._seen.put(name, UNSETTLED, met=False)
        self._named = []


def pack_key(name: bytes, key: bytes) -> bytes:
    """A key as a frame holds it: the hash of its name, then itself."""
    return name + struct.pack(">I", len(key)) + key


def unpack_keys(packed: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read what `pack_key` wrote, one behind the other."""
    at = 0
    while at < len(packed):
        (size,) = struct.unpack_from(">I", packed, at + 8)
        yield packed[at : at + 8], packed[at + 12 : at + 12 + size]
        at += 12 + size


def address_of(query: Mapping[str, str], request: Request) -> str:
    """Names a request, so that what was answered is found again."""
    return xxh3_64_hexdigest(json.dumps([dict(sorted(query.items())), request.link]).encode())


def to_json(cursor: Cursor) -> bytes:
    """Text of a cursor, as it is kept in a blob."""
    answers = list(cursor.answers.items())[:ANSWERS_MAX]
    content = {
        "value": cursor.value,
        "answers": {address: asdict(known) for address, known in answers},
        "digest": cursor.digest,
        "journal": cursor.journal,
        "keyed": cursor.keyed,
        "unfinished": cursor.unfinished,
        "beganAt": cursor.began_at,
        "claimedUntil": _text(cursor.claimed_until),
        "restingUntil": _text(cursor.resting_until),
        "recordsSent": cursor.records_sent,
        "eventsSent": cursor.events_sent,
        "changedAt": cursor.changed_at,
    }
    return json.dumps(content).encode()


def of_json(text: bytes) -> Cursor:
    """Read what `to_json` wrote."""
    content = json.loads(text)
    return Cursor(
        value=content["value"],
        answers={address: _known(known) for address, known in content["answers"].items()},
        digest=content["digest"],
        journal=content["journal"],
        keyed=content["keyed"],
        unfinished=content["unfinished"],
        began_at=content["beganAt"],
        claimed_until=_moment(content["claimedUntil"]),
        resting_until=_moment(content["restingUntil"]),
        records_sent=content["recordsSent"],
        events_sent=content["eventsSent"],
        changed_at=content["changedAt"],
    )


def _known(content: dict[str, Any]) -> Known:
    following = content["following"]
    return Known(
        validators=Validators(**content["validators"]),
        records=content["records"],
        following=Request(**following) if following else None,
    )


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
