"""The adaptive limit, against targets whose answer to load is known."""

import pytest

from firedoor.core.gradient import BACKOFF, INITIAL, Gradient


def observe(gradient, now, latency, running, *, dropped):
    """A call ends."""
    if dropped:
        gradient.dropped = True
    else:
        gradient.samples += 1
        gradient.total += latency
    gradient.busiest = max(gradient.busiest, running)
    gradient.end(now)


def window(gradient, now, latency, running, *, dropped=False, calls=20):
    """One sampling window of calls; answers when it ended."""
    for n in range(calls):
        observe(gradient, now + n / calls, latency, running, dropped=dropped and n == 3)
    observe(gradient, now + 1.0, latency, running, dropped=False)
    return now + 1.01


def serve(gradient, latency_of, windows):
    """Load it as far as it lets us, on a target whose latency depends on the calls at once."""
    now = 0.0
    for _ in range(windows):
        now = window(gradient, now, latency_of(gradient.limit), gradient.limit)
    return gradient.limit


def test_a_target_that_does_not_slow_down_gets_all_there_may_be():
    assert serve(Gradient(1, 64), lambda running: 0.2, 200) == 64


@pytest.mark.parametrize("capacity", [30, 60])
def test_a_target_that_queues_above_its_capacity_is_not_flooded(capacity):
    """Latency is flat up to the capacity and in proportion above. Without the gradient it would
    get all 500 within this minute and a half."""

    def latency_of(running):
        return 0.2 * max(1.0, running / capacity)

    assert capacity * 0.9 <= serve(Gradient(1, 500), latency_of, 90) <= capacity * 2.5


@pytest.mark.parametrize("capacity", [3, 12, 60])
def test_a_target_that_refuses_above_its_capacity_is_held_to_it_for_good(capacity):
    gradient = Gradient(1, 500)
    now, limits = 0.0, []
    for _ in range(1_000):
        limit = gradient.limit
        now = window(gradient, now, 0.2, limit, dropped=limit > capacity)
        limits.append(limit)
    settled = limits[100:]
    assert max(settled) <= capacity + 2
    assert sum(settled) / len(settled) >= capacity * 0.85


def test_a_target_that_becomes_slow_is_given_less():
    gradient = Gradient(1, 100)
    before = serve(gradient, lambda running: 0.2, 100)
    assert serve_from(gradient, 1000.0, 1.0, 20) < before / 3


def serve_from(gradient, now, latency, windows):
    for _ in range(windows):
        now = window(gradient, now, latency, gradient.limit)
    return gradient.limit


def test_it_recovers():
    gradient = Gradient(1, 100)
    serve(gradient, lambda running: 0.2, 100)
    serve_from(gradient, 1000.0, 2.0, 50)
    assert serve_from(gradient, 2000.0, 0.2, 200) == 100


def test_a_window_with_a_drop_cuts_it_once():
    gradient = Gradient(1, 100)
    window(gradient, 0.0, 0.2, INITIAL, dropped=True)
    assert gradient.limit == int(INITIAL * BACKOFF)


def test_drops_alone_bring_it_to_its_minimum_and_no_lower():
    gradient = Gradient(3, 100)
    now = 0.0
    for _ in range(60):
        now = window(gradient, now, 0.2, gradient.limit, dropped=True)
    assert gradient.limit == 3


def test_it_does_not_grow_for_an_application_that_asks_for_less():
    gradient = Gradient(1, 100)
    assert serve_from(gradient, 0.0, 0.2, 50) > INITIAL
    idle = Gradient(1, 100)
    now = 0.0
    for _ in range(50):
        now = window(idle, now, 0.2, running=3)
    assert idle.limit == INITIAL


def test_a_few_calls_are_not_a_verdict():
    gradient = Gradient(1, 100)
    for n in range(9):
        observe(gradient, float(n), 0.2, 20, dropped=False)
    assert gradient.limit == INITIAL


@pytest.mark.parametrize(("minimum", "maximum", "begins"), [(1, 5, 5), (40, 64, 40), (1, 64, 20)])
def test_it_begins_within_its_bounds(minimum, maximum, begins):
    assert Gradient(minimum, maximum).limit == begins
