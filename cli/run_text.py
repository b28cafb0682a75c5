"""Run text: how runs are printed for people, and as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from cli.entry_text import plain
from shared.domain.run_text import duration_of, span, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from shared.domain.run import Run
    from shared.flow.read_runs import RunShown

_MESSAGE_CHARACTERS_MAX = 300
_HEADINGS = ("planned (UTC)", "kind", "state", "took", "attempt", "events", "records", "run")
_COUNTS = (
    "events", "records", "rows", "inserted", "updated", "deleted", "duplicates", "older", "ignored",
    "quarantined",
)  # fmt: skip
_ALREADY_SAID = {"run", "manifest"}  # Of the lineage; they are lines of their own.
_RIGHT = {"took", "attempt", "events", "records"}


def rows_of(runs: Sequence[Run], *, now: datetime) -> Iterator[str]:
    """A line a run, and below it why it is not done; the id is last, and is copied from here."""
    if not runs:
        return
    rows = [_HEADINGS, *(_cells(run, now=now) for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
            for cell, width, heading in zip(row, widths, _HEADINGS, strict=True)
        ]
        yield "  ".join(cells).rstrip()
        if number and (message := runs[number - 1].message):
            yield f"    {_shortened(message)}"


def csv_of(runs: Sequence[Run], *, now: datetime) -> str:
    """A line a run; counts are JSON, because each kind of run counts other things."""
    text = io.StringIO()
    rows = [summary(run, now=now) for run in runs]
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"counts": json.dumps(row["counts"])} for row in rows)
    return text.getvalue()


def lines_of(shown: RunShown, *, now: datetime) -> Iterator[str]:
    """Everything about one run."""
    run = shown.run
    facts = {
        "run": run.id,
        "table": run.dataset,
        "kind": f"{run.kind}, job {run.job}",
        "state": str(run.state),
        "message": plain(run.message),
        "attempt": f"{run.attempt}, {run.failures} failed" if run.failures else str(run.attempt),
        "job run": "" if run.job_run is None else str(run.job_run),
        "planned": _moment(run.planned_at),
        "due": _moment(run.due_at) if run.is_open and run.due_at > now else "",
        "ended": _moment(run.ended_at) if run.ended_at else "",
        "duration": span(duration_of(run, now=now)) + ("" if run.ended_at else " so far"),
        "covers": f"{run.events:,} events in {run.blobs:,} blobs" if run.blobs else "",
        "reads": ", ".join(f"{name} version {at.sequence}" for name, at in run.inputs.items()),
        "counts": _counts(run.counts),
        "manifest": shown.manifest,
        **{name: _nested(content) for name, content in shown.details.items()},
        "next step": shown.next_step,
    }
    width = max(map(len, facts))
    yield from (f"{name:<{width}}  {fact}" for name, fact in facts.items() if fact)


def _cells(run: Run, *, now: datetime) -> tuple[str, ...]:
    records = run.counts.get("records", run.counts.get("rows"))
    return (
        f"{run.planned_at:%Y-%m-%d %H:%M:%S}",
        str(run.kind),
        str(run.state),
        span(duration_of(run, now=now)),
        str(run.attempt),
        f"{run.events:,}" if run.blobs else "",
        "" if records is None else f"{records:,}",
        run.id,
    )


def _counts(counts: Mapping[str, int]) -> str:
    """In the order of the flow, whatever order the ledger keeps; nothing is said of nothing."""
    known = {name: place for place, name in enumerate(_COUNTS)}
    names = sorted(counts, key=lambda name: (known.get(name, len(known)), name))
    return ", ".join(
        f"{name} {counts[name]:,}" for name in names if counts[name] or name.endswith("Version")
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _shortened(message: str) -> str:
    text = plain(" ".join(message.split()))
    return text if len(text) <= _MESSAGE_CHARACTERS_MAX else text[:_MESSAGE_CHARACTERS_MAX] + "…"


def _nested(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """One line of what a run left, short enough to read where it is small."""
    if isinstance(content, dict) and not any(isinstance(v, dict | list) for v in content.values()):
        facts = {name: fact for name, fact in content.items() if name not in _ALREADY_SAID}
        return ", ".join(f"{name} {plain(str(fact))}" for name, fact in facts.items())
    return plain(json.dumps(content, ensure_ascii=False))
