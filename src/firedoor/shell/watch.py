"""Times a stream, reads its chunks, and ends its call once, however the stream ends."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from firedoor.extraction import Extract
from firedoor.shell.current import attach, get_current
from firedoor.shell.runtime import Ending
from firedoor.types import Outcome, RouteKind

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call

__all__ = ["BrokenStreamError", "Restart", "Watch"]

_LEFT = Ending(Outcome.ABANDONED, None, "abandoned")

Restart = Callable[["Attempt"], Any]
"""Makes the stream of another attempt; what an async function returns is to be awaited."""


class BrokenStreamError(Exception):
    """A stream ended before any content without saying that it was finished; never leaves here."""


class Watch:
    """Times a stream, reads its chunks, and ends its call once.

    Attributes:
        context: Made current around every step of a generator; None for a provider's stream
            object, which runs no code of the application.
    """

    __slots__ = (
        "__weakref__", "_feed", "_reader", "attempt", "call", "chunks", "context", "first", "gap",
        "now", "outflow", "provisional", "runtime",
    )  # fmt: skip

    def __init__(self, call: Call, attempt: Attempt, stream: Any) -> None:
        runtime = self.runtime = call.runtime
        self.call = call
        self.now = runtime.now
        self.provisional = False
        self.outflow: Any = None
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
        self.gap = 0.0

    def saw(self, chunk: Any, asked: float) -> None:
        """Note a chunk that was asked for at `asked`; never raises."""
        try:
            arrived = self.now()
            chunks = self.chunks
            self.chunks = chunks + 1
            if chunks and arrived - asked > self.gap:
                self.gap = arrived - asked
            if self._feed(chunk) and self.first is None:
                self.first = arrived
        except Exception as error:
            self.runtime.internal("stream", error)

    def stepper(self) -> Callable[[Callable[[], Any]], Any]:
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

        def step(advance: Callable[[], Any]) -> Any:
            asked = now()
            try:
                chunk = advance() if run is None else run(advance)
            except StopIteration:
                self.ended()
                raise
            except BaseException as error:
                self.broke(error)
                raise
            saw(chunk, asked)
            return chunk

        return step

    def async_stepper(self) -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
        """The same for async streams. The task's own context is swapped for the time of a step."""
        now, saw = self.now, self.saw

        async def step(advance: Callable[[], Awaitable[Any]]) -> Any:
            asked = now()
            context = self.context
            try:
                if context is None:
                    chunk = await advance()
                else:
                    previous = get_current()
                    attach(context)
                    try:
                        chunk = await advance()
                    finally:
                        if get_current() is context:  # as `restore`, without the call
                            attach(previous)
            except StopAsyncIteration:
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
        """The provider's stream is over; the call with it, unless text is still held back."""
        if self.outflow is None:
            self.conclude()

    def conclude(self) -> None:
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
        if self.outflow is not None:
            self.call.judged(self.outflow.verdicts)
        try:
            self.call.end_stream(
                extract,
                self.attempt,
                ending=ending,
                chunks=self.chunks,
                first=self.first,
                gap=self.gap if self.chunks > 1 else None,
            )
        except Exception as error:
            self.runtime.internal("stream", error)


def _any_content(chunk: Any) -> bool:
    """Routes that are not model calls stream values; each one is content."""
    return chunk is not None
