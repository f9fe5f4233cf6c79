"""Streams whose chunks pass the output policies before anyone sees them.

A step is a closure, as in `Watch.stepper`: on a proxy, looking its parts up costs more than it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import wrapt

from firedoor.errors import PolicyBlocked
from firedoor.shell.outflow import Outflow
from firedoor.shell.watch import Watch

if TYPE_CHECKING:
    from firedoor.shell.screens import Screens

__all__ = ["AsyncFilteredStream", "FilteredStream"]

_END: Any = object()


class FilteredStream(wrapt.ObjectProxy[Any]):
    """Around a watched stream: reads it, and gives what the policies let out."""

    def __init__(self, stream: Any, watch: Watch, outflow: Outflow, screens: Screens) -> None:
        super().__init__(stream)
        watch.outflow = outflow
        self._self_next = _stepper(stream, watch, outflow, screens)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._self_next()

    def send(self, value: Any) -> Any:
        """Resume a generator with a value; what it yields passes the policies."""
        return self._self_next(partial(self.__wrapped__.send, value))

    def throw(self, *error: Any) -> Any:
        """Raise inside a generator; what it yields passes the policies."""
        return self._self_next(partial(self.__wrapped__.throw, *error))

    def __enter__(self) -> Self:
        self.__wrapped__.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        return self.__wrapped__.__exit__(kind, error, trace)


class AsyncFilteredStream(wrapt.ObjectProxy[Any]):
    """The same for async streams."""

    def __init__(self, stream: Any, watch: Watch, outflow: Outflow, screens: Screens) -> None:
        super().__init__(stream)
        watch.outflow = outflow
        self._self_next = _async_stepper(stream, watch, outflow, screens)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __anext__(self) -> Awaitable[Any]:
        return self._self_next()

    def asend(self, value: Any) -> Awaitable[Any]:
        """Resume an async generator with a value; what it yields passes the policies."""
        return self._self_next(partial(self.__wrapped__.asend, value))

    def athrow(self, *error: Any) -> Awaitable[Any]:
        """Raise inside an async generator; what it yields passes the policies."""
        return self._self_next(partial(self.__wrapped__.athrow, *error))

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        return await self.__wrapped__.__aexit__(kind, error, trace)


def _stepper(stream: Any, watch: Watch, outflow: Outflow, screens: Screens) -> Callable[..., Any]:
    """Gives the next chunk that may go out, after a step of the stream if none is ready."""
    call, push, advance = watch.call, outflow.push, stream.__next__
    ready: deque[Any] = deque()
    ended = False

    def step(resume: Callable[[], Any] | None = None) -> Any:
        nonlocal ended
        while resume is not None or not ready:
            if ended:
                raise StopIteration
            try:
                chunk = advance() if resume is None else resume()
            except StopIteration:
                chunk = _END
            except BaseException as error:
                watch.fail(error)
                raise
            resume = None
            try:
                if call.beside is not None:
                    screens.join(call)
                if chunk is not _END:
                    ready.extend(push(chunk))
                else:
                    ended = True
                    ready.extend(outflow.end())
                    watch.conclude()
            except BaseException as error:  # refused, or interrupted as a policy looked
                ended = True
                watch.fail(error)
                if isinstance(error, PolicyBlocked):
                    stream.close()
                raise
        return ready.popleft()

    return step


def _async_stepper(
    stream: Any, watch: Watch, outflow: Outflow, screens: Screens
) -> Callable[..., Awaitable[Any]]:
    """The same for async streams."""
    call, push, advance = watch.call, outflow.apush, stream.__anext__
    ready: deque[Any] = deque()
    ended = False

    async def step(resume: Callable[[], Awaitable[Any]] | None = None) -> Any:
        nonlocal ended
        while resume is not None or not ready:
            if ended:
                raise StopAsyncIteration
            try:
                chunk = await (advance() if resume is None else resume())
            except StopAsyncIteration:
                chunk = _END
            except BaseException as error:
                watch.fail(error)
                raise
            resume = None
            try:
                if call.beside is not None:
                    await screens.ajoin(call)
                if chunk is not _END:
                    ready.extend(await push(chunk))
                else:
                    ended = True
                    ready.extend(await outflow.aend())
                    watch.conclude()
            except BaseException as error:  # refused, or cancelled as a policy looked
                ended = True
                watch.fail(error)
                if isinstance(error, PolicyBlocked):
                    await stream.close()
                raise
        return ready.popleft()

    return step
