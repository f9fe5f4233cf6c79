"""How much some observations say against what was seen before: the arithmetic behind the rules.

Pure functions of counts and sums. Evidence is in nats: the natural logarithm of how many times
better "it got worse" explains the observations than "it is as it was". As a likelihood ratio its
expectation under "as it was" is 1, whence the bound that the thresholds of `rules.Cusum` rest on.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from firedoor.core.series import Sample

__all__ = [
    "NOTHING",
    "SUSPICIOUS",
    "Reference",
    "back_evidence",
    "less",
    "mean_evidence",
    "normal_quantile",
    "probability_higher",
    "rate_evidence",
    "velocity_statistic",
    "welch",
]

SUSPICIOUS: Final = 3.0
"""Nats from which on a change is likely, 20 to 1, though it is far from an alarm."""

_JEFFREYS: Final = 0.5
_STEPS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_MOST: Final = 0.999
_FEW: Final = 12
"""Hits of a reference below which the normal approximation is not good enough."""


class Reference(NamedTuple):
    """What is known of a signal in its usual state, as counts and sums.

    Attributes:
        size: Observations.
        total: Of a rate, the hits; otherwise the sum of the values.
        squares: Sum of the squared values.
    """

    size: float
    total: float
    squares: float

    @property
    def rate(self) -> float:
        """Of a rate: the posterior mean under Jeffreys' prior, so never 0 or 1."""
        return (self.total + _JEFFREYS) / (self.size + 2 * _JEFFREYS)

    @property
    def mean(self) -> float:
        """Of values: their mean; 0 without any."""
        return self.total / self.size if self.size else 0.0

    @property
    def variance(self) -> float:
        """Of values: the unbiased variance; 0 of fewer than two."""
        return _variance(self.size, self.total, self.squares)

    def plus(self, other: Reference) -> Reference:
        """Both together."""
        return Reference(
            self.size + other.size, self.total + other.total, self.squares + other.squares
        )


NOTHING: Final = Reference(0.0, 0.0, 0.0)


def less(whole: Sample, part: Sample) -> Reference:
    """What is left of `whole` without `part`, the stretch at its end.

    Slots of different lengths may disagree by an observation or two at the edges: never below 0.
    """
    size = max(0, whole.size - part.size)
    total = whole.total - part.total
    if whole.total >= 0 and part.total >= 0:
        total = max(0.0, total)
    return Reference(size, total, max(0.0, whole.squares - part.squares))


def rate_evidence(
    hits: float, size: float, reference: Reference, excess: float, *, certain: bool = False
) -> float:
    """Evidence that a rate is at least about `excess` above its reference.

    The alternative is a mixture of rates above the reference by 1, 2, 4, ... times `excess`. The
    reference is as uncertain as its sample makes it: its likelihood is that of the Beta-binomial
    predictive distribution. A short past therefore weakens the evidence by itself.

    Args:
        hits: In the window.
        size: Observations in the window.
        reference: Of the usual state.
        excess: The smallest worsening worth knowing, absolute, above 0.
        certain: The reference rate is a limit and not an estimate.

    Returns:
        Nats; negative where the window looks like the reference.
    """
    usual = min(_MOST, reference.rate)
    misses = size - hits
    if certain:
        null = hits * math.log(usual) + misses * math.log1p(-usual)
    else:
        a = reference.total + _JEFFREYS
        b = reference.size - reference.total + _JEFFREYS
        null = _log_beta(a + hits, b + misses) - _log_beta(a, b)
    terms = [
        hits * math.log(p) + misses * math.log1p(-p)
        for p in (usual + excess * step for step in _STEPS)
        if p <= _MOST
    ]
    if not terms:
        terms = [hits * math.log(_MOST) + misses * math.log1p(-_MOST)]
    top = max(terms)
    mixed = top + math.log(sum(math.exp(t - top) for t in terms) / len(terms))
    return mixed - null


def mean_evidence(window: Reference, reference: Reference) -> float:
    """Evidence that a mean has moved upwards, in nats; negative of it for downwards.

    The normal mixture of Robbins (1970) on the difference of two means, with the larger of the two
    variances: an outlier that moves the window's mean widens its spread as well, and one value
    alone never convinces.
    """
    if window.size < 2 or reference.size < 2:
        return 0.0
    variance = max(window.variance, reference.variance)
    shift = window.mean - reference.mean
    if shift == 0:
        return 0.0
    effective = 1 / (1 / window.size + 1 / reference.size)
    # A signal that never varied and now does has moved by any number of deviations.
    deviations = shift * shift / variance if variance > 0 else math.inf
    if deviations == math.inf:
        return math.copysign(_CERTAIN, shift)
    evidence = 0.5 * (effective * effective * deviations / (1 + effective) - math.log1p(effective))
    return math.copysign(max(0.0, evidence), shift)


_CERTAIN: Final = 1e6


def back_evidence(hits: float, size: float, usual: float, bad: float) -> float:
    """Evidence that a rate is back at `usual` and not still at `bad`, in nats."""
    low = min(max(usual, 1e-6), _MOST)
    high = min(max(bad, low + 1e-6), _MOST + 1e-6)
    misses = size - hits
    return hits * math.log(low / high) + misses * math.log((1 - low) / (1 - high))


def probability_higher(hits: float, size: float, reference: Reference) -> float:
    """Posterior probability that a rate is above its reference: Beta-binomial, Jeffreys' priors.

    By the normal approximation on the scale of log-odds, where Beta posteriors are close to normal
    even for small counts; its mean and variance are differences of di- and sums of trigammas. Where
    the reference has next to no hits, or next to no misses, its tail is far from normal, and that
    is what an application in good health looks like: there the sum of its few terms is exact.
    """
    a, b = hits + _JEFFREYS, size - hits + _JEFFREYS
    misses = reference.size - reference.total
    if reference.total < _FEW <= misses:
        return 1 - _exceeds(reference.total, misses, a, b)
    if misses < _FEW <= reference.total:
        return _exceeds(misses, reference.total, b, a)
    c, d = reference.total + _JEFFREYS, misses + _JEFFREYS
    mean = _digamma(a) - _digamma(b) - _digamma(c) + _digamma(d)
    variance = _trigamma(a) + _trigamma(b) + _trigamma(c) + _trigamma(d)
    return 0.5 * math.erfc(-mean / math.sqrt(2 * variance))


def _exceeds(few: float, many: float, a: float, b: float) -> float:
    """Probability that a rate with `few` hits and `many` misses is above one that is Beta(a, b).

    The sum over the first parameter of the former, for which it is rounded up: so little is held
    against it that nothing is claimed too early. Source: E. Miller, "Formulas for Bayesian A/B
    Testing", 2014, eq. 6.
    """
    misses = many + _JEFFREYS
    total = 0.0
    for i in range(math.ceil(few) + 1):
        total += math.exp(
            _log_beta(a + i, b + misses)
            - math.log(misses + i)
            - _log_beta(1 + i, misses)
            - _log_beta(a, b)
        )
    return min(1.0, total)


def welch(window: Reference, reference: Reference) -> float:
    """Welch's statistic: the difference of two means in standard errors, without equal variances.

    The reference's variance stands in for a window that happens not to vary.
    """
    if window.size < 2 or reference.size < 2:
        return 0.0
    variance = max(window.variance, reference.variance / 4)
    error = math.sqrt(variance / window.size + reference.variance / reference.size)
    shift = window.mean - reference.mean
    if error == 0:
        return 0.0 if shift == 0 else math.copysign(math.inf, shift)
    return shift / error


def velocity_statistic(window: Sample, past: Sample) -> float:
    """The difference of two sums per second in standard errors, both compound Poisson.

    The variance of such a sum is estimated by the sum of the squares.
    """
    if window.seconds <= 0 or past.seconds <= 0:
        return 0.0
    shift = window.total / window.seconds - past.total / past.seconds
    error = math.sqrt(window.squares / window.seconds**2 + past.squares / past.seconds**2)
    return shift / error if error > 0 else 0.0


def normal_quantile(probability: float) -> float:
    """Standard deviations below which `probability` of a normal distribution lies.

    By bisection of `erfc`, which keeps its digits in the tails.
    """
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _variance(size: float, total: float, squares: float) -> float:
    if size < 2:
        return 0.0
    return max(0.0, (squares - total * total / size) / (size - 1))


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _digamma(x: float) -> float:
    """Asymptotic series after shifting up to 6 (Abramowitz and Stegun 6.3.18)."""
    shifted = 0.0
    while x < 6:
        shifted -= 1 / x
        x += 1
    inverse = 1 / (x * x)
    return (
        shifted
        + math.log(x)
        - 0.5 / x
        - inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    )


def _trigamma(x: float) -> float:
    """Likewise (6.4.12)."""
    shifted = 0.0
    while x < 6:
        shifted += 1 / (x * x)
        x += 1
    inverse = 1 / (x * x)
    return (
        shifted
        + 1 / x
        + inverse / 2
        + inverse / x * (1 / 6 - inverse * (1 / 30 - inverse * (1 / 42 - inverse / 30)))
    )
