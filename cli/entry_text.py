"""Entry text: how an entry of the quarantine is printed for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shared.domain.quarantine import Head, Quarantined

_CHARACTERS_MAX = 2_000
_HEX_BYTES_MAX = 512
_HEX_BYTES_A_LINE = 16


def row_of(head: Head, *, reason_width: int) -> str:
    """One line; the name is last because it is the longest, and is copied from here."""
    decided = head.decision.state
    return (
        f"{head.seen_at:%Y-%m-%d %H:%M}  {decided:<9}  {head.body_bytes:>9,} bytes  "
        f"{plain(head.reason):<{reason_width}}  {head.name}"
    )


def lines_of(entry: Quarantined) -> Iterator[str]:
    """Everything about one entry; a long body only begins."""
    decision = entry.decision
    yield f"name        {entry.name}"
    yield f"reason      {plain(entry.reason)}"
    yield f"detail      {plain(entry.detail)}"
    yield f"first seen  {entry.seen_at:%Y-%m-%d %H:%M:%S} UTC"
    yield f"state       {decision.state}"
    if decision.at:
        yield f"changed     {decision.at:%Y-%m-%d %H:%M:%S} UTC by {decision.by}"
    if decision.repaired:
        yield f"repaired    {', '.join(decision.repaired)}"
    for name, text in sorted(entry.attributes.items()):
        yield f"attribute   {plain(name)}={plain(text)}"
    yield f"body        {len(entry.body):,} bytes"
    yield from _body_lines(entry.body)


def plain(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _body_lines(body: bytes) -> Iterator[str]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        yield from _hex_lines(body)
        return
    lines = text[:_CHARACTERS_MAX].split("\n")
    if not all(line.replace("\t", " ").removesuffix("\r").isprintable() for line in lines):
        yield from _hex_lines(body)
        return
    yield from (line.removesuffix("\r") for line in lines)
    if len(text) > _CHARACTERS_MAX:
        yield _MORE


def _hex_lines(body: bytes) -> Iterator[str]:
    shown = body[:_HEX_BYTES_MAX]
    for start in range(0, len(shown), _HEX_BYTES_A_LINE):
        part = shown[start : start + _HEX_BYTES_A_LINE]
        text = "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in part)  # noqa: PLR2004 -- ASCII.
        yield f"{start:08x}  {part.hex(' '):<47}  {text}"
    if len(body) > len(shown):
        yield _MORE


_MORE = "… --body FILE writes all of it"
