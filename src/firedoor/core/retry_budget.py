"""A retry budget: how many retries the whole process may add to a target's troubles.

In an outage every call fails, and a limit per call multiplies the load by it. A budget ties the
retries to the calls that are made anyway. In any window of `window` seconds

    retries <= max(ratio * first attempts, minimum)

so attempts in an outage are at most `1 + ratio` times the calls, once there are more than
`minimum / ratio` of them in a window; below that the minimum lets a quiet process retry at all.
Finagle adds its reserve to the share (RetryBudget: 20 % + 10 a second), Envoy takes the larger of
the two (`retry_budget`: `min_retry_concurrency`); this is Envoy's, as only then does the bound
hold as written.

Sources: https://finagle.github.io/blog/2016/02/08/retry-budgets/ and
https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto

Pure: the caller passes `now` (monotonic seconds) and holds the lock.
"""

from __future__ import annotations

from firedoor.core.window import LANE, TimeWindow, slots_for

__all__ = ["RetryBudget"]

# The lanes of its window.
_FIRST = 1
_RETRY = 1 << LANE
_MASK = _RETRY - 1


class RetryBudget:
    """The retries of one process.

    Args:
        ratio: Retries per first attempt, 0 or more.
        minimum: Retries per window that are always granted.
        window: Seconds looked back on.
    """

    __slots__ = ("_window", "minimum", "ratio", "refused")

    def __init__(self, *, ratio: float = 0.1, minimum: int = 10, window: float = 60.0) -> None:
        self.ratio = ratio
        self.minimum = minimum
        self.refused = 0
        self._window = TimeWindow(window, slots_for(window))

    def attempted(self, times: list[float]) -> None:
        """Calls made their first attempts at these times; empties `times`."""
        self._window.record_all(_FIRST, times)

    def take(self, now: float) -> bool:
        """Whether one more retry may be made; if so it is counted."""
        if self.left(now) < 1:
            self.refused += 1
            return False
        self._window.record(_RETRY, now)
        return True

    def left(self, now: float) -> int:
        """Retries that could be made now."""
        total = self._window.read(now)
        # A share like 0.1 * 30 rounds to just above or below the whole number it is.
        granted = max(int(self.ratio * (total & _MASK) + 1e-9), self.minimum)
        return max(0, granted - (total >> LANE))
