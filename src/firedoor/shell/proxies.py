"""Streams under watch: proxies that stay the provider's own object to whoever holds them.

Classes, not generator functions: `break`, `close`, garbage collection and interpreter exit must all
reach the one finish. The span is current only while a generator's own code runs, inside one step;
nothing is held across a yield.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

import wrapt

from firedoor.shell.watch import Watch

__all__ = ["AsyncStream", "Proxy", "SyncStream"]


class Proxy(wrapt.ObjectProxy[Any]):
    """What both colours share: the watch, and the end of the proxy's own life."""

    _self_step: Any
    _self_next: Any

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream)
        self._self_watch = watch

    def _self_read_on(self, advance: Any) -> None:
        """From now on chunks come from `advance`."""
        # One attribute to look up for each: on a proxy that costs as much as a call.
        self._self_next = partial(self._self_step, advance)

    def __del__(self) -> None:
        watch = getattr(self, "_self_watch", None)
        if watch is not None and not watch.call.finished:
            watch.runtime.collected(watch)


class SyncStream(Proxy):
    """A sync stream or generator under watch."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream, watch)
        self._self_step = watch.stepper()
        self._self_read_on(watch.advance(stream))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._self_next()

    def send(self, value: Any) -> Any:
        """Resume a generator with a value."""
        return self._self_step(partial(self.__wrapped__.send, value))

    def throw(self, *error: Any) -> Any:
        """Raise inside a generator."""
        return self._self_step(partial(self.__wrapped__.throw, *error))

    def close(self) -> None:
        """Close the stream; the call is abandoned unless it was complete."""
        try:
            close = getattr(self.__wrapped__, "close", None)
            if close is not None:
                close()
        finally:
            self._self_watch.abandon()

    def __enter__(self) -> Self:
        enter = getattr(self.__wrapped__, "__enter__", None)
        if enter is not None:
            enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        self._self_watch.left(error)
        leave = getattr(self.__wrapped__, "__exit__", None)
        return leave(kind, error, trace) if leave is not None else self.close()


class AsyncStream(Proxy):
    """An async stream or generator under watch."""

    _self_step: Callable[[Any], Awaitable[Any]]
    _self_next: Callable[[], Awaitable[Any]]

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream, watch)
        self._self_step = watch.async_stepper()
        self._self_read_on(watch.async_advance(stream))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __anext__(self) -> Awaitable[Any]:
        return self._self_next()

    def asend(self, value: Any) -> Awaitable[Any]:
        """Resume an async generator with a value."""
        return self._self_step(partial(self.__wrapped__.asend, value))

    def athrow(self, *error: Any) -> Awaitable[Any]:
        """Raise inside an async generator."""
        return self._self_step(partial(self.__wrapped__.athrow, *error))

    async def aclose(self) -> None:
        """Close an async generator; the call is abandoned unless it was complete."""
        await self._close("aclose", "close")

    async def close(self) -> None:
        """Close a provider's stream; the call is abandoned unless it was complete."""
        await self._close("close", "aclose")

    async def _close(self, *names: str) -> None:
        try:
            for name in names:
                close = getattr(self.__wrapped__, name, None)
                if close is not None:
                    await close()
                    break
        finally:
            self._self_watch.abandon()

    async def __aenter__(self) -> Self:
        enter = getattr(self.__wrapped__, "__aenter__", None)
        if enter is not None:
            await enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        self._self_watch.left(error)
        leave = getattr(self.__wrapped__, "__aexit__", None)
        return await (leave(kind, error, trace) if leave is not None else self.close())
