"""Redaction: what must not leave the process in a log line or a span, whoever wrote it into a text.

Adapters that know a secret hide it themselves. This is for what they do not know of: addresses with
credentials or a query in them, and connection strings.
"""

from __future__ import annotations

import re

_HIDDEN = "[hidden]"
_ADDRESS = r"\b[a-z][a-z0-9+.-]*://"
_NAMES = (
    r"account_?key|shared_?access_?(?:key|signature)|password|pwd|sig|api[_-]?key|access_?token|"
    r"client_?secret|secret|token"
)
_RULES = (
    # An address keeps its scheme, host and path.
    (re.compile(rf"(?P<kept>{_ADDRESS})[^/\s@'\"]+@"), r"\g<kept>"),
    (re.compile(rf"(?P<kept>{_ADDRESS}[^\s?#'\"<>)]+)[?#][^\s'\"<>)]*"), r"\g<kept>"),
    # Parts of connection strings, signatures, and headers.
    (
        re.compile(rf"(?i)(?P<kept>\b(?:{_NAMES})\b\"?\s*[=:]\s*\"?)[^\s;&,'\"]+"),
        rf"\g<kept>{_HIDDEN}",
    ),
    (re.compile(r"(?P<kept>\b(?:Bearer|Basic)\s+)[\w+/=.~-]{8,}"), rf"\g<kept>{_HIDDEN}"),
)


def redact(text: str) -> str:
    """The text without addresses' credentials and queries, keys, tokens and passwords."""
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text
