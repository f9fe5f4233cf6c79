"""Streams whose chunks pass the output policies before anyone sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import wrapt

from firedoor.errors import PolicyBlocked
from firedoor.shell.outflow import Outflow
from firedoor.shell.watch import Watch

if TYPE_CHECKING:
    from firedoor.shell.screens import Screens

__all__ = ["AsyncFilteredStream", "FilteredStream"]


class FilteredStream(wrapt.ObjectProxy[Any]):
    """Around a watched stream: reads it, and gives what the policies let out."""

    def __init__(self, stream: Any, watch: Watch, outflow: Outflow, screens: Screens) -> None:
        super().__init__(stream)
        watch.outflow = outflow
        self._self_watch = watch
        self._self_screens = screens
        self._self_ready: deque[Any] = deque()
        self._self_ended = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        watch: Watch = self._self_watch
        ready: deque[Any] = self._self_ready
        while not ready:
            if self._self_ended:
                raise StopIteration
            try:
                try:
                    chunk = next(self.__wrapped__)
                except StopIteration:
                    self._self_ended = True
                    self._self_screens.join(watch.call)
                    ready.extend(watch.outflow.end())
                    watch.conclude()
                else:
                    self._self_screens.join(watch.call)
                    ready.extend(watch.outflow.push(chunk))
            except PolicyBlocked as denied:
                self._self_ended = True
                watch.fail(denied)
                self.__wrapped__.close()
                raise
            except BaseException as error:
                watch.fail(error)  # interrupted as a policy looked; what the stream raises is told
                raise
        return ready.popleft()

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
        self._self_watch = watch
        self._self_screens = screens
        self._self_ready: deque[Any] = deque()
        self._self_ended = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        watch: Watch = self._self_watch
        ready: deque[Any] = self._self_ready
        while not ready:
            if self._self_ended:
                raise StopAsyncIteration
            try:
                try:
                    chunk = await anext(self.__wrapped__)
                except StopAsyncIteration:
                    self._self_ended = True
                    await self._self_screens.ajoin(watch.call)
                    ready.extend(await watch.outflow.aend())
                    watch.conclude()
                else:
                    await self._self_screens.ajoin(watch.call)
                    ready.extend(await watch.outflow.apush(chunk))
            except PolicyBlocked as denied:
                self._self_ended = True
                watch.fail(denied)
                await self.__wrapped__.close()
                raise
            except BaseException as error:
                watch.fail(error)  # cancelled as a policy looked; what the stream raises is told
                raise
        return ready.popleft()

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
