"""The state of an alert, in any order of readings."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from firedoor.core.alerting import FLAP_WINDOW, AlertMachine
from firedoor.core.reading import Reading
from firedoor.types import AlertState

NO_DATA, WARMING, OK, PENDING, FIRING, RECOVERING = AlertState

bad = Reading(breached=True, cleared=False, value=0.5, baseline=0.1, sample=100)
good = Reading(breached=False, cleared=True, value=0.1, baseline=0.1, sample=100)
between = Reading(breached=False, cleared=False, value=0.2, baseline=0.1, sample=100)
silent = Reading(breached=None, cleared=False, value=None, baseline=0.1, sample=0, no_data=True)
warming = Reading(breached=None, cleared=False, value=0.1, baseline=None, sample=3, warming=True)
READINGS = {"bad": bad, "good": good, "between": between, "silent": silent, "warming": warming}


def walk(machine, *steps):
    return [machine.update(reading, now) and machine.state for now, reading in steps]


def test_from_nothing_to_firing_and_back():
    machine = AlertMachine(pending=30, keep=60)
    assert machine.state is NO_DATA
    assert walk(
        machine,
        (0, warming),
        (10, good),
        (20, bad),
        (40, bad),
        (50, bad),
        (60, between),
        (70, good),
        (120, good),
        (130, good),
    ) == [WARMING, OK, PENDING, None, FIRING, None, RECOVERING, None, OK]


def test_a_breach_that_does_not_hold_never_fires():
    machine = AlertMachine(pending=30)
    assert walk(machine, (0, bad), (29, bad), (30, good), (31, bad), (60, bad), (61, bad)) == [
        PENDING,
        None,
        OK,
        PENDING,
        None,
        FIRING,
    ]


def test_silence_is_no_recovery():
    machine = AlertMachine()
    walk(machine, (0, bad))
    assert walk(machine, (1, silent), (10_000, silent), (20_000, warming)) == [None, None, None]
    assert machine.state is FIRING


def test_between_the_two_levels_it_is_neither_back_nor_over():
    machine = AlertMachine(keep=60)
    walk(machine, (0, bad), (10, good))
    assert walk(machine, (60, between), (100, good), (119, good), (120, good)) == [
        None,
        None,
        None,
        OK,
    ]


def test_what_comes_back_is_the_same_alert_and_counts_as_a_flap():
    machine = AlertMachine(keep=60)
    walk(machine, (0, bad))
    since = machine.since
    walk(machine, (10, good), (20, bad))
    assert (machine.state, machine.since, machine.flaps(20)) == (FIRING, since, 1)
    assert machine.flaps(20 + FLAP_WINDOW + 1) == 0


def test_what_keeps_coming_back_has_to_be_calm_for_longer():
    machine = AlertMachine(keep=60)
    now = 0
    for _ in range(5):
        walk(machine, (now, bad), (now + 1, good))
        now += 2
    assert machine.keep(now) == 240
    assert machine.keep(now + 2 * FLAP_WINDOW) == 60


class Any(RuleBasedStateMachine):
    """Against a model that remembers everything."""

    @initialize(pending=st.sampled_from([0.0, 5.0, 60.0]), keep=st.sampled_from([0.0, 30.0, 300.0]))
    def begin(self, pending, keep):
        self.pending, self.keep = pending, keep
        self.machine = AlertMachine(pending, keep)
        self.twin = AlertMachine(pending, keep)
        self.now = 0.0
        self.seen = []
        self.fired = []

    @rule(
        name=st.sampled_from(sorted(READINGS)),
        wait=st.sampled_from([0.0, 1.0, 4.0, 30.0, 400.0, 5_000.0]),
    )
    def read(self, name, wait):
        self.now += wait
        reading = READINGS[name]
        before = self.machine.state
        change = self.machine.update(reading, self.now)
        assert change == self.twin.update(reading, self.now)
        after = self.machine.state
        self.seen.append((self.now, name))
        if change is None:
            assert after is before
        else:
            assert (change.old, change.new, change.at) == (before, after, self.now)
            if after is FIRING:
                self.fired.append(self.now)
        if before not in (FIRING, RECOVERING) and after is FIRING:
            assert name == "bad"
            held = [at for at, _ in self.since_last_other("bad")]
            assert self.now - held[0] >= self.pending
        if before is FIRING:
            assert after in (FIRING, RECOVERING)
            assert (after is RECOVERING) == (name == "good")
        if before is RECOVERING and after is OK:
            assert name not in ("bad", "between") or self.keep == 0

    def since_last_other(self, name):
        held = []
        for seen in reversed(self.seen):
            if seen[1] != name:
                break
            held.append(seen)
        return held[::-1]

    @invariant()
    def flaps_are_counted(self):
        if not hasattr(self, "machine"):
            return
        recent = [at for at in self.fired[-16:] if self.now - at <= FLAP_WINDOW]
        assert self.machine.flaps(self.now) == max(0, len(recent) - 1)
        assert (self.machine.since is not None) == (
            self.machine.state in (PENDING, FIRING, RECOVERING)
        )


TestAnyOrder = Any.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_reset_forgets():
    machine = AlertMachine()
    walk(machine, (0, bad), (1, good), (2, bad))
    machine.reset()
    assert (machine.state, machine.since, machine.flaps(3)) == (NO_DATA, None, 0)


@pytest.mark.parametrize("reading", [silent, warming])
def test_not_knowing_is_a_state_of_its_own(reading):
    machine = AlertMachine()
    walk(machine, (0, good), (1, reading))
    assert machine.state in (NO_DATA, WARMING)
