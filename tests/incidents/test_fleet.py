"""The windows of several processes are one, in whatever order they hear of each other."""

import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import firedoor as fd
from firedoor.clock import SYSTEM_CLOCK
from firedoor.core.series import Selector
from firedoor.core.telling import MOST
from firedoor.errors import StoreError
from firedoor.incidents.fleet import LASTS, Fleet
from firedoor.incidents.signals import OTHER, Signals
from firedoor.stores import MemoryStore, open_store
from firedoor.testing import FakeClock
from firedoor.types import Outcome
from support.calls import chat
from support.signal_process import SERVICE, call
from support.valkey import valkey

PROCESS = Path(__file__).parents[1] / "support" / "signal_process.py"


def signals_on(clock, faults=None):
    return Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=(faults or []).append)


def refusals(signals):
    return signals.read("refusal_rate", window=3_600.0)[:2]


@pytest.fixture(scope="module")
def server():
    with valkey() as running:
        yield running


@pytest.fixture(params=["sqlite", "valkey"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.db'}"
    return request.getfixturevalue("server").url()


class Process:
    def __init__(self, url, refusals, answers):
        self.running = subprocess.Popen(
            [sys.executable, str(PROCESS), url, str(refusals), str(answers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self):
        return self.running.stdout.readline().split()

    def ask(self):
        self.running.stdin.write("what\n")
        self.running.stdin.flush()
        return self.hear()

    def die(self):
        self.running.stdin.write("die\n")
        self.running.stdin.flush()
        return self.running.wait(30)


def test_three_processes_see_what_all_of_them_saw(url):
    fleet = [Process(url, *counts) for counts in ((1, 9), (0, 70), (19, 1))]
    try:
        assert [process.hear() for process in fleet] == [["ready"]] * 3
        told = [process.ask() for process in fleet]
        assert told[0] == told[1] == told[2]
        hits, size, slow = told[0]
        assert (hits, size) == ("20", "100")
        assert float(slow) == pytest.approx(2.0, rel=0.01)

        with fd.Firedoor(SERVICE, state=url) as door:
            door.flush()
            # What was counted before a process died stays counted.
            assert fleet[2].die() == 9
            door.flush()
            assert door.signals.read("refusal_rate")[:2] == (100, 20.0)
            assert door.signals.exposure(Selector("checkout-help", "llm:answer"), 300,
                                         SYSTEM_CLOCK.now()) == (100, 20)  # fmt: skip
        with fd.Firedoor("another-service", state=url) as door:
            door.flush()
            assert door.signals.read("refusal_rate").size == 0
    finally:
        for process in fleet:
            process.running.kill()
            process.running.communicate()


def test_a_thread_of_its_own_tells_and_hears(tmp_path):
    """Nobody calls anything: the door's thread meets the other process."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    heard = threading.Event()
    with fd.Firedoor(SERVICE, state=url) as one, fd.Firedoor(SERVICE, state=url) as two:
        absorb = two.signals.absorb

        def listen(process, text):
            taken = absorb(process, text)
            heard.set()
            return taken

        two.signals.absorb = listen
        one.signals.record(call(refused=True))
        two.signals.record(call(refused=False))
        assert heard.wait(30)
        assert two.signals.read("refusal_rate").size >= 1
        assert [t.name for t in threading.enumerate()].count("firedoor-signals") == 2
    assert "firedoor-signals" not in [t.name for t in threading.enumerate()]


def test_a_process_that_says_nothing_more_drops_out():
    clock = FakeClock()
    store = MemoryStore(clock)
    fleet = []
    for _ in range(2):
        signals = signals_on(clock)
        fleet.append((signals, Fleet(signals, store, "x", clock=clock, on_fault=print)))
    fleet[0][0].record(call(refused=True))
    assert all(one.exchange() for _, one in fleet)
    assert set(store.members("signals:x")) == {one.member for _, one in fleet}
    clock.advance(LASTS + 1)
    fleet[1][1].exchange()
    assert set(store.members("signals:x")) == {fleet[1][1].member}
    assert refusals(fleet[1][0]) == (1, 1.0)


def test_a_store_that_is_away_is_counted_and_tried_again():
    class Away:
        def publish(self, *_):
            raise StoreError

    faults = []
    fleet = Fleet(signals_on(FakeClock()), Away(), "x", clock=FakeClock(), on_fault=faults.append)
    assert fleet.exchange() is False
    assert [type(fault) for fault in faults] == [StoreError]


def test_a_store_that_comes_back_brings_the_minute_that_was_missed(tmp_path):
    clock = FakeClock()
    store = open_store(f"sqlite:///{tmp_path / 'state.db'}", clock)
    one, two = signals_on(clock), signals_on(clock)
    tell = Fleet(one, store, "x", clock=clock, on_fault=print)
    hear = Fleet(two, store, "x", clock=clock, on_fault=print)
    for _ in range(5):  # nobody could tell for 50 s
        one.record(call(refused=True))
        clock.advance(10)
    tell.exchange()
    hear.exchange()
    assert refusals(two) == (5, 5.0)
    store.close()


messages = st.lists(
    st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 12)), min_size=1, max_size=25
)


@given(messages, st.randoms(use_true_random=False))
def test_hearing_again_late_or_in_another_order_adds_up_to_the_same(told, shuffle):
    clock = FakeClock()
    speakers = [signals_on(clock) for _ in range(3)]
    listeners = [signals_on(clock) for _ in range(2)]
    heard = []
    for who, refused, wait in told:
        speakers[who].record(call(refused=refused))
        heard.append((str(who), speakers[who].export()))
        if wait > 9:
            clock.advance(wait - 9)
        # One hears everything; the other what it happens to, until the end.
        listeners[0].absorb(*heard[-1])
        if shuffle.random() < 0.5:
            listeners[1].absorb(*heard[-1])
    last = [(str(who), speaker.export()) for who, speaker in enumerate(speakers)]
    shuffle.shuffle(last)
    for process, text in [*last, *last]:
        for listener in listeners:
            listener.absorb(process, text)
    right = (len(told), float(sum(refused for _, refused, _ in told)))
    assert refusals(listeners[0]) == refusals(listeners[1]) == right


def test_what_was_heard_is_not_told_on():
    clock = FakeClock()
    one, two = signals_on(clock), signals_on(clock)
    one.record(call(refused=True))
    two.absorb("one", one.export())
    one.absorb("two", two.export())
    assert refusals(one) == refusals(two) == (1, 1.0)


def test_a_forked_process_does_not_tell_what_its_parent_counted():
    clock = FakeClock()
    signals = signals_on(clock)
    signals.record(call(refused=True))
    clock.advance(20)
    forked = clock.now()
    signals.record(call(refused=False))
    other = signals_on(clock)
    other.absorb("child", signals.export(since=forked))
    assert refusals(other) == (1, 0.0)


def test_closed_slots_are_not_read_again():
    clock = FakeClock()
    one, two = signals_on(clock), signals_on(clock)
    for _ in range(3):
        one.record(call(refused=True))
        clock.advance(10)
    one.record(call(refused=False))
    assert two.absorb("one", one.export()) == 4
    one.record(call(refused=False))
    assert two.absorb("one", one.export()) == 1
    assert two.absorb("one", one.export()) == 0


def test_of_too_many_places_the_busiest_keep_their_names():
    clock = FakeClock()
    one, two = signals_on(clock), signals_on(clock)
    for n in range(MOST + 500):
        one.record(chat(journey=f"j{n}"))
        if n < 10:
            one.record(chat(journey=f"j{n}", outcome=Outcome.REFUSED, refusal="text"))
    two.absorb("one", one.export())
    assert refusals(two) == (MOST + 510, 10.0)
    assert two.read("refusal_rate", journey="j3")[:2] == (2, 1.0)
    assert two.read("refusal_rate", journey=OTHER).size == 500


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "[]", "{}", json.dumps({"v": 1, "slots": [[0, "%%%"], [1, 2, 3]]}),
     json.dumps({"v": 1, "slots": [[1_700_000_000, "Vn#8k"]]}), json.dumps({"v": 1, "slots": 7})],
)  # fmt: skip
def test_what_cannot_be_read_is_left_out_and_counted(text):
    clock, faults = FakeClock(), []
    signals = Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=faults.append)
    signals.record(call(refused=True))
    assert signals.absorb("other", text) == 0
    assert len(faults) == 1
    assert refusals(signals) == (1, 1.0)


def test_a_version_from_the_future_says_nothing():
    signals = signals_on(FakeClock())
    assert signals.absorb("other", json.dumps({"v": 2, "slots": "whatever"})) == 0


def test_bytes_cut_anywhere_break_nothing():
    clock, faults = FakeClock(), []
    one = signals_on(clock)
    for n in range(20):
        one.record(call(refused=n % 2 == 0))
    text = one.export()
    rng = random.Random(3)
    for _ in range(200):
        at = rng.randrange(len(text))
        broken = text[:at] + rng.choice('~}0"') + text[at + 1 :]
        signals = Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=faults.append)
        signals.absorb("other", broken)
        assert refusals(signals)[0] in (0, 20)
    assert faults
