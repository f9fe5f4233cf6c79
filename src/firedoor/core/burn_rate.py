"""The burn-rate rule: how fast an objective's error budget is used up."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydantic import Field

from firedoor.config import Count, Seconds, declarative
from firedoor.core.reading import Memory, Reading, describe, no_data
from firedoor.core.series import Sample, Series, Shape

__all__ = ["BurnRate", "Pair"]

_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0


class Pair(NamedTuple):
    """Two windows that have to burn at once.

    Attributes:
        budget: Share of the period's error budget that is gone when the long window fires.
        long: Seconds; how much has to burn.
        short: Seconds; that it still does.
    """

    budget: float
    long: float
    short: float

    def factor(self, period: float) -> float:
        """The burn rate: how many times faster than the objective allows."""
        return self.budget * period / self.long


_PAIRS: Final = (
    Pair(0.02, _HOUR, 300.0),
    Pair(0.05, 6 * _HOUR, 1_800.0),
    Pair(0.10, _DAY, 2 * _HOUR),
    Pair(0.10, 3 * _DAY, 6 * _HOUR),
)


@declarative
class BurnRate:
    """The error budget of an objective is used up too fast.

    Multiwindow, multi-burn-rate alerts, The Site Reliability Workbook, chapter 5: 2 % of a month's
    budget in an hour (14.4 times too fast), 5 % in six hours (6), 10 % in a day (3), 10 % in three
    days (1), and each only while a window of a twelfth of the length burns as fast.

    The signal is a rate of what is bad; of a quantile, `limit` says what is bad. A burn rate of 1
    uses the budget up in exactly `period`. Time before the process began counts as good.

    An objective of 93 % allows 7 % of errors, and 14.4 times that is more than all: such an alert
    can never fire. It is refused; signals of that kind have a usual level, not an objective.

    Attributes:
        objective: The share that shall be good, as in 0.999.
        pairs: Budget share, long and short window in seconds, one or more.
        period: Seconds the objective is for.
        limit: Of a quantile series: the value above which an observation is bad.
        minimum: Observations the long window must have.
        minimum_bad: Bad ones the short window must have: one failure of three is no fire.
    """

    objective: float = Field(gt=0, lt=1)
    pairs: tuple[Pair, ...] = Field(default=_PAIRS, min_length=1, kw_only=True)
    period: Seconds = Field(default=30 * _DAY, kw_only=True)
    limit: float | None = Field(default=None, allow_inf_nan=False, kw_only=True)
    minimum: Count = Field(default=20, kw_only=True)
    minimum_bad: Count = Field(default=3, kw_only=True)

    def check(self) -> None:
        """Every factor can be reached."""
        for pair in self.pairs:
            if not 0 < pair.budget <= 1 or not 0 < pair.short < pair.long <= self.period:
                raise ValueError(
                    f"pairs: {tuple(pair)!r}: give a share of the budget up to 1, a long window "
                    "within the period and a shorter one, as in (0.02, 3600, 300)"
                )
            factor = pair.factor(self.period)
            share = factor * (1 - self.objective)
            if share > 1:
                raise ValueError(
                    f"objective={self.objective:g} allows {1 - self.objective:.2g} of errors, and "
                    f"{factor:.3g} times that is {share:.3g}, more than all there are: this alert "
                    f"could never fire. From {1 - 1 / factor:.4g} on it can. For a signal with a "
                    "usual level use fd.rules.Shift(...) or fd.rules.Cusum(...), which compare "
                    "with what was before"
                )

    @property
    def factors(self) -> tuple[float, ...]:
        """The burn rates of the pairs."""
        return tuple(pair.factor(self.period) for pair in self.pairs)

    def refuses(self, shape: Shape) -> str | None:
        """An error budget is counted in bad observations."""
        if shape is Shape.QUANTILE:
            return None if self.limit is not None else "of a quantile: say limit=, what is bad"
        if shape is not Shape.RATE:
            return f"a {shape} has no share of bad ones; use Above(...), Shift(...) or Cusum(...)"
        return None

    def judge(self, series: Series, now: float, memory: Memory) -> Reading:
        """The first pair both windows of which burn; else the one that burns most."""
        del memory
        allowed = 1 - self.objective
        worst: tuple[float, Pair, Sample] | None = None
        cleared = True
        for pair in self.pairs:
            long = self._bad(series, pair.long, now)
            short = self._bad(series, pair.short, now)
            if long.size < self.minimum or long.value is None:
                continue
            factor = pair.factor(self.period)
            burn = min(_share(long, pair.long), _share(short, pair.short)) / allowed
            # Half as fast is over; the short window, which ends first, says so.
            cleared = cleared and burn < factor / 2
            if burn >= factor and short.total >= self.minimum_bad:
                return self._reading(long, pair, breached=True, cleared=False)
            if worst is None or burn / factor > worst[0]:
                worst = (burn / factor, pair, long)
        if worst is None:
            longest = self._bad(series, max(pair.long for pair in self.pairs), now)
            if longest.size == 0:
                return no_data(allowed)
            return Reading(
                breached=None,
                cleared=False,
                value=longest.value,
                baseline=allowed,
                sample=longest.size,
                why=f"{longest.size} observations; {self.minimum} needed",
                warming=True,
            )
        return self._reading(worst[2], worst[1], breached=False, cleared=cleared)

    def _bad(self, series: Series, seconds: float, now: float) -> Sample:
        if series.shape is Shape.QUANTILE and self.limit is not None:
            return series.above(self.limit, seconds, now)
        return series.over(seconds, now)

    def _reading(self, long: Sample, pair: Pair, *, breached: bool, cleared: bool) -> Reading:
        allowed = 1 - self.objective
        value = _share(long, pair.long)
        return Reading(
            breached=breached,
            cleared=cleared,
            value=value,
            baseline=allowed,
            sample=long.size,
            why=f"burns {value / allowed:.3g} times too fast over {pair.long / _HOUR:g} h, "
            f"{pair.factor(self.period):.3g} is too much for {describe(self.objective)}",
        )


def _share(sample: Sample, seconds: float) -> float:
    """The share that was bad; what was not watched counts as good, being no part of the budget."""
    return (sample.value or 0.0) * min(1.0, sample.seconds / seconds)
