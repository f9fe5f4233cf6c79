"""What a rule sees of a signal: samples over stretches of time, whatever keeps them.

Times are seconds, on one monotonic clock. A series is of one signal under one selector; the
windows of several cells, or of several processes, are merged before it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

__all__ = ["Sample", "Selector", "Series", "Shape"]


class Shape(StrEnum):
    """How observations become one value."""

    RATE = "rate"
    """Share of observations that were hits, 0 to 1."""
    MEAN = "mean"
    """Mean of the observed values."""
    QUANTILE = "quantile"
    """A quantile of the observed values."""
    VELOCITY = "velocity"
    """Sum of the observed values per second."""


class Sample(NamedTuple):
    """A signal over one stretch of time.

    Attributes:
        size: Observations.
        total: Of a rate, the hits; otherwise the sum of the values.
        squares: Sum of the squared values; equal to `total` for a rate.
        value: The signal's value; None without observations (a velocity without any is 0).
        seconds: How much of the stretch had been watched: less than asked for just after the start.
        apart: How many calls or requests of the stretch were not answered as configured: by a lower
            tier, under a switch, canned. They are part of the signal as far as a model answered
            them; where they are most of it, it shows what containment does, not that all is well.
    """

    size: int
    total: float
    squares: float
    value: float | None
    seconds: float
    apart: int = 0


class Selector(NamedTuple):
    """Where a signal is looked at. None: everywhere, added up."""

    journey: str | None = None
    route: str | None = None
    alias: str | None = None


class Series(Protocol):
    """One signal under one selector."""

    @property
    def shape(self) -> Shape:
        """How its observations become one value."""
        ...

    @property
    def quantile(self) -> float | None:
        """Which quantile it is, 0 to 1; None: it is none."""
        ...

    def over(self, seconds: float, now: float, *, before: float = 0.0) -> Sample:
        """The `seconds` that ended `before` seconds before `now`.

        Cost is bounded by the number of slots kept, not by the observations.
        """
        ...

    def nested(
        self, windows: Sequence[float], now: float, *, above: float | None = None
    ) -> list[Sample]:
        """One sample for each of `windows` seconds, all of which end now; read in one go.

        Args:
            windows: From the shortest to the longest.
            now: The end of all of them.
            above: As rates instead: the share of the values above this; quantiles only.

        Raises:
            ValueError: If `above` is given and the series keeps no distribution.
        """
        ...

    def above(self, limit: float, seconds: float, now: float) -> Sample:
        """As a rate: the share of the values in the last `seconds` that were above `limit`.

        Raises:
            ValueError: If the series keeps no distribution (a rate).
        """
        ...
