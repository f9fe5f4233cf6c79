"""For tests of applications that use firedoor, and for firedoor's own: time that stands still."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable

__all__ = ["FakeClock"]


_Sleeper = tuple[float, int, Callable[[], None]]


class FakeClock:
    """A clock that moves only when told to.

    `advance` moves it and wakes, in the order of their times, the threads and tasks that sleep on
    it; each of them finds the clock at the time it asked for or later. Thread-safe.

    Args:
        start: The first value of `now()`, seconds.
        wall: Seconds since the epoch at that moment.
        auto: Let a sleep move the clock by itself and return at once, for tests with a single
            thread, where nobody else could.
    """

    def __init__(
        self, start: float = 0.0, *, wall: float = 1_700_000_000.0, auto: bool = False
    ) -> None:
        self._now = start
        self._offset_ns = int((wall - start) * 1e9)
        self._auto = auto
        self._lock = threading.Lock()
        self._sleepers: list[_Sleeper] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._now

    def time_ns(self) -> int:
        """Wall time, nanoseconds since the epoch; moves with `now()`."""
        return self._offset_ns + int(self._now * 1e9)

    @property
    def sleeping(self) -> int:
        """How many threads and tasks wait for the clock to move."""
        with self._lock:
            return len(self._sleepers)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` and wake who is due on the way."""
        if seconds < 0:
            raise ValueError(f"advance({seconds!r}): time does not run backwards")
        target = self._now + seconds
        while True:
            with self._lock:
                if not self._sleepers or self._sleepers[0][0] > target:
                    self._now = target
                    return
                due, _, wake = heapq.heappop(self._sleepers)
                self._now = max(self._now, due)
            wake()

    def sleep(self, seconds: float) -> None:
        """Block the calling thread until the clock has moved by `seconds`."""
        if self._auto:
            self.advance(max(0.0, seconds))
        elif seconds > 0:
            woken = threading.Event()
            self._add(seconds, woken.set)
            woken.wait()

    async def asleep(self, seconds: float) -> None:
        """Suspend the calling task until the clock has moved by `seconds`."""
        if self._auto:
            self.advance(max(0.0, seconds))
        if self._auto or seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        sleeper = self._add(seconds, lambda: _wake(loop, woken))
        try:
            await woken.wait()
        finally:
            self._remove(sleeper)

    def wait(self, event: threading.Event, seconds: float) -> None:
        """Block the calling thread until `event` is set; moving by `seconds` sets it."""
        if self._auto and not event.is_set():
            self.advance(max(0.0, seconds))
        elif seconds > 0:
            sleeper = self._add(seconds, event.set)
            try:
                event.wait()
            finally:
                self._remove(sleeper)

    def _add(self, seconds: float, wake: Callable[[], None]) -> _Sleeper:
        with self._lock:
            sleeper = (self._now + seconds, next(self._order), wake)
            heapq.heappush(self._sleepers, sleeper)
        return sleeper

    def _remove(self, sleeper: _Sleeper) -> None:
        with self._lock:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(woken.set)
