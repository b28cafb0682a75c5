"""Entries: all of the quarantine, as the commands see it.

Refused records are rows of Delta tables until something is decided about one. Then it becomes an
entry like every other, under the name it was listed with, and its row is not looked at any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.refusals import Refusals
from shared.domain.quarantine import Absent, Kind, Selection, State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from shared.domain.quarantine import Head, Quarantined
    from shared.ports import Quarantine
    from shared.settings import Settings

_KIND: Kind = "refusals"
_LEFT_OUT = (
    "refused records about which nothing was decided are left out: LAKE is no connection string; "
    "ask Synapse for quarantine/refused/<dataset>"
)


async def select_heads(
    selection: Selection, *, quarantine: Quarantine, settings: Settings
) -> list[Head]:
    """What the selection takes, kind by kind."""
    heads = [head async for head in quarantine.heads(selection)]
    rows = _undecided(selection, quarantine=quarantine, settings=settings)
    return heads + [entry.head async for entry in rows]


async def find_entry(name: str, *, quarantine: Quarantine, settings: Settings) -> Quarantined:
    """One whole entry; raise `Absent` when there is none of this name."""
    if kept := await quarantine.read(name):
        return kept.value
    if name.startswith(f"{_KIND}/"):
        rows = _undecided(Selection(kind=_KIND), quarantine=quarantine, settings=settings)
        async for entry in rows:
            if entry.name == name:
                return entry
    raise Absent(name)


async def keep_named(
    names: Sequence[str], *, quarantine: Quarantine, settings: Settings
) -> AsyncIterator[str]:
    """The names; each refused record among them is an entry by then."""
    if any(name.startswith(f"{_KIND}/") for name in names):
        rows = _undecided(Selection(kind=_KIND), quarantine=quarantine, settings=settings)
        async for entry in rows:
            if entry.name in names:
                await quarantine.keep(entry)
    for name in names:
        yield name


async def keep_selected(
    selection: Selection, *, quarantine: Quarantine, settings: Settings
) -> AsyncIterator[str]:
    """The names of what the selection takes; each refused record is an entry by then."""
    for head in [head async for head in quarantine.heads(selection)]:
        yield head.name
    async for entry in _undecided(selection, quarantine=quarantine, settings=settings):
        await quarantine.keep(entry)
        yield entry.name


async def _undecided(
    selection: Selection, *, quarantine: Quarantine, settings: Settings
) -> AsyncIterator[Quarantined]:
    """Refused records that are not entries yet."""
    if selection.kind not in ("", _KIND) or selection.state not in (None, State.OPEN):
        return
    if not settings.lake:
        typer.echo(_LEFT_OUT, err=True)
        return
    kept = {head.name async for head in quarantine.heads(Selection(kind=_KIND, state=None))}
    with Refusals(settings) as tables:
        for entry in tables.entries():
            if entry.name not in kept and selection.takes(entry.head):
                yield entry
