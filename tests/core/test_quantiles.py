"""Quantiles are 1 % off at most, and merge in any order."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.quantiles import (
    BUCKETS,
    ERROR,
    GREATEST,
    LEAST,
    Histogram,
    bucket,
    share_above,
    sums,
    value_of,
)

SHARES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
positive = st.floats(LEAST * 1.001, GREATEST * 0.999)
values = st.one_of(positive, positive.map(lambda x: -x), st.just(0.0))
samples = st.lists(values, max_size=60)


def exact(xs, share):
    return sorted(xs)[math.floor(share * (len(xs) - 1))]


def bimodal(rng):
    return rng.gauss(0.2, 0.02) if rng.random() < 0.7 else rng.gauss(8.0, 0.5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.lognormvariate(-1.0, 0.8),
        lambda rng: rng.lognormvariate(0.0, 3.0),
        bimodal,
        lambda rng: 0.25,
        lambda rng: rng.expovariate(1.0),
    ],
    ids=["lognormal", "wide lognormal", "bimodal", "constant", "exponential"],
)
def test_quantiles_are_within_one_per_cent_of_the_exact_ones(draw):
    rng = random.Random(5)
    xs = [draw(rng) for _ in range(20_000)]
    histogram = Histogram.of(xs)
    off = {share: abs(histogram.quantile(share) / exact(xs, share) - 1) for share in SHARES}
    assert max(off.values()) <= 0.01, off


@given(samples.filter(bool), st.sampled_from(SHARES))
def test_every_quantile_of_anything_is_within_the_error(xs, share):
    found, right = Histogram.of(xs).quantile(share), exact(xs, share)
    assert abs(found - right) <= ERROR * abs(right) * (1 + 1e-9)


@given(samples, samples, samples)
def test_merging_is_associative_and_commutative_and_loses_nothing(a, b, c):
    left, right, other_way = Histogram.of(a), Histogram.of(b), Histogram.of(c)
    left.merge(Histogram.of(b))
    left.merge(Histogram.of(c))
    right.merge(Histogram.of(c))
    whole = Histogram.of(a)
    whole.merge(right)
    other_way.merge(Histogram.of(b))
    other_way.merge(Histogram.of(a))
    assert left == whole == other_way == Histogram.of(a + b + c)


@given(values, values)
def test_buckets_are_in_the_order_of_the_values(x, y):
    if x <= y:
        assert bucket(x) <= bucket(y)
    assert bucket(-x) == -bucket(x)


@given(st.floats(allow_nan=False))
def test_there_is_a_bound_to_the_buckets(x):
    assert abs(bucket(x)) * 2 + 1 <= BUCKETS
    assert math.isfinite(value_of(bucket(x)))


def test_what_is_no_number_is_refused():
    with pytest.raises(ValueError, match="nan is no number"):
        Histogram().record(math.nan)


def test_without_values_there_is_no_quantile():
    assert Histogram().quantile(0.5) is None
    assert len(Histogram()) == 0


@given(samples, st.floats(0.001, 1000.0))
def test_the_share_above_a_limit_is_exact_but_for_what_is_next_to_it(xs, limit):
    size, above = share_above(Histogram.of(xs).counts, limit)
    assert size == len(xs)
    assert sum(x > limit * 1.0201 for x in xs) <= above <= sum(x > limit for x in xs)


@given(st.lists(positive, min_size=1, max_size=40))
def test_sums_are_as_near_as_the_quantiles(xs):
    size, total, squares = sums(Histogram.of(xs).counts)
    assert size == len(xs)
    assert total == pytest.approx(math.fsum(xs), rel=0.01)
    assert squares == pytest.approx(math.fsum(x * x for x in xs), rel=0.02)
