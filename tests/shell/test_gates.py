"""Switches, breakers and limiters, on calls of real doors."""

import asyncio
import threading

import pytest

import firedoor as fd
from firedoor.testing import FakeClock

WHY = {"reason": "drill", "actor": "ana"}
SAFE = "A person will follow up."


class Down(ConnectionError):
    """The provider is away."""


@pytest.fixture
def clock():
    return FakeClock(auto=True)


@pytest.fixture
def door(make_door, clock):
    return make_door(clock=clock)


@pytest.fixture
def answer(door):
    @door.llm("answer", model="gpt-5")
    def answer(question, *, model):
        return f"{model}: {question}"

    return answer


class TestSwitches:
    def test_an_alias_means_another_model_until_it_is_reverted(self, door, answer, seen):
        switch = door.switches.alias("gpt-5", "gpt-5-mini", **WHY)
        assert answer("hi") == "gpt-5-mini: hi"
        door.switches.revert(switch.id, **WHY)
        assert answer("hi") == "gpt-5: hi"
        first, second = seen.decisions
        assert (first.alias, first.model) == ("gpt-5", "gpt-5-mini")
        assert first.switches == (switch.id,)
        assert second.switches == ()

    def test_an_alias_replaces_a_model_given_by_name_too(self, door, answer):
        door.switches.alias("gpt-5", "gpt-5-mini", **WHY)
        assert answer("hi", model="gpt-5") == "gpt-5-mini: hi"

    def test_a_ttl_is_an_exact_inverse(self, door, answer, clock):
        door.switches.alias("gpt-5", "gpt-5-mini", ttl="30m", **WHY)
        clock.advance(1800)
        assert answer("hi") == "gpt-5: hi"

    def test_a_route_turned_off_is_denied_with_who_and_why(self, door, answer, seen):
        switch = door.switches.disable("llm:answer", ttl=60, **WHY)
        with pytest.raises(fd.RouteDisabled, match="ana: drill") as denied:
            answer("hi")
        assert switch.id in str(denied.value)
        assert not denied.value.ran
        decision = denied.value.decision
        assert decision is seen.decisions[0]
        assert (decision.outcome, decision.fault) == ("blocked", "policy")

    def test_a_journey_narrows_a_switch(self, door, answer):
        door.switches.disable("llm:*", journey="checkout", **WHY)
        with door.request("browse"):
            assert answer("hi")
        with pytest.raises(fd.RouteDisabled), door.request("checkout"):
            answer("hi")

    def test_a_depth_cap_acts_on_the_declared_parameter(self, door):
        @door.retrieval("kb", depth="k")
        def search(query, k=8):
            return [{"id": str(n)} for n in range(k)]

        door.switches.depth("retrieval:kb", 3, **WHY)
        assert len(search("q")) == 3
        assert len(search("q", 5)) == 3
        assert len(search("q", k=5)) == 3
        assert len(search("q", k=2)) == 2

    def test_a_depth_that_no_parameter_takes_is_refused_when_it_is_decorated(self, door):
        """A switch in the night would make every search fail for want of it."""
        with pytest.raises(fd.ConfigurationError, match=r"has no parameter 'k'.*query, most"):
            door.retrieval("kb", depth="k")(lambda query, most=8: [])

        @door.retrieval("kb", depth="k")
        def search(query, **more):
            return [{"id": str(n)} for n in range(more["k"])]

        door.switches.depth("retrieval:kb", 3, **WHY)
        assert len(search("q", k=5)) == 3

    def test_safe_mode_serves_the_canned_tier_and_refuses_tools_that_write(self, door):
        answer = door.llm("answer", tiers=[fd.Tier("m"), fd.Canned(SAFE)])(lambda model: model)
        refund = door.tool("refund", effect="write")(lambda: "paid")
        look = door.tool("look", effect="read")(lambda: "seen")
        door.switches.safe_mode("checkout", **WHY)
        with door.request("checkout"):
            assert answer() == SAFE
            assert look() == "seen"
            with pytest.raises(fd.RouteDisabled, match="safe mode"):
                refund()
        assert answer("m") == "m"

    def test_a_tool_that_does_not_say_what_it_does_is_refused_in_safe_mode(self, door):
        unsaid = door.tool("unsaid")(lambda: "done")
        search = door.retrieval("kb")(lambda: ["d1"])
        door.switches.safe_mode("checkout", **WHY)
        with door.request("checkout"):
            assert search() == ["d1"]
            with pytest.raises(fd.RouteDisabled, match="safe mode"):
                unsaid()

    @pytest.mark.parametrize("ttl", [1e18, "99999999d"])
    def test_an_end_that_no_calendar_has_is_refused(self, door, ttl):
        """A kill whose end cannot be told would be one whose refusal cannot be said."""
        with pytest.raises(fd.ConfigurationError, match="up to a hundred years"):
            door.switches.disable("tool:refund", ttl=ttl, **WHY)

    def test_a_prompt_held_at_a_revision_that_is_not_here_is_told_as_it_is(self, door, seen):
        door.prompts.register("answer", {"v12": "old", "v13": "new"}, active="v13")
        answer = door.llm("answer", model="m", prompt="answer")(
            lambda *, model: door.prompts.get("answer").text
        )
        door.switches.prompt("answer", "v99", **WHY)
        assert answer() == "new"
        (decision,) = seen.decisions
        assert decision.prompt_revision == "v13"
        (verdict,) = decision.verdicts
        assert (verdict.gate, verdict.status) == ("prompt:answer", "errored")
        assert "v99" in verdict.reason

    def test_a_minimum_tier_begins_lower(self, door, seen):
        answer = door.llm("answer", tiers=[fd.Tier("a"), fd.Tier("b")])(lambda model: model)
        door.switches.minimum_tier("llm:answer", 1, **WHY)
        assert answer() == "b"
        assert seen.decisions[0].degraded

    def test_a_model_turned_off_is_skipped_where_only_a_later_tier_asks_for_it(self, door, seen):
        """Nothing about the first choice is switched, and the kill holds all the same."""

        @door.llm("answer", tiers=[fd.Tier("a"), fd.Tier("b"), fd.Canned("safe")])
        def answer(question, *, model):
            if model == "a":
                raise ConnectionError
            return model

        made = door.switches.disable("model:b", **WHY)
        assert answer("hi") == "safe"
        assert seen.decisions[0].switches == (made.id,)
        door.switches.revert(made.id)
        assert answer("hi") == "b"

    def test_an_alias_of_a_later_tier_is_followed(self, door, seen):
        @door.llm("answer", tiers=[fd.Tier("a"), fd.Tier("b")])
        def answer(question, *, model):
            if model == "a":
                raise ConnectionError
            return model

        made = door.switches.alias("b", "c", **WHY)
        assert answer("hi") == "c"
        assert (seen.decisions[0].model, seen.decisions[0].switches) == ("c", (made.id,))

    def test_a_model_turned_off_is_skipped_on_a_ladder(self, door, seen):
        answer = door.llm("answer", tiers=[fd.Tier("a"), fd.Tier("b")])(lambda model: model)
        door.switches.disable("model:a", **WHY)
        assert answer() == "b"
        assert seen.decisions[0].attempts[0].reason.startswith("switch:")

    def test_a_prompt_is_rolled_back_and_its_revision_recorded(self, door, seen):
        door.prompts.register("answer", {"v12": "Old.", "v13": "New."}, active="v13")

        @door.llm("answer", model="m", prompt="answer")
        def answer(*, model):
            return door.prompts.get("answer").text

        assert answer() == "New."
        door.switches.prompt("answer", "v12", **WHY)
        assert answer() == "Old."
        assert [d.prompt_revision for d in seen.decisions] == ["v13", "v12"]

    def test_known_good_is_restored(self, door, answer):
        door.switches.mark_known_good("2026-w47", **WHY)
        door.switches.alias("gpt-5", "gpt-5-mini", **WHY)
        door.switches.restore("2026-w47", **WHY)
        assert answer("hi") == "gpt-5: hi"


BREAKER = fd.Breaker(failure_rate=0.5, minimum_calls=4, window=60.0, open_for=30.0, jitter=0.0)


class TestBreaker:
    def guarded(self, door, failing, **kwargs):
        @door.llm("answer", breaker=BREAKER, **kwargs)
        def answer(*, model="m"):
            if model in failing:
                raise Down(model)
            return model

        return answer

    def trip(self, answer, times=4):
        for _ in range(times):
            with pytest.raises(Down):
                answer()

    def test_opens_on_the_targets_failures_and_closes_after_good_trials(self, door, clock, seen):
        failing = {"m"}
        answer = self.guarded(door, failing)
        self.trip(answer)
        with pytest.raises(fd.BreakerOpen) as denied:
            answer()
        assert 0 < denied.value.retry_after <= 30
        assert denied.value.decision.outcome == "blocked"
        failing.clear()
        clock.advance(30)
        for _ in range(BREAKER.half_open_calls):
            assert answer() == "m"
        assert door.snapshot()["breakers"]["llm:answer/m"]["state"] == "closed"

    def test_only_the_targets_faults_count(self, door):
        @door.llm("answer", breaker=BREAKER)
        def answer():
            raise KeyError("bug")

        for _ in range(20):
            with pytest.raises(KeyError):
                answer()

    def test_an_open_circuit_skips_to_the_next_tier(self, door, seen):
        answer = self.guarded(door, {"a"}, tiers=[fd.Tier("a"), fd.Tier("b")])
        for _ in range(4):
            assert answer() == "b"
        assert answer() == "b"
        decision = seen.decisions[-1]
        assert decision.attempts[0].reason == "breaker:llm:answer/a"
        assert decision.attempts[0].outcome is None
        assert decision.verdicts[0].status == "blocked"

    def test_with_every_circuit_open_the_canned_tier_answers(self, door):
        answer = self.guarded(door, {"a"}, tiers=[fd.Tier("a"), fd.Canned(SAFE)])
        for _ in range(6):
            assert answer() == SAFE

    def test_when_a_later_tier_is_shut_the_providers_own_exception_is_raised(self, door):
        failing = {"b"}
        answer = self.guarded(door, failing, tiers=[fd.Tier("a"), fd.Tier("b")])
        door.switches.minimum_tier("llm:answer", 1, **WHY)
        self.trip(answer)
        door.switches.revert(door.switches.active()[0].id, **WHY)
        failing.add("a")
        with pytest.raises(Down, match="a"):
            answer()

    def test_a_broken_stream_counts_and_a_left_one_does_not(self, door):
        @door.llm("answer", breaker=BREAKER)
        def answer(breaks):
            yield "a"
            if breaks:
                raise Down

        for _ in range(10):
            next(answer(breaks=False))
        for _ in range(4):
            with pytest.raises(Down):
                list(answer(breaks=True))
        with pytest.raises(fd.BreakerOpen):
            list(answer(breaks=False))

    def test_without_enforcement_it_only_watches(self, make_door, clock):
        door = make_door(clock=clock, enforce=False)
        answer = self.guarded(door, {"m"})
        self.trip(answer, times=12)

    async def test_a_cancelled_trial_returns_its_permit(self, door, clock):
        gate = asyncio.Event()
        hang = [False]

        @door.llm("answer", breaker=fd.Breaker(minimum_calls=2, open_for=5, half_open_calls=1))
        async def answer():
            if hang[0]:
                gate.set()
                await asyncio.Event().wait()
            raise Down

        for _ in range(2):
            with pytest.raises(Down):
                await answer()
        clock.advance(6)
        hang[0] = True
        trial = asyncio.create_task(answer())
        await gate.wait()
        with pytest.raises(fd.BreakerOpen):
            await answer()
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        hang[0] = False
        with pytest.raises(Down):
            await answer()


class TestLimiter:
    def test_refuses_beyond_its_limit_and_frees_the_place_after(self, door, seen):
        inside, leave = threading.Event(), threading.Event()

        @door.tool("slow", limiter=fd.Limiter(max_concurrent=1))
        def slow(wait):
            if wait:
                inside.set()
                leave.wait(10)
            return "done"

        thread = threading.Thread(target=slow, args=(True,))
        thread.start()
        inside.wait(10)
        with pytest.raises(fd.Saturated) as denied:
            slow(False)
        assert denied.value.gate.startswith("limiter:")
        leave.set()
        thread.join()
        assert slow(False) == "done"

    async def test_tasks_wait_their_turn(self, make_door):
        door = make_door()
        running, most = 0, 0

        @door.tool("slow", limiter=fd.Limiter(max_concurrent=2, max_wait=10.0, max_queue=10))
        async def slow():
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

        await asyncio.gather(*(slow() for _ in range(10)))
        assert most == 2

    def test_a_stream_holds_its_place_until_it_ends(self, door):
        @door.llm("answer", limiter=fd.Limiter(max_concurrent=1))
        def answer():
            yield "a"

        stream = answer()
        with pytest.raises(fd.Saturated):
            list(answer())
        list(stream)
        assert list(answer()) == ["a"]
