"""The machine: its clock."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Clock: the machine's own."""

    def now(self) -> datetime:
        """Return the present moment."""
        return datetime.now(UTC)  # noqa: TID251 -- The one place that reads the clock.
