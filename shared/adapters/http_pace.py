"""HTTP pace: how fast a tool may be asked, by our own limit and by what it says itself."""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from shared.domain.page import WAIT_MAX_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.domain.source import Source

#: A reset time beyond this is a moment since 1970, not a number of seconds from now; beyond the
#: other, one in milliseconds.
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1_000_000_000, 100_000_000_000
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

    def ask(self, moment: datetime) -> None:
        """Note a request when it is decided on: who waits already is before who comes now."""
        self._asked.append(moment)

    def rest(self, until: datetime) -> None:
        """Ask nothing before this moment."""
        self._not_before = until

    def hear(self, headers: Mapping[str, str], now: datetime) -> None:
        """Note what an answer says about the limit: once nothing remains, wait for the reset."""
        combined = headers.get("ratelimit", "")
        if _SPENT.search(combined) and (found := _RESET.search(combined)):
            self.rest(now + timedelta(seconds=_bounded(float(found[1]))))
        for prefix in ("x-ratelimit-", "ratelimit-", "x-rate-limit-"):
            remaining, reset = headers.get(prefix + "remaining"), headers.get(prefix + "reset")
            if remaining and reset and _is_zero(remaining):
                self.rest(now + timedelta(seconds=_seconds_until(reset, now)))


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that an answer asks to wait, as a number or a date; None when it asks nothing."""
    text = headers.get("retry-after", "").strip()
    try:
        return _bounded(float(text))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return _bounded((aware - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _is_zero(text: str) -> bool:
    try:
        return float(text) <= 0
    except ValueError:
        return False


def _seconds_until(reset: str, now: datetime) -> float:
    """A reset time may be seconds from now, or a moment in seconds or milliseconds since 1970."""
    try:
        number = float(reset)
    except ValueError:
        return 0.0
    if number >= _EPOCH_MILLISECONDS:
        number /= 1000
    return _bounded(number - now.timestamp() if number >= _EPOCH_SECONDS else number)


def _bounded(seconds: float) -> float:
    """Seconds that can be waited; what is no number is no wait."""
    return min(max(0.0, seconds), float(WAIT_MAX_S))
