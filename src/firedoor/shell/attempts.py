"""The block form that can fall back, and what becomes of it when its loop is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from firedoor.errors import ConfigurationError, Denied
from firedoor.records import Decision
from firedoor.shell.attempt import Attempt
from firedoor.shell.call import Call
from firedoor.shell.reaper import REAPER
from firedoor.shell.switched import kept_safe

__all__ = ["Attempts", "not_run"]


class Attempts:
    """The attempts of one call: `for attempt in guard.attempts(): with attempt: ...`.

    `async for` likewise. The loop ends with the attempt that went well. Where every tier has failed
    or was refused it raises, unless the last one is `Canned`: then it ends, and `response` is what
    to answer with.

    Attributes:
        response: The safe response, once nothing but it is left; None otherwise.
    """

    __slots__ = ("__weakref__", "_call", "_last", "response")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._last: Attempt | None = None
        self.response: Any = None
        REAPER.arm()

    @property
    def decision(self) -> Decision | None:
        """The call's decision once it has ended; None before."""
        return self._call.decision

    @property
    def finished(self) -> bool:
        """Whether the call has ended."""
        return self._call.finished

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        if self._passed_over():
            raise StopIteration
        try:
            attempt = self._last = next(self._call)
        except StopIteration:
            self._respond()
            raise
        return attempt

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return self

    async def __anext__(self) -> Attempt:
        if self._passed_over():
            raise StopAsyncIteration
        try:
            attempt = self._last = await anext(self._call)
        except StopAsyncIteration:
            self._respond()
            raise
        return attempt

    def _respond(self) -> None:
        ladder = self._call.ladder
        if ladder is not None and ladder.served is not None and not self._call.finished:
            self.response = self._call.respond()

    def _passed_over(self) -> bool:
        """Whether the last attempt was never entered; then the call ends here."""
        last = self._last
        if last is None or last.entered or self._call.finished:
            return False
        self.abandon()
        return True

    def abandon(self) -> None:
        """The loop was left with nothing that could end the call: give back what it holds."""
        call = self._call
        if call.finished:
            return
        ladder = call.ladder
        error: BaseException = GeneratorExit()
        if ladder is not None:
            error = ladder.error or error
            ladder.withdraw()
        call.fail(error)

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        # One that runs, or has handed over to a stream, ends the call by itself.
        if call is not None and not call.finished and not (self._last and self._last.busy):
            call.runtime.collected(self)


def not_run(call: Call) -> BaseException:
    """What a block raises whose body cannot run: nothing but a canned response is left.

    Its call is over then.
    """
    ladder = call.ladder
    switched = call.switched
    error: BaseException | None = None
    if ladder is not None:
        error = ladder.error or ladder.denied
    if error is None and switched is not None:
        error = kept_safe(switched, call.route, call.record.time)
    if error is None:
        error = ConfigurationError(
            f"{call.route.id} as a block has no tier to run: a canned response needs the decorator "
            "or the .attempts() form"
        )
    if not call.finished:
        call.fail(error)
    if isinstance(error, Denied) and error.decision is None:
        error.decision = call.decision
    return error
