"""Streams that may still become others: another attempt's, before anything was shown.

Chunks are held back until one has content. What breaks after that is the consumer's to see, or is
closed with the safe text; two models' text is never spliced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import Any

from firedoor.shell.canned import CannedStream
from firedoor.shell.proxies import AsyncStream, SyncStream
from firedoor.shell.streamed import BrokenStreamError, stream_failed
from firedoor.shell.waiting import within
from firedoor.shell.watch import Restart, Watch

__all__ = ["AsyncFallbackStream", "FallbackStream"]


class FallbackStream(SyncStream):
    """A stream that may still become another one: nothing is shown before its first content.

    Once content is shown, what breaks is the consumer's to see, or is closed with the safe text;
    two models' text is never spliced.
    """

    def __init__(self, stream: Any, watch: Watch, restart: Restart) -> None:
        super().__init__(stream, watch)
        watch.provisional = watch.deferred = True
        self._self_held: deque[Any] = deque()
        self._self_restart = restart
        self._self_ready: Any = None

    def __next__(self) -> Any:
        ready = self._self_ready
        return self._next() if ready is None else ready()

    def _next(self) -> Any:
        """The next chunk, as long as there is something to decide."""
        watch: Watch = self._self_watch
        held: deque[Any] = self._self_held
        while watch.provisional:
            try:
                held.append(self._self_next())
            except StopIteration:
                if watch.early is None and watch.cut_short():
                    self._replace(BrokenStreamError())
                elif watch.silenced():
                    self._respond()
                else:
                    watch.settle()
                    watch.finish()
            except BaseException as error:
                self._replace(error)
            else:
                if watch.first is not None:
                    watch.settle()
        if held:
            return held.popleft()
        if watch.deferred:
            return self._last()
        self._self_ready = self._self_next
        return self._self_next()

    def _last(self) -> Any:
        """The next chunk of a stream that is closed with the safe text if it breaks."""
        watch: Watch = self._self_watch
        try:
            return self._self_next()
        except StopIteration:
            if watch.early is not None or not watch.cut_short():
                watch.finish()
                raise
            chunk = watch.close_with(BrokenStreamError())
            if chunk is None:
                watch.finish()
                raise
        except BaseException as error:
            chunk = watch.close_with(error)
            if chunk is None:
                watch.fail(error)
                raise
        self._self_read_on(iter(()).__next__)
        return chunk

    def _replace(self, error: BaseException) -> None:
        """Go on with the stream of the next attempt, or let `error` be seen."""
        watch: Watch = self._self_watch
        call = watch.call
        if not stream_failed(call, watch.attempt, error):
            watch.settle()
            if isinstance(error, BrokenStreamError):
                watch.finish()
                return
            watch.fail(error)
            raise error
        self._self_held.clear()
        for attempt in call:
            with attempt:
                stream = self._self_restart(attempt)
                attempt.hand_over()
                watch.begin(attempt, stream)
                self.__wrapped__ = stream
                self._self_step = watch.stepper()
                self._self_read_on(watch.advance(stream))
                return
        self._respond()

    def _respond(self) -> None:
        """The safe response, in the place of a stream."""
        watch: Watch = self._self_watch
        watch.provisional = watch.deferred = False
        self._self_held.clear()
        self._self_held.extend(watch.call.respond(stream=True))
        self._self_read_on(iter(()).__next__)


class AsyncFallbackStream(AsyncStream):
    """The same for async streams."""

    def __init__(self, stream: Any, watch: Watch, restart: Restart) -> None:
        super().__init__(stream, watch)
        watch.provisional = watch.deferred = True
        self._self_held: deque[Any] = deque()
        self._self_restart = restart
        self._self_ready: Any = None

    def __anext__(self) -> Awaitable[Any]:
        # A coroutine less for every chunk, once there is nothing left to decide.
        ready = self._self_ready
        return self._next() if ready is None else ready()

    async def _next(self) -> Any:
        watch: Watch = self._self_watch
        held: deque[Any] = self._self_held
        while watch.provisional:
            try:
                held.append(await self._self_next())
            except StopAsyncIteration:
                if watch.early is None and watch.cut_short():
                    await self._replace(BrokenStreamError())
                elif watch.silenced():
                    self._respond()
                else:
                    watch.settle()
                    watch.finish()
            except BaseException as error:
                await self._replace(error)
            else:
                if watch.first is not None:
                    watch.settle()
        if held:
            return held.popleft()
        if watch.deferred:
            return await self._last()
        self._self_ready = self._self_next
        return await self._self_next()

    async def _last(self) -> Any:
        watch: Watch = self._self_watch
        try:
            return await self._self_next()
        except StopAsyncIteration:
            if watch.early is not None or not watch.cut_short():
                watch.finish()
                raise
            chunk = watch.close_with(BrokenStreamError())
            if chunk is None:
                watch.finish()
                raise
        except BaseException as error:
            chunk = watch.close_with(error)
            if chunk is None:
                watch.fail(error)
                raise
        self._self_read_on(CannedStream([]).__anext__)
        return chunk

    async def _replace(self, error: BaseException) -> None:
        watch: Watch = self._self_watch
        call = watch.call
        if not stream_failed(call, watch.attempt, error):
            watch.settle()
            if isinstance(error, BrokenStreamError):
                watch.finish()
                return
            watch.fail(error)
            raise error
        self._self_held.clear()
        async for attempt in call:
            with attempt:
                stream = self._self_restart(attempt)
                if hasattr(stream, "__await__"):
                    stream = await within(watch.runtime.clock, attempt.answer_within, stream)
                attempt.hand_over()
                watch.begin(attempt, stream)
                self.__wrapped__ = stream
                self._self_read_on(watch.async_advance(stream))
                return
        self._respond()

    def _respond(self) -> None:
        """The safe response, in the place of a stream."""
        watch: Watch = self._self_watch
        watch.provisional = watch.deferred = False
        self._self_held.clear()
        self._self_held.extend(watch.call.respond(stream=True))
        self._self_read_on(CannedStream([]).__anext__)
