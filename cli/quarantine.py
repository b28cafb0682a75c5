"""`millrace quarantine`: look at what could not be used, and replay or discard it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import Progress

from cli.entries import find_entry, keep_named, keep_selected, select_heads
from cli.entry_text import lines_of, row_of
from cli.pipeline import DATA, DataOption, JsonOption, opened, settings
from shared import telemetry
from shared.domain.errors import BadRecord, Misconfigured
from shared.domain.quarantine import Kind, Repair, Selection, State
from shared.domain.quarantine_text import description, summary
from shared.flow.replay_quarantine import discard_entries, replay_entries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from shared.domain.errors import MillraceError
    from shared.domain.quarantine import Head, Quarantined
    from shared.flow.replay_quarantine import QuarantineDiscarded, QuarantineReplayed, Tell
    from shared.wiring import App

quarantine = typer.Typer(
    help="Look at what could not be used, and replay or discard it.", no_args_is_help=True
)

KindOption = Annotated[Kind | None, typer.Option(help="Only this kind.")]
MaterialOption = Annotated[str, typer.Option(help="Only this material.")]
ReasonOption = Annotated[str, typer.Option(help="Only what has this reason.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that is open.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(help="Names, as list shows them.")]


@quarantine.command("list")
def list_entries(
    *,
    kind: KindOption = None,
    material: MaterialOption = "",
    reason: ReasonOption = "",
    state: Annotated[
        Literal["open", "replayed", "discarded", "all"], typer.Option(help="What was decided.")
    ] = "open",
    limit: Annotated[int, typer.Option(min=1, help="Lines at most, of what people read.")] = 200,
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """List what is open, and how much there is of each reason."""
    selection = Selection(
        kind=kind or "",
        material=material,
        reason=reason,
        state=None if state == "all" else State(state),
    )
    heads = asyncio.run(_heads(data, selection))
    reasons = Counter(head.reason for head in heads)
    if as_json:
        entries = [summary(head) for head in heads]
        typer.echo(json.dumps({"reasons": reasons, "entries": entries}, indent=1))
        return
    width = max((len(head.reason) for head in heads[:limit]), default=0)
    for head in heads[:limit]:
        typer.echo(row_of(head, reason_width=width))
    if len(heads) > limit:
        typer.echo(f"… and {len(heads) - limit:,} more: --limit or --json shows them")
    for each, count in reasons.most_common():
        typer.echo(f"{count:,} {each}")
    if not heads:
        typer.echo("nothing is there" if state == "all" else f"nothing is {state}")


@quarantine.command()
def show(
    name: Annotated[str, typer.Argument(help="The entry's name, as list shows it.")],
    *,
    body: Annotated[
        typer.FileBinaryWrite | None,
        typer.Option(help="Write the original bytes to this file instead; - for standard output."),
    ] = None,
    data: DataOption = DATA,
    as_json: JsonOption = False,
) -> None:
    """Show one entry: why it is there, where it came from, what it was."""
    entry = asyncio.run(_entry(data, name))
    if body is not None:
        body.write(entry.body)
        typer.echo(f"{len(entry.body):,} bytes written", err=True)
    elif as_json:
        typer.echo(json.dumps(description(entry), indent=1, ensure_ascii=False))
    else:
        for line in lines_of(entry):
            typer.echo(line)


@quarantine.command()
def replay(
    names: NamesArgument = None,
    *,
    body: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(help="Send this file's bytes instead; - for standard input."),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Send with this attribute; may repeat."),
    ] = None,
    kind: KindOption = None,
    material: MaterialOption = "",
    reason: ReasonOption = "",
    everything: AllOption = False,
    data: DataOption = DATA,
) -> None:
    """Send entries back to their hub: as they were, or repaired. They keep their ids."""
    selection = _selection(names, kind, material, reason, everything=everything)
    if body is not None and len(names or []) != 1:
        raise typer.BadParameter("--body repairs one entry: name it, and no other")
    given = _pairs(attributes or [])
    if "id" in given and len(names or []) != 1:
        raise typer.BadParameter("an id is of one event: name it, and no other", param_hint="--set")
    repair = Repair(body=body.read() if body else None, attributes=given)
    report = asyncio.run(_replay(data, names or [], selection, repair))
    _end(report)


@quarantine.command()
def discard(
    names: NamesArgument = None,
    *,
    kind: KindOption = None,
    material: MaterialOption = "",
    reason: ReasonOption = "",
    everything: AllOption = False,
    data: DataOption = DATA,
) -> None:
    """Decide that entries are not needed. They are kept, and can still be replayed by name."""
    selection = _selection(names, kind, material, reason, everything=everything)
    report = asyncio.run(_discard(data, names or [], selection))
    _end(report)


def _selection(
    names: Sequence[str] | None, kind: Kind | None, material: str, reason: str, *, everything: bool
) -> Selection:
    """What is selected when nothing is named; exactly one of the two must be said."""
    if bool(names) == (everything or any((kind, material, reason))):
        raise typer.BadParameter(
            "name entries, or select open ones with --reason, --material, --kind or --all"
        )
    return Selection(kind=kind or "", material=material, reason=reason)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--set")
    return dict(text.split("=", 1) for text in texts)


async def _heads(data: Path, selection: Selection) -> list[Head]:
    async with opened(data) as app:
        return await select_heads(selection, quarantine=app.quarantine, settings=settings(data))


async def _entry(data: Path, name: str) -> Quarantined:
    async with opened(data) as app:
        return await find_entry(name, quarantine=app.quarantine, settings=settings(data))


async def _replay(
    data: Path, names: Sequence[str], selection: Selection, repair: Repair
) -> QuarantineReplayed:
    async with opened(data) as app:
        chosen = _chosen(app, data, names, selection)
        if not names and not selection.kind:
            # What is lost has no way back; asked for by its kind or name, it says so.
            chosen = (name async for name in chosen if not name.startswith("losses/"))
        with _progress("replayed") as tell:
            return await replay_entries(
                chosen,
                repair,
                app.document,
                quarantine=app.quarantine,
                hub=app.hub,
                clock=app.clock,
                by="cli",
                tell=tell,
            )


async def _discard(data: Path, names: Sequence[str], selection: Selection) -> QuarantineDiscarded:
    async with opened(data) as app:
        with _progress("discarded") as tell:
            return await discard_entries(
                _chosen(app, data, names, selection),
                quarantine=app.quarantine,
                clock=app.clock,
                by="cli",
                tell=tell,
            )


def _chosen(app: App, data: Path, names: Sequence[str], selection: Selection) -> AsyncIterator[str]:
    """The names, or those of what is selected."""
    if names:
        return keep_named(names, quarantine=app.quarantine, settings=settings(data))
    return keep_selected(selection, quarantine=app.quarantine, settings=settings(data))


@contextmanager
def _progress(done: str) -> Iterator[Tell]:
    """Counts on a terminal; a line on standard error for each entry that is refused."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"0 {done}", total=None)
        count = 0

        def tell(name: str, problem: MillraceError | None) -> None:
            nonlocal count
            count += problem is None
            progress.update(task, description=f"{count:,} {done}")
            if problem:
                line = f"millrace: {name}: {_why(problem)}"
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield tell


def _why(problem: MillraceError) -> str:
    """The problem without the entry's name, which stands before it."""
    if isinstance(problem, Misconfigured):
        return problem.problem
    return problem.detail if isinstance(problem, BadRecord) else str(problem)


def _end(report: QuarantineReplayed | QuarantineDiscarded) -> None:
    """Say what became of the selected entries; exit 1 when any was refused."""
    telemetry.emit(report)
    if not report.selected:
        typer.echo("nothing open is selected")
    elif report.refused != 1 or report.selected > 1:  # One problem is told already.
        counts = dataclasses.asdict(report)
        del counts["selected"]
        parts = [f"{count:,} {name}" for name, count in counts.items() if count]
        typer.echo(f"{', '.join(parts)} of {report.selected:,} selected")
    if report.refused:
        raise typer.Exit(1)
