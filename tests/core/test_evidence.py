"""The arithmetic behind the rules, against sums done the long way."""

import math

import pytest

from firedoor.core.evidence import Reference, probability_higher


def _beta_density(x, a, b):
    return math.exp(
        (a - 1) * math.log(x) + (b - 1) * math.log1p(-x)
        - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)
    )  # fmt: skip


def _higher(hits, size, reference, steps=20_000):
    """By adding up both posteriors, with the first parameter of the reference's rounded up."""
    a, b = hits + 0.5, size - hits + 0.5
    c, d = math.ceil(reference.total) + 1, reference.size - reference.total + 0.5
    below = higher = 0.0
    for step in range(steps):
        x = (step + 0.5) / steps
        here = _beta_density(x, c, d) / steps
        higher += _beta_density(x, a, b) * (below + here / 2)
        below += here
    return higher / steps


@pytest.mark.parametrize(
    ("hits", "size", "was", "of"), [(3, 50, 5, 100), (1, 50, 0, 100), (10, 301, 10, 300)]
)
def test_a_reference_with_few_hits_is_summed_exactly(hits, size, was, of):
    reference = Reference(of, was, was)
    assert probability_higher(hits, size, reference) == pytest.approx(
        _higher(hits, size, reference), abs=2e-3
    )


def test_a_past_without_a_single_hit_is_no_reason_for_doubt():
    # The normal approximation says 4e-4 here, and a shift to 6.6 % took minutes to be believed.
    assert 1 - probability_higher(20, 301, Reference(3_600, 0, 0)) < 1e-12
    assert probability_higher(280, 301, Reference(3_600, 3_600, 3_600)) < 1e-12


def test_both_ways_meet_where_one_takes_over():
    exact = probability_higher(12, 301, Reference(300, 11, 11))
    normal = probability_higher(12, 301, Reference(300, 12, 12))
    assert 0 < exact - normal < 0.1
