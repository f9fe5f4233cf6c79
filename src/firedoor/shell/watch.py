"""Times a stream, reads its chunks, and ends its call once, however the stream ends."""

from __future__ import annotations

import contextvars
import types
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from firedoor.core.sentence import Sentence
from firedoor.core.switches import InFlight
from firedoor.extraction import Extract, replace_text, text_of
from firedoor.shell.canned import said
from firedoor.shell.current import attach, get_current
from firedoor.shell.endings import Ending
from firedoor.shell.pace import Pace, shut, shut_async
from firedoor.shell.streamed import broken, end_stream, interrupted, switched_off
from firedoor.shell.switched import newly
from firedoor.types import Fault, Outcome, RouteKind

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call
    from firedoor.shell.purse import Purse

__all__ = ["Restart", "Watch"]

_LEFT = Ending(Outcome.ABANDONED, None, "abandoned")
_USED_UP = Ending(Outcome.BLOCKED, Fault.POLICY, "budget_used_up")
_WIDE = 6
_SWITCHED_OFF = Ending(Outcome.CANCELLED, None, "switched_off")

Restart = Callable[["Attempt"], Any]
"""Makes the stream of another attempt; what an async function returns is to be awaited."""


class Watch:
    """Times a stream, reads its chunks, and ends its call once.

    Attributes:
        context: Made current around every step of a generator; None for a provider's stream
            object, which runs no code of the application.
        provisional: The stream may still become another one: nothing was shown.
        deferred: Whoever reads the stream decides what its end means.
        early: Why we ended the stream before its end, if we did: the user has part of an answer.
        last: The last chunk that had content.
        stream: What is read.
    """

    __slots__ = (
        "__weakref__", "_asked", "_board", "_bytes", "_feed", "_pace", "_pieces", "_purse",
        "_reader", "_sentence", "attempt", "call", "chunks", "context", "deferred", "early", "first", "gap", "last", "now", "outflow",
        "provisional", "runtime", "stream",
    )  # fmt: skip

    def __init__(self, call: Call, attempt: Attempt, stream: Any) -> None:
        runtime = self.runtime = call.runtime
        self.call = call
        self.now = runtime.now
        self.provisional = False
        self.deferred = False
        self.outflow: Any = None
        self.early: Ending | None = None
        self._sentence: Sentence | None = None
        self._board: Any = call.board
        self._pace: Pace | None = None
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
        purse = self.call.purse
        self._purse = purse if purse is not None and purse.metered else None
        self._pieces = self._bytes = self._asked = 0
        self.chunks = 0
        self.first: float | None = None
        self.gap = 0.0
        self.last: Any = None
        self.stream = stream
        if self._pace is not None:
            self._pace.stop()
        self.call.route.streams = True
        limited = attempt.timeout or attempt.first_token_within or attempt.idle_within
        self._pace = None if limited is None else Pace(self, self.runtime.clock)

    def advance(self, stream: Any) -> Callable[[], Any]:
        """Reads a sync stream's next chunk, within its time limits if it has any."""
        self.stream = stream
        if self._pace is None:
            return stream.__next__  # type: ignore[no-any-return]
        plan = self.call.route.plan
        enforced = plan is not None and plan.enforced
        return self._pace.paced(stream.__next__, enforced=enforced)

    def async_advance(self, stream: Any) -> Callable[[], Awaitable[Any]]:
        """The same for an async stream."""
        self.stream = stream
        if self._pace is None:
            return stream.__anext__  # type: ignore[no-any-return]
        return self._pace.paced_async(stream.__anext__)

    def saw(self, chunk: Any, asked: float) -> None:
        """Note a chunk that was asked for at `asked`; never raises."""
        try:
            arrived = self.now()
            chunks = self.chunks
            self.chunks = chunks + 1
            if chunks and arrived - asked > self.gap:
                self.gap = arrived - asked
            if self._feed(chunk):
                self.last = chunk
                if self.first is None:
                    self.first = arrived
                if self._purse is not None:
                    self._meter(self._purse, chunk)
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
        switches = self.runtime.switches

        def step(advance: Callable[[], Any]) -> Any:
            if switches.snapshot is not self._board and self.leaving():
                shut(self.stream)
                self.ended()
                raise StopIteration
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
            sentence = self._sentence
            return chunk if sentence is None else self.drained(chunk, sentence)

        return step

    def async_stepper(self) -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
        """The same for async streams. The task's own context is swapped for the time of a step."""
        now, saw = self.now, self.saw
        switches = self.runtime.switches

        async def step(advance: Callable[[], Awaitable[Any]]) -> Any:
            if switches.snapshot is not self._board and self.leaving():
                await shut_async(self.stream)
                self.ended()
                raise StopAsyncIteration
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
            sentence = self._sentence
            return chunk if sentence is None else self.drained(chunk, sentence)

        return step

    # Switches that are set while the stream runs ----------------------------------------------

    def leaving(self) -> bool:
        """Whether the stream ends here, before its next chunk, since a switch wants it to."""
        if self.early is not None:
            return True
        if self.call.finished:
            return False
        try:
            board = self.runtime.switches.snapshot
            wish, switch = newly(self.call, self.attempt, board)
            self._board = board
            if switch is None or wish is InFlight.KEEP:
                return False
            interrupted(self.call, switch)
            if wish is InFlight.DRAIN and self.first is not None:
                self._sentence = Sentence()
                return False
        except Exception as error:
            self.runtime.internal("switches", error)
            return False
        self._leave()
        return True

    def silenced(self) -> bool:
        """Whether a switch ended the stream before it said anything, and the safe response is due."""
        if self.early is not _SWITCHED_OFF or self.first is not None:
            return False
        if not switched_off(self.call, self.attempt, _SWITCHED_OFF):
            return False
        self.early = None
        return True

    def _leave(self) -> None:
        self.early = _SWITCHED_OFF
        self._board = None  # no snapshot is this: every step from now on asks whether to leave

    def drained(self, chunk: Any, sentence: Sentence) -> Any:
        """What of a chunk belongs to the sentence after which the stream ends."""
        try:
            piece = text_of(chunk)
            kept = None if piece is None else sentence.feed(piece)
            if piece is None or kept is None:
                return chunk
            self._leave()
            return chunk if kept >= len(piece) else replace_text(chunk, piece[:kept])
        except Exception as error:
            self.runtime.internal("switches", error)
            return chunk

    # A budget that is used up while the stream runs --------------------------------------------

    def _meter(self, purse: Purse, chunk: Any) -> None:
        """Count output as it flows, from below; end the stream when its hold is used up.

        A piece holds one token or more, and no vocabulary's tokens are `_WIDE` bytes on average.
        """
        self._pieces += 1
        text = text_of(chunk)
        if text:
            self._bytes += len(text)
        made = max(self._pieces, self._bytes // _WIDE)
        if made * 4 < purse.cap * 3:
            return
        if self._asked != purse.cap and not purse.capped:
            self._asked = purse.cap
            purse.extend(self.attempt)
        if made >= purse.cap:
            purse.used_up()
            self.early = _USED_UP
            self._board = None

    # Endings -------------------------------------------------------------------------------

    def ended(self) -> None:
        """The stream was read to its end, which a provider may have used to tell of an error."""
        if not self.deferred:
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
        if not self.deferred:
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
        plan = self.call.route.plan
        self.deferred = plan is not None and plan.on_stream_failure == "close"
        if self.call.ladder is not None:
            self.call.ladder.committed()

    def close_with(self, error: BaseException) -> Any:
        """A last chunk that says the safe text, for a stream that broke; None to let it be seen.

        Only where the fault is the provider's, and what was being said was text.
        """
        call = self.call
        plan = call.route.plan
        try:
            ending = broken(call, error)
            canned = None if plan is None else plan.canned
            if ending.fault is not Fault.TARGET or canned is None or text_of(self.last) is None:
                return None
            args, kwargs = call.given
            safe = said(canned, args, kwargs)
            chunk = replace_text(self.last, str(safe))
        except Exception as fault:
            self.runtime.internal("stream", fault)
            return None
        self.early = ending
        return chunk

    def left(self, error: BaseException | None) -> None:
        """The consumer's `with` block around the stream is over."""
        if error is None:
            self.abandon()
        else:
            self.fail(error)

    def abandon(self) -> None:
        """The consumer left, or never came."""
        self._end(_LEFT)

    def _end(self, ending: Ending | None) -> None:
        if self.call.finished:
            return
        if self._pace is not None:
            self._pace.stop()
        if self.early is not None:
            ending = self.early
        extract: Extract | None = None
        try:
            if self._reader is not None and (self.chunks or ending is None):
                extract = self._reader.result()
        except Exception as error:
            self.runtime.internal("extraction", error)
        if self.outflow is not None:
            self.call.judged(self.outflow.verdicts)
        try:
            end_stream(
                self.call,
                self.attempt,
                extract,
                ending=ending,
                chunks=self.chunks,
                first=self.first,
                gap=self.gap if self.chunks > 1 else None,
                early=self.early is not None,
            )
        except Exception as error:
            self.runtime.internal("stream", error)


def _any_content(chunk: Any) -> bool:
    """Routes that are not model calls stream values; each one is content."""
    return chunk is not None
