"""The machine of one call, asked everything it can be asked."""

from hypothesis import given
from hypothesis import strategies as st

from firedoor.config import Canned, Tier
from firedoor.core.flow import CallFlow, Failure, Pause, Serve, Stop, Try, steps_of
from firedoor.types import Fault

TARGET = Failure(Fault.TARGET, retryable=True)
PERMANENT = Failure(Fault.TARGET, retryable=False)
CALLER = Failure(Fault.CALLER)


def flow_of(tiers, first=0, deadline=None, **begun):
    return CallFlow(steps_of(tiers), first, deadline, **begun)


def test_the_first_tier_is_tried_first():
    step = flow_of([Tier("a"), Tier("b")]).next(0.0)
    assert isinstance(step, Try)
    assert (step.index, step.timeout) == (0, None)


def test_a_tier_is_retried_as_often_as_it_says_and_then_the_next_comes():
    flow = flow_of([Tier("a", attempts=2), Tier("b")])
    models = []
    for _ in range(3):
        step = flow.next(0.0)
        if isinstance(step, Pause):
            assert step.seconds == 1.5
            step = flow.next(0.0)
        models.append(step.tier.model)
        flow.failed(TARGET, 0.0, retry_in=1.5)
    assert models == ["a", "a", "b"]
    assert flow.next(0.0) == Stop("exhausted")


def test_no_retry_without_a_grant():
    flow = flow_of([Tier("a", attempts=5), Tier("b")])
    flow.next(0.0)
    flow.failed(TARGET, 0.0, retry_in=None)
    assert flow.next(0.0).tier.model == "b"


def test_a_failure_that_would_repeat_is_not_retried_but_falls_back():
    flow = flow_of([Tier("a", attempts=5), Tier("b")])
    flow.next(0.0)
    assert not flow.may_retry(PERMANENT)
    flow.failed(PERMANENT, 0.0, retry_in=1.0)
    assert flow.next(0.0).tier.model == "b"


def test_the_callers_own_fault_stops_the_call():
    flow = flow_of([Tier("a", attempts=5), Tier("b"), Canned("safe")])
    flow.next(0.0)
    flow.failed(CALLER, 0.0, retry_in=1.0)
    assert flow.next(0.0) == Stop("fault")


def test_a_prompt_too_long_for_one_tier_may_fit_the_next():
    flow = flow_of([Tier("small"), Tier("large")])
    flow.next(0.0)
    flow.failed(Failure(Fault.CALLER, overflow=True), 0.0)
    assert flow.next(0.0).tier.model == "large"


def test_nothing_is_tried_after_content_was_seen():
    flow = flow_of([Tier("a", attempts=3), Tier("b"), Canned("safe")])
    flow.next(0.0)
    flow.committed()
    flow.failed(TARGET, 0.0, retry_in=0.1)
    assert flow.next(0.0) == Stop("committed")


def test_the_deadline_shrinks_every_timeout():
    flow = flow_of([Tier("a", timeout=8.0, first_token=2.0), Tier("b", timeout=4.0)], deadline=10.0)
    assert flow.next(0.0).timeout == 8.0
    flow.failed(PERMANENT, 9.0)
    step = flow.next(9.0)
    assert step.timeout == 1.0


def test_a_deadline_used_up_stops_or_serves_what_needs_no_time():
    assert flow_of([Tier("a")], deadline=1.0).next(1.0) == Stop("deadline")
    step = flow_of([Tier("a"), Canned("safe")], deadline=1.0).next(2.0)
    assert isinstance(step, Serve)
    assert step.index == 1


def test_a_retry_that_would_end_after_the_deadline_is_not_waited_for():
    flow = flow_of([Tier("a", attempts=2), Tier("b")], deadline=5.0)
    flow.next(0.0)
    flow.failed(TARGET, 4.0, retry_in=2.0)
    assert flow.next(4.0).tier.model == "b"


def test_a_switch_may_begin_lower_and_never_past_the_last():
    tiers = [Tier("a"), Tier("b")]
    assert flow_of(tiers, first=1).next(0.0).tier.model == "b"
    assert flow_of(tiers, first=9).next(0.0).tier.model == "b"


failures = st.builds(
    Failure, st.sampled_from(Fault), retryable=st.booleans(), overflow=st.booleans()
)
events = st.one_of(
    st.tuples(st.just("failed"), failures, st.floats(0, 5), st.none() | st.floats(0, 5)),
    st.tuples(st.just("refused")),
    st.tuples(st.just("committed")),
)
ladders = st.builds(
    lambda tiers, canned: tiers + ([Canned("safe")] if canned else []),
    st.lists(
        st.builds(
            Tier,
            st.just("m"),
            timeout=st.none() | st.floats(0.1, 10),
            first_token=st.none() | st.floats(0.1, 5),
            attempts=st.integers(1, 4),
        ),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)


@given(ladders, st.none() | st.floats(0, 20), st.lists(events, max_size=30))
def test_invariants(tiers, deadline, happenings):
    """Order, attempts, deadline and commitment hold whatever happens."""
    flow = flow_of(tiers, deadline=deadline)
    now, last_index, tries, seen_content = 0.0, 0, {}, False
    for event in happenings:
        step = flow.next(now)
        if isinstance(step, Stop):
            assert flow.next(now + 1) == step
            return
        if isinstance(step, Serve):
            assert step.index == len(tiers) - 1
            return
        if isinstance(step, Pause):
            now += step.seconds
            continue
        assert not seen_content
        assert step.index >= last_index
        last_index = step.index
        tries[step.index] = tries.get(step.index, 0) + 1
        assert tries[step.index] <= step.tier.attempts
        if deadline is not None:
            assert now < deadline
            assert step.timeout <= deadline - now
        match event:
            case ("failed", failure, took, retry_in):
                now += min(took, step.timeout if step.timeout is not None else took)
                flow.failed(failure, now, retry_in=retry_in)
            case ("refused",):
                flow.refused()
            case _:
                flow.committed()
                seen_content = True
                flow.failed(Failure(Fault.TARGET, retryable=True), now, retry_in=0.0)


@given(
    ladders, st.none() | st.floats(0, 20), failures, st.floats(0, 25), st.none() | st.floats(0, 5)
)
def test_a_failure_answers_whether_there_is_more(tiers, deadline, failure, now, retry_in):
    flow = flow_of(tiers, deadline=deadline)
    flow.next(0.0)
    assert flow.failed(failure, now, retry_in=retry_in) is (flow.over(now) is None)


@given(ladders, failures, st.none() | st.floats(0, 5))
def test_a_machine_made_late_is_as_far_as_one_made_at_once(tiers, failure, retry_in):
    asked, late = flow_of(tiers), flow_of(tiers, begun=True)
    asked.next(0.0)
    for flow in (asked, late):
        flow.failed(failure, 1.0, retry_in=retry_in)
    assert asked.next(2.0) == late.next(2.0)
    assert asked.here == late.here


def test_a_ladder_always_ends():
    flow = flow_of([Tier("a", attempts=4)] * 4)
    steps = 0
    while not isinstance(flow.next(0.0), Stop):
        flow.failed(TARGET, 0.0, retry_in=0.0)
        steps += 1
    assert steps == 16
