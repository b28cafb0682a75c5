"""What this host refuses, and how much of the app each refusal takes down.

HostError
├── AppBroken        function_app.py cannot be indexed: the host ends
├── NotEmulated      the app wants something this host does not have: the host ends
└── FunctionBroken   one function cannot start: it is left out, the others run
"""

from __future__ import annotations


class HostError(Exception):
    """What this host raises on purpose; its text is one readable line."""


class AppBroken(HostError):
    """The app could not be imported or indexed; `stack` is the worker's own traceback."""

    def __init__(self, message: str, *, stack: str = "") -> None:
        """`message` is for people, `stack` for whoever asked for more with --verbose."""
        super().__init__(message)
        self.stack = stack


class NotEmulated(HostError):
    """Azure can do this and this host cannot; pretending would hide it until deployment."""


class FunctionBroken(HostError):
    """A person must change a setting or a binding before this one function can start."""
