"""What each signal counts, where, and over which time."""

import json
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firedoor.core.causes import FALLING, SPEAKS
from firedoor.core.ring import width_at
from firedoor.core.series import Sample, Selector, Shape
from firedoor.core.signals import CATALOGUE
from firedoor.errors import ConfigurationError
from firedoor.incidents.signals import OTHER, Signals
from firedoor.records import AttemptRecord
from firedoor.testing import FakeClock
from firedoor.types import Fault, Outcome, Source, Usage, Verdict, VerdictStatus
from support.calls import blocked, chat, failed, fallback, retrieval, stream, tool


class Told:
    """Signals on a clock that stands still, with what went wrong in them."""

    def __init__(self, **kwargs):
        self.clock = FakeClock()
        self.faults = []
        self.signals = Signals(
            self.clock.now,
            lambda: self.clock.time_ns() / 1e9,
            on_fault=self.faults.append,
            **kwargs,
        )

    def __call__(self, *decisions, times=1):
        for made in decisions:
            for _ in range(times):
                self.signals.record(made)

    def read(self, name, **where):
        return self.signals.read(name, **where)

    def rate(self, name, **where):
        sample = self.read(name, **where)
        return sample.total, sample.size


@pytest.fixture
def told():
    made = Told()
    yield made
    assert made.faults == []


def canned(**fields):
    """A safe response after the provider failed."""
    tried = (
        AttemptRecord(0, "gpt-5", Outcome.FAILED, 8.0, error_type="APITimeoutError",
                      fault=Fault.TARGET),
        AttemptRecord(1, None, Outcome.CANNED),
    )  # fmt: skip
    return failed(**{"outcome": Outcome.CANNED, "tier": 1, "attempts": tried} | fields)


def switched_to_canned():
    """Safe mode: no model was asked."""
    return canned(
        attempts=(AttemptRecord(1, None, Outcome.CANNED),), switches=("sw-1",), fault=None
    )


def kept_from_its_first_choice():
    """The circuit of the first tier was open."""
    skipped = AttemptRecord(0, "gpt-5", reason="breaker:llm:answer/gpt-5")
    return fallback(
        attempts=(skipped, AttemptRecord(1, "gpt-5-mini", Outcome.ANSWERED, 0.2)),
        verdicts=(Verdict("breaker:llm:answer/gpt-5", VerdictStatus.BLOCKED),),
    )


def policy(status, **fields):
    return chat(verdicts=(Verdict("policy:secrets", status, "output"),), **fields)


def refused(**fields):
    return chat(outcome=Outcome.REFUSED, refusal="text", **fields)


def abandoned():
    return stream(outcome=Outcome.ABANDONED, finish_reasons=("error",), usage=None, cost_usd=None)


def cancelled():
    return failed(outcome=Outcome.CANCELLED, fault=None, error_type="cancelled")


def callers_fault():
    return failed(fault=Fault.CALLER, error_type="BadRequestError")


class TestTheCatalogue:
    def test_has_exactly_the_signals_the_classifier_knows(self):
        assert set(CATALOGUE) == set(SPEAKS)

    def test_says_of_each_what_it_counts_and_which_way_is_bad(self):
        for signal in CATALOGUE.values():
            assert signal.counts
            assert signal.among
            assert signal.higher_is_worse is (signal.name not in FALLING)
            assert (signal.share is not None) is (signal.shape is Shape.QUANTILE)

    def test_every_signal_can_be_read_of_nothing(self, told):
        for name in told.signals.names():
            value = 0.0 if CATALOGUE[name].shape is Shape.VELOCITY else None
            assert told.read(name) == Sample(0, 0.0, 0.0, value, 0.0)
            assert told.signals.selectors(name) == ()

    def test_a_signal_that_is_none_is_refused_by_name_and_with_those_that_are(self, told):
        with pytest.raises(ConfigurationError, match=r"'refusals' is not known.*refusal_rate"):
            told.read("refusals")


class TestRefusals:
    def test_are_counted_among_answers_of_models(self, told):
        told(chat(), times=3)
        told(refused(), failed(), blocked(), canned(), cancelled(), abandoned())
        assert told.rate("refusal_rate") == (1, 4)

    def test_partial_ones_are_counted_apart(self, told):
        told(chat(partial_refusal=True), refused(), chat())
        assert told.rate("partial_refusal_rate") == (1, 3)
        assert told.rate("refusal_rate") == (1, 3)

    def test_a_safe_response_is_neither_a_refusal_nor_an_answer(self, told):
        told(refused(), times=10)
        told(switched_to_canned(), times=90)
        sample = told.read("refusal_rate")
        assert (sample.value, sample.size, sample.apart) == (1.0, 10, 90)


class TestErrors:
    def test_are_the_targets_saved_by_a_fallback_or_not(self, told):
        told(chat(), failed(), fallback(), canned())
        assert told.rate("error_rate") == (3, 4)

    def test_what_says_nothing_of_the_target_is_not_counted(self, told):
        told(callers_fault(), cancelled(), blocked(), switched_to_canned())
        assert told.rate("error_rate") == (0, 0)

    def test_an_open_circuit_does_not_make_it_look_well(self, told):
        told(failed(), times=5)
        told(kept_from_its_first_choice(), times=95)
        sample = told.read("error_rate")
        assert (sample.value, sample.size, sample.apart) == (1.0, 5, 95)

    def test_a_stream_that_was_left_says_that_the_target_answered(self, told):
        told(abandoned())
        assert told.rate("error_rate") == (0, 1)

    def test_are_told_by_fault(self, told):
        told(chat(), times=6)
        told(failed(), callers_fault(), callers_fault(), blocked())
        assert told.signals.faults(Selector(), 300, told.clock.now()) == {
            Fault.TARGET: 0.1,
            Fault.CALLER: 0.2,
            Fault.POLICY: 0.1,
            Fault.FIREDOOR: 0.0,
        }

    def test_of_a_search_or_a_tool_are_read_by_its_route(self, told):
        told(retrieval(outcome=Outcome.FAILED, fault=Fault.TARGET, sources=()), retrieval())
        assert told.rate("error_rate") == (0, 0)
        assert told.rate("error_rate", route="retrieval:kb") == (1, 2)


class TestSaturation:
    @pytest.mark.parametrize("name", ["RateLimitError", "rate_limit_exceeded", "overloaded_error",
                                      "429", "529", "ThrottlingException", "resource_exhausted"])  # fmt: skip
    def test_is_a_providers_limit(self, told, name):
        told(failed(error_type=name), chat())
        assert told.rate("saturation_rate") == (1, 2)

    def test_is_a_full_limiter(self, told):
        turned_away = AttemptRecord(0, "gpt-5", reason="limiter:llm:answer/gpt-5")
        told(
            failed(outcome=Outcome.BLOCKED, fault=Fault.POLICY, error_type="Saturated",
                   attempts=(turned_away,)),
            blocked(),
        )  # fmt: skip
        assert told.rate("saturation_rate") == (1, 1)

    def test_is_nothing_else(self, told):
        told(failed(error_type="APITimeoutError"), failed(error_type="500"), chat())
        assert told.rate("saturation_rate") == (0, 3)


class TestFallbacks:
    def test_are_answers_from_below(self, told):
        told(chat(), fallback(), kept_from_its_first_choice(), canned(), failed())
        assert told.rate("fallback_rate") == (2, 4)
        assert told.rate("canned_rate") == (1, 4)

    def test_what_a_switch_ordered_is_containment(self, told):
        told(
            fallback(attempts=(AttemptRecord(1, "gpt-5-mini", Outcome.ANSWERED, 0.2),),
                     switches=("sw-1",)),
            switched_to_canned(),
        )  # fmt: skip
        assert told.rate("fallback_rate") == (0, 1)
        assert told.rate("canned_rate") == (0, 1)
        assert told.read("fallback_rate").apart == 2


class TestPolicies:
    def test_flags_are_counted_among_what_was_looked_at(self, told):
        told(
            chat(),
            policy(VerdictStatus.PASSED),
            policy(VerdictStatus.FLAGGED),
            policy(VerdictStatus.REDACTED),
            policy(VerdictStatus.BLOCKED, outcome=Outcome.BLOCKED, fault=Fault.POLICY),
            policy(VerdictStatus.ERRORED),
            policy(VerdictStatus.SKIPPED),
            policy(VerdictStatus.NOT_APPLICABLE),
        )
        assert told.rate("policy_flag_rate") == (3, 4)
        assert told.rate("blocked_rate") == (1, 8)

    def test_budgets_and_breakers_are_no_content_policies(self, told):
        told(blocked())
        assert told.rate("policy_flag_rate") == (0, 0)
        assert told.rate("blocked_rate") == (1, 1)


class TestTruncation:
    def test_is_a_limit_met_or_a_stream_broken(self, told):
        told(
            chat(),
            chat(finish_reasons=("length",)),
            stream(truncated=True, outcome=Outcome.FAILED, fault=Fault.TARGET,
                   finish_reasons=("error",)),
            failed(),
        )  # fmt: skip
        assert told.rate("truncation_rate") == (2, 3)


class TestTimes:
    def test_of_requests_where_no_route_is_asked_for(self, told):
        told(chat(latency_s=2.0), chat(latency_s=9.0, request_id="00000000000000d1", journey=None))
        assert told.read("latency_p50").value == pytest.approx(9.0, rel=0.01)
        assert told.read("latency_p95", route="llm:answer").size == 2
        assert told.read("latency_p50", alias="gpt-5", journey="checkout-help").value == (
            pytest.approx(2.0, rel=0.01)
        )

    def test_failures_count_and_what_was_answered_without_asking_does_not(self, told):
        told(failed(latency_s=8.0), canned(latency_s=8.5), abandoned(), cancelled())
        told(blocked(), switched_to_canned())
        assert told.read("latency_p50", route="llm:answer").size == 4

    def test_first_tokens_are_those_of_streams(self, told):
        told(chat(), stream(), stream())
        sample = told.read("first_token_p95")
        assert sample.size == 2
        assert sample.value == pytest.approx(0.1, rel=0.01)

    def test_the_share_above_a_limit_is_told_of_distributions_only(self, told):
        told(chat(latency_s=1.0), times=9)
        told(chat(latency_s=7.0))
        series = told.signals.series("latency_p95", Selector(route="llm:answer"))
        assert series.above(6.0, 300, told.clock.now())[:4] == (10, 1.0, 1.0, 0.1)
        assert series.quantile == 0.95
        with pytest.raises(ValueError, match="refusal_rate is a rate"):
            told.signals.series("refusal_rate").above(0.1, 300, 0.0)


class TestSearches:
    def test_bring_nothing_when_empty_or_failed(self, told):
        told(
            retrieval(),
            retrieval(sources=()),
            retrieval(sources=(), outcome=Outcome.FAILED, fault=Fault.TARGET),
            retrieval(sources=(), notes=("retrieval result app.Thing",)),
            retrieval(sources=(), outcome=Outcome.BLOCKED, fault=Fault.POLICY),
        )
        assert told.rate("retrieval_empty_rate") == (2, 3)

    def test_scores_and_their_gap(self, told):
        told(retrieval(), retrieval(sources=(Source("a", 0.7),)), retrieval(sources=(Source("b"),)))
        assert told.read("top_score").value == pytest.approx(0.8)
        assert told.read("score_gap").value == pytest.approx(0.4)
        assert told.read("score_gap").size == 1

    def test_distances_are_turned_round_so_that_lower_is_always_worse(self, told):
        near = retrieval(sources=(Source("a", 0.25), Source("b", 1.0)))
        told(near, times=10)
        usual = told.read("top_score").value
        assert usual == pytest.approx(0.8)
        told(retrieval(sources=(Source("a", 3.0), Source("b", 4.0))), times=10)
        assert told.read("top_score").value < usual

    def test_age_is_the_mean_of_those_that_have_a_time(self, told):
        wall = told.clock.time_ns() / 1e9
        told(
            retrieval(
                sources=(
                    Source("a", timestamp=wall - 100),
                    Source("b", timestamp=wall - 300),
                    Source("c", timestamp=wall + 50),
                    Source("d"),
                )
            )
        )
        assert told.read("source_age").value == pytest.approx(400 / 3, rel=1e-3)

    def test_duplicates_are_told_by_id(self, told):
        told(retrieval(sources=tuple(Source(name) for name in "abacaa")))
        assert told.rate("duplicate_rate") == (3, 6)


class TestTools:
    def test_errors_count_whosever_fault(self, told):
        told(
            tool(),
            tool(outcome=Outcome.FAILED, fault=Fault.CALLER),
            tool(outcome=Outcome.FAILED, fault=Fault.TARGET),
            tool(outcome=Outcome.BLOCKED, fault=Fault.POLICY),
            tool(outcome=Outcome.CANCELLED),
        )
        assert told.rate("tool_error_rate") == (2, 3)

    def test_repetitions_are_told_within_a_request(self, make_door, seen):
        door = make_door(clock=FakeClock())

        @door.tool("find")
        def find(query, *, near=None):
            return query

        for _ in range(2):
            with door.request("checkout-help"):
                find("a")
                find("b")
                with door.request("inner"):
                    find("a")
                find("a", near={"city": "Bern"})
                find("a", near={"city": "Bern"})
        find("a")
        find("a")
        assert door.signals.read("repeated_tool_rate")[:2] == (10, 4.0)
        assert [d.repeated for d in seen.decisions] == [
            *(False, False, True, False, True),
            *(False, False, True, False, True),
            *(False, False),
        ]

    def test_a_block_whose_arguments_are_not_known_repeats_nothing(self, door):
        with door.request("checkout-help"):
            for _ in range(3):
                with door.tool("refund") as call:
                    call.record("done")
        assert door.signals.read("repeated_tool_rate").total == 0


class TestMoney:
    def test_cost_is_per_request_and_per_second(self, make_door):
        clock = FakeClock()
        door = make_door(clock=clock, prices={"gpt-5": (1_000, 1_000)})
        answer = answering(door, Usage(600, 400))
        clock.advance(100)
        for _ in range(5):
            with door.request("checkout-help"):
                answer()
                answer()
        with door.request("checkout-help"):
            clock.advance(100)
        sample = door.signals.read("cost_per_request", journey="checkout-help")
        assert (sample.size, sample.value) == (5, pytest.approx(2.0))
        assert door.signals.read("cost_per_request", route="llm:answer").value == pytest.approx(1.0)
        velocity = door.signals.read("cost_velocity")
        assert velocity.value == pytest.approx(10.0 / velocity.seconds)
        assert velocity.seconds == pytest.approx(200.0)

    def test_tokens_are_both_ways(self, told):
        told(chat(usage=Usage(100, 20)), chat(usage=Usage(50)), chat(usage=None))
        sample = told.read("tokens_per_call")
        assert (sample.size, sample.total) == (2, 170.0)
        assert sample.squares == 120**2 + 50**2


class TestObserved:
    def test_groundedness_tells_both_its_signals(self, told):
        for score in (1.0, 0.9, 0.2):
            told.signals.observe("groundedness", score, journey="checkout-help", route="llm:answer")
        assert told.read("groundedness", journey="checkout-help").value == pytest.approx(0.7)
        assert told.rate("ungrounded_rate") == (1, 3)
        assert told.signals.selectors("ungrounded_rate") == (
            Selector("checkout-help", "llm:answer"),
        )

    def test_feedback_and_probes(self, told):
        for negative in (True, False, False, 1.0):
            told.signals.observe("negative_feedback_rate", negative)
        told.signals.observe("probe_failure_rate", True)
        assert told.rate("negative_feedback_rate") == (2, 4)
        assert told.rate("probe_failure_rate") == (1, 1)

    def test_what_decisions_tell_cannot_be_observed(self, told):
        with pytest.raises(ConfigurationError, match="made from decisions; observe groundedness"):
            told.signals.observe("refusal_rate", True)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), "much", None])
    def test_a_value_is_a_finite_number(self, told, value):
        with pytest.raises(ConfigurationError, match="give a finite number"):
            told.signals.observe("groundedness", value)


class TestOnesOwn:
    def test_are_read_like_the_others(self, told):
        signals = told.signals
        signals.register("long", lambda d: d.latency_s > 1 if d.kind == "llm" else None)
        signals.register("wait", lambda d: d.latency_s, shape="quantile", quantile=0.5, unit="s")
        signals.register("share", lambda d: d.latency_s, shape=Shape.MEAN)
        told(chat(latency_s=2.0), chat(latency_s=0.5), retrieval(latency_s=3.0))
        assert told.rate("long") == (1, 2)
        assert told.read("wait").value == pytest.approx(2.0, rel=0.01)
        assert told.read("share", route="retrieval:kb").value == pytest.approx(3.0)
        assert told.signals.names()[-3:] == ("long", "wait", "share")

    def test_may_be_observed(self, told):
        told.signals.register("stars", shape="mean", higher_is_worse=False)
        told.signals.observe("stars", 4, journey="checkout-help")
        told.signals.observe("stars", 2)
        assert told.read("stars").value == 3.0
        assert told.read("stars", journey="checkout-help").value == 4.0

    def test_one_that_fails_costs_the_others_nothing(self):
        told = Told()
        told.signals.register("broken", lambda d: 1 / 0)
        told.signals.register("works", lambda d: True)
        told(chat(), chat())
        assert told.rate("works") == (2, 2)
        assert [type(fault) for fault in told.faults] == [ZeroDivisionError] * 2

    @pytest.mark.parametrize(
        ("args", "kwargs", "says"),
        [
            (("refusal_rate",), {}, "not taken"),
            ((" ",), {}, "not taken"),
            (("x", 3), {}, "give a function"),
            (("x",), {"shape": "median"}, "use rate, mean, quantile, velocity"),
            (("x",), {"shape": "quantile"}, "quantile= between 0 and 1"),
            (("x",), {"shape": "quantile", "quantile": 95}, "quantile= between 0 and 1"),
            (("x",), {"quantile": 0.95}, "and only that"),
        ],
    )
    def test_what_cannot_work_is_refused(self, told, args, kwargs, says):
        with pytest.raises(ConfigurationError, match=says):
            told.signals.register(*args, **kwargs)


class TestWhere:
    def test_journey_route_and_alias_narrow_and_nothing_is_counted_twice(self, told):
        told(refused(), chat(alias="gpt-5-mini"), chat(journey="search"), chat(route="llm:draft"))
        assert told.rate("refusal_rate") == (1, 4)
        assert told.rate("refusal_rate", journey="checkout-help") == (1, 3)
        assert told.rate("refusal_rate", route="llm:answer") == (1, 3)
        assert told.rate("refusal_rate", alias="gpt-5", journey="checkout-help") == (1, 2)
        assert told.rate("refusal_rate", journey="nowhere") == (0, 0)
        assert len(told.signals.selectors("refusal_rate")) == 4

    def test_beyond_the_cap_everything_else_is_one_and_the_whole_stays_exact(self):
        told = Told(keys=10)
        told(*(refused(journey=f"j{n}") for n in range(50)))
        assert told.rate("refusal_rate") == (50, 50)
        assert told.rate("refusal_rate", journey="j3") == (1, 1)
        assert told.rate("refusal_rate", journey="j30") == (0, 0)
        assert told.rate("refusal_rate", journey=OTHER) == (40, 40)
        assert told.signals.snapshot(told.clock.now())["overflowed"] == 40

    def test_places_that_are_gone_make_room(self):
        told = Told(keys=10)
        told(*(refused(journey=f"old-{n}") for n in range(10)))
        told.clock.advance(80 * 3_600)
        told.read("refusal_rate")
        told.clock.advance(10)
        told(*(refused(journey=f"new-{n}") for n in range(10)))
        assert told.rate("refusal_rate", journey="new-7") == (1, 1)


class TestContainment:
    """Quiet because it is contained is not well again."""

    def test_what_was_answered_as_configured_is_read_by_itself(self, told):
        told(refused(), times=50)
        told(chat(switches=("sw-1",), model="gpt-5-mini"), times=150)
        everything = told.read("refusal_rate")
        plain = told.read("refusal_rate", plain=True)
        assert (everything.value, everything.size, everything.apart) == (0.25, 200, 150)
        assert (plain.value, plain.size) == (1.0, 50)

    def test_under_a_switch_there_is_nothing_plain_to_judge(self, told):
        told(refused(), times=50)
        told.clock.advance(600)
        told(chat(switches=("sw-1",)), times=50)
        assert told.read("refusal_rate").value == 0.0
        assert told.read("refusal_rate", plain=True).value is None

    def test_requests_with_a_call_that_was_contained_are_set_apart(self, make_door):
        door = make_door(clock=FakeClock())
        answer = answering(door)
        with door.request("checkout-help"):
            answer()
        door.switches.alias("gpt-5", "gpt-5-mini", reason="x", actor="ana", ttl=60)
        with door.request("checkout-help"):
            answer()
        assert door.signals.read("latency_p95").apart == 1
        assert door.signals.read("latency_p95", plain=True).size == 1


class TestExposure:
    def test_is_of_requests_and_those_without_a_plain_answer(self, make_door):
        clock = FakeClock()
        door = make_door(clock=clock)
        answer = answering(door)

        @door.tool("refund")
        def refund():
            raise RuntimeError

        for n in range(10):
            with door.request("checkout-help" if n % 2 else "search"):
                answer()
                if n < 3:
                    with pytest.raises(RuntimeError):
                        refund()
                with door.request("inner"):
                    answer()
        now = clock.now()
        assert door.signals.exposure(Selector(), 300, now) == (10, 3)
        assert door.signals.exposure(Selector("search"), 300, now) == (5, 2)
        assert door.signals.exposure(Selector("inner"), 300, now) == (10, 0)
        assert door.signals.exposure(Selector(route="tool:refund"), 300, now) == (3, 3)
        assert door.signals.exposure(Selector(), 300, now, signal="tool_error_rate") == (10, 10)

    def test_synthetic_requests_and_calls_never_enter(self, make_door):
        door = make_door(clock=FakeClock())
        answer = answering(door)
        with door.request("checkout-help", synthetic=True):
            answer()
        assert all(door.signals.read(name).size == 0 for name in door.signals.names())
        assert door.snapshot()["signals"]["recorded"] == 0


class TestOnset:
    @pytest.mark.parametrize("usual", [0, 2])
    def test_is_where_it_turned_bad_and_not_the_first_refusal_ever(self, told, usual):
        for _ in range(40):
            told(chat(), times=20)
            told(refused(), times=usual)
            told.clock.advance(10)
        turned = told.clock.now()
        for _ in range(12):
            told(chat(), times=10)
            told(refused(), times=10)
            told.clock.advance(10)
        found = told.signals.bad_since("refusal_rate", Selector(), 400, told.clock.now())
        assert abs(found - turned) <= 10

    def test_is_told_of_times_and_means_and_the_way_that_hurts(self, told):
        for n in range(40):
            bad = n >= 30
            told(chat(latency_s=4.0 if bad else 1.0), times=10)
            told(retrieval(sources=(Source("a", 0.3 if bad else 0.9), Source("b", 0.1))), times=10)
            told.clock.advance(10)
        turned = told.clock.now() - 100
        for name in ("latency_p95", "top_score"):
            where = Selector(route="llm:answer" if name == "latency_p95" else None)
            found = told.signals.bad_since(name, where, 390, told.clock.now())
            assert abs(found - turned) <= 10, name

    def test_is_nothing_where_nothing_was_bad(self, told):
        told(chat(), times=5)
        assert told.signals.bad_since("refusal_rate", Selector(), 300, told.clock.now()) is None
        assert told.signals.bad_since("groundedness", Selector(), 300, told.clock.now()) is None


class TestThreads:
    def test_eight_of_them_lose_nothing(self, told):
        told.clock.advance(1)
        made, each = [refused(), chat(), stream(), fallback()], 4_000
        begin = threading.Barrier(8)

        def run():
            begin.wait()
            for n in range(each):
                told.signals.record(made[n % 4])
                if n % 100 == 0:
                    told.signals.read("latency_p95", route="llm:answer")

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert told.rate("refusal_rate") == (8 * each / 4, 8 * each)
        assert told.read("latency_p50", route="llm:answer").size == 8 * each
        assert told.signals.snapshot(told.clock.now())["lost"] == 0

    def test_a_call_never_waits_for_a_reader(self, told):
        """What is left while another holds the lock is counted by whoever comes next."""
        with told.signals._lock:
            told(refused(), times=3)
            told.signals.observe("groundedness", 0.1)
        assert told.rate("refusal_rate") == (3, 3)
        assert told.rate("ungrounded_rate") == (1, 1)


class TestBatches:
    """A call leaves itself behind; a full batch, a new slot or a reader takes it in."""

    def test_what_is_left_is_bounded(self, told):
        told(chat())
        for _ in range(1_000):
            told(chat())
            assert len(told.signals._pending) < 64

    def test_a_call_counts_in_the_slot_it_ended_in(self, told):
        told(chat())  # the slot begins
        told(refused(), times=3)
        told.clock.advance(20)
        told(chat(), times=2)
        assert told.rate("refusal_rate", window=10.0) == (0, 2)
        assert told.rate("refusal_rate") == (3, 6)

    def test_the_first_call_of_a_slot_is_taken_in_at_once(self, told):
        turns = []
        told.signals.on_turn(lambda: turns.append(told.clock.now()))
        for _ in range(3):
            told(chat(), times=2)
            told.clock.advance(10)
        assert len(turns) == 3

    def test_a_registered_function_runs_as_its_call_ends(self, told):
        seen = []
        told.signals.register("mine", lambda d: seen.append(d.id))
        told(chat(), times=3)
        assert len(seen) == 3

    def test_a_request_counts_for_what_it_was_as_it_ended(self, make_door):
        door = make_door(clock=FakeClock())
        ask = answering(door)
        with door.request("checkout-help") as request:
            ask()
        request.journey = "elsewhere"
        assert door.signals.read("latency_p95", journey="checkout-help").size == 1

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_a_fork_takes_what_was_left_along(self, told):
        told(refused(), times=5)
        child = os.fork()
        if not child:
            told(chat(), times=5)
            os._exit(told.rate("refusal_rate") != (5, 10))
        assert os.waitpid(child, 0)[1] == 0
        assert told.rate("refusal_rate") == (5, 5)


class TestSnapshot:
    def test_is_plain_and_of_the_whole_door(self, make_door):
        door = make_door(clock=FakeClock())
        answering(door)()
        told = json.loads(json.dumps(door.snapshot()["signals"]))
        assert told["recorded"] == 1
        assert told["signals"]["refusal_rate"] == {"value": 0.0, "size": 1, "apart": 0}
        assert set(told["signals"]) == set(CATALOGUE)


def test_a_fault_of_signals_is_counted_and_reaches_nobody(door, seen):
    door.signals.register("broken", lambda d: d.no_such_field)
    assert answering(door)().startswith("hello")
    (point,) = seen.metric("firedoor.internal.errors")
    assert "signals" in point.attributes.values()


def answering(door, usage=None):
    @door.llm("answer", model="gpt-5")
    def answer(*, model=None):
        if usage is None:
            return "hello"
        return {
            "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens},
        }  # fmt: skip

    return answer


WINDOWS = (10.0, 45.0, 300.0, 3_600.0, 21_600.0)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 4_000.0), st.sampled_from(["refused", "answer", "score", "other"])
        ),
        max_size=40,
    )
)
def test_windows_of_all_lengths_hold_what_their_slots_hold(steps):
    """However often they were read before: what was added up is of slots that have not changed."""
    told = Told()
    shapes = [("refusal_rate", None), ("groundedness", None), ("latency_p95", 1.5)]
    for seconds, what in steps:
        told.clock.advance(seconds)
        if what == "score":
            told.signals.observe("groundedness", 0.7)
        elif what == "other":
            far = Signals(told.clock.now, lambda: told.clock.time_ns() / 1e9, on_fault=print)
            far.record(refused())
            told.signals.absorb("far", far.export())
        else:
            told(refused() if what == "refused" else chat(latency_s=2.0))
        now = told.clock.now()
        for name, above in shapes:
            series = told.signals.series(name)
            found = series.nested(WINDOWS, now, above=above)
            slots = series.slots(WINDOWS[-1], now)
            for window, sample in zip(WINDOWS, found, strict=True):
                recent = [c for at, c in slots if at > now - window - width_at(window) / 2 + 1e-6]
                parts = [series._sample([[cell]], 0.0) for cell in recent]
                assert sample.size == sum(part.size for part in parts)
                if above is None:
                    assert sample.total == pytest.approx(sum(part.total for part in parts))
    assert told.faults == []
