"""An adaptive concurrency limit: find how many calls a target can take from how it answers.

Two published algorithms, each for what it sees:

- *Latency*: the gradient of Netflix's Gradient2Limit. Compare the mean latency of a sampling
  window with a long-term mean. While it is no longer than `TOLERANCE` times that, the limit may
  grow by a small queue; above, it shrinks in proportion, at most by half, smoothed by `SMOOTHING`:

      gradient = clamp(TOLERANCE * long / short, 0.5, 1.0)
      limit    = limit * (1 - SMOOTHING) + (limit * gradient + sqrt(limit)) * SMOOTHING

- *Drops* (the target's own "too many", time-outs): that gradient does not look at them, so a
  window with any cuts the limit by `BACKOFF`, as TCP and Netflix's AIMDLimit do.

What differs from Netflix's constants, and why: the queue is `sqrt(limit)`, as in their first
gradient, since 4 is a lot beside the handful of calls an LLM route runs; and latencies of LLM
calls scatter with the length of the answer, hence windows of at least `MIN_SAMPLES` calls and a
tolerance above 1.

A known weakness comes with the first one: under an overload that lasts, the long-term mean follows
the latency it causes and the limit creeps up, about twofold in six minutes. A target that says
"too many" stops that; `max_concurrent` bounds it in any case.

Sources: https://github.com/Netflix/concurrency-limits (Gradient2Limit, AIMDLimit, WindowedLimit);
"Performance Under Load", Netflix Technology Blog, 2018.

Pure: the caller passes `now` (monotonic seconds) and holds the lock.
"""

from __future__ import annotations

import math

__all__ = ["Gradient"]

INITIAL = 20
"""Where it begins, within its bounds; Netflix's default."""
SMOOTHING = 0.2
TOLERANCE = 1.5
BACKOFF = 0.9
WINDOW = 1.0
"""Seconds of a sampling window, at least."""
MIN_SAMPLES = 10
LONG_WINDOWS = 600
"""Sampling windows the long-term mean looks back on; Netflix's default."""
WARM_UP = 10
"""Windows over which the long-term mean is a plain mean; Netflix's default."""


class Gradient:
    """The limit of one target, between `minimum` and `maximum`.

    Whoever sees a call end adds to the sampling window what it says, and lets the window end once
    it is time. (These are attributes since a method call is more than `firedoor.core.limiter` can
    afford at each end.)

    Attributes:
        limit: Calls at once, now.
        ends: Monotonic seconds from which on `end` is to be called.
        samples: How many calls told their latency.
        total: Their latencies' sum, seconds.
        busiest: Most calls at once when one ended, itself included.
        dropped: The target was overloaded: it refused a call for that, or timed out.
    """

    __slots__ = (
        "_estimate",
        "_long",
        "_maximum",
        "_minimum",
        "_windows",
        "busiest",
        "dropped",
        "ends",
        "limit",
        "samples",
        "total",
    )

    def __init__(self, minimum: int, maximum: int) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._estimate = float(min(maximum, max(minimum, INITIAL)))
        self.limit = int(self._estimate)
        self._long = 0.0
        self._windows = 0
        self.ends = -math.inf
        self._clear()

    def _clear(self) -> None:
        self.samples = 0
        self.total = 0.0
        self.busiest = 0
        self.dropped = False

    def end(self, now: float) -> int:
        """End the sampling window if it says enough; answers the limit."""
        if self.ends == -math.inf:
            self.ends = now + WINDOW  # it began with the first call that ended
        elif now >= self.ends and (self.dropped or self.samples >= MIN_SAMPLES):
            self._adapt()
            self.ends = now + WINDOW
            self._clear()
        return self.limit

    def _adapt(self) -> None:
        estimate = self._estimate
        if self.dropped:
            estimate *= BACKOFF
        else:
            short = self.total / self.samples
            self._learn(short)
            if self.busiest < estimate / 2:
                return  # the application asks for less than it may: that says nothing of the limit
            gradient = 1.0
            if short > 0:
                gradient = max(0.5, min(1.0, TOLERANCE * self._long / short))
            aimed = estimate * gradient + math.sqrt(estimate)
            estimate += SMOOTHING * (aimed - estimate)
        self._estimate = max(float(self._minimum), min(float(self._maximum), estimate))
        self.limit = int(self._estimate)

    def _learn(self, short: float) -> None:
        self._windows += 1
        weight = 1 / self._windows if self._windows <= WARM_UP else 2 / (LONG_WINDOWS + 1)
        self._long += weight * (short - self._long)
        if self._long > 2 * short:
            # Back from a long overload: do not take hundreds of windows to believe it.
            self._long *= 0.9
