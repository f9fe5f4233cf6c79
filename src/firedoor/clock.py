"""The one place that reads time.

Everything that decides takes `now` as an argument; everything that waits asks the clock of its
door. `firedoor.testing.FakeClock` stands in for it in tests.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Protocol, cast, runtime_checkable

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock"]


@runtime_checkable
class Clock(Protocol):
    """What a door asks of time.

    `now` is monotonic and only good for differences; `time_ns` is wall time for records. The two
    sleeps wait for `seconds` of the *clock's* time, so that a fake clock can wake its sleepers.
    """

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def time_ns(self) -> int:
        """Wall time, nanoseconds since the epoch."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block the calling thread for `seconds`."""
        ...

    async def asleep(self, seconds: float) -> None:
        """Suspend the calling task for `seconds`."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> object:
        """Block the calling thread until `event` is set, for `seconds` at most.

        The event is the waiter's own; a clock may set it to wake the thread, so look elsewhere
        for what happened.
        """
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    # Bound as they are: a Python-level method would double the cost of reading the clock.
    now = staticmethod(time.perf_counter)
    time_ns = staticmethod(time.time_ns)
    sleep = staticmethod(time.sleep)
    asleep = staticmethod(asyncio.sleep)
    wait = staticmethod(threading.Event.wait)


SYSTEM_CLOCK = cast("Clock", SystemClock())
