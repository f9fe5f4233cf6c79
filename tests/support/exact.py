"""A series that keeps every observation: slow and exact, to test rules with."""

import bisect
import math

from firedoor.core.series import Sample, Shape


class ExactSeries:
    def __init__(self, shape=Shape.RATE, quantile=None, start=0.0):
        self.shape = Shape(shape)
        self.quantile = quantile
        self.start = start
        self._times = []
        self._values = []
        self._sums = [0.0]
        self._squares = [0.0]

    def add(self, at, value):
        value = float(value)
        self._times.append(at)
        self._values.append(value)
        self._sums.append(self._sums[-1] + value)
        self._squares.append(self._squares[-1] + value * value)

    def feed(self, begin, end, values):
        """Spread `values` evenly over (begin, end]."""
        values = list(values)
        for index, value in enumerate(values, 1):
            self.add(begin + (end - begin) * index / len(values), value)

    def _range(self, seconds, now, before=0.0):
        end = now - before
        low = bisect.bisect_right(self._times, end - seconds)
        return low, max(low, bisect.bisect_right(self._times, end))

    def over(self, seconds, now, *, before=0.0):
        low, high = self._range(seconds, now, before)
        size = high - low
        total = self._sums[high] - self._sums[low]
        squares = self._squares[high] - self._squares[low]
        watched = max(0.0, min(seconds, now - before - self.start))
        if self.shape is Shape.VELOCITY:
            value = total / watched if watched else 0.0
        elif not size:
            value = None
        elif self.shape is Shape.QUANTILE:
            ordered = sorted(self._values[low:high])
            value = ordered[max(0, math.ceil(self.quantile * size) - 1)]
        else:
            value = total / size
        return Sample(size, total, squares, value, watched)

    def nested(self, windows, now, *, above=None):
        return [self.over(w, now) if above is None else self.above(above, w, now) for w in windows]

    def above(self, limit, seconds, now):
        if self.shape is Shape.RATE:
            raise ValueError("a rate keeps no distribution")
        low, high = self._range(seconds, now)
        hits = sum(value > limit for value in self._values[low:high])
        size = high - low
        watched = max(0.0, min(seconds, now - self.start))
        return Sample(size, hits, hits, hits / size if size else None, watched)
