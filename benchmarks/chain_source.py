"""The chain's source: records of 500 bytes behind GET, in pages of 1,000, what changed last.

    python benchmarks/chain_source.py --records 50000 --port 0

`/records?since=…` gives the records updated since then, oldest first, each page with a link to the
next in `next`, and answers 304 to whoever has the page. `/stats` tells what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1]))

from local.service import announce, stopped

PAGE = 1000
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
WORDS = [f"{one}{two}" for one in ("red", "old", "far", "new") for two in ("wood", "lake", "gate")]


@dataclass(slots=True)
class Source:
    """The records, and what was asked of them."""

    lines: list[bytes] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    ids: int = 0
    asked: Counter[str] = field(default_factory=Counter)

    def make(self, records: int, *, repeated: float, seed: int) -> None:
        """Make records; a share of them is a newer version of one before."""
        chance = random.Random(seed)
        for number in range(records):
            repeats = number > PAGE and chance.random() < repeated
            name = chance.randrange(self.ids) if repeats else self.ids
            self.ids += not repeats
            updated = NOON + timedelta(milliseconds=number)
            record = {
                "id": f"rec-{name:012d}",
                "number": name,
                "updated": updated.isoformat(timespec="milliseconds"),
                "created": (NOON - timedelta(days=name % 999)).isoformat(),
                "count": number % 1000,
                "price": round(chance.random() * 1000, 2),
                "score": round(chance.gauss(0, 1), 6),
                "ratio": None if number % 10 == 0 else round(chance.random(), 4),
                "active": number % 3 == 0,
                "place": chance.choice(WORDS),
                "kind": chance.choice(WORDS),
                "owner": f"{chance.choice(WORDS)}@{chance.choice(WORDS)}.example",
                "text": " ".join(chance.choices(WORDS, k=26)),
            }
            self.lines.append(json.dumps(record).encode())
            self.times.append(record["updated"])

    async def page(self, request: web.Request) -> web.Response:
        """One page, unless the client has it."""
        # A plus sign in a query is a blank to whoever reads it as a form.
        since = request.query.get("since", "").replace(" ", "+")
        first = bisect.bisect_left(self.times, since) + int(request.query.get("offset", "0"))
        lines = self.lines[first : first + PAGE]
        etag = f'"{first}-{len(lines)}"'
        if request.headers.get("If-None-Match") == etag:
            self.asked["304"] += 1
            return web.Response(status=304, headers={"ETag": etag})
        self.asked["200"] += 1
        following = None
        if first + PAGE < len(self.lines):
            offset = int(request.query.get("offset", "0")) + PAGE
            following = str(request.url.update_query(offset=offset))
        body = b'{"items":[%b],"next":%b}' % (b",".join(lines), json.dumps(following).encode())
        headers = {"ETag": etag}
        return web.Response(body=body, headers=headers, content_type="application/json")

    async def stats(self, _: web.Request) -> web.Response:
        """What was asked so far, and how many ids there are."""
        return web.json_response({"asked": dict(self.asked), "ids": self.ids})


async def serve(source: Source, port: int) -> None:
    """Serve until told to stop, or left alone."""
    app = web.Application()
    app.router.add_get("/records", source.page)
    app.router.add_get("/stats", source.stats)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        announce("chain_source", runner.addresses[0][1])
        await stopped(with_parent=True)
    finally:
        await runner.cleanup()


def main() -> None:
    """Make the records, serve them, say where."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--repeated", type=float, default=0.02, help="share of repeated ids")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    source = Source()
    source.make(arguments.records, repeated=arguments.repeated, seed=arguments.seed)
    asyncio.run(serve(source, arguments.port))


if __name__ == "__main__":
    main()
