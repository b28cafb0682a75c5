"""The outcome of a GET: a table from status to what the poll does next."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What a poll does with an answer."""

    READ = "read"
    UNCHANGED = "unchanged"
    RETRY = "retry"
    STOP = "stop"


_OUTCOMES = {
    200: Outcome.READ,
    304: Outcome.UNCHANGED,
    408: Outcome.RETRY,
    425: Outcome.RETRY,
    429: Outcome.RETRY,
    500: Outcome.RETRY,
    502: Outcome.RETRY,
    503: Outcome.RETRY,
    504: Outcome.RETRY,
}


def outcome_of(status: int) -> Outcome:
    """What a status means; one that the table does not know stops the poll and tells a person."""
    return _OUTCOMES.get(status, Outcome.STOP)
