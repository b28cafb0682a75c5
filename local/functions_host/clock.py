"""The clock of the host; pure modules take the time as an argument instead."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Read the wall clock."""
    return datetime.now(UTC)  # noqa: TID251 -- This is the one place that reads it.
