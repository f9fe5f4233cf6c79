"""The stream of an async generator function, whose gates are asked as its first chunk is.

Calling such a function gives a stream at once, in the middle of an event loop. Its gates may have
to wait, for a limiter's place or a shared budget's store; so they are asked where there is something
to await.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firedoor.shell.call import Call

__all__ = ["DeferredStream"]


class DeferredStream:
    """A stream that begins when it is first asked for a chunk.

    A refusal is raised there. One that is never asked has never run: its call is abandoned.

    Args:
        call: It has begun; no gate has been asked.
        begin: Asks the gates, runs the function and answers its stream, or the safe response.
    """

    def __init__(self, call: Call, begin: Callable[[], Awaitable[Any]]) -> None:
        self._call = call
        self._begin: Callable[[], Awaitable[Any]] | None = begin
        self._stream: Any = None
        call.runtime.opened(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await (await self._begun()).__anext__()

    async def asend(self, value: Any) -> Any:
        """Resume the generator with a value; None as long as it has not begun."""
        return await (await self._begun()).asend(value)

    async def athrow(self, *error: Any) -> Any:
        """Raise inside the generator."""
        return await (await self._begun()).athrow(*error)

    async def aclose(self) -> None:
        """Close the generator; the call is abandoned unless it was complete."""
        if self._stream is not None:
            await self._stream.aclose()
        self.abandon()

    async def _begun(self) -> Any:
        begin, self._begin = self._begin, None
        if begin is not None:
            self._stream = await begin()
        elif self._stream is None:
            raise StopAsyncIteration  # closed, refused, or cancelled as it began
        return self._stream

    def abandon(self) -> None:
        """The consumer never came."""
        self._begin = None
        if self._stream is None:
            self._call.fail(GeneratorExit())

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None and self._stream is None and not call.finished:
            call.runtime.collected(self)
