"""The retry budget: what it promises of any window, and of an outage."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.retry_budget import RetryBudget


def first(budget, now):
    budget.attempted([now])


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.2, 1.0])
@pytest.mark.parametrize("attempts", [2, 5])
def test_attempts_in_an_outage_are_at_most_one_plus_the_ratio(ratio, attempts):
    """Every call fails and would retry as often as it may."""
    budget = RetryBudget(ratio=ratio, minimum=0)
    calls = made = 0
    for n in range(5_000):
        now = n * 0.05
        calls += 1
        first(budget, now)
        made += 1 + sum(budget.take(now) for _ in range(attempts - 1))
        assert made <= calls * (1 + ratio)
    assert made == calls * (1 + ratio), "what is granted is granted in full"


def test_the_minimum_is_not_added_to_the_share():
    budget = RetryBudget(ratio=0.1, minimum=10)
    for n in range(1_000):
        first(budget, n * 0.001)
    assert sum(budget.take(1.0) for _ in range(500)) == 100


def test_a_quiet_process_may_retry_its_minimum_in_each_window():
    budget = RetryBudget(ratio=0.1, minimum=3, window=60.0)
    first(budget, 0.0)
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.refused == 1
    assert not budget.take(59.0)
    assert [budget.take(61.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("tenths", range(1, 11))
def test_a_share_is_not_lost_to_rounding(tenths):
    budget = RetryBudget(ratio=tenths / 10, minimum=0)
    for _ in range(30):
        first(budget, 0.0)
    assert budget.left(0.0) == 3 * tenths


@given(
    st.sampled_from([0.0, 0.25, 1.0]),
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from(["call", "retry"]), st.integers(0, 12)), max_size=80),
)
def test_no_window_holds_more_retries_than_it_may(ratio, minimum, steps):
    budget = RetryBudget(ratio=ratio, minimum=minimum, window=10.0)
    now, firsts, retries = 0.0, [], []
    for kind, quarter_seconds in steps:
        now += quarter_seconds / 4
        recent = math.floor(now) - 10
        calls = sum(math.floor(t) > recent for t in firsts)
        spent = sum(math.floor(t) > recent for t in retries)
        if kind == "call":
            first(budget, now)
            firsts.append(now)
        else:
            granted = budget.take(now)
            assert granted == (spent + 1 <= max(int(ratio * calls), minimum))
            if granted:
                retries.append(now)
