"""Whether a request goes round in circles: too many calls, the same tool call, money at a rate.

An agent that loops is within every budget until it has spent it. Three signs come earlier, and each
is a bound of one request:

- more calls than any good run makes;
- the same tool with the same arguments, over and over;
- more micro-dollars a second, over the last seconds, than any good run spends.

Pure: the caller passes `now` (monotonic seconds) and holds the lock. Memory is bounded: at most
`REMEMBERED` different tool calls, the oldest forgotten first, and `SLOTS` sums of money.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["REMEMBERED", "SLOTS", "LoopGuard", "LoopLimits", "Runaway", "RunawayKind"]

REMEMBERED = 256
"""Different tool calls of a request whose repetitions are counted."""

SLOTS = 16
"""Parts of the window in which money is added up; a part too old by 1/16 of it still counts."""


class RunawayKind(StrEnum):
    """The sign by which a loop was told."""

    CALLS = "calls"
    IDENTICAL_CALLS = "identical_calls"
    VELOCITY = "velocity"


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """The bounds of one request. None: not watched.

    Attributes:
        calls: Calls of every kind.
        identical_calls: Calls of one route with the same arguments.
        micro_usd_per_second: Spending over `window`.
        window: Seconds over which spending is averaged.
    """

    calls: int | None = None
    identical_calls: int | None = None
    micro_usd_per_second: float | None = None
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Runaway:
    """A bound that was reached: `seen` where `limit` is allowed."""

    kind: RunawayKind
    seen: float
    limit: float

    def __str__(self) -> str:
        match self.kind:
            case RunawayKind.CALLS:
                return f"the request has made its {self.limit:g} calls"
            case RunawayKind.IDENTICAL_CALLS:
                return f"the same call with the same arguments was made {self.limit:g} times"
            case RunawayKind.VELOCITY:
                return (
                    f"the request spends {self.seen * 60 / 1e6:.4g} USD a minute; "
                    f"{self.limit * 60 / 1e6:.4g} are allowed"
                )


class LoopGuard:
    """One request's circles.

    Attributes:
        limits: What it may do.
        calls: Calls admitted so far.
    """

    __slots__ = ("_seen", "_spent", "calls", "limits")

    def __init__(self, limits: LoopLimits) -> None:
        self.limits = limits
        self.calls = 0
        self._seen: dict[Hashable, int] = {}
        self._spent: deque[tuple[int, int]] = deque(maxlen=SLOTS + 1)

    def admit(self, now: float, signature: Hashable | None = None) -> Runaway | None:
        """Whether the request may make one more call; it is counted if so.

        Args:
            now: Monotonic seconds.
            signature: Of route and arguments, by value, as a hash; None: not compared with others.
        """
        limits = self.limits
        if limits.calls is not None and self.calls >= limits.calls:
            return Runaway(RunawayKind.CALLS, self.calls + 1, limits.calls)
        again = 0
        if signature is not None and limits.identical_calls is not None:
            again = self._seen.pop(signature, 0)
            if again >= limits.identical_calls:
                self._seen[signature] = again
                return Runaway(RunawayKind.IDENTICAL_CALLS, again + 1, limits.identical_calls)
        runaway = self._too_fast(now)
        if signature is not None and limits.identical_calls is not None:
            # Put back as the newest, so that what repeats is what is remembered.
            if runaway is None or again:
                self._seen[signature] = again + (runaway is None)
            if len(self._seen) > REMEMBERED:
                del self._seen[next(iter(self._seen))]
        if runaway is None:
            self.calls += 1
        return runaway

    def spent(self, micro_usd: int, now: float) -> None:
        """A call of the request has cost this much."""
        if self.limits.micro_usd_per_second is None or micro_usd <= 0:
            return
        slot = self._slot(now)
        if self._spent and self._spent[-1][0] >= slot:
            last, before = self._spent[-1]
            self._spent[-1] = (last, before + micro_usd)
        else:
            self._spent.append((slot, micro_usd))

    def _slot(self, now: float) -> int:
        return int(now * SLOTS / self.limits.window)

    def _too_fast(self, now: float) -> Runaway | None:
        limit = self.limits.micro_usd_per_second
        if limit is None or not self._spent:
            return None
        oldest = self._slot(now) - SLOTS
        while self._spent and self._spent[0][0] < oldest:
            self._spent.popleft()
        speed = sum(amount for _, amount in self._spent) / self.limits.window
        return Runaway(RunawayKind.VELOCITY, speed, limit) if speed > limit else None
