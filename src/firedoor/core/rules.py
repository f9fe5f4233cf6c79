"""Rules: when a signal is in breach. Declared once, judged again and again; public as `fd.rules`.

A rule is a frozen value. `judge` reads a series at a moment and answers a `Reading`; what a rule
has to remember between two readings it keeps in the `Memory` it is handed, so that one rule can
serve many series and every run over the same observations is the same.

Which one:

- `Above`, `Below`: a level that is known to be too much.
- `Shift`: now against before, where the level depends on the application.
- `Cusum`: likewise, over windows of every length at once, so that both a sudden large and a slow
  small worsening are seen as soon as the observations allow. The default alerts use it.
- `BurnRate`: an objective of 94 % or more, and how fast its error budget is used up.
"""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from pydantic import Field

from firedoor.config import Count, Seconds, declarative
from firedoor.core import evidence
from firedoor.core.burn_rate import BurnRate
from firedoor.core.cusum import Cusum
from firedoor.core.evidence import Reference
from firedoor.core.reading import Memory, Reading, Worse, describe, no_data
from firedoor.core.series import Sample, Series, Shape

__all__ = ["Above", "Below", "BurnRate", "Cusum", "Memory", "Reading", "Rule", "Shift"]

_DAY: Final = 86_400.0
_OVERLAP: Final = 8.0


@runtime_checkable
class Rule(Protocol):
    """What `fd.Alert(rule=...)` takes: the rules here, or one of your own."""

    def judge(self, series: Series, now: float, memory: Memory) -> Reading:
        """How the signal stands at `now`."""
        ...

    def refuses(self, shape: Shape) -> str | None:
        """Why the rule cannot judge signals of this shape; None: it can."""
        ...


@declarative
class Above:
    """The signal is above a level.

    Attributes:
        limit: The level, in the signal's unit.
        window: Seconds looked back on.
        minimum: Observations below which nothing is said.
        clear: The level at or below which it is over. Default: four fifths of `limit`.
    """

    limit: float = Field(allow_inf_nan=False)
    window: Seconds = 300.0
    minimum: Count = 20
    clear: float | None = Field(default=None, allow_inf_nan=False, kw_only=True)

    def check(self) -> None:
        """It clears below the level it fires at."""
        if self.clear is not None and self.clear > self.limit:
            raise ValueError(
                f"clear={self.clear:g} is above limit={self.limit:g}: it would clear while in "
                "breach; give a lower one"
            )

    @property
    def clears_at(self) -> float:
        """The level at or below which it is over."""
        return self.limit - abs(self.limit) / 5 if self.clear is None else self.clear

    def judge(self, series: Series, now: float, memory: Memory) -> Reading:
        """The value over the window against the limit."""
        del memory
        return _level(self, series, now, self.clears_at, 1)

    def refuses(self, shape: Shape) -> str | None:
        """Any shape has a level; a share has one up to 1."""
        if shape is Shape.RATE and self.limit >= 1:
            return f"limit={self.limit:g} is a share of 1 or more, which no rate is above"
        return None


@declarative
class Below:
    """The signal is below a level.

    Attributes:
        limit: The level, in the signal's unit.
        window: Seconds looked back on.
        minimum: Observations below which nothing is said.
        clear: The level at or above which it is over. Default: a quarter above `limit`, and of
            rates no more than half of what is missing to 1.
    """

    limit: float = Field(allow_inf_nan=False)
    window: Seconds = 300.0
    minimum: Count = 20
    clear: float | None = Field(default=None, allow_inf_nan=False, kw_only=True)

    def check(self) -> None:
        """It clears above the level it fires at."""
        if self.clear is not None and self.clear < self.limit:
            raise ValueError(
                f"clear={self.clear:g} is below limit={self.limit:g}: it would clear while in "
                "breach; give a higher one"
            )

    def judge(self, series: Series, now: float, memory: Memory) -> Reading:
        """The value over the window against the limit."""
        del memory
        clear = self.clear
        if clear is None:
            clear = self.limit + abs(self.limit) / 4
            if series.shape is Shape.RATE:
                clear = min(clear, (1 + self.limit) / 2)
        return _level(self, series, now, clear, -1)

    def refuses(self, shape: Shape) -> str | None:
        """Any shape has a level; a share has one above 0."""
        if shape is Shape.RATE and self.limit <= 0:
            return f"limit={self.limit:g} is a share of 0 or less, which no rate is below"
        return None


def _level(rule: Above | Below, series: Series, now: float, clear: float, sign: int) -> Reading:
    limit = rule.limit
    sample = series.over(rule.window, now)
    if sample.value is None or (sample.size == 0 and series.shape is not Shape.VELOCITY):
        return no_data(limit)
    enough = sample.size >= rule.minimum or series.shape is Shape.VELOCITY
    breached = sign * (sample.value - limit) > 0
    side = "above" if sign > 0 else "below"
    return Reading(
        breached=breached if enough else None,
        cleared=enough and sign * (sample.value - clear) <= 0,
        value=sample.value,
        baseline=limit,
        sample=sample.size,
        why=f"{describe(sample.value)} over {rule.window:g} s, {'' if breached else 'not '}{side} "
        f"{describe(limit)}",
        warming=not enough,
    )


@declarative
class Shift:
    """The signal has moved against what it was: the window against a reference before it.

    Rates: the posterior probability that the rate is higher (Beta-binomial, Jeffreys' priors).
    Means: Welch's statistic. Velocities: the same of two compound Poisson sums. Quantiles: the share of observations above `factor`
    times the reference's quantile, against the share that a quantile leaves above it.

    Statistics say whether it moved; `factor` and `excess` say whether anybody should care. All
    have to agree, and there have to be `minimum` observations on either side.

    Attributes:
        baseline: Seconds of the reference, which ends where the window begins.
        window: Seconds looked at.
        factor: How many times the reference's value is too much (or, `worse="lower"`: divided by).
        minimum: Observations the window must have. The reference must have as many.
        confidence: Probability that a day without any shift passes without a breach. It is spread
            over the windows of a day: one reading alone has to be far more certain.
        excess: The smallest difference that counts, in the signal's unit. Default: 0.02 for rates,
            none for others.
        worse: Which way is bad.
    """

    baseline: Seconds = Field(default=3_600.0, kw_only=True)
    window: Seconds = Field(default=300.0, kw_only=True)
    factor: float = Field(default=2.0, ge=1, allow_inf_nan=False, kw_only=True)
    minimum: Count = Field(default=50, kw_only=True)
    confidence: float = Field(default=0.99, gt=0.5, lt=1, kw_only=True)
    excess: float | None = Field(default=None, ge=0, allow_inf_nan=False, kw_only=True)
    worse: Worse = Field(default="higher", kw_only=True)

    def check(self) -> None:
        """The past is longer than the present."""
        if self.baseline < self.window:
            raise ValueError(
                f"baseline={self.baseline:g} is shorter than window={self.window:g}: compare a "
                "short present with a longer past"
            )

    def judge(self, series: Series, now: float, memory: Memory) -> Reading:
        """The window against the reference; against the one before the breach, while in breach."""
        sample = series.over(self.window, now)
        shape = series.shape
        if sample.size == 0 and shape is not Shape.VELOCITY:
            return no_data(None)
        memory.thaw(now, self.baseline + self.window)
        past = memory.past or series.over(self.baseline, now, before=self.window)
        usual = past.value
        value = sample.value
        enough = sample.size >= self.minimum and past.size >= self.minimum
        if not enough or usual is None or value is None:
            return Reading(
                breached=None,
                cleared=False,
                value=value,
                baseline=usual,
                sample=sample.size,
                why=f"{sample.size} observations, {past.size} before: {self.minimum} of each needed",
                warming=True,
            )
        sign = 1 if self.worse == "higher" else -1
        least = self._excess(shape)
        far = self._level(usual, least)
        moved = sign * (value - far) >= 0 and value != usual
        breached = moved and self._certain(series, now, sample, past, far)
        cleared = sign * (value - (usual + far) / 2) < 0
        if breached and not memory.latched:
            memory.latch(past, value, now, now - self.window)
        elif memory.latched and cleared:
            memory.release(now)
        return Reading(
            breached=breached,
            cleared=cleared,
            value=value,
            baseline=usual,
            sample=sample.size,
            why=f"{describe(value)} against {describe(usual)} before",
        )

    def _excess(self, shape: Shape) -> float:
        if self.excess is not None:
            return self.excess
        return 0.02 if shape is Shape.RATE else 0.0

    def _level(self, usual: float, least: float) -> float:
        """From where on it is too far."""
        if self.worse == "higher":
            return max(usual * self.factor if usual > 0 else usual / self.factor, usual + least)
        return min(usual / self.factor if usual > 0 else usual * self.factor, usual - least)

    def _certain(
        self, series: Series, now: float, sample: Sample, past: Sample, far: float
    ) -> bool:
        # Windows that overlap are not independent, yet more than one look: eight a window.
        looks = max(1.0, _OVERLAP * _DAY / self.window)
        chance = (1 - self.confidence) / looks
        window = Reference(sample.size, sample.total, sample.squares)
        before = Reference(past.size, past.total, past.squares)
        if series.shape is Shape.RATE:
            higher = evidence.probability_higher(window.total, window.size, before)
            lower = 1 - higher
            if self.worse == "lower":
                higher, lower = lower, higher
            return lower <= chance
        if series.shape is Shape.QUANTILE:
            left = 1 - (series.quantile or 0.5)
            above = series.above(far, self.window, now)
            hits = above.total if self.worse == "higher" else above.size - above.total
            share = left if self.worse == "higher" else 1 - left
            usual = Reference(1e9, share * 1e9, share * 1e9)
            return 1 - evidence.probability_higher(hits, above.size, usual) <= chance
        if series.shape is Shape.VELOCITY:
            statistic = evidence.velocity_statistic(sample, past)
        else:
            statistic = evidence.welch(window, before)
        sign = 1 if self.worse == "higher" else -1
        return sign * statistic >= evidence.normal_quantile(1 - chance)

    def refuses(self, shape: Shape) -> str | None:
        """Every shape can move."""
        del shape
        return None
