"""HTTP pace: how fast a tool may be asked, by our own limit and by what it says itself."""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.source import Source

#: A reset time beyond this is a moment since 1970, not a number of seconds from now.
_EPOCH_SECONDS = 1_000_000_000
_SPENT = re.compile(r"(?:^|[;,\s])r(?:emaining)?=0(?:$|[;,\s])")
_RESET = re.compile(r"(?:^|[;,\s])(?:t|reset)=(\d+)")


class Pace:
    """When the next request to one source may be made."""

    def __init__(self, source: Source) -> None:
        """Nothing has been asked yet."""
        self._rate = source.rate
        self._asked: deque[datetime] = deque(maxlen=source.rate.requests if source.rate else 1)
        self._not_before: datetime | None = None

    def wait_s(self, now: datetime) -> float:
        """Seconds until a request may be made."""
        moments = [self._not_before or now]
        if self._rate and len(self._asked) == self._rate.requests:
            moments.append(self._asked[0] + self._rate.per)
        return max(0.0, (max(moments) - now).total_seconds())

    def ask(self, now: datetime) -> None:
        """Note a request."""
        self._asked.append(now)

    def hear(self, headers: Mapping[str, str], now: datetime) -> None:
        """Note what an answer says about the limit: once nothing remains, wait for the reset."""
        combined = headers.get("ratelimit", "")
        if _SPENT.search(combined) and (found := _RESET.search(combined)):
            self._not_before = now + timedelta(seconds=int(found[1]))
        for prefix in ("x-ratelimit-", "ratelimit-", "x-rate-limit-"):
            remaining, reset = headers.get(prefix + "remaining"), headers.get(prefix + "reset")
            if remaining and reset and _is_zero(remaining):
                self._not_before = _moment(reset, now) or self._not_before


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that an answer asks to wait, as a number or a date; None when it asks nothing."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _is_zero(text: str) -> bool:
    try:
        return float(text) <= 0
    except ValueError:
        return False


def _moment(reset: str, now: datetime) -> datetime | None:
    try:
        number = float(reset)
    except ValueError:
        return None
    if number >= _EPOCH_SECONDS:
        return datetime.fromtimestamp(number, UTC)
    return now + timedelta(seconds=number)
