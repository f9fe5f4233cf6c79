"""Slots lose nothing and count nothing twice, whatever is folded and whenever."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from firedoor.core.cells import Cell, Key, merged
from firedoor.core.ring import LEVELS, REACH, Question, Ring
from firedoor.core.series import Selector
from firedoor.core.tallies import Lane, lane

EVERYTHING = Question()
WALL = 1_700_000_003.5
KEYS = [
    Key("llm", "checkout", "llm:answer", "gpt-5"),
    Key("llm", "checkout", "llm:answer", "gpt-5", apart=True),
    Key("llm", "search", "llm:answer", "gpt-5-mini"),
    Key("retrieval", "checkout", "retrieval:kb"),
    Key("request", "checkout"),
]

steps = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 30), st.floats(30, 4_000), st.floats(4_000, 100_000)),
        st.sampled_from(KEYS),
        st.integers(0, 5),
    ),
    max_size=40,
)


def calls(ring, question, seconds, now, before=0.0):
    stretch = ring.stretch(seconds, now, before)
    read = ring.read(question, stretch.begins, stretch.ends)
    return sum(lane(cell.tally, Lane.CALLS) for _, cell in read)


def record(ring, key, now):
    cells = ring.cells(now)
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = Cell()
        ring.size += 1
    cell.tally += 1
    cell.add("cost", 0.5)


def width_at(age):
    return next((width for width, kept in LEVELS if age <= kept), LEVELS[-1][0])


@given(steps, st.floats(10, REACH - 8_000), st.floats(0, 8_000))
@example([(0.0, KEYS[0], 1)], 300.0, 0.0)
def test_a_stretch_holds_what_happened_in_it_but_for_half_a_slot_at_its_ends(told, seconds, before):
    now = WALL
    ring = Ring(now, 10_000)
    happened = []
    for wait, key, budget in told:
        now += wait
        record(ring, key, now)
        happened.append(now)
        ring.tidy(now, budget)
    start, end = now - before - seconds, now - before
    off = width_at(before + seconds) / 2 + 1e-3
    late = width_at(before) / 2 + 1e-3 if before > 0 else 0.0
    # An event counts where its slot begins, up to a slot's width before it.
    wide = width_at(before + seconds) + off
    surely = sum(start + wide <= t <= end - late for t in happened)
    perhaps = sum(start - off <= t <= end + late + width_at(before) for t in happened)
    assert surely <= calls(ring, EVERYTHING, seconds, now, before) <= perhaps


@given(steps)
def test_tidying_at_once_or_little_by_little_reads_the_same(told):
    now = WALL
    eager, lazy = Ring(now, 10_000), Ring(now, 10_000)
    for wait, key, budget in told:
        now += wait
        for ring, most in ((eager, 10_000), (lazy, budget)):
            record(ring, key, now)
            ring.tidy(now, most)
    while lazy.tidy(now, 3):
        pass
    while eager.tidy(now, 10_000):
        pass
    for seconds in (60, 300, 3_600, 86_400, REACH):
        for key in KEYS:
            question = Question(
                frozenset({key.kind}), Selector(key.journey, key.route, key.alias), key.apart
            )
            assert calls(eager, question, seconds, now) == calls(lazy, question, seconds, now)
    recent = sum(1 for t in _times(told) if t > now - REACH + LEVELS[-1][0])
    assert recent <= calls(lazy, EVERYTHING, REACH + 7_200, now) <= len(told)
    assert lazy.size == len(_cells(lazy))


def _times(told):
    now = WALL
    for wait, _, _ in told:
        now += wait
        yield now


def _cells(ring):
    slots = ring.slots(float("-inf"), float("inf"))
    return [key for slot in slots for cells in (slot.cells, *slot.others.values()) for key in cells]


def test_memory_is_bounded_and_a_shorter_past_says_so():
    ring = Ring(WALL, cells=50)
    now = WALL
    for n in range(2_000):
        now += 10.0
        record(ring, Key("llm", f"journey-{n % 40}"), now)
        ring.tidy(now, 100)
        assert ring.size <= 50
    assert ring.dropped > 0
    stretch = ring.stretch(86_400.0, now)
    assert stretch.seconds < 3_000
    watched = sum(lane(cell.tally, Lane.CALLS) for _, cell in ring.read(EVERYTHING, 0, now + 1))
    assert watched * 10 == 10 * round(watched)
    assert abs(watched * 10.0 - stretch.seconds) <= 7_200


def test_how_much_was_watched_is_told_from_the_beginning_on():
    ring = Ring(WALL, 100)
    assert ring.stretch(300.0, WALL).seconds == 0.0
    assert ring.stretch(300.0, WALL + 60).seconds == 60.0
    assert abs(ring.stretch(300.0, WALL + 5_000).seconds - 300.0) <= 5.0
    assert abs(ring.stretch(3_600.0, WALL + 50_000, 300.0).seconds - 3_600.0) <= 155.0


def test_what_was_remembered_of_a_slot_is_forgotten_as_it_changes():
    ring = Ring(WALL, 10_000)
    record(ring, KEYS[0], WALL)
    assert calls(ring, EVERYTHING, 3_600, WALL + 60) == 1
    record(ring, KEYS[0], WALL + 60)
    assert calls(ring, EVERYTHING, 3_600, WALL + 60) == 2
    start = WALL // 10 * 10
    assert ring.told("other", start, {KEYS[0]: Cell(tally=5)}, WALL + 60)
    assert calls(ring, EVERYTHING, 3_600, WALL + 60) == 7


def test_what_another_process_says_again_replaces_what_it_said():
    ring = Ring(WALL, 10_000)
    start = WALL // 10 * 10
    for tally in (3, 5, 4):
        ring.told("other", start, {KEYS[0]: Cell(tally)}, WALL)
    ring.told("third", start, {KEYS[0]: Cell(1)}, WALL)
    assert calls(ring, EVERYTHING, 300, WALL) == 5
    now = WALL + 1_000
    record(ring, KEYS[0], now)
    while ring.tidy(now, 1):
        pass
    assert calls(ring, EVERYTHING, 3_600, now) == 6
    assert ring.size == 2


def test_slots_that_are_none_of_ours_or_too_old_are_not_taken():
    ring = Ring(WALL, 10_000)
    cells = {KEYS[0]: Cell(1)}
    for start in (WALL, WALL // 10 * 10 - 1_000, WALL // 10 * 10 + 60, float("nan")):
        assert not ring.told("other", start, cells, WALL)
    assert calls(ring, EVERYTHING, 3_600, WALL) == 0


cells_of = st.builds(
    lambda tally, costs, times: _cell(tally, costs, times),
    st.integers(0, 1 << 300),
    st.lists(st.floats(-1e6, 1e6), max_size=4),
    st.lists(st.floats(0, 1e6), max_size=4),
)


def _cell(tally, costs, times):
    cell = Cell(tally)
    for cost in costs:
        cell.add("cost", cost)
    for time in times:
        cell.spread("latency", time)
    return cell


@given(cells_of, cells_of, cells_of)
def test_adding_cells_is_exact_in_any_order_and_survives_packing_and_telling(a, b, c):
    one = merged([merged([a, b]), c])
    other = merged([c.pack(), merged([b, a.pack()]).pack()])
    assert one == other
    assert Cell.of(one.pack()) == one
    assert Cell.from_json(json.loads(json.dumps(one.to_json()))) == one
