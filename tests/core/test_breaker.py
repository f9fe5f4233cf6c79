"""The circuit: examples a reader needs, then every transition against a naive model."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from firedoor.config import Breaker
from firedoor.core.breaker import RETRY_AFTER_MAX, Circuit
from firedoor.core.breaker_values import Exceeded, Permit, Refusal, Result, State, Transition
from firedoor.core.window import Counts
from firedoor.errors import ConfigurationError

SUCCESS, FAILURE, IGNORED, CANCELLED = Result


def make(jitter=0.0, **settings):
    settings = {"minimum_calls": 4, "window": 10, "open_for": 30.0, "half_open_calls": 3} | settings
    return Circuit(Breaker(jitter=jitter, **settings), random=lambda: 0.5)


def call(circuit, result=SUCCESS, duration=0.1, now=0.0, **more):
    """One whole call; answers what settling it changed."""
    permit = circuit.acquire(now)
    assert isinstance(permit, Permit)
    return circuit.settle(permit, result, duration, now, **more)


def trip(circuit, now=0.0, **more):
    """Fail until it opens; answers the transition."""
    while True:
        event = call(circuit, FAILURE, now=now, **more)
        if event is not None:
            return event


def half_open(circuit, now=0.0):
    """Open it, wait, and take every trial there is."""
    opened = trip(circuit, now)
    now = now + opened.open_for
    trials = []
    while isinstance(answer := circuit.acquire(now), Permit):
        trials.append(answer)
    return trials, now


class TestClosed:
    def test_it_opens_when_the_failure_rate_reaches_its_limit(self):
        circuit = make(failure_rate=0.5)
        assert [call(circuit, r) for r in (FAILURE, SUCCESS, SUCCESS)] == [None] * 3
        event = call(circuit, FAILURE)
        assert event == Transition(
            State.CLOSED, State.OPEN, "failure_rate", 0.0, 2, Counts(4, 2), 30.0
        )

    def test_a_success_that_completes_the_minimum_may_open_it(self):
        circuit = make(failure_rate=0.5)
        for result in (FAILURE, FAILURE, SUCCESS):
            assert call(circuit, result) is None
        assert call(circuit, SUCCESS).after is State.OPEN

    def test_below_the_minimum_there_is_no_rate(self):
        circuit = make()
        for _ in range(3):
            call(circuit, FAILURE)
        assert circuit.state is State.CLOSED
        assert circuit.read(0.0).rates == (None, None, None)

    @pytest.mark.parametrize("result", [SUCCESS, FAILURE])
    def test_slow_calls_are_a_rate_of_their_own_whether_or_not_they_fail(self, result):
        circuit = make(failure_rate=1.0, slow_call=2.0, slow_call_rate=0.5)
        for duration in (2.0, 1.9, 1.9):
            call(circuit, SUCCESS, duration)
        assert call(circuit, result, 2.0).reason == "slow_call_rate"

    def test_slow_first_tokens_are_a_share_of_the_streams_only(self):
        circuit = make(slow_first_token=1.0, slow_first_token_rate=0.5, minimum_calls=2)
        for _ in range(6):
            call(circuit)
        assert call(circuit, first_token=1.0) is None, "one stream is below the minimum"
        event = call(circuit, first_token=0.2)
        assert event.reason == "slow_first_token_rate"
        assert event.counts == Counts(calls=8, timed=2, slow_first_token=1)

    def test_three_of_thirty_is_a_tenth(self):
        """0.1 * 30 and friends round either way; the quotient does not."""
        for tenths in range(1, 10):
            circuit = make(failure_rate=tenths / 10, minimum_calls=30, window=60)
            for _ in range(30 - tenths * 3):
                call(circuit)
            for _ in range(tenths * 3 - 1):
                assert call(circuit, FAILURE) is None
            assert call(circuit, FAILURE).counts == Counts(30, tenths * 3)

    def test_what_is_not_the_targets_fault_is_not_counted(self):
        circuit = make(slow_call=1.0)
        for _ in range(9):
            assert call(circuit, IGNORED, duration=60.0) is None
        assert circuit.read(0.0).counts == Counts()

    def test_a_call_given_up_counts_once_it_was_slow(self):
        """Else a hanging target whose users leave would never open its breaker."""
        circuit = make(slow_call=5.0, slow_call_rate=1.0)
        call(circuit, CANCELLED, duration=4.9)
        assert circuit.read(0.0).counts == Counts()
        for _ in range(3):
            call(circuit, CANCELLED, duration=5.0)
        assert call(circuit, CANCELLED, duration=9.0).counts == Counts(calls=4, slow=4)

    def test_what_the_window_forgot_does_not_count(self):
        circuit = make(window=10.0)
        for _ in range(3):
            call(circuit, FAILURE, now=0.0)
        assert call(circuit, FAILURE, now=10.0) is None
        assert circuit.read(10.0).counts == Counts(1, 1)

    def test_the_same_by_calls(self):
        circuit = make(window=4, window_type="count", failure_rate=0.75)
        for result in (FAILURE, FAILURE, SUCCESS, SUCCESS, FAILURE):
            assert call(circuit, result) is None
        assert circuit.read(0.0).counts == Counts(4, 2)

    def test_all_calls_of_an_epoch_share_one_permit(self):
        circuit = make()
        assert circuit.acquire(0.0) is circuit.acquire(1.0) is circuit.standing


class TestOpen:
    def test_it_refuses_until_its_time_is_over(self):
        circuit = make()
        trip(circuit)
        assert circuit.acquire(10.0) == Refusal(20.0, State.OPEN)
        assert isinstance(circuit.acquire(30.0), Permit)
        assert circuit.state is State.HALF_OPEN
        assert circuit.read(30.0).refused == 1

    def test_late_outcomes_of_an_older_epoch_are_ignored(self):
        circuit = make()
        late = [circuit.acquire(0.0) for _ in range(9)]
        trip(circuit)
        for permit in late[:4]:
            assert circuit.settle(permit, FAILURE, 0.1, 1.0) is None
        trials = [circuit.acquire(30.0) for _ in range(3)]
        for permit in late[4:]:
            assert circuit.settle(permit, FAILURE, 0.1, 31.0) is None
        assert [circuit.settle(t, SUCCESS, 0.1, 31.0) for t in trials][-1].after is State.CLOSED
        assert circuit.settle(late[0], FAILURE, 0.1, 32.0) is None
        assert circuit.read(32.0).counts == Counts()

    def test_each_opening_in_a_row_lasts_longer_up_to_the_limit(self):
        circuit = make(open_for=10.0, open_growth=3.0, open_max=100.0)
        now, lengths = 0.0, [trip(circuit).open_for]
        for _ in range(4):
            now += lengths[-1]
            circuit.acquire(now)
            lengths.append(trip(circuit, now).open_for)
        assert lengths == [10.0, 30.0, 90.0, 100.0, 100.0]
        now += 100.0
        for _ in range(3):
            call(circuit, SUCCESS, now=now)
        assert circuit.state is State.CLOSED
        assert trip(circuit, now).open_for == 10.0

    def test_growth_never_overflows(self):
        circuit = make(open_for=1.0, open_growth=1e200, open_max=600.0, half_open_calls=1)
        now = 0.0
        for _ in range(5):
            now += trip(circuit, now).open_for
        assert circuit.read(now).opens == 5

    def test_jitter_only_adds(self):
        assert trip(make(jitter=0.4)).open_for == pytest.approx(30.0 * 1.2)

    def test_retry_after_wins_over_a_shorter_time(self):
        circuit = make(jitter=0.4)
        call(circuit, FAILURE, now=0.0, retry_after=100.0)
        opened = trip(circuit, now=5.0, retry_after=3.0)
        assert opened.open_for == pytest.approx(95.0 * 1.2)
        assert trip(make(), retry_after=3.0).open_for == 30.0

    @pytest.mark.parametrize("told", [math.inf, 1e12])
    def test_an_absurd_retry_after_does_not_shut_the_target_out_for_ever(self, told):
        assert trip(make(), retry_after=told).open_for == RETRY_AFTER_MAX

    @pytest.mark.parametrize("told", [math.nan, -5.0, 0.0, None])
    def test_a_senseless_retry_after_is_nothing(self, told):
        assert trip(make(), retry_after=told).open_for == 30.0


class TestHalfOpen:
    def test_exactly_its_trials_are_admitted(self):
        circuit = make(half_open_calls=3)
        trials, now = half_open(circuit)
        assert [t.trial for t in trials] == [1, 2, 3]
        assert circuit.acquire(now + 10.0) == Refusal(20.0, State.HALF_OPEN)

    def test_asking_tells_of_the_transition(self):
        circuit = make()
        trip(circuit)
        first, second = circuit.acquire(30.0), circuit.acquire(30.0)
        assert [(e.before, e.after, e.reason) for e in first.events] == [
            (State.OPEN, State.HALF_OPEN, "open_time_over")
        ]
        assert second.events == ()

    def test_good_trials_close_it_with_the_last_one(self):
        circuit = make()
        trials, now = half_open(circuit)
        assert [circuit.settle(t, SUCCESS, 0.1, now) for t in trials[:2]] == [None, None]
        event = circuit.settle(trials[2], SUCCESS, 0.1, now)
        assert (event.after, event.reason, event.counts) == (
            State.CLOSED,
            "trials_passed",
            Counts(3),
        )
        assert circuit.read(now).counts == Counts()

    def test_it_opens_as_soon_as_the_verdict_is_certain(self):
        circuit = make(failure_rate=0.5, half_open_calls=4)
        trials, now = half_open(circuit)
        assert circuit.settle(trials[0], FAILURE, 0.1, now) is None
        event = circuit.settle(trials[1], FAILURE, 0.1, now)
        assert (event.after, event.counts, event.open_for) == (State.OPEN, Counts(2, 2), 60.0)

    def test_slow_trials_open_it_again(self):
        circuit = make(slow_call=5.0, slow_call_rate=0.6, half_open_calls=2)
        trials, now = half_open(circuit)
        assert circuit.settle(trials[0], SUCCESS, 9.0, now) is None
        assert circuit.settle(trials[1], SUCCESS, 9.0, now).reason == "slow_call_rate"

    def test_slow_first_tokens_open_it_again(self):
        circuit = make(slow_first_token=1.0, slow_first_token_rate=0.5, half_open_calls=2)
        trials, now = half_open(circuit)
        event = circuit.settle(trials[0], SUCCESS, 2.0, now, first_token=1.5)
        assert event.reason == "slow_first_token_rate"

    def test_one_slow_stream_is_no_verdict_where_all_must_be_slow(self):
        circuit = make(slow_first_token=1.0, slow_first_token_rate=1.0, half_open_calls=2)
        trials, now = half_open(circuit)
        assert circuit.settle(trials[0], SUCCESS, 2.0, now, first_token=1.5) is None
        assert circuit.settle(trials[1], SUCCESS, 2.0, now, first_token=0.5).after is State.CLOSED

    def test_trials_of_an_earlier_half_open_are_of_an_older_epoch(self):
        """Their numbers come again; their epoch does not."""
        circuit = make(failure_rate=0.3)
        earlier, now = half_open(circuit)
        assert circuit.settle(earlier[0], FAILURE, 0.1, now).after is State.OPEN
        now += 60.0
        trials = [circuit.acquire(now) for _ in range(3)]
        assert [t.trial for t in trials] == [t.trial for t in earlier]
        assert circuit.settle(earlier[1], FAILURE, 0.1, now) is None
        circuit.cancel(earlier[2])
        assert isinstance(circuit.acquire(now), Refusal)
        assert circuit.read(now).trials == 3

    @pytest.mark.parametrize("give_back", ["cancel", IGNORED, CANCELLED])
    def test_a_trial_that_says_nothing_gives_its_place_back(self, give_back):
        circuit = make()
        trials, now = half_open(circuit)
        if give_back == "cancel":
            circuit.cancel(trials[0])
            circuit.cancel(trials[0])
        else:
            assert circuit.settle(trials[0], give_back, 0.1, now) is None
        assert isinstance(circuit.acquire(now), Permit)
        assert isinstance(circuit.acquire(now), Refusal)

    def test_a_trial_counts_once(self):
        circuit = make()
        trials, now = half_open(circuit)
        for _ in range(5):
            assert circuit.settle(trials[0], FAILURE, 0.1, now) is None
        assert circuit.read(now).counts == Counts(1, 1)

    def test_a_lost_trial_falls_free_after_its_lease(self):
        circuit = make(open_for=30.0)
        trials, now = half_open(circuit)
        assert isinstance(circuit.acquire(now + 29.9), Refusal)
        assert isinstance(circuit.acquire(now + 30.0), Permit)

    def test_a_trial_later_than_its_lease_still_counts(self):
        circuit = make(half_open_calls=1)
        (trial,), now = half_open(circuit)
        assert isinstance(circuit.acquire(now + 30.0), Permit)
        assert circuit.settle(trial, SUCCESS, 40.0, now + 40.0).after is State.CLOSED

    def test_lost_trials_are_not_remembered_without_bound(self):
        circuit = make(half_open_calls=2)
        _, now = half_open(circuit)
        for n in range(1, 500):
            circuit.acquire(now + 15.0 * n)
        assert len(circuit._leases) + len(circuit._overdue) <= 4

    def test_it_does_not_wait_for_its_trials_longer_than_it_may(self):
        circuit = make(half_open_max_wait=10.0)
        trials, now = half_open(circuit)
        event = circuit.settle(trials[0], SUCCESS, 10.0, now + 10.0)
        assert (event.after, event.reason, event.open_for) == (
            State.OPEN,
            "half_open_max_wait",
            60.0,
        )

    def test_a_wait_that_ended_unseen_is_made_up_for(self):
        """Nobody called for an hour: it opened, and that time is over as well."""
        circuit = make(half_open_max_wait=10.0)
        _, now = half_open(circuit)
        answer = circuit.acquire(now + 3600.0)
        assert [e.after for e in answer.events] == [State.OPEN, State.HALF_OPEN]
        assert [e.at for e in answer.events] == [now + 10.0, now + 3600.0]
        assert isinstance(answer, Permit)


class TestByHand:
    def test_forced_open_refuses_until_told_otherwise(self):
        circuit = make()
        assert circuit.force(State.FORCED_OPEN, 0.0).reason == "manual"
        assert circuit.acquire(1e9) == Refusal(None, State.FORCED_OPEN)
        assert circuit.reset(1e9).after is State.CLOSED

    def test_disabled_admits_and_records_nothing(self):
        circuit = make(mode="disabled")
        for _ in range(20):
            assert call(circuit, FAILURE) is None
        assert circuit.read(0.0).counts == Counts()

    def test_metrics_only_tells_once_what_it_would_have_done(self):
        circuit = make(mode="metrics_only", window=4, window_type="count")
        events = [call(circuit, FAILURE) for _ in range(6)]
        assert events == [None] * 3 + [Exceeded("failure_rate", 0.0, Counts(4, 4))] + [None] * 2
        for result in (SUCCESS, SUCCESS, SUCCESS, FAILURE):
            assert call(circuit, result) is None
        assert call(circuit, FAILURE).reason == "failure_rate", "it was below in between"
        assert circuit.state is State.METRICS_ONLY

    def test_metrics_only_tells_again_after_the_window_forgot(self):
        circuit = make(mode="metrics_only", window=10.0, minimum_calls=1)
        assert call(circuit, FAILURE, now=0.0).reason == "failure_rate"
        assert call(circuit, SUCCESS, now=20.0) is None
        assert call(circuit, FAILURE, now=20.0).reason == "failure_rate"

    def test_trials_begin_anew_each_time_it_is_made_half_open(self):
        circuit = make(half_open_calls=2)
        _, now = half_open(circuit)
        late = circuit.acquire(now + 30.0)
        assert isinstance(late, Permit), "the first two are overdue"
        circuit.force(State.OPEN, now)
        circuit.force(State.HALF_OPEN, now)
        first, second = circuit.acquire(now), circuit.acquire(now)
        assert isinstance(circuit.acquire(now), Refusal)
        for _ in range(2):
            assert circuit.settle(first, SUCCESS, 0.1, now) is None
        assert circuit.settle(second, SUCCESS, 0.1, now).after is State.CLOSED

    def test_reset_goes_back_to_the_configured_mode_with_nothing_counted(self):
        circuit = make(mode="metrics_only")
        call(circuit, FAILURE)
        assert circuit.reset(0.0) is None
        assert circuit.read(0.0).counts == Counts()
        circuit.force(State.FORCED_OPEN, 0.0)
        assert circuit.reset(0.0).after is State.METRICS_ONLY

    def test_a_closed_circuit_has_nothing_to_try(self):
        with pytest.raises(ValueError, match="open it first"):
            make().force(State.HALF_OPEN, 0.0)

    @pytest.mark.parametrize("before", State)
    @pytest.mark.parametrize("after", State)
    def test_every_other_move_by_hand_is_made(self, before, after):
        circuit = make()
        circuit.force(State.OPEN, 0.0)
        circuit.force(before, 0.0)
        if (before, after) == (State.CLOSED, State.HALF_OPEN):
            return  # the exception, above
        event = circuit.force(after, 1.0)
        assert circuit.state is after
        if before is after:
            assert event is None
        else:
            assert (event.before, event.after, event.reason) == (before, after, "manual")


class TestConfiguration:
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"failure_rate": 0.0}, "failure_rate"),
            ({"failure_rate": 50}, "failure_rate"),
            ({"window": 1.5, "window_type": "count"}, "whole number"),
            ({"window": 5, "window_type": "count", "minimum_calls": 6}, "minimum_calls=6"),
            ({"window": 1e9, "window_type": "count"}, "1,000,000"),
            ({"open_max": 5.0}, "open_max=5"),
            ({"half_open_calls": 0}, "half_open_calls"),
            ({"open_growth": 0.5}, "open_growth"),
            ({"slow_call_rate": 0.5}, "slow_call="),
            ({"slow_first_token_rate": 0.5}, "slow_first_token="),
        ],
    )
    def test_a_value_that_cannot_work_says_so(self, wrong, said):
        with pytest.raises(ConfigurationError, match=said):
            Breaker(**wrong)


CONFIGS = st.builds(
    Breaker,
    failure_rate=st.sampled_from([0.3, 0.5, 1.0]),
    slow_call=st.sampled_from([None, 2.0]),
    slow_first_token=st.sampled_from([None, 1.0]),
    window=st.just(10),
    window_type=st.sampled_from(["time", "count"]),
    minimum_calls=st.integers(1, 5),
    open_for=st.just(4.0),
    open_growth=st.sampled_from([1.0, 2.0]),
    open_max=st.just(12.0),
    half_open_calls=st.integers(1, 4),
    half_open_max_wait=st.sampled_from([None, 6.0]),
    jitter=st.sampled_from([0.0, 0.5]),
    mode=st.sampled_from(["enforce", "enforce", "enforce", "metrics_only", "disabled"]),
)
RESULTS = st.sampled_from([SUCCESS, SUCCESS, SUCCESS, FAILURE, FAILURE, IGNORED, CANCELLED])
DURATIONS = st.sampled_from([0.1, 0.1, 1.9, 2.0, 7.0])
FIRST_TOKENS = st.sampled_from([None, None, 0.2, 1.0, 3.0])
RETRY_AFTERS = st.sampled_from([None, None, 1.0, 9.0])
ENDINGS = st.tuples(RESULTS, DURATIONS, FIRST_TOKENS, RETRY_AFTERS)


class Model(RuleBasedStateMachine):
    """A circuit beside the plainest account of it: a list of outcomes, re-read at every question.

    The good calls of the circuit go through the mailbox whenever its shell would use it, so the
    short cut is held to the same account.
    """

    permits = Bundle("permits")

    @initialize(config=CONFIGS)
    def begin(self, config):
        self.config = config
        self.circuit = Circuit(config, random=lambda: 0.5)
        self.now = 0.0
        self.epoch = 1
        self.opens = 0
        self.refused = 0
        self.steps = 1
        self.enter({"enforce": "closed"}.get(config.mode, config.mode))

    # The account ---------------------------------------------------------------------------

    def enter(self, state):
        self.state = state
        self.log = []
        self.live = {}
        self.not_before = -math.inf
        self.exceeded = False
        self.half_open_ends = math.inf
        if state in {"closed", "disabled", "metrics_only", "forced_open"}:
            self.opens = 0

    def move(self, state):
        self.epoch += 1
        self.enter(state)

    def open(self, at):
        not_before = self.not_before
        self.opens += 1
        grown = min(
            self.config.open_for * self.config.open_growth ** (self.opens - 1), self.config.open_max
        )
        wait = max(grown, not_before - at) * (1 + self.config.jitter / 2)
        self.move("open")
        self.until = at + wait

    def in_window(self):
        if self.state == "half_open":
            return [entry for _, *entry in self.log]
        if self.config.window_type == "count":
            return [entry for _, *entry in self.log][-10:]
        return [entry for at, *entry in self.log if math.floor(at) > math.floor(self.now) - 10]

    def over(self, entries, calls, timed):
        failed = sum(e[0] for e in entries)
        slow = sum(e[1] for e in entries)
        slow_first = sum(e[2] is True for e in entries)
        return (
            failed / calls >= self.config.failure_rate
            or slow / calls >= self.config.slow_call_rate
            or (timed > 0 and slow_first / timed >= self.config.slow_first_token_rate)
        )

    def judge(self):
        entries = self.in_window()
        if len(entries) < self.config.minimum_calls:
            self.exceeded = False
            return None
        timed = sum(e[2] is not None for e in entries)
        over = self.over(entries, len(entries), timed if timed >= self.config.minimum_calls else 0)
        if self.state == "closed" and over:
            self.open(self.now)
            return Transition
        rising, self.exceeded = over and not self.exceeded, over
        return Exceeded if rising and self.state == "metrics_only" else None

    def judge_trials(self):
        entries = self.in_window()
        k = self.config.half_open_calls
        left = k - len(entries)
        timed = sum(e[2] is not None for e in entries)
        if self.over(entries, k, timed + left):
            self.open(self.now)
            return Transition
        if not left:
            self.move("closed")
            return Transition
        return None

    # What may happen -----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.5, 4.0, 20.0]))
    def wait(self, seconds):
        self.steps += 1
        self.now += seconds

    @rule(target=permits, times=st.integers(1, 6))
    def acquire(self, times):
        self.steps += 1
        return multiple(*filter(None, (self.acquire_once() for _ in range(times))))

    def acquire_once(self):
        moved = 0
        if self.state == "half_open" and self.now >= self.half_open_ends:
            self.open(self.half_open_ends)
            moved += 1
        if self.state == "open" and self.now >= self.until:
            self.move("half_open")
            moved += 1
            if self.config.half_open_max_wait:
                self.half_open_ends = self.now + self.config.half_open_max_wait
        answer = self.circuit.acquire(self.now)
        assert len(answer.events) == moved
        if self.state in {"open", "forced_open"}:
            refused = True
        elif self.state == "half_open":
            held = sum(expiry > self.now for expiry in self.live.values())
            # Places fall free only when one is asked for and none is left.
            free = self.config.half_open_calls - len(self.log) - len(self.live)
            refused = free <= 0 and self.config.half_open_calls - len(self.log) - held <= 0
            if free <= 0:
                self.live = {t: e for t, e in self.live.items() if e > self.now}
        else:
            refused = False
        assert isinstance(answer, Refusal) == refused
        if refused:
            self.refused += 1
            assert answer.state == self.state
            if self.state == "open":
                assert answer.retry_after == pytest.approx(self.until - self.now)
            return None
        assert answer.epoch == self.epoch
        assert (answer.trial is not None) == (self.state == "half_open")
        if answer.trial is not None:
            self.live[answer.trial] = self.now + self.config.open_for
        return answer

    @rule(permit=consumes(permits), ending=ENDINGS)
    def settle(self, permit, ending):
        self.settle_once(permit, *ending)

    @rule(endings=st.lists(ENDINGS, min_size=1, max_size=8))
    def serve(self, endings):
        """Whole calls, one after the other, as most are."""
        self.steps += 1
        for ending in endings:
            permit = self.acquire_once()
            if permit is not None:
                self.settle_once(permit, *ending)

    def settle_once(self, permit, result, duration, first_token, retry_after):
        expected = self.expect(permit, result, duration, first_token, retry_after)
        good = permit.good
        if (
            good is not None
            and result is SUCCESS
            and duration < (self.config.slow_call or math.inf)
            and (first_token is None or self.config.slow_first_token is None)
            and self.now < self.circuit.calm_until
        ):
            good.append(self.now)
            event = None
        else:
            event = self.circuit.settle(
                permit, result, duration, self.now, first_token=first_token, retry_after=retry_after
            )
        assert (type(event) if event else None) is expected

    def expect(self, permit, result, duration, first_token, retry_after):
        if permit.epoch != self.epoch or self.state == "disabled":
            return None
        if self.state == "half_open":
            if self.now >= self.half_open_ends:
                self.open(self.half_open_ends)
                return Transition
            self.live.pop(permit.trial, None)
        slow = self.config.slow_call is not None and duration >= self.config.slow_call
        watched = self.config.slow_first_token
        slow_first = None if first_token is None or watched is None else first_token >= watched
        if result is IGNORED or (result is CANCELLED and not slow and not slow_first):
            return None
        if result is FAILURE and retry_after:
            self.not_before = max(self.not_before, self.now + retry_after)
        self.log.append((self.now, result is FAILURE, slow, slow_first))
        return self.judge_trials() if self.state == "half_open" else self.judge()

    @rule(permit=consumes(permits))
    def cancel(self, permit):
        self.circuit.cancel(permit)
        if permit.epoch == self.epoch and self.state == "half_open":
            self.live.pop(permit.trial, None)

    @precondition(lambda self: self.steps % 7 == 0)  # seldom: or nothing else gets far
    @rule(state=st.sampled_from(State))
    def force(self, state):
        if (self.state, state) == ("closed", State.HALF_OPEN):
            return
        event = self.circuit.force(state, self.now)
        assert (event is None) == (state == self.state)
        if event is None:
            return
        if state is State.OPEN:
            self.open(self.now)
        else:
            self.move(str(state))
        if state is State.HALF_OPEN and self.config.half_open_max_wait:
            self.half_open_ends = self.now + self.config.half_open_max_wait

    @precondition(lambda self: self.steps % 13 == 0)
    @rule()
    def reset(self):
        self.circuit.reset(self.now)
        self.move({"enforce": "closed"}.get(self.config.mode, self.config.mode))

    # What always holds ---------------------------------------------------------------------

    @invariant()
    def the_circuit_is_as_the_account_says(self):
        if not hasattr(self, "circuit"):
            return
        reading = self.circuit.read(self.now)
        assert (reading.state, reading.epoch) == (self.state, self.epoch)
        assert reading.opens == self.opens
        assert reading.refused == self.refused
        entries = self.in_window()
        assert reading.counts == Counts(
            len(entries),
            sum(e[0] for e in entries),
            sum(e[1] for e in entries),
            sum(e[2] is not None for e in entries),
            sum(e[2] is True for e in entries),
        )


# Half a minute alone; on a busy machine that may be more than a test's usual minute.
TestEveryTransition = pytest.mark.timeout(240)(Model.TestCase)
TestEveryTransition.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
