"""Quantiles of a stream, at most 1 % off, in bounded space, that merge exactly.

A DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", VLDB 2019, https://arxiv.org/abs/1908.10693): values are counted in
buckets whose bounds grow by the factor `GROWTH`, and a bucket is read as the value that is at most
`ERROR` away from everything in it. Counts are whole numbers, so that merging is addition: it is
associative and commutative to the bit.

Where the paper bounds the number of buckets by collapsing the smallest, here the range is bounded:
from `LEAST` to `GREATEST` in magnitude, beyond which a value counts as the bound. Negative values
have buckets of their own, and one bucket holds what is nearer to zero than `LEAST`.

Pure: the caller holds the lock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from operator import mul
from typing import Final

__all__ = [
    "BUCKETS",
    "ERROR",
    "GREATEST",
    "GROWTH",
    "LEAST",
    "OFFSET",
    "PER_E",
    "Histogram",
    "add_counts",
    "bucket",
    "quantile",
    "share_above",
    "sums",
    "value_of",
]

GROWTH: Final = 1.02
"""Factor from one bucket's bound to the next."""

ERROR: Final = (GROWTH - 1) / (GROWTH + 1)
"""Greatest relative error of a quantile between `LEAST` and `GREATEST`: 0.99 %."""

LEAST: Final = 1e-6
"""Magnitude below which a value counts as zero: a microsecond, a millionth of a dollar."""

GREATEST: Final = 1e9
"""Magnitude from which on values are no longer told apart."""

PER_E: Final = 1 / math.log(GROWTH)
"""Buckets for each factor of e."""

OFFSET: Final = 1 - math.floor(math.log(LEAST) * PER_E)
"""What makes the bucket above `LEAST` number 1."""

_TOP: Final = math.ceil(math.log(GREATEST) * PER_E) + OFFSET
_MIDDLE: Final = 2 / (GROWTH + 1)

BUCKETS: Final = 2 * _TOP + 1
"""Buckets that there can be at most; a spread of a thousandfold uses 349."""

_log = math.log
_ceil = math.ceil


def bucket(value: float) -> int:
    """The bucket of `value`; buckets are ordered as the values are.

    Raises:
        ValueError: If it is no number.
    """
    if value > LEAST:
        # ceil(log) puts a value into the bucket of which it is at most the upper bound.
        return _ceil(_log(value) * PER_E) + OFFSET if value < GREATEST else _TOP
    if value >= -LEAST:
        return 0
    if value < 0:
        return -bucket(-value)
    raise ValueError(f"{value!r} is no number")


def value_of(place: int) -> float:
    """The value that stands for a bucket: within `ERROR` of all that it holds."""
    return _VALUES[place]


_UPWARD = [float(GROWTH ** (i - OFFSET)) * _MIDDLE for i in range(1, _TOP + 1)]
# A negative index counts from the end, which is where the negative values are.
_VALUES: Final = [0.0, *_UPWARD, *(-value for value in reversed(_UPWARD))]


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The value at `share` of the way from the least to the greatest; None without values.

    As in the paper, without interpolation: of n values in order, number floor(share * (n - 1)),
    counted from 0.

    Args:
        counts: How many values each bucket holds.
        share: From 0 to 1.
    """
    size = sum(counts.values())
    rank = math.floor(share * (size - 1))
    if share > 0.5:
        # The same one, from the other end: nearer, for what is usually asked.
        passed = size
        for place in sorted(counts, reverse=True):
            passed -= counts[place]
            if passed <= rank:
                return _VALUES[place]
        return None
    reached = 0
    for place in sorted(counts):
        reached += counts[place]
        if reached > rank:
            return _VALUES[place]
    return None


def share_above(counts: Mapping[int, int], limit: float) -> tuple[int, int]:
    """How many values there are, and how many of them are above `limit`.

    A bucket counts as a whole, so that values within 2 % of the limit may be on either side.
    """
    bound = bucket(limit)
    total = above = 0
    for place, count in counts.items():
        total += count
        if place > bound:
            above += count
    return total, above


def sums(counts: Mapping[int, int]) -> tuple[int, float, float]:
    """How many values there are, their sum and the sum of their squares, as buckets have them."""
    values = [_VALUES[place] for place in counts]
    weighted = list(map(mul, values, counts.values()))
    return sum(counts.values()), sum(weighted), sum(map(mul, weighted, values))


class Histogram:
    """A distribution: `record` values, `merge` others, ask for a `quantile`.

    Attributes:
        counts: How many values each bucket holds.
    """

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: dict[int, int] = {} if counts is None else dict(counts)

    @classmethod
    def of(cls, values: Iterable[float]) -> Histogram:
        """The distribution of some values."""
        made = cls()
        for value in values:
            made.record(value)
        return made

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.counts == other.counts

    __hash__ = None  # type: ignore[assignment]

    def record(self, value: float) -> None:
        """Add one value.

        Raises:
            ValueError: If it is no number.
        """
        usual = LEAST < value < GREATEST  # as in `bucket`, without the call
        place = _ceil(_log(value) * PER_E) + OFFSET if usual else bucket(value)
        counts = self.counts
        counts[place] = counts.get(place, 0) + 1

    def merge(self, other: Histogram) -> None:
        """Add everything that `other` holds."""
        add_counts(self.counts, other.counts)

    def quantile(self, share: float) -> float | None:
        """See `quantile`."""
        return quantile(self.counts, share)


def add_counts(into: dict[int, int], other: Mapping[int, int]) -> None:
    """Add the counts of `other` to `into`."""
    get = into.get
    for place, count in other.items():
        into[place] = get(place, 0) + count
