"""The trace: by which what one step did is found from what came of it, as W3C `traceparent` texts.

They travel with what the steps hand over: an event's attribute, a raw blob's metadata, a run's row
and manifest. An empty text says that nobody traces; nothing but telemetry depends on any of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.domain.run import Run

#: The attribute of a CloudEvent (distributed tracing extension), and the key everywhere else.
ATTRIBUTE = "traceparent"
_FORM = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def trace_id_of(traceparent: str) -> str:
    """The id of the whole trace; empty for what is no `traceparent`."""
    found = _FORM.fullmatch(traceparent)
    return found["trace"] if found else ""


class Untraced:
    """Traces: nobody looks."""

    def planned(self, run: Run, *, origins: Sequence[str]) -> str:  # noqa: ARG002 -- Nobody looks.
        """Nowhere."""
        return ""


UNTRACED = Untraced()
