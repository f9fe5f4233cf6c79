"""Rolling windows, against a naive list of everything that ever happened."""

import math

from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.window import (
    CALL,
    CALLS,
    FAILURE,
    SLOW,
    SLOW_FIRST_TOKEN,
    TIMED,
    Counts,
    CountWindow,
    TimeWindow,
    slots_for,
)

kinds = st.builds(
    lambda failed, slow, stream: CALL + failed * FAILURE + slow * SLOW + stream,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, TIMED, TIMED + SLOW_FIRST_TOKEN]),
)


def naive(deltas):
    """Counts lane by lane, the slow way."""
    lanes = [Counts.of(delta) for delta in deltas]
    return Counts(*(sum(lane[i] for lane in lanes) for i in range(5)))


@given(st.integers(1, 12), st.lists(kinds, max_size=60))
def test_a_count_window_holds_the_last_calls_and_no_other(size, deltas):
    window = CountWindow(size)
    for seen in range(len(deltas)):
        total = window.record(deltas[seen], 0.0)
        assert total == window.read(0.0) == window.total
        assert Counts.of(total) == naive(deltas[: seen + 1][-size:])


# Binary fractions, so that the naive slot of a time is exact.
steps = st.integers(0, 64).map(lambda n: n / 8)


@given(st.integers(1, 12), st.sampled_from([0.25, 1.0, 2.0]), st.lists(st.tuples(steps, kinds)))
def test_a_time_window_holds_the_slots_it_reaches_back_to_and_no_other(slots, width, calls):
    window = TimeWindow(slots * width, slots)
    history = []
    now = -3.0
    for step, delta in calls:
        now += step
        slot = math.floor(now / width)
        history.append((slot, delta))
        total = window.record(delta, now)
        kept = [d for s, d in history if s > slot - slots]
        assert Counts.of(total) == naive(kept)
        assert Counts.of(window.read(now)) == naive(kept)


@given(
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 5)), min_size=1),
    st.floats(0.7, 90.0),
    st.integers(1, 60),
)
def test_a_time_window_covers_its_seconds_to_within_one_slot(moves, seconds, slots):
    """Whatever the floats: all of the last `seconds - a slot` counts, nothing before `seconds`."""
    window = TimeWindow(seconds, slots)
    slack = 1e-9 * max(1.0, seconds)
    times = []
    now = 0.0
    for step, silence in moves:
        now += step
        times.append(now)
        window.record(CALL, now)
        now += silence
        calls = window.read(now) & CALLS
        sure = sum(t > now - seconds + seconds / slots + slack for t in times)
        most = sum(t > now - seconds - slack for t in times)
        assert sure <= calls <= most


def test_a_call_told_late_counts_in_the_newest_slot():
    """Threads read the clock before they take the lock, so time may seem to run back a little."""
    window = TimeWindow(10.0, 10)
    window.record(CALL, 5.0)
    window.record(CALL + FAILURE, 4.2)
    assert Counts.of(window.read(14.9)) == Counts(calls=2, failures=1)
    assert Counts.of(window.read(15.0)) == Counts()


def test_turn_says_when_something_may_be_forgotten():
    window = TimeWindow(10.0, 10)
    window.record(CALL, 0.5)
    window.record(CALL, 9.5)
    assert window.turn == 10.0
    assert window.read(9.99) == 2
    assert window.read(10.0) == 1
    assert CountWindow(3).turn == -math.inf


@given(st.lists(steps, min_size=1, max_size=40), st.booleans())
def test_taking_in_a_batch_is_recording_one_by_one(gaps, counted):
    make = (lambda: CountWindow(7)) if counted else (lambda: TimeWindow(4.0, 8))
    one, batch = make(), make()
    now, times = 0.0, []
    for gap in gaps:
        now += gap
        one.record(CALL, now)
        times.append(now)
    batch.record_all(CALL, times)
    assert not times
    assert batch.read(now) == one.read(now)


def test_a_window_is_cut_into_seconds_within_reason():
    assert [slots_for(s) for s in (0.5, 10, 10.5, 59.2, 60, 3600)] == [10, 10, 11, 60, 60, 60]
