"""Faults at the ports: every call that a step makes passes a gate, which may end it there."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from shared.domain.errors import TryLater

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator

type Moment = Literal["before", "after"]
MOMENTS: tuple[Moment, ...] = ("before", "after")


class Violation(AssertionError):
    """A promise is broken."""


class Crash(BaseException):
    """The process is gone, and with it all that it held in memory."""


def unwell() -> TryLater:
    """What every port may raise."""
    return TryLater("the world is unwell")


class Gate(Protocol):
    """What stands before and behind the effect of every call."""

    async def before(self, call: str) -> None:
        """Let the call through, or raise: it has had no effect."""

    async def after(self, call: str) -> None:
        """Let the answer through, or raise: the call has had its effect."""


class OpenGate:
    """Nothing ever fails."""

    async def before(self, call: str) -> None:
        """Let it through."""

    async def after(self, call: str) -> None:
        """Let it through."""


@dataclass(slots=True)
class NthCallFails:
    """The calls with the given numbers, counted from 1, fail; once each."""

    numbers: frozenset[int]
    moment: Moment
    failure: Callable[[], BaseException]
    calls: int = 0
    struck: list[str] = field(default_factory=list)

    async def before(self, call: str) -> None:
        """Count."""
        self.calls += 1
        self._strike(call, "before")

    async def after(self, call: str) -> None:
        """Fail the call that was counted last."""
        self._strike(call, "after")

    def _strike(self, call: str, moment: Moment) -> None:
        if moment == self.moment and self.calls in self.numbers:
            self.struck.append(call)
            raise self.failure()


@dataclass(slots=True)
class NamedCallFails:
    """Calls of a name fail, as often as they are told to."""

    call: str
    times: int
    moment: Moment = "before"
    failure: Callable[[], BaseException] = unwell

    async def before(self, call: str) -> None:
        """Fail before the effect."""
        self._strike(call, "before")

    async def after(self, call: str) -> None:
        """Fail after the effect."""
        self._strike(call, "after")

    def _strike(self, call: str, moment: Moment) -> None:
        if call == self.call and moment == self.moment and self.times:
            self.times -= 1
            raise self.failure()


@dataclass(slots=True)
class Between:
    """Something happens in the world just before the first call of a name."""

    call: str
    happens: Callable[[], object] | None

    async def before(self, call: str) -> None:
        """Let it happen."""
        if call == self.call and self.happens:
            happens, self.happens = self.happens, None
            happens()

    async def after(self, call: str) -> None:
        """Let it through."""


class Turns:
    """Every call waits for its turn, so that a schedule can interleave several steps."""

    def __init__(self) -> None:
        """`waiting` is the call whose turn is next."""
        self.waiting = ""

    async def before(self, call: str) -> None:
        """Wait."""
        self.waiting = call
        await _Turn()

    async def after(self, call: str) -> None:
        """Go on: what a step does up to its next call, nobody else can see."""


class _Turn:
    def __await__(self) -> Generator[None]:
        yield


class Guarded:
    """A port behind a gate."""

    def __init__(self, port: object, gate: Gate) -> None:
        """Whatever the port can do, it still can."""
        self._port = port
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if inspect.isasyncgenfunction(method):
            return lambda *args, **kwargs: self._stream(name, method(*args, **kwargs))
        if inspect.iscoroutinefunction(method):
            return lambda *args, **kwargs: self._call(name, method, *args, **kwargs)
        return method

    async def _call(
        self, name: str, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any
    ) -> Any:
        await self._gate.before(name)
        answer = await method(*args, **kwargs)
        await self._gate.after(name)
        return answer

    async def _stream(self, name: str, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        await self._gate.before(name)
        async for item in items:
            yield item
            await self._gate.after(name)


def finish[T](step: Coroutine[Any, Any, T]) -> T:
    """Run a step to its end; its ports are in memory, so nothing else has to run meanwhile."""
    while True:
        try:
            step.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
