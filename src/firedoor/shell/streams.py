"""What a guarded function returned: a value, a stream to watch, or a value yet to come."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any

from firedoor.shell.failover import AsyncFallbackStream, FallbackStream
from firedoor.shell.filtered import AsyncFilteredStream, FilteredStream
from firedoor.shell.proxies import AsyncStream, Proxy, SyncStream
from firedoor.shell.waiting import within
from firedoor.shell.watch import Restart, Watch

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call

__all__ = ["Pending", "is_value", "proxy_for", "reads_at_once"]


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
_PLAIN = Shape.PLAIN


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


def is_value(result: Any) -> bool:
    """Whether `result` is there in full: neither a stream nor to be awaited."""
    kind = type(result)
    shape = _shapes.get(kind)
    return (_shape_of(kind) if shape is None else shape) is _PLAIN


def reads_at_once(result: Any) -> bool:
    """Whether `result` is a stream whose reader waits for nothing but its chunks."""
    return _shape_of(type(result)) in (Shape.ITERATOR, Shape.MANAGER)


def proxy_for(result: Any, call: Call, attempt: Attempt, restart: Restart | None = None) -> Any:
    """A watching proxy for a stream or a value yet to come; None for a finished value."""
    shape = _shape_of(type(result))
    if shape is _PLAIN:
        return None
    if shape is Shape.AWAITABLE:
        return Pending(result, call, attempt, restart)
    watch = Watch(call, attempt, result)
    if shape is Shape.ITERATOR:
        return _sync(result, watch, restart)
    if shape is Shape.ASYNC_ITERATOR:
        return _async(result, watch, restart)
    return StreamManager(result, watch) if shape is Shape.MANAGER else AsyncManager(result, watch)


def _sync(stream: Any, watch: Watch, restart: Restart | None = None) -> Any:
    return _proxied(stream, watch, restart, (SyncStream, FallbackStream, FilteredStream))


def _async(stream: Any, watch: Watch, restart: Restart | None = None) -> Any:
    return _proxied(stream, watch, restart, (AsyncStream, AsyncFallbackStream, AsyncFilteredStream))


def _proxied(
    stream: Any, watch: Watch, restart: Restart | None, colour: tuple[Any, Any, Any]
) -> Any:
    """A stream under watch, replaceable if it can be begun again, filtered if policies ask."""
    plain, fallback, filtered = colour
    call = watch.call
    if restart is not None and call.ladder is not None:
        proxy = fallback(stream, watch, restart)
    else:
        proxy = plain(stream, watch)
    screens = call.route.screens
    outflow = None if screens is None else screens.outflow(call)
    return proxy if outflow is None else filtered(proxy, watch, outflow, screens)


class StreamManager(Proxy):
    """A provider's `with` block around a stream: the stream inside is put under watch."""

    def __enter__(self) -> Any:
        watch: Watch = self._self_watch
        try:
            return _inside(self.__wrapped__.__enter__(), _sync, watch)
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


class AsyncManager(Proxy):
    """The same for `async with`."""

    async def __aenter__(self) -> Any:
        watch: Watch = self._self_watch
        try:
            return _inside(await self.__wrapped__.__aenter__(), _async, watch)
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


def _inside(stream: Any, proxy: Callable[[Any, Watch], Any], watch: Watch) -> Any:
    """Put a helper's stream under watch.

    The helpers have conveniences (`text_stream`, `get_final_message`, `until_done`) that read
    around the helper's own `__next__`, but all through the raw stream that it holds.
    """
    raw = getattr(stream, "_raw_stream", None)
    if raw is None:
        return proxy(stream, watch)
    stream._raw_stream = proxy(raw, watch)
    return stream


class Pending(Proxy):
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
            result = await within(clock, attempt.answer_within, work)
            return attempt.take(await attempt.ascreened(result), restart)
        # Here only where the ladder goes on after a failure.
        async for following in call:
            with following:
                work = restart(following) if restart is not None else None
                result = await within(clock, following.answer_within, work)
                return following.take(await following.ascreened(result), restart)
        return call.respond()
