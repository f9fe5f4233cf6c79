"""Holds a stream to its time limits: to first content, between chunks, and in all.

An async stream that waits too long has its step cancelled by one timer, which is set again only
when it rings too early, so that a chunk costs two stores and no timer. A sync stream can be held to
them between its steps, or within one from a worker thread. Streams without limits never come here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from firedoor.clock import SystemClock

if TYPE_CHECKING:
    from firedoor.clock import Clock
    from firedoor.shell.watch import Watch
    from firedoor.shell.workers import Job

__all__ = ["Pace", "shut", "shut_async"]

_INSTANT = 1e-6
"""Seconds by which a timer may ring early; asking again for less would spin."""


class Pace:
    """The limits of one attempt's stream, as times on the door's clock.

    Args:
        watch: The stream's watch: knows whether there was content.
        clock: The door's.
    """

    __slots__ = ("_asked", "_cancelling", "_clock", "_first", "_idle", "_rang", "_task", "_timer",
                 "_total", "_watch")  # fmt: skip

    def __init__(self, watch: Watch, clock: Clock) -> None:
        attempt = watch.attempt
        began = attempt.began
        self._watch = watch
        self._clock = clock
        self._total = math.inf if attempt.timeout is None else began + attempt.timeout
        within = attempt.first_token_within
        self._first = math.inf if within is None else began + within
        self._idle = math.inf if attempt.idle_within is None else attempt.idle_within
        self._asked = 0.0
        self._task: asyncio.Task[Any] | None = None
        self._timer: Any = None
        self._rang = False
        self._cancelling = 0

    def _due(self) -> float:
        """When the step that runs has taken too long."""
        watch = self._watch
        due = self._total
        if watch.first is None and self._first < due:
            due = self._first
        if watch.chunks and self._asked + self._idle < due:
            due = self._asked + self._idle
        return due

    def _late(self, now: float) -> TimeoutError:
        attempt = self._watch.attempt
        if self._watch.first is None and now + _INSTANT >= self._first:
            return TimeoutError(f"no content within {attempt.first_token_within:g} s (first_token)")
        if now + _INSTANT >= self._total:
            return TimeoutError(f"the stream was not over within {attempt.timeout:g} s (timeout)")
        return TimeoutError(f"the stream paused for more than {attempt.idle_within:g} s (idle)")

    def _over(self, now: float) -> bool:
        """Whether the time is up before the step that begins at `now`."""
        self._asked = now
        return now >= self._total or (now >= self._first and self._watch.first is None)

    # Async ---------------------------------------------------------------------------------

    def paced_async(self, advance: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """`advance`, cancelled where a step takes too long, which is then a `TimeoutError`."""
        clock, current_task = self._clock.now, asyncio.current_task

        async def paced() -> Any:
            now = clock()
            if self._over(now):
                await shut_async(self._watch.stream)
                raise self._late(now)
            self._task = current_task()
            if self._timer is None:
                self._arm(now)
            try:
                return await advance()
            except asyncio.CancelledError:
                if not self._ours():
                    raise
                late = self._late(self._clock.now())
                await shut_async(self._watch.stream)
                raise late from None
            finally:
                self._task = None

        return paced

    def _ours(self) -> bool:
        """Whether the timer cancelled the step, and nobody else did."""
        task = self._task
        if not self._rang or task is None:
            return False
        self._rang = False
        return task.uncancel() <= self._cancelling

    def _arm(self, now: float) -> None:
        # Content may come before the timer rings, and then a pause may be over sooner than the
        # wait for content would have been: never later than one pause from now.
        seconds = max(0.0, min(self._due(), now + self._idle) - now)
        if seconds == math.inf:
            return
        if isinstance(self._clock, SystemClock):
            self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)
        else:
            self._timer = asyncio.ensure_future(self._sleep(seconds))

    async def _sleep(self, seconds: float) -> None:
        await self._clock.asleep(seconds)
        self._ring()

    def _ring(self) -> None:
        self._timer = None
        task = self._task
        if task is None:
            return  # nobody waits: the next step sets the timer
        now = self._clock.now()
        if now + _INSTANT < self._due():
            self._arm(now)
            return
        self._rang = True
        self._cancelling = task.cancelling()
        task.cancel()

    def stop(self) -> None:
        """The stream is over."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # Sync ----------------------------------------------------------------------------------

    def paced(self, advance: Callable[[], Any], *, enforced: bool) -> Callable[[], Any]:
        """`advance`, not begun once the time is up; `enforced` from a worker thread, ended too."""
        clock = self._clock.now
        workers = self._watch.runtime.workers
        stream = self._watch.stream

        def given_back(_: Job) -> None:
            shut(stream)

        def checked() -> Any:
            now = clock()
            if self._over(now):
                shut(stream)
                raise self._late(now)
            return advance()

        def paced() -> Any:
            now = clock()
            if self._over(now):
                shut(stream)
                raise self._late(now)
            left = self._due() - now
            if left == math.inf:
                return advance()
            job = workers.start(advance)
            workers.wait([job], job.bell, left)
            if not workers.abandon(job, given_back):
                return job.result()
            raise self._late(clock())

        return paced if enforced else checked


def shut(stream: Any) -> None:
    """Close a stream nobody will read on; what goes wrong with that is nobody's concern."""
    try:
        close = getattr(stream, "close", None)
        if close is not None:
            close()
    except Exception:
        return


async def shut_async(stream: Any) -> None:
    """The same for async streams."""
    try:
        close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
        if close is not None:
            await close()
    except Exception:
        return
