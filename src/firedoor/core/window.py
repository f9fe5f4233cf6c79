"""Rolling counts over the last N calls or the last N seconds, in constant time and space.

A breaker counts several things of each call: that it was made, that it failed, that it was slow.
Here they are the 32-bit lanes of *one* integer, `Tally`: lane 0 counts the calls, the lanes above
count the calls that carried a mark.

```
   slow first token |  timed streams |    slow calls |     failures |       calls
 --------- bit 128 -+------- bit 96 -+------ bit 64 -+----- bit 32 -+------ bit 0
```

One addition records a call whatever it carries, one subtraction evicts one, and a window of good
calls only is a small number: `total <= CALLS` is the whole test on the usual path. A lane would
overflow at 2**32 calls inside one window.

*Count window*: a ring of the last N outcomes. Writing over the oldest slot subtracts it first.

*Time window*: a ring of N partial sums and the running total. What falls out of the window is
subtracted as its slot is used again, so nothing is ever summed up. Only the total is touched when
a call is recorded; the newest partial sum is what the total has gained since its slot began:

```
 slots    [ 3 ][ 0 ][ 5 ][ 2 ][ . ]        total = 3+0+5+2+(gain since the newest slot began)
                           newest ^        next slot: total -= oldest, then gain counts afresh
```

A time window answers for at least `seconds - seconds / slots` and at most `seconds`: it forgets a
slot at a time. The technique is that of resilience4j's sliding windows.

Pure: the caller passes `now` (monotonic seconds) and holds the lock.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = [
    "CALL",
    "CALLS",
    "FAILURE",
    "LANE",
    "NOTHING",
    "SLOW",
    "SLOW_FIRST_TOKEN",
    "TIMED",
    "CountWindow",
    "Counts",
    "TimeWindow",
    "slots_for",
]

LANE = 32
CALLS = (1 << LANE) - 1
"""The mask of a lane, and so the largest total that holds nothing but unmarked calls."""

CALL = 1
FAILURE = 1 << LANE
SLOW = 1 << 2 * LANE
TIMED = 1 << 3 * LANE
"""The call was a stream whose time to first content is known."""
SLOW_FIRST_TOKEN = 1 << 4 * LANE

_FAR_PAST = -(1 << 62)


class Counts(NamedTuple):
    """What a window holds, lane by lane."""

    calls: int = 0
    failures: int = 0
    slow: int = 0
    timed: int = 0
    slow_first_token: int = 0

    @classmethod
    def of(cls, total: int) -> Counts:
        """The lanes of a tally."""
        return cls(
            total & CALLS,
            total >> LANE & CALLS,
            total >> 2 * LANE & CALLS,
            total >> 3 * LANE & CALLS,
            total >> 4 * LANE & CALLS,
        )


NOTHING = Counts()


class CountWindow:
    """The last `size` calls."""

    __slots__ = ("_next", "_ring", "total")

    turn = -math.inf
    """Every call makes this window forget one."""

    def __init__(self, size: int) -> None:
        self._ring = [0] * size
        self._next = 0
        self.total = 0

    def record(self, delta: int, now: float) -> int:  # noqa: ARG002 - the interface of both windows
        """Add one call, `CALL` plus its marks; returns the new total."""
        at = self._next
        ring = self._ring
        self.total = total = self.total + delta - ring[at]
        ring[at] = delta
        at += 1
        self._next = at if at < len(ring) else 0
        return total

    def record_all(self, delta: int, times: list[float]) -> None:
        """Empty `times`, adding `delta` for each; others may append meanwhile."""
        taken = len(times)
        del times[:taken]
        for _ in range(taken):
            self.record(delta, 0.0)

    def read(self, now: float) -> int:  # noqa: ARG002
        """The total; time changes nothing here."""
        return self.total


class TimeWindow:
    """The calls of the last `seconds`, forgotten in steps of `seconds / slots`.

    `now` may run a little backwards between threads: a late one counts in the newest slot.

    Attributes:
        total: The tally, as of the last call.
        turn: When the newest slot ends; nothing is forgotten before.
    """

    __slots__ = ("_base", "_newest", "_ring", "_width", "total", "turn")

    def __init__(self, seconds: float, slots: int) -> None:
        self._ring = [0] * slots
        self._width = seconds / slots
        self._newest = _FAR_PAST
        self.turn = -math.inf
        self._base = 0  # the total as the newest slot began
        self.total = 0

    def record(self, delta: int, now: float) -> int:
        """Add `delta` at `now`; returns the new total."""
        if now >= self.turn:
            self._advance(now)
        self.total = total = self.total + delta
        return total

    def record_all(self, delta: int, times: list[float]) -> None:
        """Empty `times`, adding `delta` for each; others may append meanwhile."""
        batch = times[:]
        del times[: len(batch)]
        if batch and max(batch) < self.turn:
            self.total += delta * len(batch)
            return
        for now in batch:
            self.record(delta, now)

    def read(self, now: float) -> int:
        """The total at `now`."""
        if now >= self.turn:
            self._advance(now)
        return self.total

    def _advance(self, now: float) -> None:
        ring = self._ring
        slots = len(ring)
        newest = self._newest
        ring[newest % slots] = self.total - self._base
        # Rounding may put a `now` that has reached the turn into the slot before it.
        reached = max(math.floor(now / self._width), newest + 1)
        if reached - newest >= slots:
            self._ring = [0] * slots
            self.total = 0
        else:
            for slot in range(newest + 1, reached + 1):
                self.total -= ring[slot % slots]
                ring[slot % slots] = 0
        self._base = self.total
        self._newest = reached
        self.turn = (reached + 1) * self._width


def slots_for(seconds: float) -> int:
    """How finely a time window is cut: a slot a second as in resilience4j, but 10 to 60 of them."""
    return min(60, max(10, math.ceil(seconds)))
