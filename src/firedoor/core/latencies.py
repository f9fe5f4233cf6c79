"""The recent latencies of a route, as a histogram in constant space.

Buckets grow by the factor 2 ** (1/8), so a quantile is off by at most 9 %. Two generations of
`GENERATION` samples each: what is read are the last 256 to 512 answers, however old, and a route
that has changed is known by its new figures after so many.

Pure: the caller holds the lock.
"""

from __future__ import annotations

import math

__all__ = ["ENOUGH", "Latencies"]

ENOUGH = 20
"""Samples before there is a quantile: with fewer, the 95th percentile is the slowest of them."""

GENERATION = 256
_PER_DOUBLING = 8
_LEAST = 1e-6


class Latencies:
    """How long answers took of late."""

    __slots__ = ("_filled", "_new", "_old")

    def __init__(self) -> None:
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._filled = 0

    def record(self, seconds: float) -> None:
        """Add one."""
        bucket = math.ceil(_PER_DOUBLING * math.log2(max(seconds, _LEAST)))
        if self._filled >= GENERATION:
            self._old, self._new, self._filled = self._new, {}, 0
        self._new[bucket] = self._new.get(bucket, 0) + 1
        self._filled += 1

    def quantile(self, share: float) -> float | None:
        """Seconds that `share` of the answers took at most; None before there are `ENOUGH`."""
        counts = dict(self._old)
        for bucket, count in self._new.items():
            counts[bucket] = counts.get(bucket, 0) + count
        total = sum(counts.values())
        if total < ENOUGH:
            return None
        reached = 0
        for bucket in sorted(counts):
            reached += counts[bucket]
            if reached >= share * total:
                break
        return float(2 ** (bucket / _PER_DOUBLING))
