"""Streams that may still become others: another attempt's, before anything was shown.

Chunks are held back until one has content. What breaks after that is the consumer's to see, or is
closed with the safe text; two models' text is never spliced.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from firedoor.shell.canned import CannedStream
from firedoor.shell.proxies import AsyncStream, SyncStream
from firedoor.shell.waiting import within
from firedoor.shell.watch import BrokenStreamError, Restart, Watch

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt

__all__ = ["AsyncFallbackStream", "FallbackStream"]


class FallbackStream(SyncStream):
    """A stream that may still become another one: nothing is shown before its first content.

    Once content is shown, what breaks is the consumer's to see, or is closed with the safe text;
    two models' text is never spliced.
    """

    def __init__(self, stream: Any, watch: Watch, restart: Restart) -> None:
        super().__init__(stream, watch)
        watch.provisional = True
        self._self_held: deque[Any] = deque()
        self._self_restart = restart

    def __next__(self) -> Any:
        watch: Watch = self._self_watch
        held: deque[Any] = self._self_held
        while watch.provisional:
            try:
                held.append(super().__next__())
            except StopIteration:
                if watch.cut_short():
                    self._replace(BrokenStreamError())
                else:
                    watch.settle()
                    watch.finish()
            except BaseException as error:
                self._replace(error)
            else:
                if watch.first is not None:
                    watch.settle()
        return held.popleft() if held else super().__next__()

    def _replace(self, error: BaseException) -> None:
        """Go on with the stream of the next attempt, or let `error` be seen."""
        watch: Watch = self._self_watch
        call = watch.call
        if not call.stream_failed(watch.attempt, error):
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
                self._switch(attempt, stream)
                return
        watch.provisional = False
        self._self_held.append(call.respond((), {}, stream=False))
        self._self_advance = iter(()).__next__

    def _switch(self, attempt: Attempt, stream: Any) -> None:
        watch: Watch = self._self_watch
        attempt.hand_over()
        watch.begin(attempt, stream)
        self.__wrapped__ = stream
        self._self_step = watch.stepper()
        self._self_advance = stream.__next__


class AsyncFallbackStream(AsyncStream):
    """The same for async streams."""

    def __init__(self, stream: Any, watch: Watch, restart: Restart) -> None:
        super().__init__(stream, watch)
        watch.provisional = True
        self._self_held: deque[Any] = deque()
        self._self_restart = restart

    async def __anext__(self) -> Any:
        watch: Watch = self._self_watch
        held: deque[Any] = self._self_held
        while watch.provisional:
            try:
                held.append(await super().__anext__())
            except StopAsyncIteration:
                if watch.cut_short():
                    await self._replace(BrokenStreamError())
                else:
                    watch.settle()
                    watch.finish()
            except BaseException as error:
                await self._replace(error)
            else:
                if watch.first is not None:
                    watch.settle()
        return held.popleft() if held else await super().__anext__()

    async def _replace(self, error: BaseException) -> None:
        watch: Watch = self._self_watch
        call = watch.call
        if not call.stream_failed(watch.attempt, error):
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
                    stream = await within(watch.runtime.clock, attempt.timeout, stream)
                attempt.hand_over()
                watch.begin(attempt, stream)
                self.__wrapped__ = stream
                self._self_advance = stream.__anext__
                return
        watch.provisional = False
        self._self_held.append(call.respond((), {}, stream=False))
        self._self_advance = CannedStream([]).__anext__
