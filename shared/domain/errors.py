"""Errors, named by what whoever catches them must do.

    MillraceError
    ├── TryLater        the world is unwell: raise, the host retries the step
    ├── BadRecord       one record or event is bad: quarantine it, go on
    └── Misconfigured   a person must act: names the setting

A broken invariant is an `AssertionError`: a bug, never caught except by the host.
"""


class MillraceError(Exception):
    """What Millrace raises on purpose; its text is one readable line."""


class TryLater(MillraceError):
    """The world is unwell; the same step, called again later, goes on where this one stopped."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """`retry_after_s` is what the other side asked for, if it did."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadRecord(MillraceError):
    """One record or event cannot be used; `reason` is a stable code that can be counted."""

    def __init__(self, reason: str, detail: str) -> None:
        """`detail` is for people; it never decides anything."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Misconfigured(MillraceError):
    """A person must act; `setting` names what to look at."""

    def __init__(self, setting: str, problem: str) -> None:
        """`problem` reads on after the setting's name."""
        super().__init__(
            f"{setting} {problem}" if "\n" not in problem else f"{setting}:\n{problem}"
        )
        self.setting = setting
        self.problem = problem
