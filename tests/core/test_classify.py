"""What an incident is, told from its signals: single faults, combined ones, and no fault at all."""

import dataclasses
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firedoor.core.causes import CAUSES, FALLING, MECHANISMS, SPEAKS
from firedoor.core.classify import (
    CONVINCING,
    PRECEDENCE,
    SLACK,
    Observation,
    classify,
)
from firedoor.core.evidence import SUSPICIOUS
from firedoor.core.series import Selector
from firedoor.types import IncidentClass

QUALITY = IncidentClass.QUALITY_REGRESSION
SAFETY = IncidentClass.SAFETY_VIOLATION
RETRIEVAL = IncidentClass.RETRIEVAL_FAILURE
LATENCY = IncidentClass.LATENCY_SATURATION
COST = IncidentClass.COST_RUNAWAY


def breach(signal, since=1_000.0, *, value=None, baseline=None, **more):
    """A breach the bad way, with figures that fit the signal."""
    if value is None:
        value, baseline = (0.4, 0.9) if signal in FALLING else (0.4, 0.04)
    return Observation(signal, value, baseline, sample=100, since=since, **more)


def context(signal, value, baseline, sample=100, nats=None):
    return Observation(signal, value, baseline, sample=sample, breached=False, nats=nats)


def told(*observations):
    found = classify(observations)
    return found.primary, found.contributing


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (["refusal_rate"], QUALITY),
        (["partial_refusal_rate"], QUALITY),
        (["groundedness"], QUALITY),
        (["ungrounded_rate"], QUALITY),
        (["tool_error_rate"], QUALITY),
        (["negative_feedback_rate"], QUALITY),
        (["policy_flag_rate"], SAFETY),
        (["policy_flag_rate", "blocked_rate", "canned_rate"], SAFETY),
        (["probe_failure_rate"], SAFETY),
        (["retrieval_empty_rate"], RETRIEVAL),
        (["top_score"], RETRIEVAL),
        (["source_age"], RETRIEVAL),
        (["duplicate_rate"], RETRIEVAL),
        (["latency_p95"], LATENCY),
        (["first_token_p95"], LATENCY),
        (["error_rate", "fallback_rate", "canned_rate"], LATENCY),
        (["saturation_rate", "blocked_rate"], LATENCY),
        (["fallback_rate"], LATENCY),
        (["cost_velocity"], COST),
        (["cost_per_request", "cost_velocity"], COST),
        (["cost_velocity", "blocked_rate"], COST),
        (["repeated_tool_rate"], COST),
    ],
)
def test_a_single_fault_has_its_class_and_nothing_contributes(signals, expected):
    assert told(*map(breach, signals)) == (expected, ())


@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        (["retrieval_empty_rate", "groundedness"], (RETRIEVAL, (QUALITY,))),
        (["top_score", "ungrounded_rate", "groundedness"], (RETRIEVAL, (QUALITY,))),
        (["source_age", "groundedness", "negative_feedback_rate"], (RETRIEVAL, (QUALITY,))),
        (["duplicate_rate", "partial_refusal_rate"], (RETRIEVAL, (QUALITY,))),
        (["error_rate", "cost_velocity"], (LATENCY, (COST,))),
        (["fallback_rate", "latency_p95", "cost_velocity"], (LATENCY, (COST,))),
        (["latency_p95", "cost_velocity"], (LATENCY, (COST,))),
        (["first_token_p95", "cost_velocity", "cost_per_request"], (LATENCY, (COST,))),
        (["error_rate", "cost_velocity", "cost_per_request"], (LATENCY, (COST,))),
        (["error_rate", "fallback_rate", "refusal_rate"], (LATENCY, (QUALITY,))),
        (["policy_flag_rate", "refusal_rate"], (SAFETY, (QUALITY,))),
        (["policy_flag_rate", "refusal_rate", "blocked_rate"], (SAFETY, (QUALITY,))),
        (["policy_flag_rate", "error_rate", "cost_velocity"], (SAFETY, (LATENCY, COST))),
        (["retrieval_empty_rate", "refusal_rate"], (RETRIEVAL, (QUALITY,))),
        (["tokens_per_call", "cost_velocity", "latency_p95"], (COST, (LATENCY,))),
        (["cost_per_request", "cost_velocity", "latency_p95"], (COST, (LATENCY,))),
        (["cost_per_request", "saturation_rate", "fallback_rate"], (LATENCY, (COST,))),
        (["error_rate", "retrieval_empty_rate"], (LATENCY, (RETRIEVAL,))),
        (["cost_velocity", "refusal_rate"], (COST, (QUALITY,))),
    ],
)
def test_a_combined_fault_has_the_class_of_its_cause(signals, expected):
    assert told(*map(breach, signals)) == expected


def test_of_two_that_may_cause_each_other_the_earlier_one_is_the_cause():
    dear = [breach("cost_per_request", 1_000.0), breach("fallback_rate", 1_300.0)]
    down = [breach("cost_per_request", 1_300.0), breach("fallback_rate", 1_000.0)]
    assert told(*dear)[0] is COST
    assert told(*down)[0] is LATENCY


def test_a_cause_that_comes_long_after_explains_nothing():
    late = classify([breach("cost_velocity", 0.0), breach("error_rate", SLACK + 100.0)])
    assert late.primary is COST
    assert late.contributing == (LATENCY,)
    soon = classify([breach("cost_velocity", 0.0), breach("error_rate", SLACK - 100.0)])
    assert soon.primary is LATENCY


def test_a_cause_on_another_journey_explains_nothing():
    here, there = Selector("checkout"), Selector("search")
    assert told(breach("error_rate", selector=there), breach("cost_velocity", selector=here)) == (
        COST,
        (LATENCY,),
    )
    assert told(breach("error_rate"), breach("cost_velocity", selector=here)) == (LATENCY, (COST,))


def test_nothing_convincing_is_unknown_with_the_evidence_all_the_same():
    found = classify([breach("blocked_rate")])
    assert found.primary is None
    assert found.contributing == ()
    assert [e.signal for e in found.evidence] == ["blocked_rate"]
    assert found.why.startswith("unknown: ")
    assert "blocked_rate 0.4 (against 0.04)" in found.why


def test_without_a_breach_there_is_no_class():
    found = classify([context("retrieval_empty_rate", 0.9, 0.01)])
    assert found.primary is None
    assert (
        found.why
        == "unknown: no class is convincing; seen: retrieval_empty_rate 0.9 (against 0.01)"
    )
    assert classify([]).why == "unknown: no signal is in breach"


def test_a_signal_of_the_application_has_the_class_its_alert_declares():
    assert told(breach("basket_value", incident_class=QUALITY)) == (QUALITY, ())
    assert told(breach("basket_value")) == (None, ())


def test_a_signal_of_the_application_can_be_the_cause_of_what_its_class_causes():
    index = breach("index_errors", incident_class=RETRIEVAL)
    assert told(index, breach("groundedness")) == (RETRIEVAL, (QUALITY,))


def test_the_class_an_alert_declares_outweighs_the_table():
    assert told(breach("refusal_rate", incident_class=SAFETY))[0] is SAFETY


def test_a_move_the_good_way_speaks_only_for_what_its_alert_declares():
    cheaper = {"value": 0.01, "baseline": 0.04}
    assert told(breach("tokens_per_call", **cheaper)) == (None, ())
    assert told(breach("tokens_per_call", **cheaper, incident_class=QUALITY)) == (QUALITY, ())
    # It explains nothing either.
    assert told(breach("tokens_per_call", **cheaper), breach("latency_p95"))[0] is LATENCY


def test_searches_that_came_out_worse_and_breach_nothing_yet_explain_a_fall_in_groundedness():
    poor = context("retrieval_empty_rate", 0.3, 0.05)
    found = classify([breach("groundedness"), poor])
    assert (found.primary, found.contributing) == (RETRIEVAL, (QUALITY,))
    assert "no breach yet" in next(e.why for e in found.evidence if e.incident_class is RETRIEVAL)


def test_flags_that_are_no_alarm_yet_make_refusals_a_safety_violation():
    flags = context("policy_flag_rate", 0.1, 0.01, sample=30, nats=6.0)
    found = classify([breach("refusal_rate"), flags])
    assert (found.primary, found.contributing) == (SAFETY, (QUALITY,))
    assert "no breach yet" in next(e.why for e in found.evidence if e.incident_class is SAFETY)


def test_where_a_rule_weighs_the_evidence_that_says_whether_a_reading_has_moved():
    poor = context("retrieval_empty_rate", 0.08, 0.05, sample=2_000, nats=SUSPICIOUS)
    chance = context("retrieval_empty_rate", 0.3, 0.05, sample=10, nats=SUSPICIOUS - 0.1)
    assert told(breach("groundedness"), poor)[0] is RETRIEVAL
    assert told(breach("groundedness"), chance)[0] is QUALITY


@pytest.mark.parametrize(
    "reading",
    [
        context("retrieval_empty_rate", 0.06, 0.05),
        context("retrieval_empty_rate", 0.3, 0.05, sample=3),
        context("retrieval_empty_rate", 0.3, None),
        context("top_score", 0.85, 0.9),
        context("score_gap", 0.01, 0.9),
        context("cost_velocity", 9.0, 0.1),
        context("error_rate", 0.9, 0.1),
    ],
)
def test_other_readings_do_not_take_the_class_from_a_breach(reading):
    assert told(breach("groundedness"), reading)[0] is QUALITY


def test_quantiles_of_latency_are_one_hint_not_three():
    one = classify([breach("latency_p95")]).weights
    three = classify([breach(f"latency_p{q}") for q in (50, 95, 99)]).weights
    assert one == three


def test_evidence_names_value_baseline_sample_place_and_what_explains_it():
    place = Selector("checkout", "llm:answer", "gpt-5")
    found = classify(
        [
            breach("groundedness", selector=place, why="below what it was"),
            breach("retrieval_empty_rate"),
        ]
    )
    first, second = found.evidence
    assert (first.signal, first.incident_class, first.weight) == (
        "retrieval_empty_rate",
        RETRIEVAL,
        0.9,
    )
    assert (second.value, second.baseline, second.sample) == (0.4, 0.9, 100)
    assert (second.journey, second.route, second.alias) == place
    assert second.incident_class is QUALITY
    assert second.why.startswith("below what it was; explained by retrieval_empty_rate: ")


def test_the_reason_names_the_deciding_signals_and_what_they_explain():
    why = classify([breach("groundedness"), breach("retrieval_empty_rate")]).why
    assert why == (
        "retrieval_failure: retrieval_empty_rate 0.4 (against 0.04); this explains groundedness; "
        "contributing quality_regression"
    )


def test_values_that_are_no_number_are_left_out():
    assert told(breach("error_rate", value=math.nan), breach("refusal_rate")) == (QUALITY, ())


observations = st.builds(
    Observation,
    signal=st.sampled_from([*SPEAKS, "own_signal"]),
    value=st.floats(0, 10),
    baseline=st.none() | st.floats(0, 10),
    sample=st.integers(0, 1_000),
    selector=st.builds(Selector, st.sampled_from([None, "a", "b"])),
    incident_class=st.none() | st.sampled_from(IncidentClass),
    since=st.none() | st.floats(0, 5_000),
    breached=st.booleans(),
    nats=st.none() | st.floats(0, 20),
)


@given(st.lists(observations, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_observations_does_not_matter(seen, shuffle: random.Random):
    found = classify(seen)
    shuffled = list(seen)
    shuffle.shuffle(shuffled)
    assert classify(shuffled) == found


@pytest.mark.parametrize(
    "other",
    [
        {"selector": Selector(alias="")},
        {"baseline": 0.5},
        {"incident_class": IncidentClass.SAFETY_VIOLATION},
        {"nats": 0.0},
    ],
)
def test_observations_that_differ_in_one_field_do_not_tie(other):
    one = Observation("probe_failure_rate", 0.0, incident_class=QUALITY, since=0.0)
    two = dataclasses.replace(one, **other)
    assert classify([one, two]) == classify([two, one])


@given(st.lists(observations, max_size=10))
def test_every_answer_is_whole(seen):
    found = classify(seen)
    breaches = [o for o in seen if o.breached]
    assert len(found.evidence) >= len(breaches)
    assert [e.signal for e in found.evidence][: len(breaches)] != [] or not breaches
    assert all(0.0 <= e.weight <= 1.0 for e in found.evidence)
    assert all(0.0 <= weight <= 1.0 for weight in found.weights.values())
    assert found.primary not in found.contributing
    assert len(set(found.contributing)) == len(found.contributing)
    assert all(found.weights[c] >= CONVINCING for c in found.contributing)
    if found.primary is None:
        assert found.why.startswith("unknown: ")
        assert not found.contributing
    else:
        assert found.why.startswith(found.primary.value)
        assert any(e.incident_class is found.primary for e in found.evidence)


@given(st.lists(observations, max_size=8), st.floats(0, 5_000))
def test_a_policy_flag_always_makes_it_a_safety_violation(seen, since):
    leak = breach("policy_flag_rate", since)
    assert classify([*seen, leak]).primary is SAFETY


def test_the_tables_hold_together():
    assert set(PRECEDENCE) == set(IncidentClass)
    for cause in CAUSES:
        assert cause.by | cause.of <= set(SPEAKS)
        assert not cause.by & cause.of
        assert all(cause.incident_class in SPEAKS[signal] for signal in cause.by)
    assert FALLING | MECHANISMS <= set(SPEAKS)
