"""What processes say to each other, and who of them is the one: the same in every store."""

import contextlib
import math
import queue
import threading

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from firedoor.stores import open_store
from firedoor.testing import FakeClock
from support.waiting import until

LONG = 60.0
NAMES = ["a", "b", "ü \u2028 {tag} %s '; DROP"]


class TestMembers:
    def test_nobody(self, store):
        """A space nobody has spoken in is empty."""
        assert store.members("signals") == {}

    def test_each_says_one_thing(self, store):
        """The last word of each member counts."""
        store.publish("signals", "one", "first", LONG)
        store.publish("signals", "two", "other", LONG)
        store.publish("signals", "one", "second", LONG)
        assert store.members("signals") == {"one": "second", "two": "other"}

    def test_spaces_are_apart(self, store):
        """What is said in one space is not heard in another."""
        store.publish("signals", "one", "text", LONG)
        assert store.members("budgets") == {}

    def test_any_text(self, store):
        """Spaces, members and texts are any Unicode, and long where they have to be."""
        for name in NAMES:
            store.publish(name, name, name * 10_000, LONG)
        store.publish("empty", "", "", LONG)
        assert [store.members(name) for name in NAMES] == [{n: n * 10_000} for n in NAMES]
        assert store.members("empty") == {"": ""}

    def test_time_is_over(self, store):
        """Who does not speak again is gone, and the others stay."""
        store.publish("signals", "stays", "text", LONG)
        store.publish("signals", "goes", "text", 0.03)
        until(lambda: store.members("signals") == {"stays": "text"})

    def test_speaks_again(self, store):
        """A later word lasts from then on."""
        store.publish("signals", "one", "first", 0.05)
        store.publish("signals", "one", "second", LONG)
        store.publish("signals", "goes", "text", 0.05)
        until(lambda: "goes" not in store.members("signals"))
        assert store.members("signals") == {"one": "second"}

    def test_of_another_process(self, shared_url):
        """What is said through one connection is read through another."""
        with (
            contextlib.closing(open_store(shared_url)) as speaker,
            contextlib.closing(open_store(shared_url)) as reader,
        ):
            speaker.publish("signals", "one", "text", LONG)
            assert reader.members("signals") == {"one": "text"}

    @pytest.mark.parametrize("ttl", [0, -1, math.inf, math.nan])
    def test_no_time_to_live(self, store, ttl):
        """A word that would not last, or for ever, is a mistake."""
        with pytest.raises(ValueError, match="ttl="):
            store.publish("signals", "one", "text", ttl)
        with pytest.raises(ValueError, match="ttl="):
            store.claim("monitor", "one", ttl)


class TestClaims:
    def test_the_first_holds_it(self, store):
        """One owner at a time, who may ask again."""
        assert store.claim("monitor", "one", LONG)
        assert not store.claim("monitor", "two", LONG)
        assert store.claim("monitor", "one", LONG)
        assert store.claim("other", "two", LONG)

    def test_released(self, store):
        """Who gives it back makes room; whoever does not hold it cannot."""
        store.claim("monitor", "one", LONG)
        store.release("monitor", "two")
        assert not store.claim("monitor", "two", LONG)
        store.release("monitor", "one")
        assert store.claim("monitor", "two", LONG)
        store.release("never", "one")

    def test_time_is_over(self, store):
        """An owner who does not ask again loses it."""
        store.claim("monitor", "one", 0.03)
        until(lambda: store.claim("monitor", "two", LONG))
        assert not store.claim("monitor", "one", LONG)

    def test_renewed(self, store):
        """Asking again begins the time anew."""
        store.claim("monitor", "one", 0.05)
        store.claim("monitor", "one", LONG)
        store.claim("other", "one", 0.05)
        until(lambda: store.claim("other", "two", LONG))
        assert not store.claim("monitor", "two", LONG)

    def test_one_of_many(self, store_url, store):
        """However many ask at once, through connections of their own, one gets it."""
        own = store_url != "memory://"
        gate, got = threading.Barrier(8), queue.Queue()

        def ask(me):
            mine = open_store(store_url) if own else store
            gate.wait()
            if mine.claim("monitor", me, LONG):
                got.put(me)
            if own:
                mine.close()

        threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got.qsize() == 1


class AsTold(RuleBasedStateMachine):
    """Members and claims are those that were told last and whose time is not over."""

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.store = open_store(self.url(), self.clock)
        self.said, self.claims = {}, {}
        self.now = 0

    names = st.sampled_from(["a", "b", "c"])
    ttls = st.sampled_from([1, 5, 20])

    @rule(space=names, member=names, ttl=ttls)
    def publish(self, space, member, ttl):
        self.store.publish(space, member, f"said at {self.now}", ttl)
        self.said[space, member] = (self.now + ttl, f"said at {self.now}")

    @rule(name=names, owner=names, ttl=ttls)
    def claim(self, name, owner, ttl):
        due, holder = self.claims.get(name, (0, None))
        free = due <= self.now or holder == owner
        assert self.store.claim(name, owner, ttl) is free
        if free:
            self.claims[name] = (self.now + ttl, owner)

    @rule(name=names, owner=names)
    def release(self, name, owner):
        self.store.release(name, owner)
        if self.claims.get(name, (0, None))[1] == owner:
            del self.claims[name]

    @rule(seconds=st.integers(1, 6))
    def pass_time(self, seconds):
        self.clock.advance(seconds)
        self.now += seconds

    @invariant()
    def same_members(self):
        for space in "abc":
            assert self.store.members(space) == {
                member: text
                for (where, member), (due, text) in self.said.items()
                if where == space and due > self.now
            }

    def teardown(self):
        self.store.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_as_told(kind, tmp_path):
    """Whatever is told in whatever order, over time; on the stores whose time can be moved."""
    count = iter(range(1_000_000))

    class Here(AsTold):
        @staticmethod
        def url():
            return "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/{next(count)}.db"

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
