"""One page of a source: ask for it, tell its news from what is known, send them."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xxhash import xxh3_64, xxh3_64_digest

from shared.domain import walk
from shared.domain.cursor import Known, address_of, pack_key
from shared.domain.cursor_field import later
from shared.domain.errors import BadRecord
from shared.domain.page import Answer, Page, Validators
from shared.domain.page_reader import WHOLE_BYTES, reader_for
from shared.domain.paging import NoPaging, Numbered
from shared.domain.poll import BYTES_KEPT, Wish, events_of, key_of, unreadable
from shared.domain.seen import contents_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime

    from shared.domain.cursor_field import Value
    from shared.domain.document import EventHub
    from shared.domain.page import Request
    from shared.domain.page_reader import PageReader
    from shared.domain.record import Records
    from shared.domain.seen import Sifted
    from shared.domain.source import Source
    from shared.domain.walk import Walk
    from shared.flow.journal import Journal
    from shared.ports import Clock, Hub, Quarantine, SourceReader


#: Pages that come faster than this are sent together, up to so many bytes: a note and a send of
#: their own would cost as much as all the rest. A kill repeats no more than that, or one page.
HELD_SECONDS = 0.25
HELD_BYTES = 2 * 1024 * 1024


@dataclass(slots=True)
class Held:
    """News that are to be sent together; `groups` are the names that say where to."""

    state: dict[str, object] = field(default_factory=dict)
    groups: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    keys: bytes = b""
    size: int = 0


@dataclass(slots=True, kw_only=True)
class Poll:
    """One poll under way."""

    source: Source
    material: EventHub
    full: bool
    wish: Wish
    reader: SourceReader
    hub: Hub
    quarantine: Quarantine
    clock: Clock
    journal: Journal
    started: datetime
    walk: Walk
    value: Value
    conditional: bool
    counts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    answers: dict[str, Known] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)  # Addresses of the walk's pages, in order.
    digest: str = ""
    rest_s: int = 0  # For how long the tool wants to be left alone.
    ahead: dict[str, asyncio.Task[Page]] = field(default_factory=dict)
    pages_met: set[bytes] = field(default_factory=set)
    held: Held = field(default_factory=Held)
    sent_at: datetime
    sending: dict[str, object] | None = None  # Where to begin again if the hub does not answer.

    @property
    def seconds_left(self) -> float:
        """How much of its time is left."""
        gone_by = (self.clock.now() - self.started).total_seconds()
        return self.source.limits.seconds - gone_by

    @property
    def state(self) -> dict[str, object]:
        """What the journal notes of the walk; a window is nobody's to go on with."""
        content = {**walk.to_json(self.walk), "value": self.value}
        return {} if self.wish.is_window else content


async def ask(poll: Poll, request: Request, query: dict[str, str], address: str) -> Answer:
    """The answer to a request, which may have been asked ahead of its turn."""
    if (task := poll.ahead.pop(address, None)) is not None:
        page = await task
        answer = Answer(head=page, pieces=_once(page.body))
    else:
        answer = await poll.reader.fetch(
            poll.source,
            request,
            query=query,
            validators=_validators(poll, address),
            seconds=poll.seconds_left,
        )
    poll.statuses.update(answer.head.statuses)
    _ask_ahead(poll, request)
    return answer


def _ask_ahead(poll: Poll, request: Request) -> None:
    """Ask for the pages that probably follow, once a page of this walk has been read."""
    paging = poll.source.paging
    if not isinstance(paging, Numbered) or paging.concurrency == 1 or not poll.walk.largest:
        return
    following = request
    for _ in range(paging.concurrency):
        each = walk.guess_after(paging, following, size=poll.walk.largest)
        following = each
        query = walk.query_of(poll.source, poll.walk, each)
        address = address_of(query, each)
        if address not in poll.ahead and len(poll.ahead) < paging.concurrency:
            validators = _validators(poll, address)
            poll.ahead[address] = asyncio.create_task(_fetch_whole(poll, each, query, validators))


def _validators(poll: Poll, address: str) -> Validators:
    """What the address said last, unless all must be read whatever has changed."""
    known = poll.journal.cursor.answers.get(address) if poll.conditional else None
    return known.validators if known else Validators()


async def _fetch_whole(
    poll: Poll, request: Request, query: dict[str, str], validators: Validators
) -> Page:
    answer = await poll.reader.fetch(
        poll.source, request, query=query, validators=validators, seconds=poll.seconds_left
    )
    async with aclosing(answer.pieces) as pieces:
        body = b"".join([piece async for piece in pieces])
    return replace(answer.head, body=body)


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body


async def end_asking(poll: Poll) -> None:
    """Take back what was asked ahead and is not wanted any more."""
    for task in poll.ahead.values():
        task.cancel()
    if poll.ahead:
        await asyncio.gather(*poll.ahead.values(), return_exceptions=True)
    poll.ahead.clear()


async def read(poll: Poll, answer: Answer, address: str) -> None:
    """Read a page's records; what cannot be read is kept, and nothing of it used."""
    reader = reader_for(poll.source, beside=walk.paths_beside(poll.source))
    content, met, begins, size = xxh3_64(), xxh3_64(), b"", 0
    records_before = poll.counts["records_seen"]
    try:
        async with aclosing(answer.pieces) as pieces:
            async for piece in pieces:
                content.update(piece)
                size += len(piece)
                begins += piece[: BYTES_KEPT - len(begins)]
                for records in reader.feed(piece):
                    await _take(poll, records, met)
                    await send_due(poll, size=sum(map(len, records.bodies)))
        poll.counts["body_bytes"] += size
        poll.digest = content.hexdigest()
        if _is_same_body(poll, answer.head, size):
            poll.counts["pages_unchanged"] += 1
            poll.walk = replace(poll.walk, request=None, whole=False)
            if answer.head.validators.conditions:
                poll.answers[address] = Known(validators=answer.head.validators, records=0)
            return
        beside = await _take_last(poll, reader, met, skipped=answer.head.skipped)
        count = poll.counts["records_seen"] - records_before
        _check_loop(poll, met.digest(), count)
        moved = walk.after_page(poll.source, poll.walk, answer.head, records=count, beside=beside)
    except BadRecord as error:
        entry = unreadable(begins, error, source=poll.source, now=poll.started)
        await poll.quarantine.keep(entry)
        raise
    poll.walk = moved
    await send_due(poll, size=min(size, WHOLE_BYTES))
    if answer.head.validators.conditions:
        poll.answers[address] = Known(
            validators=answer.head.validators, records=count, following=moved.request
        )
    previous = poll.before[-2] if len(poll.before) > 1 else ""
    if not count and moved.request is None and previous in poll.answers:
        # The page before was the last one; this was only asked to be sure of it.
        poll.answers[previous] = replace(poll.answers[previous], following=None)


def _is_same_body(poll: Poll, head: Page, size: int) -> bool:
    """Whether a tool that knows no conditional requests gave the very bytes it gave last time."""
    return (
        poll.conditional
        and isinstance(poll.source.paging, NoPaging)
        and not head.skipped
        and 0 < size < WHOLE_BYTES
        and poll.digest == poll.journal.cursor.digest
        and not poll.counts["records_seen"]
    )


async def _take_last(
    poll: Poll, reader: PageReader, met: xxh3_64, *, skipped: bool
) -> dict[str, object]:
    if skipped:
        return {}
    records, beside = reader.finish()
    await _take(poll, records, met)
    return beside


async def _take(poll: Poll, records: Records, met: xxh3_64) -> None:
    """Tell a page's news from what is known."""
    if not len(records):
        return
    await poll.journal.load()
    names = hashes_of(records)
    everything = poll.wish.full or poll.wish.is_window
    contents = contents_of(poll.source, records)
    met.update(b"".join(names))
    met.update(b"".join(contents))
    sifted = poll.journal.seen.sift(names, contents, all_=everything)
    if cursor := poll.source.cursor:
        newest = cursor.newest(records.cursors, now=poll.started)
        poll.walk = replace(poll.walk, newest=later(poll.walk.newest, newest))
    poll.walk = replace(poll.walk, repeated=poll.walk.repeated + sifted.repeated)
    poll.counts.update(
        records_seen=len(records),
        records_unchanged=len(records) - len(sifted.fresh),
        records_repeated=sifted.repeated,
        records_new=len(sifted.added),
        records_changed=len(sifted.fresh) - len(sifted.added),
    )
    if sifted.fresh:
        await poll.journal.claim(goes_on=not poll.wish.is_window)
        _hold(poll, records, names, sifted)


def _hold(poll: Poll, records: Records, names: Sequence[bytes], sifted: Sifted) -> None:
    """Put news to those that are to be sent together."""
    held = poll.held
    bodies = records.bodies
    held.keys += _keys(poll, records, names, sifted) if poll.full else b""
    if len(sifted.fresh) < len(records):
        names = [names[number] for number in sifted.fresh]
        bodies = [bodies[number] for number in sifted.fresh]
    if not held.bodies:
        held.state = poll.state  # Whoever takes over after a kill begins with this page.
    held.bodies += bodies
    held.groups += names
    held.names += sifted.names
    held.contents += sifted.contents


async def send_due(poll: Poll, *, size: int) -> None:
    """Send what is held once there is much of it, or some time has passed since the last."""
    poll.held.size += size
    since = (poll.clock.now() - poll.sent_at).total_seconds()
    if poll.held.size >= HELD_BYTES or since >= HELD_SECONDS:
        await send_held(poll)


async def send_held(poll: Poll) -> None:
    """Note what is to be sent, send it, and let the next frame note that it is sent."""
    held, poll.held = poll.held, Held()
    poll.sent_at = poll.clock.now()
    if not held.bodies:
        return
    poll.sending = held.state
    await poll.journal.claim(goes_on=not poll.wish.is_window)
    await poll.journal.note(held.state, names=held.names, keys=held.keys)
    events = events_of(
        held.groups, held.bodies, source=poll.source, material=poll.material, now=poll.sent_at
    )
    await poll.hub.send(poll.material.material, events)
    poll.journal.settle(held.contents)
    poll.sending = None
    poll.counts.update(
        records_sent=len(held.bodies), events_sent=sum(len(group) for group in events.values())
    )


def _keys(poll: Poll, records: Records, names: Sequence[bytes], sifted: Sifted) -> bytes:
    """What names the new records, so that their disappearance can be told one day."""
    named = [(number, [column[number] for column in records.keys]) for number in sifted.added]
    return b"".join(
        pack_key(names[number], key_of(poll.source, values))
        for number, values in named
        if None not in values
    )


def hashes_of(records: Records) -> list[bytes]:
    """The hash of what names each record."""
    return list(map(xxh3_64_digest, records.names()))


def _check_loop(poll: Poll, met: bytes, records: int) -> None:
    if records and met in poll.pages_met:
        raise BadRecord(
            "endless-paging",
            f"page {poll.walk.pages + 1} of {poll.source.name} holds the same records as an "
            "earlier page: the tool does not understand how paging asks for the next one",
        )
    poll.pages_met.add(met)
