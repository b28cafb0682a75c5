"""Ports for a whole stack in a test."""

from __future__ import annotations

import os

from local.stack import Ports
from shared.domain.errors import Misconfigured


def free_base() -> int:
    """The first of seven ports in a row that nobody uses, below those the system gives out."""
    for base in range(20_000 + os.getpid() % 500 * 20, 32_000, 20):
        try:
            Ports(base=base).check()
        except Misconfigured:
            continue
        return base
    raise AssertionError("no seven free ports in a row")
