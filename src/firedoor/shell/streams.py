"""Streams under watch: proxies that stay the provider's own object to whoever holds them.

Classes, not generator functions: `break`, `close`, garbage collection and interpreter exit must all
reach the one finish. The span is current only while a generator's own code runs, inside one step;
nothing is held across a yield.
"""

from __future__ import annotations

import contextvars
import types
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import wrapt
from opentelemetry.context import Context, attach, get_current

from firedoor.extraction import Extract
from firedoor.shell.canned import CannedStream
from firedoor.shell.runtime import Ending
from firedoor.shell.scope import restore
from firedoor.shell.waiting import within
from firedoor.types import Outcome, RouteKind

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call

__all__ = ["AsyncStream", "Pending", "StreamManager", "SyncStream", "Watch", "proxy_for"]

_LEFT = Ending(Outcome.ABANDONED, None, "abandoned")

Restart = Callable[["Attempt"], Any]
"""Makes the stream of another attempt; what an async function returns is to be awaited."""


class BrokenStreamError(Exception):
    """A stream ended before any content without saying that it was finished; never leaves here."""


class Shape(Enum):
    """How a returned object gives its values."""

    PLAIN = 0
    ITERATOR = 1
    ASYNC_ITERATOR = 2
    MANAGER = 3
    ASYNC_MANAGER = 4
    AWAITABLE = 5


_shapes: dict[type, Shape] = {str: Shape.PLAIN, dict: Shape.PLAIN, list: Shape.PLAIN}
_SHAPES_KEPT = 1024


def _shape_of(kind: type) -> Shape:
    shape = _shapes.get(kind)
    if shape is None:
        if len(_shapes) >= _SHAPES_KEPT:  # classes made at run time must not pile up
            _shapes.clear()
        shape = _shapes[kind] = _classify(kind)
    return shape


def _classify(kind: type) -> Shape:
    if hasattr(kind, "__anext__"):
        return Shape.ASYNC_ITERATOR
    if hasattr(kind, "__next__"):
        return Shape.ITERATOR
    if kind.__name__.endswith("StreamManager"):
        # `client.messages.stream(...)` and its like: the stream appears when the block is entered.
        if hasattr(kind, "__aenter__"):
            return Shape.ASYNC_MANAGER
        if hasattr(kind, "__enter__"):
            return Shape.MANAGER
    if hasattr(kind, "__await__"):
        return Shape.AWAITABLE
    return Shape.PLAIN


def proxy_for(result: Any, call: Call, attempt: Attempt, restart: Restart | None = None) -> Any:
    """A watching proxy for a stream or a value yet to come; None for a finished value."""
    shape = _shape_of(type(result))
    if shape is Shape.PLAIN:
        return None
    if shape is Shape.AWAITABLE:
        return Pending(result, call, attempt, restart)
    watch = Watch(call, attempt, result)
    if shape is Shape.ITERATOR:
        if restart is not None and call.ladder is not None:
            return FallbackStream(result, watch, restart)
        return SyncStream(result, watch)
    if shape is Shape.ASYNC_ITERATOR:
        if restart is not None and call.ladder is not None:
            return AsyncFallbackStream(result, watch, restart)
        return AsyncStream(result, watch)
    if shape is Shape.MANAGER:
        return StreamManager(result, watch)
    return AsyncStreamManager(result, watch)


class Watch:
    """Times a stream, reads its chunks, and ends its call once.

    Attributes:
        context: Made current around every step of a generator; None for a provider's stream
            object, which runs no code of the application.
    """

    __slots__ = (
        "__weakref__", "_feed", "_reader", "attempt", "call", "chunks", "context", "first", "gap",
        "now", "provisional", "runtime",
    )  # fmt: skip

    def __init__(self, call: Call, attempt: Attempt, stream: Any) -> None:
        runtime = self.runtime = call.runtime
        self.call = call
        self.now = runtime.now
        self.provisional = False
        self.begin(attempt, stream)
        runtime.opened(self)

    def begin(self, attempt: Attempt, stream: Any) -> None:
        """Watch the stream of this attempt, from its first chunk."""
        self.attempt = attempt
        self.context: Context | None = (
            attempt.enter_context()
            if isinstance(stream, types.GeneratorType | types.AsyncGeneratorType)
            else None
        )
        self._reader: Any = None
        self._feed: Callable[[Any], bool] = _any_content
        if self.call.route.kind is RouteKind.LLM:
            try:
                self._reader = self.runtime.extractors.reader(stream)
                self._feed = self._reader.feed
            except Exception as error:
                self.runtime.internal("extraction", error)
        self.chunks = 0
        self.first: float | None = None
        self.gap: float | None = None

    def saw(self, chunk: Any, asked: float) -> None:
        """Note a chunk that was asked for at `asked`; never raises."""
        try:
            arrived = self.now()
            if self.chunks:
                gap = arrived - asked
                if self.gap is None or gap > self.gap:
                    self.gap = gap
            self.chunks += 1
            if self._feed(chunk) and self.first is None:
                self.first = arrived
        except Exception as error:
            self.runtime.internal("stream", error)

    def stepper(self) -> Callable[..., Any]:
        """Takes one step of a sync stream and notes what came of it.

        A closure, since a step of a stream costs less than looking its parts up on the proxy. A
        generator runs in a context of its own, in which its span is current: entering that is
        cheaper than to swap the span in and out, and nothing can leak from it.
        """
        now, saw = self.now, self.saw
        run: Callable[..., Any] | None = None
        if self.context is not None:
            own = contextvars.copy_context()
            own.run(attach, self.context)
            run = own.run

        def step(advance: Callable[..., Any], *args: Any) -> Any:
            asked = now()
            try:
                chunk = advance(*args) if run is None else run(advance, *args)
            except StopIteration:
                self.ended()
                raise
            except BaseException as error:
                self.broke(error)
                raise
            saw(chunk, asked)
            return chunk

        return step

    def ended(self) -> None:
        """The stream was read to its end, which a provider may have used to tell of an error."""
        if not self.provisional:
            self.finish()

    def finish(self) -> None:
        """End the call with the end of its stream."""
        told = getattr(self._reader, "error", None)
        self._end(None if told is None else self.runtime.told(told))

    def broke(self, error: BaseException) -> None:
        """Reading raised: the provider's fault, the application's, or the consumer's leaving."""
        if not self.provisional:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the call with what reading its stream raised."""
        streaming = self.call.route.kind is RouteKind.LLM
        self._end(self.runtime.ending(error, streaming=streaming))

    def cut_short(self) -> bool:
        """Whether the provider left without saying that it was finished, or told of an error."""
        try:
            reader = self._reader
            return reader is not None and (
                reader.error is not None or reader.result().complete is False
            )
        except Exception as error:
            self.runtime.internal("extraction", error)
            return False

    def settle(self) -> None:
        """From now on the stream is the user's: content was seen, or there is nothing else."""
        self.provisional = False
        if self.call.ladder is not None:
            self.call.ladder.committed()

    def left(self, error: BaseException | None) -> None:
        """The consumer's `with` block around the stream is over."""
        if error is None:
            self.abandon()
        else:
            self.broke(error)

    def abandon(self) -> None:
        """The consumer left, or never came."""
        self._end(_LEFT)

    def _end(self, ending: Ending | None) -> None:
        if self.call.finished:
            return
        extract: Extract | None = None
        try:
            if self._reader is not None and (self.chunks or ending is None):
                extract = self._reader.result()
        except Exception as error:
            self.runtime.internal("extraction", error)
        try:
            self.call.end_stream(
                extract,
                self.attempt,
                ending=ending,
                chunks=self.chunks,
                first=self.first,
                gap=self.gap,
            )
        except Exception as error:
            self.runtime.internal("stream", error)


def _any_content(chunk: Any) -> bool:
    """Routes that are not model calls stream values; each one is content."""
    return chunk is not None


class _Proxy(wrapt.ObjectProxy[Any]):
    """What both colours share: the watch, and the end of the proxy's own life."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream)
        self._self_watch = watch

    def __del__(self) -> None:
        watch = getattr(self, "_self_watch", None)
        if watch is not None and not watch.call.finished:
            watch.runtime.collected(watch)


class SyncStream(_Proxy):
    """A sync stream or generator under watch."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream, watch)
        self._self_step = watch.stepper()
        self._self_advance = stream.__next__

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._self_step(self._self_advance)

    def send(self, value: Any) -> Any:
        """Resume a generator with a value."""
        return self._self_step(self.__wrapped__.send, value)

    def throw(self, *error: Any) -> Any:
        """Raise inside a generator."""
        return self._self_step(self.__wrapped__.throw, *error)

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


class AsyncStream(_Proxy):
    """An async stream or generator under watch."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._step(self.__wrapped__.__anext__)

    async def _step(self, advance: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        watch: Watch = self._self_watch
        asked = watch.now()
        context = watch.context
        try:
            if context is None:
                chunk = await advance(*args)
            else:
                previous = get_current()
                attach(context)
                try:
                    chunk = await advance(*args)
                finally:
                    restore(context, previous)
        except StopAsyncIteration:
            watch.ended()
            raise
        except BaseException as error:
            watch.broke(error)
            raise
        watch.saw(chunk, asked)
        return chunk

    async def asend(self, value: Any) -> Any:
        """Resume an async generator with a value."""
        return await self._step(self.__wrapped__.asend, value)

    async def athrow(self, *error: Any) -> Any:
        """Raise inside an async generator."""
        return await self._step(self.__wrapped__.athrow, *error)

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
                return
        watch.provisional = False
        self._self_held.append(call.respond((), {}, stream=False))
        self.__wrapped__ = CannedStream([])


class StreamManager(_Proxy):
    """A provider's `with` block around a stream: the stream inside is put under watch."""

    def __enter__(self) -> Any:
        watch: Watch = self._self_watch
        try:
            return _watched(self.__wrapped__.__enter__(), SyncStream, watch)
        except BaseException as error:
            watch.broke(error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        self._self_watch.left(error)
        return self.__wrapped__.__exit__(kind, error, trace)


class AsyncStreamManager(_Proxy):
    """The same for `async with`."""

    async def __aenter__(self) -> Any:
        watch: Watch = self._self_watch
        try:
            return _watched(await self.__wrapped__.__aenter__(), AsyncStream, watch)
        except BaseException as error:
            watch.broke(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Any:
        self._self_watch.left(error)
        return await self.__wrapped__.__aexit__(kind, error, trace)


def _watched(stream: Any, proxy: type[_Proxy], watch: Watch) -> Any:
    """Put a helper's stream under watch.

    The helpers have conveniences (`text_stream`, `get_final_message`, `until_done`) that read
    around the helper's own `__next__`, but all through the raw stream that it holds.
    """
    raw = getattr(stream, "_raw_stream", None)
    if raw is None:
        return proxy(stream, watch)
    stream._raw_stream = proxy(raw, watch)
    return stream


class Pending(_Proxy):
    """A value yet to be awaited, returned by a function that is not itself a coroutine function."""

    def __init__(
        self, awaitable: Any, call: Call, attempt: Attempt, restart: Restart | None
    ) -> None:
        super().__init__(awaitable, Watch(call, attempt, awaitable))
        self._self_attempt = attempt
        self._self_restart = restart

    def __await__(self) -> Any:
        return self._settle().__await__()

    async def _settle(self) -> Any:
        watch: Watch = self._self_watch
        attempt: Attempt = self._self_attempt
        restart: Restart | None = self._self_restart
        call, clock = watch.call, watch.runtime.clock
        work: Any = self.__wrapped__
        with attempt.again():
            return attempt.take(await within(clock, attempt.timeout, work), restart)
        # Here only where the ladder goes on after a failure.
        async for following in call:
            with following:
                work = restart(following) if restart is not None else None
                return following.take(await within(clock, following.timeout, work), restart)
        return call.respond((), {}, stream=False)
