"""The retry budget of a process, safe to use from any thread or task."""

from __future__ import annotations

import threading

from firedoor.core.retry_budget import RetryBudget

__all__ = ["Retries"]

BATCH = 128
"""First attempts noted before somebody takes the lock to count them."""


class Retries:
    """How many retries may still be made; see `firedoor.core.retry_budget`.

    Args:
        ratio: Retries per first attempt.
        minimum: Retries per window that are always granted.
        window: Seconds looked back on.
    """

    __slots__ = ("_budget", "_firsts", "_lock")

    def __init__(self, *, ratio: float = 0.1, minimum: int = 10, window: float = 60.0) -> None:
        self._budget = RetryBudget(ratio=ratio, minimum=minimum, window=window)
        self._lock = threading.Lock()
        # Every call passes here: an append is atomic with and without the GIL, a lock costs more.
        self._firsts: list[float] = []

    def attempted(self, now: float) -> None:
        """A call makes its first attempt at `now` (monotonic seconds)."""
        self._firsts.append(now)
        if len(self._firsts) > BATCH:
            with self._lock:
                self._budget.attempted(self._firsts)

    def take(self, now: float) -> bool:
        """Whether one more retry may be made; if so it is counted."""
        with self._lock:
            self._budget.attempted(self._firsts)
            return self._budget.take(now)

    def snapshot(self, now: float) -> dict[str, float]:
        """The budget as plain data."""
        with self._lock:
            self._budget.attempted(self._firsts)
            return {
                "ratio": self._budget.ratio,
                "left": self._budget.left(now),
                "refused": self._budget.refused,
            }
