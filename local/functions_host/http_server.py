"""The HTTP side: functions under their routes, and the admin endpoints of the host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from local.functions_host.errors import HostError
from local.functions_host.payload import Payload, Value, text
from local.functions_host.routes import Route, parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from local.functions_host.services import Services
    from local.functions_host.triggers import Triggers
    from local.functions_host.worker import Function, HttpAnswer

_BODY_BYTES_MAX = 100 * 1024 * 1024


class HttpServer:
    """Serves one app on one port of the loopback."""

    def __init__(self, services: Services) -> None:
        self._settings = services.settings
        self._invocations = services.invocations
        self._prefix = str(self._settings.option("extensions.http.routePrefix", "api")).strip("/")
        self._routes: list[tuple[Route, Function]] = []
        self._functions: Sequence[Function] = ()
        self._triggers: Triggers
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.router.add_get("/admin/host/status", self._status)
        app.router.add_get("/admin/functions", self._list)
        app.router.add_post("/admin/functions/{name}", self._run_by_hand)
        app.router.add_route("*", "/{path:.*}", self._invoke)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.port = 0

    def url(self, function: Function) -> str:
        """Where an HTTP function answers."""
        return f"http://127.0.0.1:{self.port}/{self._template(function)}"

    async def start(self, port: int, *, functions: Sequence[Function], triggers: Triggers) -> None:
        """Listen for the functions of an app; port 0 picks one."""
        self._functions, self._triggers = functions, triggers
        for function in functions:
            if function.trigger["type"].lower() == "httptrigger":
                route = parse(self._template(function), function.trigger.get("methods") or [])
                self._routes.append((route, function))
        self._routes.sort(key=lambda pair: pair[0].rank)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError as error:
            raise HostError(f"port {port} cannot be listened on: {error.strerror}") from error
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Take no new requests; those under way are still answered."""
        for site in list(self._runner.sites):
            await site.stop()

    async def stop(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()

    def _template(self, function: Function) -> str:
        route = self._settings.resolve(function.trigger.get("route") or function.name)
        return f"{self._prefix}/{route.strip('/')}".strip("/")

    async def _invoke(self, request: web.Request) -> web.StreamResponse:
        for route, function in self._routes:
            parameters = route.match(request.method, request.rel_url.raw_path.strip("/"))
            if parameters is not None:
                payload = await _payload(request, parameters)
                work = self._invocations.run(function, payload)
                outcome = await self._invocations.see_through(work)
                if not outcome.ok:
                    return web.Response(status=500)
                return _response(outcome.answer)
        return web.Response(status=404)

    async def _status(self, _request: web.Request) -> web.Response:
        status: dict[str, Any] = {"id": self._settings.host_id, "state": "Running"}
        if self._triggers.problems:
            status["errors"] = self._triggers.problems
        return web.json_response(status)

    async def _list(self, _request: web.Request) -> web.Response:
        found = [
            {"name": function.name, "language": "python", "config": {"bindings": function.bindings}}
            for function in self._functions
        ]
        return web.json_response(found)

    async def _run_by_hand(self, request: web.Request) -> web.Response:
        named = request.match_info["name"].lower()
        name = next((one.name for one in self._functions if one.name.lower() == named), None)
        if name is None:
            return web.Response(status=404)
        try:
            given = json.loads(await request.read())["input"]
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text='the body must be JSON like {"input": ""}\n')
        by_hand = self._triggers.by_hand.get(name)
        if by_hand is None:
            reason = "not implemented: send it an event or a request instead\n"
            return web.Response(status=501, text=reason)
        self._invocations.start(_awaited(by_hand(str(given))))
        return web.Response(status=202)


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _payload(request: web.Request, parameters: Mapping[str, str]) -> Payload:
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        known = headers.get(name.lower())
        headers[name.lower()] = value if known is None else f"{known},{value}"
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if value:
            query[name] = f"{query[name]},{value}" if name in query else value
    content: dict[str, Any] = {
        "method": text(request.method),
        "url": text(str(request.url)),
        "headers": {name: text(value) for name, value in headers.items()},
        "query": {name: text(value) for name, value in query.items()},
        "params": {name: text(value) for name, value in parameters.items()},
        "body": Value("bytes", await request.read()),
    }
    return Payload(value=Value("http", content))


def _response(answer: HttpAnswer | None) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    response = web.Response(status=answer.status, body=answer.body, headers=answer.headers)
    for jar in answer.cookies:
        for name, morsel in jar.items():
            response.cookies[name] = morsel.value
            response.cookies[name].update({key: value for key, value in morsel.items() if value})
    return response
