"""The cumulative-sum rule: windows of every length at once, against an estimated past."""

from __future__ import annotations

import bisect
import functools
import math
from typing import Final, NamedTuple

from pydantic import Field

from firedoor.config import Count, Seconds, declarative
from firedoor.core import evidence
from firedoor.core.evidence import Reference
from firedoor.core.reading import Memory, Reading, Worse, describe, no_data
from firedoor.core.series import Sample, Series, Shape

__all__ = ["Cusum"]

_SHORTEST: Final = 10.0
_GROWTH: Final = 1.35
_SHOWN: Final = 300.0
_RECOVERED: Final = 3.0
"""Nats for `back to usual` against `half as bad still`: 20 to 1."""
_DAY: Final = 86_400.0


class _Candidate(NamedTuple):
    """One window that was looked at."""

    seconds: float
    nats: float
    value: float
    usual: float
    size: int
    past: Sample


@declarative
class Cusum:
    """The signal has moved for the worse, by little for long or by much just now.

    Page's cumulative sum (Biometrika 41, 1954) is the largest evidence for a change over all
    moments at which it may have begun; for known rates no rule with as few false alarms sees a
    change sooner (Moustakides, Annals of Statistics 14, 1986). Here neither rate is known. So the
    usual one is estimated from the time before each window (its uncertainty counts, so that a
    short past only makes the rule slower), the bad one is a mixture of worsenings, from `excess`
    upwards, and the moments are windows that grow by a third each (Lai, JRSS B 57, 1995).

    The evidence of each window is a likelihood ratio, whence a mean run between false alarms of
    at least `mean_run` observations (Lorden, Annals of Mathematical Statistics 42, 1971).

    Rates are judged as such; quantiles by the share of observations above `factor` times the usual
    quantile, or above `limit`; means by a normal mixture (Robbins, 1970).

    Attributes:
        excess: The smallest worsening that counts: of rates absolute (default 0.02); of quantiles
            the share above the level beyond what a quantile leaves there (default 0.05); of means
            in their unit (default 0).
        factor: How many times the usual value is too much (`worse="lower"`: divided by).
        limit: A level that is too much whatever was before; judged from the first observation on.
        baseline: Seconds of the past that say what is usual. None: only `limit` counts.
        window: Seconds of the longest window.
        minimum: Observations below which nothing is said of a window.
        warmup: Observations the past must have.
        settle: Seconds the past must have.
        mean_run: Observations between two false alarms, at least and on average.
        worse: Which way is bad.
    """

    excess: float | None = Field(default=None, gt=0, allow_inf_nan=False, kw_only=True)
    factor: float = Field(default=1.5, ge=1, allow_inf_nan=False, kw_only=True)
    limit: float | None = Field(default=None, allow_inf_nan=False, kw_only=True)
    baseline: Seconds | None = Field(default=21_600.0, kw_only=True)
    window: Seconds = Field(default=3_600.0, kw_only=True)
    minimum: Count = Field(default=10, kw_only=True)
    warmup: Count = Field(default=50, kw_only=True)
    settle: float = Field(default=300.0, ge=0, allow_inf_nan=False, kw_only=True)
    mean_run: float = Field(default=1e8, ge=100, allow_inf_nan=False, kw_only=True)
    worse: Worse = Field(default="higher", kw_only=True)

    def check(self) -> None:
        """There is something to compare with."""
        if self.baseline is None and self.limit is None:
            raise ValueError(
                "baseline=None and no limit=: give the seconds of a past, or a level, or both"
            )
        if self.baseline is not None and self.baseline < self.window:
            raise ValueError(
                f"baseline={self.baseline:g} is shorter than window={self.window:g}: compare a "
                "short present with a longer past"
            )

    def refuses(self, shape: Shape) -> str | None:
        """A velocity has no observations that could be likely or not."""
        if shape is Shape.VELOCITY:
            return "a velocity goes with the traffic; use Above(...) or Shift(...)"
        if shape is Shape.MEAN and self.limit is not None:
            return "limit= is for rates and quantiles; use Above(...) for the level of a mean"
        return None

    def judge(self, series: Series, now: float, memory: Memory) -> Reading:
        """The most telling window, or, while in breach, whether it is over."""
        if memory.latched_at is not None:
            return self._judge_breach(series, now, memory, memory.latched_at)
        span = self.baseline or self.window
        memory.thaw(now, span)
        if memory.free_at is not None:
            span = max(_SHORTEST, min(span, now - memory.free_at))
        whole = series.over(span, now)
        if whole.size == 0:
            return no_data(self.limit)
        look = _Look(self, series, now, whole, memory, span=span)
        best = look.best()
        if best is not None and best.nats >= math.log(self.mean_run):
            memory.latch(best.past, best.value, now, now - best.seconds)
            return Reading(
                breached=True,
                cleared=False,
                value=best.value,
                baseline=best.usual,
                sample=best.size,
                why=f"{describe(best.value)} over {best.seconds:.0f} s against "
                f"{describe(best.usual)}, evidence {best.nats:.0f} nats",
                since=memory.since,
            )
        shown = series.over(min(_SHOWN, span), now)
        value = whole.value if shown.value is None else shown.value
        if not look.known:
            return Reading(
                breached=None,
                cleared=False,
                value=value,
                baseline=self.limit,
                sample=shown.size,
                why=f"{whole.size} observations in {whole.seconds:.0f} s; a past of {self.warmup} "
                f"in {self.settle:.0f} s needed",
                warming=True,
            )
        return Reading(
            breached=False,
            cleared=True,
            value=value,
            baseline=look.usual,
            sample=shown.size,
            why="as before" if best is None else f"evidence {max(0.0, best.nats):.1f} nats",
        )

    def _judge_breach(
        self, series: Series, now: float, memory: Memory, latched_at: float
    ) -> Reading:
        """Whether a window since the breach says that it is over."""
        past = memory.past
        if past is None or now - latched_at > _DAY:
            # After a day of it this is how things are, and worth no alert of its own.
            memory.forget()
            return no_data(self.limit)
        usual = past.value if past.value is not None else 0.0
        middle = (usual + memory.bad) / 2
        shown = series.over(_SHOWN, now)
        cleared = False
        for seconds in windows(self.window, now - latched_at):
            if self._is_over(series, now, seconds=seconds, past=past, middle=middle):
                cleared = True
                memory.release(now - seconds)
                break
        value = memory.bad if shown.value is None else shown.value
        return Reading(
            breached=not cleared,
            cleared=cleared,
            value=value,
            baseline=usual,
            sample=shown.size,
            why=f"{describe(value)} against {describe(usual)} before",
            no_data=shown.size == 0,
            since=memory.since,
        )

    def _is_over(
        self, series: Series, now: float, *, seconds: float, past: Sample, middle: float
    ) -> bool:
        sample = series.over(seconds, now)
        if sample.size < self.minimum or sample.value is None:
            return False
        sign = 1 if self.worse == "higher" else -1
        if series.shape is Shape.MEAN:
            error = math.sqrt(Reference(*sample[:3]).variance / sample.size)
            return sign * (middle - sample.value) > 2 * error
        if series.shape is Shape.QUANTILE:
            left = self._left(series)
            above = series.above(middle, seconds, now)
            hits = above.total if self.worse == "higher" else above.size - above.total
            bad = min(1.0, max(2 * left, left + self._least(series.shape)))
            return evidence.back_evidence(hits, above.size, left, bad) >= _RECOVERED
        hits = sample.total if self.worse == "higher" else sample.size - sample.total
        usual, bad = Reference(*past[:3]).rate, middle
        if self.worse == "lower":
            usual, bad = 1 - usual, 1 - bad
        return evidence.back_evidence(hits, sample.size, usual, bad) >= _RECOVERED

    def _least(self, shape: Shape) -> float:
        if self.excess is not None:
            return self.excess
        return {Shape.RATE: 0.02, Shape.QUANTILE: 0.05}.get(shape, 0.0)

    def _left(self, series: Series) -> float:
        """The share of observations that a quantile leaves on its bad side."""
        quantile = series.quantile or 0.5
        return 1 - quantile if self.worse == "higher" else quantile


class _Look:
    """One scan over the windows that end now."""

    def __init__(
        self,
        rule: Cusum,
        series: Series,
        now: float,
        whole: Sample,
        memory: Memory,
        *,
        span: float,
    ) -> None:
        self.known = False
        """Whether any window could be judged."""
        self.usual: float | None = None
        self._rule = rule
        self._series = series
        self._now = now
        self._whole = whole
        self._memory = memory
        self._windows = windows(rule.window, span)
        self._sign = 1 if rule.worse == "higher" else -1

    def best(self) -> _Candidate | None:
        """The window with the most evidence among those that matter; None: none does."""
        judge = {
            Shape.RATE: self._rate,
            Shape.MEAN: self._mean,
            Shape.QUANTILE: self._quantile,
        }[self._series.shape]
        found = [judge()] if self._rule.baseline is not None else []
        if self._rule.limit is not None:
            found.append(self._limit(self._rule.limit))
        seen = [candidate for candidate in found if candidate is not None]
        return max(seen, key=lambda c: c.nats, default=None)

    def _rate(self) -> _Candidate | None:
        rule, whole = self._rule, self._whole
        least = rule._least(Shape.RATE)
        prior = self._memory.prior
        best = None
        for seconds in self._windows:
            sample = self._series.over(seconds, self._now)
            past = prior.plus(evidence.less(whole, sample))
            if not self._enough(past.size, seconds):
                break
            self.known = True
            usual = past.rate
            if self.usual is None:
                self.usual = usual
            if sample.size < rule.minimum:
                continue
            value = sample.total / sample.size
            if not self._matters(value, usual, least):
                continue
            hits = sample.total
            if rule.worse == "lower":
                hits = sample.size - hits
                past = Reference(past.size, past.size - past.total, past.size - past.total)
            nats = evidence.rate_evidence(hits, sample.size, past, least)
            if best is None or nats > best.nats:
                kept = Sample(
                    int(past.size), usual * past.size, usual * past.size, usual, whole.seconds
                )
                best = _Candidate(seconds, nats, value, usual, sample.size, kept)
        return best

    def _mean(self) -> _Candidate | None:
        rule, whole = self._rule, self._whole
        prior = self._memory.prior
        best = None
        for seconds in self._windows:
            sample = self._series.over(seconds, self._now)
            past = prior.plus(evidence.less(whole, sample))
            if not self._enough(past.size, seconds):
                break
            self.known = True
            usual = past.mean
            if self.usual is None:
                self.usual = usual
            if sample.size < rule.minimum:
                continue
            window = Reference(*sample[:3])
            if not self._matters(window.mean, usual, rule._least(Shape.MEAN)):
                continue
            nats = self._sign * evidence.mean_evidence(window, past)
            if best is None or nats > best.nats:
                kept = Sample(int(past.size), past.total, past.squares, usual, whole.seconds)
                best = _Candidate(seconds, nats, window.mean, usual, sample.size, kept)
        return best

    def _quantile(self) -> _Candidate | None:
        past = self._memory.past
        if past is None:
            # Long enough for a change to be seen, short enough to leave a past.
            gap = min(_GAP, self._whole.seconds / 3)
            past = self._series.over(self._whole.seconds - gap, self._now, before=gap)
        usual = past.value
        if usual is None or not self._enough(past.size, self._whole.seconds - past.seconds):
            return None
        self.known = True
        self.usual = usual
        up = self._rule.worse == "higher"
        level = usual * self._rule.factor if up else usual / self._rule.factor
        return self._shares(level, usual, past)

    def _limit(self, limit: float) -> _Candidate | None:
        self.known = True
        if self.usual is None:
            self.usual = limit
        seconds = self._whole.seconds
        past = Sample(0, 0.0, 0.0, limit, seconds)
        if self._series.shape is Shape.QUANTILE:
            return self._shares(limit, limit, past)
        least = self._rule._least(Shape.RATE)
        best = None
        for seconds in self._windows:
            sample = self._series.over(seconds, self._now)
            if sample.size < self._rule.minimum or sample.value is None:
                continue
            hits, bound = sample.total, limit
            if self._rule.worse == "lower":
                hits, bound = sample.size - hits, 1 - limit
            if hits / sample.size <= bound:
                continue
            nats = evidence.rate_evidence(hits, sample.size, _exactly(bound), least, certain=True)
            if best is None or nats > best.nats:
                best = _Candidate(seconds, nats, sample.value, limit, sample.size, past)
        return best

    def _shares(self, level: float, usual: float, past: Sample) -> _Candidate | None:
        """Of a quantile: windows with too many observations on the bad side of `level`."""
        rule = self._rule
        left = rule._left(self._series)
        least = rule._least(Shape.QUANTILE)
        best = None
        for seconds in self._windows:
            above = self._series.above(level, seconds, self._now)
            if above.size < rule.minimum:
                continue
            hits = above.total if rule.worse == "higher" else above.size - above.total
            if hits / above.size < left + least:
                continue
            nats = evidence.rate_evidence(hits, above.size, _exactly(left), least, certain=True)
            if best is None or nats > best.nats:
                value = self._series.over(seconds, self._now).value
                shown = level if value is None else value
                best = _Candidate(seconds, nats, shown, usual, above.size, past)
        return best

    def _enough(self, size: float, seconds: float) -> bool:
        """Whether the past before a window of `seconds` says what is usual."""
        rule = self._rule
        if self._memory.past is not None:
            return size >= rule.warmup
        return size >= rule.warmup and self._whole.seconds - seconds >= rule.settle

    def _matters(self, value: float, usual: float, least: float) -> bool:
        factor = self._rule.factor
        if self._sign > 0:
            return value >= usual + least and value >= usual * factor
        return value <= usual - least and value * factor <= usual


_GAP: Final = 600.0
_SURE: Final = 1e9


def _exactly(rate: float) -> Reference:
    """A rate that is known, as counts."""
    return Reference(_SURE, rate * _SURE, rate * _SURE)


@functools.lru_cache(maxsize=64)
def _grid(longest: float) -> tuple[float, ...]:
    found = []
    seconds = _SHORTEST
    while seconds < longest:
        found.append(float(round(seconds)))
        seconds *= _GROWTH
    return (*found, longest)


def windows(longest: float, span: float) -> tuple[float, ...]:
    """Windows up to `longest` seconds, each a third longer than the one before, within `span`."""
    grid = _grid(longest)
    return grid[: bisect.bisect_right(grid, span)]
