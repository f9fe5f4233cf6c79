"""The cumulative-sum rule: windows of every length at once, against an estimated past."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Sequence
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
_YEAR: Final = 365 * _DAY
_LOOSE: Final = 4.0
"""Nats by which Lorden's bound is too careful."""
_LEAST: Final = 3.0


class _Candidate(NamedTuple):
    """One window that was looked at."""

    seconds: float
    nats: float
    value: float
    usual: float
    size: int
    past: Sample | None


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
    at least exp(threshold) observations (Lorden, Annals of Mathematical Statistics 42, 1971). It
    is 74 times that as measured by `benchmarks/detection.py`; 55 times is counted on. The
    threshold follows from that, from the traffic, and from how often a false alarm may come.

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
        false_alarm_every: Seconds between two false alarms, on average. Default: ten years, as
            there are many alerts.
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
    false_alarm_every: Seconds = Field(default=10 * _YEAR, kw_only=True)
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
            # Slots are as wide as a tenth of their age: keep clear of those the breach is in.
            span = max(_SHORTEST, min(span, 0.9 * (now - memory.free_at) - _SHORTEST))
        look = _Look(self, series, now, memory, span)
        best = look.best()
        if look.size == 0:
            return no_data(self.limit)
        if best is not None and best.nats >= look.threshold:
            memory.latch(best.past, best.value, now, now - best.seconds)
            return Reading(
                breached=True,
                cleared=False,
                value=best.value,
                baseline=best.usual,
                sample=best.size,
                why=f"{describe(best.value)} over {best.seconds:.0f} s against "
                f"{describe(best.usual)}, evidence {best.nats:.0f} of {look.threshold:.0f} nats",
                since=memory.since,
            )
        nats = 0.0 if best is None else max(0.0, best.nats)
        shown = series.over(min(_SHOWN, span), now)
        value, usual, size = shown.value, look.usual, shown.size
        if best is not None and nats >= evidence.SUSPICIOUS:
            # What makes it suspicious is what is told: the last minutes may hold none of it.
            value, usual, size = best.value, best.usual, best.size
        return Reading(
            breached=False if look.known else None,
            cleared=look.known,
            value=value,
            baseline=usual,
            sample=size,
            why=look.describe(best),
            warming=not look.known,
            nats=nats if look.known else None,
        )

    def _judge_breach(
        self, series: Series, now: float, memory: Memory, latched_at: float
    ) -> Reading:
        """Whether a window since the breach says that it is over."""
        usual = self._usual(memory)
        if usual is None or now - latched_at > _DAY:
            # After a day of it this is how things are, and worth no alert of its own.
            memory.forget()
            return no_data(self.limit)
        middle = (usual + memory.bad) / 2
        looked = windows(self.window, now - latched_at)
        cleared = False
        if looked:
            level = None
            if series.shape is Shape.QUANTILE:
                # Half-way back is good enough after a shift; a limit is a limit.
                level = usual if memory.past is None else middle
            for seconds, sample in zip(
                looked, series.nested(looked, now, above=level), strict=True
            ):
                if self._is_over(sample, series, memory, middle):
                    cleared = True
                    memory.release(now - seconds)
                    break
        shown = series.over(_SHOWN, now)
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

    def _usual(self, memory: Memory) -> float | None:
        past = memory.past
        return self.limit if past is None else past.value

    def _is_over(self, sample: Sample, series: Series, memory: Memory, middle: float) -> bool:
        if sample.size < self.minimum:
            return False
        up = self.worse == "higher"
        if series.shape is Shape.MEAN:
            error = math.sqrt(Reference(*sample[:3]).variance / sample.size)
            distance = middle - sample.total / sample.size
            return (distance if up else -distance) > 2 * error
        hits = sample.total if up else sample.size - sample.total
        if series.shape is Shape.QUANTILE:
            left = self._left(series)
            bad = min(1.0, max(2 * left, left + self._least(series.shape)))
            return evidence.back_evidence(hits, sample.size, left, bad) >= _RECOVERED
        past = memory.past
        usual = self.limit if past is None else Reference(*past[:3]).rate
        usual = 0.0 if usual is None else usual
        usual, bad = (usual, middle) if up else (1 - usual, 1 - middle)
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
    """One scan over the windows that end now.

    Attributes:
        known: Whether any window could be judged.
        usual: What is usual, or the limit.
        size: Observations in all.
    """

    def __init__(
        self, rule: Cusum, series: Series, now: float, memory: Memory, span: float
    ) -> None:
        self.known = False
        self.usual: float | None = rule.limit
        self.size = 0
        self._rule = rule
        self._series = series
        self._now = now
        self._memory = memory
        self._span = span
        self._watched = 0.0
        self._windows = windows(rule.window, span)
        self._sign = 1 if rule.worse == "higher" else -1
        self._least = rule._least(series.shape)

    def best(self) -> _Candidate | None:
        """The window with the most evidence among those that matter; None: none does."""
        limit = self._rule.limit
        if self._series.shape is Shape.QUANTILE:
            found = [] if limit is None else [self._shares(limit, limit, None)]
            if self._rule.baseline is not None:
                found.append(self._quantile())
        else:
            *samples, whole = self._series.nested((*self._windows, self._span), self._now)
            self.size, self._watched = whole.size, whole.seconds
            found = [] if limit is None else [self._above(samples, limit)]
            if self._rule.baseline is not None:
                found.append(self._moved(samples, whole))
        seen = [candidate for candidate in found if candidate is not None]
        return max(seen, key=lambda c: c.nats, default=None)

    @property
    def threshold(self) -> float:
        """Nats from which on it is a breach, at the traffic there is."""
        run = self._rule.false_alarm_every * self.size / max(self._watched, 1.0)
        return max(_LEAST, math.log(max(run, 1.0)) - _LOOSE)

    def describe(self, best: _Candidate | None) -> str:
        """What there is to say short of a breach."""
        rule = self._rule
        if not self.known:
            return (
                f"{self.size} observations in {self._watched:.0f} s; a past of {rule.warmup} in "
                f"{rule.settle:.0f} s needed"
            )
        return (
            "as before"
            if best is None
            else f"evidence {max(0.0, best.nats):.1f} of {self.threshold:.0f} nats"
        )

    def _moved(self, samples: Sequence[Sample], whole: Sample) -> _Candidate | None:
        """Of a rate or a mean: windows that differ from the time before them."""
        rule, prior = self._rule, self._memory.prior
        rate = self._series.shape is Shape.RATE
        # Fewer hits than what counts as a worsening alone are none, whatever was usual.
        least = self._least if rate and self._sign > 0 else -math.inf
        best = None
        for seconds, sample in zip(self._windows, samples, strict=True):
            size = prior.size + max(0, whole.size - sample.size)
            if not self._enough(size, whole.seconds - seconds):
                break
            hopeless = sample.size < rule.minimum or sample.total < least * sample.size
            if hopeless and self.known:
                continue
            past = prior.plus(evidence.less(whole, sample))
            usual = past.rate if rate else past.mean
            if not self.known:
                self.known, self.usual = True, usual
            if hopeless or not self._matters(sample.total / sample.size, usual):
                continue
            nats = self._rate_nats(sample, past) if rate else self._mean_nats(sample, past)
            if best is None or nats > best.nats:
                total = usual * past.size if rate else past.total
                kept = Sample(int(past.size), total, past.squares, usual, whole.seconds)
                value = sample.total / sample.size
                best = _Candidate(seconds, nats, value, usual, sample.size, kept)
        return best

    def _rate_nats(self, sample: Sample, past: Reference) -> float:
        hits = sample.total
        if self._sign < 0:
            hits = sample.size - hits
            past = Reference(past.size, past.size - past.total, past.size - past.total)
        return evidence.rate_evidence(hits, sample.size, past, self._least)

    def _mean_nats(self, sample: Sample, past: Reference) -> float:
        return self._sign * evidence.mean_evidence(Reference(*sample[:3]), past)

    def _above(self, samples: Sequence[Sample], limit: float) -> _Candidate | None:
        """Of a rate: windows in which it is beyond a known limit."""
        self.known = True
        bound = limit if self._sign > 0 else 1 - limit
        best = None
        for seconds, sample in zip(self._windows, samples, strict=True):
            hits = sample.total if self._sign > 0 else sample.size - sample.total
            if sample.size < self._rule.minimum or hits <= bound * sample.size:
                continue
            nats = evidence.rate_evidence(
                hits, sample.size, _exactly(bound), self._least, certain=True
            )
            if best is None or nats > best.nats:
                value = sample.total / sample.size
                best = _Candidate(seconds, nats, value, limit, sample.size, None)
        return best

    def _quantile(self) -> _Candidate | None:
        """Windows with too many observations beyond a multiple of the usual quantile."""
        past = self._memory.past or self._past()
        usual = past.value
        if usual is None or not self._enough(past.size, past.seconds):
            return None
        self.known, self.usual = True, usual
        factor = self._rule.factor
        return self._shares(usual * factor if self._sign > 0 else usual / factor, usual, past)

    def _past(self) -> Sample:
        """The time before the last minutes; read anew once a minute, as it hardly changes."""
        kept = self._memory.kept
        if kept is None or not 0 <= self._now - kept[0] < _REREAD:
            watched = self._series.over(self._span, self._now)
            # Long enough for a change to be seen, short enough to leave a past.
            gap = min(_GAP, watched.seconds / 3)
            past = self._series.over(max(1.0, self._span - gap), self._now, before=gap)
            kept = self._memory.kept = (self._now, past)
        return kept[1]

    def _shares(self, level: float, usual: float, past: Sample | None) -> _Candidate | None:
        """Of a quantile: windows with too many observations on the bad side of `level`."""
        rule, up = self._rule, self._sign > 0
        left = rule._left(self._series)
        best = None
        samples = self._series.nested(self._windows, self._now, above=level)
        self.size, self._watched = samples[-1].size, samples[-1].seconds
        if past is None:
            self.known = True
        for seconds, sample in zip(self._windows, samples, strict=True):
            hits = sample.total if up else sample.size - sample.total
            if sample.size < rule.minimum or hits < (left + self._least) * sample.size:
                continue
            nats = evidence.rate_evidence(
                hits, sample.size, _exactly(left), self._least, certain=True
            )
            if best is None or nats > best.nats:
                best = _Candidate(seconds, nats, level, usual, sample.size, past)
        if best is not None and best.nats >= self.threshold:
            value = self._series.over(best.seconds, self._now).value
            best = best._replace(value=level if value is None else value)
        return best

    def _enough(self, size: float, seconds: float) -> bool:
        """Whether a past of so many observations in so many seconds says what is usual."""
        settled = self._memory.past is not None or seconds >= self._rule.settle
        return settled and size >= self._rule.warmup

    def _matters(self, value: float, usual: float) -> bool:
        factor, least = self._rule.factor, self._least
        if self._sign > 0:
            return value >= usual + least and value >= usual * factor
        return value <= usual - least and value * factor <= usual


_GAP: Final = 600.0
_REREAD: Final = 60.0
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
