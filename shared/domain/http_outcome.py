"""The outcome of a GET: a table from status to what the poll does next."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(StrEnum):
    """What a poll does with an answer.

    `skip` takes it for an empty page, which proves nothing: nothing counts as deleted by it.
    """

    READ = "read"
    UNCHANGED = "unchanged"
    SKIP = "skip"
    RETRY = "retry"
    STOP = "stop"


_OUTCOMES = {
    200: Outcome.READ,
    203: Outcome.READ,
    202: Outcome.RETRY,  # Accepted: the tool is still preparing the answer.
    204: Outcome.SKIP,
    304: Outcome.UNCHANGED,
    408: Outcome.RETRY,
    425: Outcome.RETRY,
    429: Outcome.RETRY,
    500: Outcome.RETRY,
    502: Outcome.RETRY,
    503: Outcome.RETRY,
    504: Outcome.RETRY,
    520: Outcome.RETRY,  # 520 to 524: Cloudflare, about the tool behind it.
    521: Outcome.RETRY,
    522: Outcome.RETRY,
    523: Outcome.RETRY,
    524: Outcome.RETRY,
}
_FORBIDDEN = 403


def outcome_of(
    status: int, *, overrides: Mapping[int, Outcome], asked_to_wait: bool = False
) -> Outcome:
    """What a status means; one that the table does not know stops the poll and tells a person.

    A 403 that says when to come back is a limit, not a refusal: some tools mean 429 by it.
    """
    if status in overrides:
        return overrides[status]
    if status == _FORBIDDEN and asked_to_wait:
        return Outcome.RETRY
    return _OUTCOMES.get(status, Outcome.STOP)
