"""docs/sources.md: every example is polled, and gives every record."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from tests.source_tool import polling, running

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
EXAMPLES = [
    json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
]
ROWS = [{"id": number, "changed": f"2026-0{1 + number // 3}-01T00:00:00Z"} for number in range(25)]
KEY = "k3y"
GUARDS: dict[str, Callable[[web.Request], bool]] = {
    "key-header": lambda request: request.headers.get("X-Api-Key") == KEY,
    "key-query": lambda request: request.query.get("key") == KEY,
    "bearer": lambda request: request.headers.get("Authorization") == f"Bearer {KEY}",
    "basic": lambda request: request.headers.get("Authorization") == "Basic cmVhZGVyOmszeQ==",
    "oauth": lambda request: request.headers.get("Authorization") == "Bearer given",
}

TEXTS = {
    "lines": "\n".join(json.dumps(row) for row in ROWS),
    "rows": "id,changed\n" + "".join(f"{row['id']},é\n" for row in ROWS),
    "buoys": "#STN hh id\n" + "".join(f"b {row['id']} {row['id']}\n" for row in ROWS),
}


def answer(request: web.Request) -> web.Response:
    """The tool that plays every part."""
    name, query = request.path.strip("/"), request.query
    if name == "token":
        return web.json_response({"access_token": "given"})
    if name in GUARDS and not GUARDS[name](request):
        return web.Response(status=401)
    if name in TEXTS:
        return web.Response(text=TEXTS[name])
    if name == "current":
        return web.json_response({"now": {"station": "b", "id": 0}, "links": {}})
    if name in ("news", "windows"):
        since, until = query["since"], query.get("until", "~")
        return web.json_response(
            {"items": [row for row in ROWS if since <= str(row["changed"]) < until]}
        )
    return part(request, name) if name in PARTS else web.json_response({"items": ROWS})


PARTS: dict[str, Callable[[web.Request], int]] = {
    "link-header": lambda request: int(request.query.get("from", 0)),
    "link-body": lambda request: int(request.query.get("from", 0)),
    "pages": lambda request: 10 * int(request.query["page"]) - 10,
    "offsets": lambda request: int(request.query["offset"]),
    "tokens": lambda request: int(request.query.get("after", 0)),
    "token-header": lambda request: int(request.query.get("after", 0)),
}


def part(request: web.Request, name: str) -> web.Response:
    """Ten records, and how to go on."""
    start = PARTS[name](request)
    more = start + 10 < len(ROWS)
    content: dict[str, Any] = {"items": ROWS[start : start + 10], "total": len(ROWS)}
    content["links"] = {"next": f"?from={start + 10}" if more else None}
    content["meta"] = {"next": start + 10 if more else None}
    page = web.json_response(content)
    if more and name == "link-header":
        page.headers["Link"] = f'<{request.url.with_query({"from": start + 10})}>; rel="next"'
    if more and name == "token-header":
        page.headers["X-Next"] = str(start + 10)
    return page


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["name"])
async def test_example_is_polled_to_its_last_record(example: dict[str, Any]) -> None:
    """An example that does not work costs more than none."""
    source: dict[str, Any] = {"records": "", **example, "publishes": "quakes"}
    async with running(answer) as tool:
        settings = {"TOOL": tool.url, "TOOL_KEY": KEY}
        async with polling(source.pop("url"), settings, **source) as world:
            report = await world.poll()

    rows = 1 if example.get("format") == "object" else len(ROWS)
    assert report.records_sent == rows
    assert sorted(int(each) for each in world.ids()) == list(range(rows))


def test_every_kind_has_an_example() -> None:
    """Whoever looks for a kind finds it written out."""
    schema = (PAGE.parents[1] / "pipeline.schema.json").read_text()
    parts = json.loads(schema)["$defs"]["Source"]["properties"]
    kinds = {
        name: set(parts[name]["discriminator"]["mapping"]) - {"none"} for name in ("paging", "auth")
    }

    shown = {name: {each[name]["kind"] for each in EXAMPLES if name in each} for name in kinds}

    assert shown == kinds
