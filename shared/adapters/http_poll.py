"""HTTP for people who want a source polled now: what a request asks, and what the poll did."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.adapters.http_operate import answered
from shared.adapters.memory import MemoryHub, MemoryQuarantine
from shared.adapters.memory_source import ReadOnlyCursors
from shared.domain.errors import BadRecord, Misconfigured
from shared.domain.poll import wish_of
from shared.flow.source_to_hub import poll_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from azure.functions import HttpRequest

    from shared.domain.document import Document
    from shared.domain.poll import SourcePolled
    from shared.ports import Clock, CursorStore, Hub, Quarantine, SourceReader


class _Asked(BaseModel):
    """The body of a POST; an empty one asks for what the timer does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: str = Field(default="", alias="from")
    until: str = Field(default="", alias="to")
    full: bool = False
    dry_run: bool = Field(default=False, alias="dryRun")


@answered
async def poll_now(
    request: HttpRequest,
    *,
    document: Document,
    reader: SourceReader,
    hub: Hub,
    cursors: CursorStore,
    quarantine: Quarantine,
    clock: Clock,
    emit: Callable[[SourcePolled], None],
) -> dict[str, Any]:
    """Poll a source; a dry run sends nothing and moves nothing."""
    source = document.source(request.route_params.get("name", ""))
    asked = _asked(request.get_body())
    wish = wish_of(source, since=asked.since, until=asked.until, full=asked.full)
    try:
        report = await poll_source(
            source,
            document,
            reader=reader,
            hub=MemoryHub() if asked.dry_run else hub,
            cursors=ReadOnlyCursors(cursors) if asked.dry_run else cursors,
            quarantine=MemoryQuarantine() if asked.dry_run else quarantine,
            clock=clock,
            wish=wish,
        )
    except BadRecord as error:
        raise Misconfigured(f"source {source.name}", f"gives no page: {error}") from error
    if not asked.dry_run:
        emit(report)
    return {"dryRun": asked.dry_run, **dataclasses.asdict(report)}


def _asked(body: bytes) -> _Asked:
    try:
        return _Asked.model_validate_json(body or b"{}")
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, detail['loc'])) or 'the request'}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        ]
        raise BadRecord("bad-request", "; ".join(problems)) from error
