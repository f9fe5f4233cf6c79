"""The stores whose time a test can move, compared with the plainest model there is, over time and any order of operations."""

import contextlib

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from firedoor.core.budget import Line
from firedoor.stores import open_store
from firedoor.testing import FakeClock
from support.reference import Reference

FAR = 4_000_000_000.0
KEYS = ["x", "y", "z"]
# No sum of steps meets a lease or a time of forgetting, so that the moments that pass on a real
# server decide nothing.
STEPS = st.sampled_from([7.0, 21.0])
LEASES = st.sampled_from([10.0, 25.0, 600.0])


@st.composite
def held_lines(draw):
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True))
    return tuple(draw(one_line(key)) for key in keys)


@st.composite
def one_line(draw, key):
    amount = draw(st.integers(0, 60))
    return Line(
        key,
        limit=draw(st.sampled_from([0, 50, 100, 150])),
        amount=amount,
        floor=draw(st.integers(0, amount)),
        expires=FAR,
        strict=draw(st.booleans()),
        enforce=draw(st.integers(0, 5)) > 0,
    )


def machine(opened):
    class SameAsReference(RuleBasedStateMachine):
        holds = Bundle("holds")

        @initialize()
        def begin(self):
            self.stack = contextlib.ExitStack()
            self.store, self.advance = self.stack.enter_context(opened())
            self.reference = Reference()
            self.count = 0

        def both(self, operation, *arguments):
            said = getattr(self.store, operation)(*arguments)
            assert said == getattr(self.reference, operation)(*arguments)

        @rule(target=holds, lines=held_lines(), lease=LEASES)
        def reserve(self, lines, lease):
            self.count += 1
            name = f"hold {self.count}"
            self.both("reserve", name, lines, lease)
            return name, lines

        @rule(hold=holds, lease=LEASES, by=st.integers(-60, 60))
        def reserve_again(self, hold, lease, by):
            name, lines = hold
            changed = [
                one._replace(
                    amount=max(0, one.amount + by), floor=min(one.floor, max(0, one.amount + by))
                )
                for one in lines
            ]
            if self.remembered(name):
                self.both("reserve", name, changed, lease)

        @rule(holds=st.lists(holds, max_size=3), lease=LEASES)
        def renew(self, holds, lease):
            self.both("renew", [name for name, _ in holds], lease)

        @rule(
            holds=st.lists(holds, max_size=3),
            spent=st.tuples(*[st.integers(0, 80)] * 3),
            twice=st.booleans(),
        )
        def settle(self, holds, spent, twice):
            said = [(name, spent[: len(lines)]) for name, lines in holds if self.remembered(name)]
            self.both("settle", said * (1 + twice))

        @rule(seconds=STEPS)
        def pass_time(self, seconds):
            self.advance(seconds)
            self.reference.time += seconds
            # Who looks at nothing sees nothing expire, and forgets it later.
            self.both("balances", KEYS)

        def remembered(self, name):
            """Not settled so long ago that a store may have forgotten it."""
            hold = self.reference.holds.get(name)
            if hold is None:
                return True
            if hold["state"] == "settled":
                hold.setdefault("ended", self.reference.time)
            return self.reference.time - hold.get("ended", self.reference.time) < 50

        @invariant()
        def same_balances(self):
            if hasattr(self, "store"):
                for hold in self.reference.holds.values():
                    if hold["state"] == "settled":
                        hold.setdefault("ended", self.reference.time)
                self.both("balances", KEYS)

        def teardown(self):
            if hasattr(self, "stack"):
                self.stack.close()

    return SameAsReference


@pytest.fixture(params=["memory", "sqlite"])
def opened(request, tmp_path):
    """Opens a new store; gives it, and what moves its time."""
    count = iter(range(1_000_000))

    @contextlib.contextmanager
    def local():
        clock = FakeClock()
        url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/{next(count)}.db"
        with contextlib.closing(open_store(url, clock)) as store:
            yield store, clock.advance

    return local


def test_same_as_the_reference(opened):
    """Every answer of every store is the model's, whatever is asked in whatever order."""
    run_state_machine_as_test(
        machine(opened),
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
