"""source → hub: walk a GET-only tool's pages and send what is new in them.

Before a page's news are sent, the journal says which they are; after the hub acknowledged them, it
says so, together with the next page's: one append a page. So a killed poll repeats at most the page
it was at (or the pages of a quarter of a second), and a record that changed back is still news.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.domain import cloud_event, walk
from shared.domain.cursor import ANSWERS_MAX, Cursor, Known, address_of
from shared.domain.cursor_field import later, micros_of
from shared.domain.errors import MillraceError, TryLater
from shared.domain.json_page import JsonPaths, describe
from shared.domain.poll import NOTHING_SPECIAL, Progress, SourcePolled, Wish, events_of
from shared.domain.seen import UNSETTLED, entries_of
from shared.flow.journal import Journal
from shared.flow.source_page import Poll, ask, end_asking, hashes_of, read, send_held

if TYPE_CHECKING:
    from datetime import datetime

    from shared.domain.cursor_field import Value
    from shared.domain.document import Document
    from shared.domain.page import Request
    from shared.domain.source import Source
    from shared.ports import Clock, CursorStore, Hub, Quarantine, SourceReader

#: The journal's word for a walk that is over.
_OVER = {"over": True}


async def poll_source(
    source: Source,
    document: Document,
    *,
    reader: SourceReader,
    hub: Hub,
    cursors: CursorStore,
    quarantine: Quarantine,
    clock: Clock,
    wish: Wish = NOTHING_SPECIAL,
) -> SourcePolled:
    """Poll once: an unchanged source costs one request and nothing else.

    What disappears from a source whose dataset is `full` is deleted there. Raises `TryLater` when
    the source or the hub is unwell, or another poll of the source is running, and `BadRecord` for
    an answer that is no page. May be called again at any time: it goes on where the last one
    stopped or was killed, and a record sent twice is one row in the end.
    """
    now = clock.now()
    full = document.is_full(source)
    journal = Journal(source.name, cursors, clock, keyed=full)
    await journal.open()
    if journal.cursor.is_claimed(now):
        until = journal.cursor.claimed_until
        raise TryLater(f"another poll of {source.name} is running; it may end up to {until}")
    if journal.cursor.is_resting(now) and wish == NOTHING_SPECIAL:
        resting = cloud_event.rfc3339(journal.cursor.resting_until or now)
        return SourcePolled(source=source.name, progress=Progress(resting_until=resting))
    poll = Poll(
        source=source, material=document.hub(source.publishes), full=full, wish=wish,
        reader=reader, hub=hub, quarantine=quarantine, clock=clock, journal=journal, started=now,
        walk=walk.Walk(), value=journal.cursor.value, sent_at=now,
        conditional=not (wish.full or wish.is_window),
    )  # fmt: skip
    cursor = journal.cursor
    try:
        await _begin(poll)
        await _go(poll)
    except MillraceError as error:
        await _let_go(poll, error)
        raise
    finally:
        await end_asking(poll)
    return _report(poll, cursor)


async def _begin(poll: Poll) -> None:
    """Go on with the walk that the last poll left, or begin a new one."""
    journal = poll.journal
    if journal.cursor.unfinished and poll.conditional:
        poll.conditional = False  # What is in doubt must be read again, unchanged or not.
        journal.goes_on = True
        await journal.load()
        state = dict(journal.state)
        if state and state != _OVER:
            poll.value = state.pop("value")
            marked = state.pop("marked", False)
            found = walk.of_json(state)
            if found.request:
                poll.walk = replace(found, whole=found.whole and bool(marked))
                return
            poll.value = later(later(poll.value, found.newest), found.until)
        journal.goes_on = False
        journal.seen.forget_marks()
    _begin_anew(poll)


def _begin_anew(poll: Poll) -> None:
    if poll.wish.is_window:
        poll.walk = walk.begin(poll.source, since=poll.wish.since, until=poll.wish.until)
        poll.walk = replace(poll.walk, whole=False)
        return
    since = None
    if cursor := poll.source.cursor:
        since = cursor.since(None if poll.wish.full else poll.value)
    poll.walk = walk.begin(poll.source, since=since, until=_window_end(poll, since))


def _window_end(poll: Poll, since: Value) -> Value:
    cursor = poll.source.cursor
    if cursor is None or cursor.window is None or isinstance(since, str) or since is None:
        return None
    micros = cursor.window // timedelta(microseconds=1)
    return min(since + micros, micros_of(poll.started))


async def _go(poll: Poll) -> None:
    """Walk until the end, or until time is up."""
    while True:
        if poll.walk.request is None and not _next_window(poll):
            await _finish(poll)
            return
        if poll.counts["pages"] and poll.seconds_left <= 0:
            await _stop(poll)
            return
        assert poll.walk.request, "there is a next page"
        try:
            await _page(poll, poll.walk.request)
        except MillraceError:
            await send_held(poll)  # The pages before this one are good.
            raise


def _next_window(poll: Poll) -> bool:
    """Turn to the window behind the one that is read, if it does not lie in the future."""
    end = poll.walk.until
    if end is None or isinstance(end, str) or poll.wish.is_window:
        return False
    if end >= micros_of(poll.started):
        return False
    poll.value = later(later(poll.value, poll.walk.newest), end)
    newest = poll.walk.newest
    poll.walk = walk.begin(poll.source, since=end, until=_window_end(poll, end))
    poll.walk = replace(poll.walk, whole=False, newest=newest)
    return True


async def _page(poll: Poll, request: Request) -> None:
    """Read one page and move the walk behind it."""
    query = walk.query_of(poll.source, poll.walk, request)
    address = address_of(query, request)
    answer = await ask(poll, request, query, address)
    head = answer.head
    if poll.full and poll.conditional and not head.unchanged and poll.source.paging.kind != "none":
        # What is gone can only be told by reading all of it: from the first page, unconditionally.
        poll.conditional = False
        await end_asking(poll)  # What was asked ahead was asked for only if it has changed.
        if poll.counts["pages_unchanged"]:
            await answer.pieces.aclose()
            poll.answers.clear()
            _begin_anew(poll)
            return
    poll.counts["pages"] += 1
    poll.before = [*poll.before[-1:], address]
    poll.rest_s = max(poll.rest_s, head.rest_s)
    known = poll.journal.cursor.answers.get(address)
    if head.unchanged:
        await answer.pieces.aclose()
        assert known, "only what is known can be unchanged"
        _pass_over(poll, address, known)
        return
    await read(poll, answer, address)
    if len(poll.answers) > ANSWERS_MAX:
        poll.answers.pop(address, None)


def _pass_over(poll: Poll, address: str, known: Known) -> None:
    """The tool says that this page is as it was: so is what follows it."""
    poll.counts["pages_unchanged"] += 1
    poll.answers[address] = known
    poll.walk = replace(
        poll.walk,
        request=known.following,
        pages=poll.walk.pages + 1,
        records=poll.walk.records + known.records,
        largest=max(poll.walk.largest, known.records),
        whole=False,
    )


async def _stop(poll: Poll) -> None:
    """Time is up: leave everything so that the next poll goes on from here."""
    await send_held(poll)
    await poll.journal.claim(goes_on=not poll.wish.is_window)
    state = poll.state | ({"marked": True} if poll.full and poll.state else {})
    marks = poll.full and not poll.wish.is_window
    await poll.journal.finish(_counted(poll, poll.journal.cursor), state, marks=marks)
    poll.counts["unfinished"] = 1


async def _finish(poll: Poll) -> None:
    """The walk is at its end: delete what is gone, and move the cursor."""
    await send_held(poll)
    journal, cursor = poll.journal, poll.journal.cursor
    complete = walk.is_complete(poll.walk, poll.source)
    if poll.full and complete and not poll.wish.is_window:
        await _delete_vanished(poll)
    elif journal.claimed and not poll.full and poll.walk.whole and poll.walk.records:
        journal.forget(journal.seen.vanished())
    moved = replace(_counted(poll, journal.cursor), resting_until=_rest_until(poll))
    if not poll.wish.is_window:
        # A walk that could not tell what is gone must be made again, unchanged or not.
        in_doubt = poll.full and not complete and walk.can_be_complete(poll.source)
        if poll.conditional and poll.counts["pages_unchanged"] == poll.counts["pages"]:
            in_doubt = False
        moved = replace(
            moved,
            value=later(poll.value, poll.walk.newest),
            answers={} if in_doubt else poll.answers,
            digest="" if in_doubt else poll.digest or cursor.digest,
            unfinished=False,
        )
    if journal.claimed or moved != journal.cursor:
        await journal.finish(moved, {} if poll.wish.is_window else _OVER, marks=False)


def _rest_until(poll: Poll) -> datetime | None:
    """Until when the tool asked not to be polled again, with a second for timers that are early."""
    rest = timedelta(seconds=poll.rest_s - 1)
    return poll.started + rest if rest > timedelta() else None


async def _delete_vanished(poll: Poll) -> None:
    """Send the keys of what this walk has not met; only ever after a walk that met all there is."""
    journal = poll.journal
    await journal.load()
    vanished = journal.seen.vanished()
    if not vanished:
        return
    await journal.claim(goes_on=True)
    await journal.note(poll.state, entries=entries_of(vanished, UNSETTLED))
    keys = list((await journal.keys(frozenset(vanished))).values())
    names = hashes_of(describe(keys, JsonPaths(keys=poll.source.keys)))
    now = poll.clock.now()
    events = events_of(
        names, keys, source=poll.source, material=poll.material, now=now,
        kind=cloud_event.DELETIONS_TYPE,
    )  # fmt: skip
    if events:
        await poll.hub.send(poll.material.material, events)
    journal.forget(vanished)
    sent = sum(len(group) for group in events.values())
    poll.counts.update(records_deleted=len(keys), events_sent=sent)


async def _let_go(poll: Poll, error: MillraceError) -> None:
    """Give the source free after a failure, and leave it alone for as long as it asked."""
    wait = error.retry_after_s if isinstance(error, TryLater) else None
    resting = poll.clock.now() + timedelta(seconds=wait) if wait else None
    journal = poll.journal
    if journal.claimed or resting:
        with suppress(MillraceError):  # What brought the poll down is what has to be told.
            if journal.claimed:
                # The pages before the one that failed need not be repeated.
                await journal.note(poll.state if poll.sending is None else poll.sending)
            moved = replace(journal.cursor, claimed_until=None, resting_until=resting)
            await journal.commit(moved)


def _counted(poll: Poll, cursor: Cursor) -> Cursor:
    sent = poll.counts["records_sent"]
    return replace(
        cursor,
        records_sent=cursor.records_sent + sent,
        events_sent=cursor.events_sent + poll.counts["events_sent"],
        changed_at=cloud_event.rfc3339(poll.started) if sent else cursor.changed_at,
        resting_until=None,
    )


def _report(poll: Poll, before: Cursor) -> SourcePolled:
    counts = {name: count for name, count in poll.counts.items() if name != "unfinished"}
    cursor, newest, lag = poll.source.cursor, poll.walk.newest, None
    if cursor and cursor.is_time and newest is not None and not isinstance(newest, str):
        lag = round((micros_of(poll.started) - newest) / 1e6, 3)
    texts = [
        cursor.text(value) if cursor and value is not None else ""
        for value in (before.value, poll.journal.cursor.value)
    ]
    requests = sum(poll.statuses.values())
    return SourcePolled(
        source=poll.source.name,
        changed=bool(counts.get("records_sent") or counts.get("records_deleted")),
        unfinished=bool(poll.counts["unfinished"]),
        requests=requests,
        requests_repeated=max(0, requests - poll.counts["pages"]),
        capped_at=walk.capped_at(poll.source, poll.walk),
        statuses=dict(poll.statuses),
        progress=Progress(before=texts[0], after=texts[1], lag_s=lag),
        **counts,
    )
