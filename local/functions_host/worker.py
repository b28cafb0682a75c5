"""The worker: Microsoft's own library that indexes and runs the app, on a thread of its own.

This is the only module that knows the inside of `azure-functions-runtime`; a test pins what it
uses. The library never needs protobuf: it fills in whatever classes it is given, so holders of
attributes are enough. Its state is global to the process: one app, indexed once.

The app runs on its own event loop in its own thread. A function that blocks its loop then stops
the other functions, as in Azure, but neither leases nor AMQP links.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import azure_functions_runtime as runtime  # type: ignore[import-untyped]  # It ships no types.
from azure_functions_runtime import native_invocation
from azure_functions_runtime.bindings.datumdef import (  # type: ignore[import-untyped]  # As above.
    Datum,
)

from local.functions_host.errors import AppBroken
from local.functions_host.payload import Kind, Payload, Value
from local.functions_host.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from http.cookies import SimpleCookie
    from pathlib import Path

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_COLLECTIONS: Mapping[Kind, str] = {
    "collection_bytes": "bytes",
    "collection_string": "string",
    "collection_sint64": "sint64",
}


class _StatusResult(SimpleNamespace):
    Failure, Success, Cancelled = range(3)


class _BindingInfo(SimpleNamespace):
    undefined, out, inout = range(3)


_PROTOCOL = SimpleNamespace(
    StatusResult=_StatusResult,
    BindingInfo=_BindingInfo,
    WorkerInitResponse=SimpleNamespace,
    WorkerMetadata=SimpleNamespace,
    RpcException=SimpleNamespace,
    FunctionMetadataResponse=SimpleNamespace,
    RpcFunctionMetadata=SimpleNamespace,
    RpcRetryOptions=SimpleNamespace,
    FunctionLoadResponse=SimpleNamespace,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function as the worker indexed it."""

    name: str
    id: str
    bindings: tuple[Mapping[str, Any], ...]
    retry: RetryPolicy | None

    @property
    def trigger(self) -> Mapping[str, Any]:
        """The binding that starts it; the worker refuses apps without."""
        return next(b for b in self.bindings if str(b["type"]).lower().endswith("trigger"))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What an HTTP function returned."""

    status: int
    headers: Mapping[str, str]
    cookies: tuple[SimpleCookie, ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Which try of an invocation this is, and what the one before ended with."""

    invocation_id: str
    trace_parent: str
    retries: int = 0
    retries_max: int = 0
    error_before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an invocation ended; `place` is the app's innermost line in the traceback."""

    ok: bool
    answer: HttpAnswer | None = None
    error: str = ""
    place: str = ""
    stack: str = ""


class Worker:
    """The thread that runs the app."""

    def __init__(self, app: Path) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        # A daemon: a function that never returns must not keep a stopped host alive.
        self._thread = threading.Thread(target=self._loop.run_forever, name="worker", daemon=True)

    async def start(self) -> list[Function]:
        """Import and index the app; raise `AppBroken` if the worker cannot."""
        self._thread.start()
        return await self._run(self._index())

    async def invoke(self, function: Function, payload: Payload, attempt: Attempt) -> Outcome:
        """Run a function once; failures of the function are in the outcome."""
        return await self._run(self._invoke(function, payload, attempt))

    def stop(self) -> None:
        """Let the thread end; functions still running are left to the end of the process."""
        # The app has no hook to close its clients, in Azure neither: no complaints about them.
        self._loop.call_soon_threadsafe(self._loop.set_exception_handler, lambda *_: None)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=1)

    async def _run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _index(self) -> list[Function]:
        sys.path.insert(0, str(self._app))
        runtime.start_threadpool_executor()
        request = _request(
            worker_init_request=SimpleNamespace(
                capabilities={}, function_app_directory=str(self._app)
            )
        )
        answer = await runtime.worker_init_request(request)
        if answer.result.status != _StatusResult.Success:
            raise self._app_broken(answer.result.exception)
        request = _request(functions_metadata_request=SimpleNamespace())
        found = (await runtime.functions_metadata_request(request)).function_metadata_results
        if not found:
            raise AppBroken(f"{self._app} has no function_app.py with functions in it")
        return [_function(metadata) for metadata in found]

    def _app_broken(self, exception: SimpleNamespace) -> AppBroken:
        # The worker adds every entry of sys.path to a failed import; people need the first line.
        message = str(exception.message).partition(" Current sys.path:")[0]
        place = app_place(exception.stack_trace, self._app)
        text = " ".join(message.split()) + (f" ({place})" if place else "")
        return AppBroken(text, stack=exception.stack_trace)

    async def _invoke(self, function: Function, payload: Payload, attempt: Attempt) -> Outcome:
        native = native_invocation.invocation_request_native
        ok, returned, _, error, stack = await native(
            attempt.invocation_id,
            function.id,
            [(function.trigger["name"], _datum(payload.value))],
            {key: _datum(value) for key, value in payload.metadata.items()},
            trace_parent=attempt.trace_parent,
            retry_count=attempt.retries,
            max_retry_count=attempt.retries_max,
            retry_exception=attempt.error_before or None,
        )
        if ok:
            return Outcome(ok=True, answer=_http_answer(returned))
        stack = stack or ""
        return Outcome(ok=False, error=error, place=app_place(stack, self._app), stack=stack)


def app_place(stack: str, app: Path) -> str:
    """The innermost `file:line` of a traceback that is in the app, or nothing."""
    frames = [(name, line) for name, line in _FRAME.findall(stack) if name.startswith(f"{app}/")]
    own = [(name, line) for name, line in frames if "/site-packages/" not in name]
    return f"{own[-1][0].removeprefix(f'{app}/')}:{own[-1][1]}" if own else ""


def _request(**kinds: SimpleNamespace) -> SimpleNamespace:
    properties = {"protos": _PROTOCOL, "host": "127.0.0.1"}
    return SimpleNamespace(request=SimpleNamespace(**kinds), properties=properties)


def _function(metadata: SimpleNamespace) -> Function:
    return Function(
        name=metadata.name,
        id=metadata.function_id,
        bindings=tuple(json.loads(raw) for raw in metadata.raw_bindings),
        retry=_retry_policy(metadata.name, metadata.retry_options),
    )


def _retry_policy(name: str, options: SimpleNamespace | None) -> RetryPolicy | None:
    if options is None:
        return None
    fixed = options.retry_strategy == "fixed_delay"
    minimum = options.delay_interval if fixed else options.minimum_interval
    maximum = options.delay_interval if fixed else options.maximum_interval
    try:
        return RetryPolicy(
            strategy="fixed_delay" if fixed else "exponential_backoff",
            max_retry_count=options.max_retry_count,
            minimum_s=minimum.total_seconds(),
            maximum_s=maximum.total_seconds(),
        )
    except ValueError as error:
        raise AppBroken(f"{name}: its retry policy is wrong: {error}") from error


def _datum(value: Value) -> Any:  # noqa: ANN401 -- The library ships no types.
    if value.kind == "http":
        return Datum({name: _http_part(part) for name, part in value.content.items()}, "http")
    if value.kind in _COLLECTIONS:
        return Datum(SimpleNamespace(**{_COLLECTIONS[value.kind]: value.content}), value.kind)
    return Datum(value.content, value.kind)


def _http_part(part: Value | Mapping[str, Value]) -> Any:  # noqa: ANN401 -- As above.
    if isinstance(part, Value):
        return _datum(part)
    return {name: _datum(value) for name, value in part.items()}


def _http_answer(returned: Any) -> HttpAnswer | None:  # noqa: ANN401 -- As above.
    if returned is None or returned.type is None:
        return None
    if returned.type != "http":
        body = returned.value if isinstance(returned.value, bytes) else str(returned.value).encode()
        headers = {"content-type": "text/plain; charset=utf-8"}
        return HttpAnswer(status=200, headers=headers, cookies=(), body=body)
    answer = returned.value
    return HttpAnswer(
        status=int(answer["status_code"].value),
        headers={name: header.value for name, header in answer["headers"].items()},
        cookies=tuple(answer["cookies"] or ()),
        body=answer["body"].value,
    )
