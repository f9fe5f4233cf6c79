"""Counters and holds, the same in every store."""

import asyncio
import math
import multiprocessing
import os
import threading
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from firedoor.core.budget import LARGEST, Answer, Balance, Ledger, Line
from firedoor.stores import open_store
from support.waiting import until

FAR = 4_000_000_000.0
"""A time after which counters may be forgotten that no test lives to see."""


def line(key="day", amount=10, limit=100, floor=1, *, strict=True, enforce=True, expires=FAR):
    return Line(key, limit, amount, min(floor, amount), expires, strict=strict, enforce=enforce)


class TestReserving:
    def test_held_apart_from_settled(self, store):
        """What is promised and what is spent are two numbers."""
        assert store.reserve("a", [line()], 60) == Answer(True, None, (Balance(0, 10),))
        assert store.settle([("a", [4])]) == ((Balance(4, 0),),)
        assert store.balances(["day", "none"]) == (Balance(4, 0), Balance(0, 0))

    def test_strict_to_the_last_unit(self, store):
        """A hold may use all that is left, and not one unit more."""
        assert store.reserve("a", [line(amount=60)], 60).held
        assert store.reserve("b", [line(amount=41)], 60) == Answer(False, 0, (Balance(0, 60),))
        assert store.reserve("c", [line(amount=40)], 60).held
        assert store.reserve("d", [line(amount=1)], 60).refused == 0
        assert store.reserve("e", [line(amount=0)], 60).held

    def test_last_call(self, store):
        """Without strictness a hold is granted while anything is left."""
        assert store.reserve("a", [line(amount=99, strict=False)], 60).held
        assert store.reserve("b", [line(amount=50, strict=False)], 60).held
        assert store.reserve("c", [line(amount=1, strict=False)], 60).refused == 0

    def test_counted_only(self, store):
        """A line that is not enforced is counted and never refused."""
        assert store.reserve("a", [line(amount=500, enforce=False)], 60).held
        assert store.balances(["day"]) == (Balance(0, 500),)

    def test_all_or_none(self, store):
        """A hold that one of its lines refuses leaves no trace on the others."""
        answer = store.reserve("a", [line("x"), line("y", amount=101), line("z")], 60)
        assert answer == Answer(False, 1, (Balance(0, 0),) * 3)
        assert store.balances(["x", "y", "z"]) == (Balance(0, 0),) * 3

    def test_asked_twice(self, store):
        """The same hold asked for again is one hold."""
        first = store.reserve("a", [line(amount=60)], 60)
        assert store.reserve("a", [line(amount=60)], 60) == first

    def test_asked_after_its_end(self, store):
        """A hold that was settled is not held again."""
        store.reserve("a", [line()], 60)
        store.settle([("a", [4])])
        assert store.reserve("a", [line()], 60) == Answer(False, None, (Balance(4, 0),))

    def test_grows_and_shrinks(self, store):
        """A hold can be changed; only growth can be refused, and changes nothing then."""
        store.reserve("a", [line(amount=60)], 60)
        assert store.reserve("a", [line(amount=100)], 60).balances == (Balance(0, 100),)
        assert store.reserve("a", [line(amount=101)], 60).refused == 0
        assert store.reserve("a", [line(amount=5)], 60).balances == (Balance(0, 5),)
        assert store.reserve("a", [line(amount=5, limit=1)], 60).held
        assert store.settle([("a", [7])]) == ((Balance(7, 0),),)

    def test_largest_amounts(self, store):
        """Counted exactly up to the stated maximum."""
        assert store.reserve("a", [line(amount=LARGEST, limit=LARGEST)], 60).held
        assert store.settle([("a", [LARGEST - 1])]) == ((Balance(LARGEST - 1, 0),),)
        assert store.reserve("b", [line(amount=2, limit=LARGEST)], 60).refused == 0
        assert store.reserve("c", [line(amount=1, limit=LARGEST)], 60).held
        assert store.settle([("c", [1])]) == ((Balance(LARGEST, 0),),)

    def test_any_key(self, store):
        """Keys are any text."""
        keys = ["a|b", "ü \u2028 \x00", "{tag}", "'; DROP TABLE x; --", "%s"]
        for index, key in enumerate(keys):
            assert store.reserve(str(index), [line(key, amount=index)], 60).held
        assert store.counters() == {key: Balance(0, i) for i, key in enumerate(keys)}


class TestSettling:
    def test_once(self, store):
        """Told twice is told once, whatever is said the second time."""
        store.reserve("a", [line()], 60)
        assert store.settle([("a", [4])]) == ((Balance(4, 0),),)
        assert store.settle([("a", [9])]) == ((Balance(4, 0),),)

    def test_more_than_held(self, store):
        """What a call spent beyond its hold is counted, past the limit if need be."""
        store.reserve("a", [line(amount=100)], 60)
        assert store.settle([("a", [130])]) == ((Balance(130, 0),),)
        assert store.reserve("b", [line(amount=1)], 60).refused == 0

    def test_nothing_spent(self, store):
        """A call that never ran gives back all of it."""
        store.reserve("a", [line()], 60)
        assert store.settle([("a", [0])]) == ((Balance(0, 0),),)

    def test_never_heard_of(self, store):
        """A hold that is not known changes nothing."""
        assert store.settle([("a", [4])]) == (None,)
        assert store.counters() == {}

    def test_many_at_once(self, store):
        """Several holds are settled in one operation, each by itself."""
        store.reserve("a", [line("x"), line("y")], 60)
        store.reserve("b", [line("y")], 60)
        assert store.settle([("a", [1, 2]), ("none", [1]), ("b", [3])]) == (
            (Balance(1, 0), Balance(2, 10)),
            None,
            (Balance(5, 0),),
        )
        assert store.settle([]) == ()


class TestLeases:
    def test_back_at_the_floor(self, store):
        """A hold nobody speaks for is settled at its floor when its lease is over."""
        store.reserve("a", [line("x", floor=3), line("y", floor=0)], 0.03)
        until(lambda: store.balances(["x"]) == (Balance(3, 0),))
        assert store.balances(["y"]) == (Balance(0, 0),)
        assert store.renew(["a"], 60) == (False,)

    def test_room_again(self, store):
        """What the lease gave back can be held by others."""
        store.reserve("a", [line(amount=100, floor=3)], 0.03)
        assert store.reserve("b", [line(amount=97)], 60).refused == 0
        until(lambda: store.reserve("b", [line(amount=97)], 60).held)

    def test_renewed(self, store):
        """A renewed hold outlives its first lease; one that is not known cannot be renewed."""
        store.reserve("a", [line()], 0.05)
        store.reserve("b", [line("other")], 0.05)
        assert store.renew(["a", "none"], 60) == (True, False)
        until(lambda: store.balances(["other"]) == (Balance(1, 0),))
        assert store.balances(["day"]) == (Balance(0, 10),)

    def test_settled_too_late(self, store):
        """What a call spent whose hold had run out is counted still, less the floor."""
        store.reserve("a", [line("x", floor=3), line("y", floor=9)], 0.03)
        until(lambda: store.balances(["x"]) == (Balance(3, 0),))
        assert store.settle([("a", [7, 2])]) == ((Balance(7, 0), Balance(2, 0)),)
        assert store.settle([("a", [7, 2])]) == ((Balance(7, 0), Balance(2, 0)),)

    def test_forgotten_counters(self, store):
        """A counter whose window is over is forgotten, but not under a call that runs."""
        soon = store.now() + 0.05
        store.reserve("a", [line("old", expires=soon)], 60)
        store.reserve("b", [line("held", expires=soon)], 60)
        store.settle([("a", [1])])

        def gone():
            # Any new counter is an occasion to look at the old ones.
            store.reserve(f"c{time.monotonic()}", [line(f"new{time.monotonic()}")], 60)
            return "old" not in store.counters()

        until(gone)
        assert store.counters()["held"] == Balance(0, 10)


class TestConcurrency:
    async def test_tasks(self, store):
        """The asynchronous twins answer as the others do; many tasks pass no limit."""

        async def call(n):
            answer = await store.areserve(f"h{n}", [line(amount=7)], 60)
            if answer.held:
                await store.asettle([(f"h{n}", [7])])
            return answer.held

        held = await asyncio.gather(*(call(n) for n in range(50)))
        assert sum(held) == 14
        assert store.balances(["day"]) == (Balance(98, 0),)

    def test_threads(self, store):
        """Threads pass no limit, and lose nothing of it."""
        held = []

        def work(me):
            for n in range(20):
                name = f"{me}-{n}"
                if store.reserve(name, [line(amount=3)], 60).held:
                    store.settle([(name, [2])])
                    held.append(name)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.balances(["day"]) == (Balance(2 * len(held), 0),)
        # 2 each, and a hold of 3 must fit: the last one is granted at 97 at the latest.
        assert len(held) == 49

    def test_loops_one_after_another(self, store_url):
        """Each event loop has connections of its own, and none outlives it."""
        opened = open_store(store_url)
        for n in range(3):
            asyncio.run(opened.areserve(f"h{n}", [line()], 60))
        assert opened.balances(["day"]) == (Balance(0, 30),)
        opened.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_after_a_fork(self, store):
        """A child goes on with the store it was born with, and disturbs nobody."""
        asyncio.run(store.areserve("before", [line(amount=1)], 60))

        def child():
            held = store.reserve("child", [line(amount=2)], 60).held
            held = held and asyncio.run(store.areserve("task", [line(amount=4)], 60)).held
            os._exit(0 if held else 1)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        store.reserve("parent", [line(amount=8)], 60)
        process.join()
        assert process.exitcode == 0
        assert store.balances(["day"]) == (Balance(0, 15 if store.shared else 9),)

    async def test_a_cancellation_is_never_lost(self, store):
        """Whenever it comes: an answer that comes with it is thrown away."""
        for n in range(240):
            waiting = asyncio.ensure_future(store.areserve(f"h{n}", [line(amount=0)], 60))
            for _ in range(n % 60):
                await asyncio.sleep(0)
            if waiting.done():
                waiting.result()
                continue
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    async def test_loop_is_not_blocked(self, tmp_path):
        """While another process writes for long, the event loop goes on."""
        opened = open_store(f"sqlite:///{tmp_path}/state.db")
        with opened._file.writing():
            waiting = asyncio.ensure_future(opened.areserve("a", [line()], 60))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
        assert (await waiting).held
        opened.close()


KEYS = ["x", "y", "z"]
amounts = st.integers(0, 60)
lines = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.tuples(
        *(
            st.builds(
                line,
                st.just(key),
                amounts,
                floor=st.just(0),
                strict=st.booleans(),
                enforce=st.integers(0, 5).map(bool),
            )
            for key in keys
        )
    )
)


def machine(url):
    class Same(RuleBasedStateMachine):
        """A store answers as the ledger does, whatever happens."""

        holds = Bundle("holds")

        @initialize()
        def begin(self):
            self.store = open_store(url() if callable(url) else url)
            self.ledger = Ledger()
            self.count = 0

        @rule(target=holds, lines=lines)
        def reserve(self, lines):
            self.count += 1
            name = f"h{self.count}"
            assert self.store.reserve(name, lines, 600) == self.ledger.reserve(name, lines, 600, 0)
            return name, lines

        @rule(hold=holds, by=st.integers(-60, 60))
        def change(self, hold, by):
            name, lines = hold
            lines = [
                line(one.key, max(0, one.amount + by), floor=0, strict=one.strict) for one in lines
            ]
            assert self.store.reserve(name, lines, 600) == self.ledger.reserve(name, lines, 600, 0)

        @rule(hold=consumes(holds), spent=st.tuples(amounts, amounts, amounts), again=st.booleans())
        def settle(self, hold, spent, again):
            name, lines = hold
            said = [(name, spent[: len(lines)])] * (1 + again)
            assert self.store.settle(said) == self.ledger.settle(said, 0)

        @rule(hold=holds)
        def renew(self, hold):
            assert self.store.renew([hold[0]], 600) == self.ledger.renew([hold[0]], 600, 0)

        @invariant()
        def same_balances(self):
            assert self.store.balances(KEYS) == self.ledger.balances(KEYS, 0)

        def teardown(self):
            self.store.close()

    return Same


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_same_as_the_ledger(kind, request, tmp_path):
    """Every store gives the ledger's answer to any sequence of operations."""
    count = iter(range(1_000_000))
    urls = {
        "memory": lambda: "memory://",
        "sqlite": lambda: f"sqlite:///{tmp_path}/{next(count)}.db",
        "redis": lambda: request.getfixturevalue("valkey_server").url(),
    }
    run_state_machine_as_test(
        machine(urls[kind]),
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_clock_of_the_server(valkey_server):
    """Windows and leases follow the server's clock, whatever this host's clock says."""

    class Wrong:
        def time_ns(self):
            return 1_000_000_000

    opened = open_store(valkey_server.url(), Wrong())
    opened.reserve("a", [line()], 60)
    seconds, _ = valkey_server.command("TIME")
    assert math.isclose(opened.now(), float(seconds), abs_tol=5)
    opened.close()
