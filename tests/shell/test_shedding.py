"""Two switches that take load away: budgets capped, journeys shed. Each is undone exactly."""

import pytest

import firedoor as fd
from firedoor.testing import FakeClock

BY = {"reason": "cost up", "actor": "ana"}


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def door(clock):
    with fd.Firedoor("shop", clock=clock) as door:
        yield door


class TestCapBudget:
    @pytest.fixture
    def answer(self, door):
        @door.llm("answer", model="gpt-5", budgets=[fd.Budget(calls=10, per="day", name="day")])
        def answer(text, *, model=fd.ROUTED):
            return text

        return answer

    def test_a_budget_ends_at_the_share_and_is_whole_again_after_it(self, door, answer):
        for _ in range(4):
            answer("hello")
        switch = door.switches.cap_budget("llm:answer/day", 0.5, **BY)
        answer("the fifth of ten")
        with pytest.raises(
            fd.BudgetExceeded, match=r"0 calls left of 5 \(a switch has capped 10\)"
        ):
            answer("the sixth")
        door.switches.revert(switch)
        for _ in range(5):
            answer("hello")
        with pytest.raises(fd.BudgetExceeded, match="left of 10;"):
            answer("the eleventh")

    def test_a_call_says_by_which_switch(self, door, answer):
        switch = door.switches.cap_budget("*", 0.0, **BY)
        with pytest.raises(fd.BudgetExceeded) as caught:
            answer("hello")
        assert caught.value.decision.switches == (switch.id,)
        assert caught.value.decision.budget == "exhausted"

    def test_it_ends_by_itself_and_meets_only_its_journey(self, door, clock, answer):
        door.switches.cap_budget("*", 0.0, journey="batch", ttl="5m", **BY)
        with door.request("help"):
            assert answer("hello") == "hello"
        with door.request("batch"), pytest.raises(fd.BudgetExceeded):
            answer("hello")
        clock.advance(300)
        with door.request("batch"):
            assert answer("hello") == "hello"

    def test_a_budget_of_the_request_is_capped_too(self, door):
        @door.llm("chat", model="gpt-5", budgets=[fd.Budget(calls=4, per="request", name="few")])
        def chat(text, *, model=fd.ROUTED):
            return text

        door.switches.cap_budget("llm:chat/few", 0.5, **BY)
        with door.request("help"):
            chat("one")
            chat("two")
            with pytest.raises(fd.BudgetExceeded):
                chat("three")


class TestShedLoad:
    @pytest.fixture
    def answer(self, door):
        @door.llm("answer", tiers=[fd.Tier("gpt-5"), fd.Canned("Later, please.")])
        def answer(text, *, model=fd.ROUTED):
            return text

        return answer

    def test_a_journey_gets_its_safe_response_and_others_go_on(self, door, answer):
        switch = door.switches.shed_load("newsletter", **BY)
        with door.request("newsletter") as request:
            assert answer("hello") == "Later, please."
        assert request.outcome is fd.Outcome.CANNED
        assert request.decisions[0].switches == (switch.id,)
        with door.request("help"):
            assert answer("hello") == "hello"
        door.switches.revert(switch)
        with door.request("newsletter"):
            assert answer("hello") == "hello"

    def test_what_has_no_safe_response_is_saturated_until_then(self, door):
        @door.llm("bare", model="gpt-5")
        def bare(text, *, model=fd.ROUTED):
            return text

        @door.tool("mail", effect="network")
        def mail(text):
            return text

        @door.retrieval("kb")
        def search(text):
            return [text]

        switch = door.switches.shed_load("newsletter", ttl="5m", **BY)
        with door.request("newsletter"):
            for function in (bare, mail):
                with pytest.raises(fd.Saturated, match="load is shed") as caught:
                    function("hello")
                assert caught.value.gate == f"switch:{switch.id}"
                assert caught.value.retry_after == pytest.approx(300)
            assert search("hello") == ["hello"]

    def test_a_share_turns_whole_requests_away(self, door, answer):
        door.switches.shed_load("newsletter", 0.3, **BY)
        away = 0
        for number in range(1_000):
            with door.request("newsletter", id=f"r{number}") as request:
                answer("one")
                answer("two")
            outcomes = {d.outcome for d in request.decisions}
            assert len(outcomes) == 1
            away += fd.Outcome.CANNED in outcomes
        assert 240 < away < 360  # of ids that are always the same

    def test_a_request_that_is_let_in_does_not_name_the_switch(self, door, answer):
        door.switches.shed_load("*", 0.0001, **BY)
        with door.request("help", id="let-in") as request:
            assert answer("hello") == "hello"
        assert request.decisions[0].switches == ()
