"""Holds without a name grant, refuse and count as the plainest model does."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.budget import Counter, Line
from firedoor.core.tally import Tally
from firedoor.stores import MemoryStore
from firedoor.testing import FakeClock
from support.reference import Reference
from support.unbroken import Unbroken, hurried

KEYS = ["x", "y", "z"]


@st.composite
def one_line(draw, key):
    amount = draw(st.integers(0, 60))
    return Line(
        key,
        draw(st.sampled_from([0, 50, 100, 150])),
        amount,
        0,
        4e9,
        strict=draw(st.booleans()),
        enforce=draw(st.integers(0, 5)) > 0,
    )


lines = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.tuples(*(one_line(key) for key in keys))
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), lines),
        st.tuples(st.just("change"), st.integers(0, 9), st.integers(-60, 60)),
        st.tuples(st.just("give"), st.integers(0, 9), st.tuples(*[st.integers(0, 80)] * 3)),
    ),
    max_size=40,
)


@given(steps)
def test_same_as_the_reference(steps):
    """Whatever is taken, changed and given back, in whatever order."""
    tally, reference = Tally({}, None, threading.Lock()), Reference()
    holds = []

    def same(taken, answer):
        if answer.held:
            assert taken == answer.balances
        else:
            assert taken == answer.refused
        return answer.held

    for number, (step, *told) in enumerate(steps):
        if step == "take":
            (wanted,) = told
            if same(tally.take(wanted), reference.reserve(str(number), wanted, 1)):
                holds.append((str(number), wanted))
        elif holds:
            name, held = holds[told[0] % len(holds)]
            if step == "change":
                changed = [one._replace(amount=max(0, one.amount + told[1])) for one in held]
                answer = reference.reserve(name, changed, 1)
                if same(tally.take(changed, [one.amount for one in held]), answer):
                    holds[told[0] % len(holds)] = (name, changed)
            else:
                spent = told[1][: len(held)]
                assert tally.give(held, spent) == reference.settle([(name, spent)])[0]
                del holds[told[0] % len(holds)]
        totals = tally.totals([Line(key, 0, 0, 0, 0) for key in KEYS])
        assert totals == reference.balances(KEYS)


def line(key, amount=10, expires=4e9):
    return Line(key, 100, amount, 0, expires)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_thread_comes_in_while_the_guard_is_held(count):
    """Else all who come by would queue for it, and go on queueing for each other."""
    guard = Unbroken()
    tally = Tally({key: Counter() for key in KEYS}, None, guard)
    lines = tuple(line(key) for key in KEYS[:count])
    assert tally.take(lines) == ((0, 10),) * count
    assert tally.take(lines, [5] * count) == ((0, 15),) * count
    assert tally.take(tuple(line(key, 99) for key in KEYS[:count])) == 0
    assert tally.give(lines, [4] * count) == ((4, 5),) * count
    assert guard.held == 3 + count
    assert guard.breaks == []
    tally.totals(lines)  # which nobody waits for
    assert guard.breaks != []


def test_threads_take_all_or_none():
    """As many are granted as fit, and nothing is left of those that were refused, or came first."""
    tally = Tally({}, None, threading.Lock())
    wide, narrow = line("wide", 1)._replace(limit=8_000), line("narrow", 1)._replace(limit=3_000)

    def granted(number):
        lines = (wide, narrow) if number % 2 else (narrow, wide)
        return [lines for _ in range(1_000) if not isinstance(tally.take(lines), int)]

    with hurried(), ThreadPoolExecutor(8) as pool:
        taken = [lines for some in pool.map(granted, range(8)) for lines in some]
        assert len(taken) == 3_000
        assert tally.totals([wide, narrow]) == ((0, 3_000),) * 2
        list(pool.map(lambda lines: tally.give(lines, (1, 1)), taken))
    assert tally.totals([wide, narrow]) == ((3_000, 0),) * 2


def test_counters_are_the_stores_and_end_with_their_window():
    """What is taken is seen in the store; a counter nobody holds of is forgotten in time."""
    clock = FakeClock()
    store = MemoryStore(clock)
    soon = store.now() + 60
    old, held = line("old", expires=soon), line("held", expires=soon)
    store.tally.take([old])
    store.tally.take([held])
    store.tally.give([old], [4])
    assert store.counters() == {"old": (4, 0), "held": (0, 10)}
    clock.advance(100)
    store.tally.take([line("new")])
    assert store.counters() == {"held": (0, 10), "new": (0, 10)}
    # Given back when its counter is long gone: it is counted, and forgotten with the next.
    empty = line("empty", 0, soon)
    store.tally.take([empty])
    clock.advance(100)
    assert "empty" not in store.counters()
    assert store.tally.give([empty], [3]) == ((3, 0),)


def test_memory_is_bounded():
    """Tens of thousands of holds later, nothing is kept of them."""
    store = MemoryStore(FakeClock())
    for number in range(30_000):
        store.reserve(str(number), [line("day")], 60)
        store.settle([(str(number), [0])])
    assert len(store._ledger._holds) <= 5000
    assert len(store._ledger._leases) <= 20_000
