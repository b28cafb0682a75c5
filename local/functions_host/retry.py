"""The retry policy of a function: how often, and how long in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from random import Random

#: `max_retry_count` that never gives up.
FOR_EVER = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """As declared by `@retry`; a fixed delay has `minimum_s == maximum_s`."""

    strategy: Literal["fixed_delay", "exponential_backoff"]
    max_retry_count: int
    minimum_s: float
    maximum_s: float

    def __post_init__(self) -> None:
        """Refuse what the real host refuses at startup."""
        if self.minimum_s > self.maximum_s:
            raise ValueError("minimum_interval is longer than maximum_interval")
        if self.max_retry_count < FOR_EVER:
            raise ValueError("max_retry_count is below -1, which already means for ever")

    def is_exhausted(self, retries: int) -> bool:
        """Whether no further attempt follows after so many retries."""
        return self.max_retry_count != FOR_EVER and retries >= self.max_retry_count

    def delay_s(self, retries: int, random: Random) -> float:
        """Seconds to wait before the next attempt, after so many retries.

        Exponential as in the WebJobs SDK: first the minimum, then the minimum plus a jittered
        power of two times the minimum, and from the maximum on always the maximum.
        """
        if self.strategy == "fixed_delay" or retries == 0:
            return self.minimum_s
        # 2 ** 40 seconds outlast any maximum; unbounded powers would overflow a float.
        growth = 2.0 ** min(retries - 1, 40)
        return min(self.minimum_s * (1 + random.uniform(0.8, 1.2) * growth), self.maximum_s)
