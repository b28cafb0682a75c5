"""HTTP for people who operate the pipeline: what a request asks, and what an error answers.

Errors are problems as RFC 9457 describes them (`application/problem+json`).
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from azure.functions import HttpRequest, HttpResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from shared.domain.errors import BadRecord, MillraceError, TryLater
from shared.domain.quarantine import KINDS, Absent, Refused, Repair, Selection, State
from shared.domain.quarantine_text import description, summary
from shared.domain.run_text import RunAbsent
from shared.flow.replay_quarantine import discard_entry, replay_entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.domain.document import Document
    from shared.flow.replay_quarantine import QuarantineDiscarded, QuarantineReplayed
    from shared.ports import Clock, Hub, Quarantine

    type Emit = Callable[[QuarantineReplayed | QuarantineDiscarded], None]

#: The first row that the error is an instance of decides.
_STATUS: list[tuple[type[MillraceError], HTTPStatus]] = [
    (Absent, HTTPStatus.NOT_FOUND),
    (RunAbsent, HTTPStatus.NOT_FOUND),
    (Refused, HTTPStatus.CONFLICT),
    (BadRecord, HTTPStatus.BAD_REQUEST),
    (TryLater, HTTPStatus.SERVICE_UNAVAILABLE),
    (MillraceError, HTTPStatus.INTERNAL_SERVER_ERROR),
]
#: A longer list takes the host's memory; the reasons still count every selected entry.
_ENTRIES_MAX = 1000


def _decoded(text: object) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise ValueError(f"is no base64: {error}") from error


class _Change(BaseModel):
    """The body of a POST."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    action: Literal["replay", "discard"]
    body: Annotated[bytes | None, BeforeValidator(_decoded)] = None
    attributes: dict[str, str] = {}


def answered(
    step: Callable[..., Awaitable[dict[str, Any]]],
) -> Callable[..., Awaitable[HttpResponse]]:
    """Make a step answer: with what it returns, or with the problem it raises."""

    @functools.wraps(step)
    async def answer(request: HttpRequest, **ports: object) -> HttpResponse:
        try:
            content = await step(request, **ports)
        except MillraceError as error:
            return _problem(error)
        return HttpResponse(_text(content), mimetype="application/json")

    return answer


@answered
async def list_entries(request: HttpRequest, *, quarantine: Quarantine) -> dict[str, Any]:
    """The selected entries, and how many there are of each reason; open ones unless asked."""
    selection = _selection(request.params)
    heads = [head async for head in quarantine.heads(selection)]
    reasons: dict[str, int] = {}
    for head in heads:
        reasons[head.reason] = reasons.get(head.reason, 0) + 1
    return {
        "selected": len(heads),
        "reasons": reasons,
        "entries": [summary(head) for head in heads[:_ENTRIES_MAX]],
    }


@answered
async def show_entry(request: HttpRequest, *, quarantine: Quarantine) -> dict[str, Any]:
    """One whole entry."""
    name = request.route_params.get("name", "")
    kept = await quarantine.read(name)
    if kept is None:
        raise Absent(name)
    return description(kept.value)


@answered
async def change_entry(
    request: HttpRequest,
    *,
    document: Document,
    quarantine: Quarantine,
    hub: Hub,
    clock: Clock,
    emit: Emit,
) -> dict[str, Any]:
    """Replay or discard one entry."""
    name, change = request.route_params.get("name", ""), _change(request.get_body())
    if change.action == "discard":
        discarded = await discard_entry(name, quarantine=quarantine, clock=clock, by="http")
        emit(discarded.counted)
        return {"name": name, "state": State.DISCARDED, "repeated": discarded.repeated}
    replayed = await replay_entry(
        name,
        Repair(body=change.body, attributes=change.attributes),
        document,
        quarantine=quarantine,
        hub=hub,
        clock=clock,
        by="http",
    )
    emit(replayed.counted)
    return {
        "name": name,
        "state": State.REPLAYED,
        "repeated": replayed.repeated,
        "event": replayed.event,
        "material": replayed.material,
        "partition": replayed.partition,
    }


def _selection(query: Any) -> Selection:  # noqa: ANN401 -- The library's own mapping.
    kind, state = query.get("kind", ""), query.get("state", State.OPEN)
    states: dict[str, State | None] = {"all": None, **{each.value: each for each in State}}
    for name, value, known in (("kind", kind, ("", *KINDS)), ("state", state, states)):
        if value not in known:
            meant = ", ".join(filter(None, known))
            raise BadRecord("bad-request", f"{name}={value!r} is none of {meant}")
    return Selection(
        kind=kind,
        material=query.get("material", ""),
        reason=query.get("reason", ""),
        state=states[state],
    )


def _change(body: bytes) -> _Change:
    try:
        return _Change.model_validate_json(body)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, detail['loc'])) or 'the request'}: "
            f"{detail['msg'].removeprefix('Value error, ')}"
            for detail in error.errors(include_url=False)
        ]
        raise BadRecord("bad-request", "; ".join(problems)) from error


def _problem(error: MillraceError) -> HttpResponse:
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    wait_s = error.retry_after_s if isinstance(error, TryLater) else None
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": error.detail if isinstance(error, BadRecord) else str(error),
        **({"reason": error.reason} if isinstance(error, BadRecord) else {}),
    }
    return HttpResponse(
        _text(content),
        status_code=status.value,
        headers={"Retry-After": str(math.ceil(wait_s))} if wait_s else {},
        mimetype="application/problem+json",
    )


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
