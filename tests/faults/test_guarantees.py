"""The guarantees: every promise in docs/guarantees.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"


def test_every_promise_names_tests_that_exist() -> None:
    """A proof that cannot be found is none."""
    missing = []
    for promise in re.split(r"\n(?=[-#|])", PAGE.read_text()):
        files = [PAGE.parent / link for link in re.findall(r"\]\((?!http)([^)#]+)\)", promise)]
        missing += [str(file) for file in files if not file.exists()]
        text = "".join(file.read_text() for file in files if file.exists())
        names = re.findall(r"`(test_\w+)`", promise)
        missing += [name for name in names if f"def {name}(" not in text]

    assert not missing


def test_every_promise_has_a_proof() -> None:
    """What is promised without one belongs below, to what is not promised."""
    promised = PAGE.read_text().partition("## What is not promised")[0]

    promises = re.findall(r"^- .*?(?=\n- |\n\n|\Z)", promised, flags=re.MULTILINE | re.DOTALL)

    assert promises
    assert not [promise for promise in promises if "`test_" not in promise]
