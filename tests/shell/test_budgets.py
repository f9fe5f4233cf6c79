"""What calls may spend: held before they run, settled after, never lost."""

import asyncio
import random
import threading
from decimal import Decimal

import pytest

import firedoor as fd
from firedoor.shell import price_table
from firedoor.testing import FakeClock

PRICES = {"big": (10, 10), "small": (1, 1)}
"""US dollars per million tokens: micro-dollars per token."""


def chat(model, made=10, given=10, text="hi"):
    """A chat completion that says what it used."""
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": given, "completion_tokens": made},
    }


def chunk(text, finish=None):
    return {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
    }


class Rejected(ConnectionError):
    """The provider said no before it did anything."""

    status_code = 503


@pytest.fixture
def clock():
    return FakeClock(auto=True)


@pytest.fixture
def door(make_door, clock):
    return make_door(clock=clock, prices=PRICES)


def counters(door, name):
    """Settled and held of a budget's only counter."""
    ((_, found),) = door.snapshot()["budgets"]["budgets"][name]["counters"].items()
    return found["settled"], found["held"]


class TestABudget:
    def test_lets_calls_run_while_the_worst_case_fits(self, door, seen):
        @door.llm(
            "answer",
            tiers=[fd.Tier("big", max_output=100)],
            budgets=[fd.Budget(usd="0.0035", per="day")],
        )
        def answer(question, *, model):
            return chat(model, made=20)

        assert answer("hi")["model"] == "big"
        with pytest.raises(fd.BudgetExceeded) as denied:
            for _ in range(20):
                answer("hi")
        assert denied.value.gate == "budget:llm:answer/day"
        assert 0 < denied.value.retry_after <= 86_400
        assert not denied.value.ran
        assert denied.value.decision is seen.decisions[-1]
        assert "left of" in str(denied.value)
        settled, held = counters(door, "llm:answer/day")
        assert held == 0
        assert settled == 300 * sum(d.outcome == "answered" for d in seen.decisions)
        assert settled <= 3500

    def test_holds_what_the_function_itself_caps_the_output_at(self, door):
        """A default of the function is as good as an argument of the call."""

        @door.llm("answer", model="big", budgets=[fd.Budget(tokens=300, per="day")])
        def answer(question, *, model, max_tokens=100):
            held.append(counters(door, "llm:answer/day-tokens")[1])
            return chat(model)

        held = []
        answer("hi")
        assert 100 < held[0] < 200
        with pytest.raises(fd.BudgetExceeded, match="asked for"):
            answer("hi", max_tokens=280)

    def test_holds_what_the_adapter_of_a_tier_sends(self, door):
        """What it makes of the call is what may come of it."""

        def longer(given):
            return {**given, "max_tokens": 5_000}

        @door.llm(
            "answer",
            tiers=[fd.Tier("big", adapt=longer)],
            budgets=[fd.Budget(tokens=5_000, per="day")],
        )
        def answer(question, *, model, max_tokens=10):
            raise AssertionError("there is no room for so much")

        with pytest.raises(fd.BudgetExceeded, match="asked for 5,"):
            answer("hi")

    def test_an_adapter_that_fails_fails_the_attempt_and_not_the_estimate(self, door):
        def broken(given):
            raise KeyError("messages")

        @door.llm(
            "answer", tiers=[fd.Tier("big", adapt=broken)], budgets=[fd.Budget(calls=5, name="b")]
        )
        def answer(question, *, model):
            raise AssertionError

        with pytest.raises(KeyError, match="messages"):
            answer("hi")
        assert counters(door, "llm:answer/b") == (1, 0)

    def test_is_whole_again_in_its_next_window(self, door, clock):
        guard = door.llm("answer", model="big", budgets=[fd.Budget(calls=1, per=60.0)])

        @guard
        def answer(question, *, model):
            return chat(model)

        answer("hi")
        with pytest.raises(fd.BudgetExceeded):
            answer("hi")
        clock.advance(60)
        answer("hi")

    def test_that_blocks_leaves_only_the_safe_response(self, door, seen):
        ran = []

        @door.llm(
            "answer",
            tiers=[fd.Tier("big"), fd.Tier("small", max_output=1), fd.Canned("later")],
            budgets=[fd.Budget(usd="0.001", per="day")],
        )
        def answer(question, *, model):
            ran.append(model)
            return chat(model)

        assert answer("hi") == "later"
        assert ran == []
        (decision,) = seen.decisions
        assert decision.outcome == "canned"
        assert decision.budget == "exhausted"
        assert [v.gate for v in decision.verdicts if v.status == "blocked"] == [
            "budget:llm:answer/day"
        ]

    def test_that_degrades_goes_down_to_a_tier_that_fits(self, door, seen):
        @door.llm(
            "answer",
            tiers=[fd.Tier("big", max_output=100), fd.Tier("small", max_output=100)],
            budgets=[fd.Budget(usd="0.001", per="day", on_exceeded="degrade")],
        )
        def answer(question, *, model):
            return chat(model)

        assert answer("hi")["model"] == "small"
        (decision,) = seen.decisions
        assert decision.outcome == "degraded"
        assert [a.reason for a in decision.attempts] == ["budget:llm:answer/day", None]

    def test_that_warns_lets_everything_run_and_says_so(self, door, seen):
        @door.llm(
            "answer", model="big", budgets=[fd.Budget(calls=1, per="day", on_exceeded="warn")]
        )
        def answer(question, *, model):
            return chat(model)

        answer("hi")
        answer("hi")
        assert [[v.status for v in d.verdicts] for d in seen.decisions] == [[], ["flagged"]]

    def test_only_watches_where_nothing_is_enforced(self, make_door, clock, seen):
        door = make_door(clock=clock, prices=PRICES, enforce=False)

        @door.llm("answer", model="big", budgets=[fd.Budget(calls=1, per="day")])
        def answer(question, *, model):
            return chat(model)

        answer("hi")
        answer("hi")
        (verdict,) = seen.decisions[-1].verdicts
        assert (verdict.status, verdict.shadow) == ("blocked", True)
        assert seen.decisions[-1].outcome == "answered"

    def test_allows_one_last_call_where_it_is_told_to(self, door):
        @door.llm(
            "answer",
            tiers=[fd.Tier("big", max_output=50)],
            budgets=[fd.Budget(tokens=30, per="day", overshoot="last_call")],
        )
        def answer(question, *, model):
            return chat(model, made=25)

        answer("hi")
        with pytest.raises(fd.BudgetExceeded):
            answer("hi")
        assert counters(door, "llm:answer/day-tokens") == (35, 0)

    def test_of_the_door_binds_every_model_call(self, make_door):
        door = make_door(prices=PRICES, budgets=[fd.Budget(calls=2, per="day")])
        one = door.llm("one", model="big")(lambda question, *, model: chat(model))
        two = door.llm("two", model="big")(lambda question, *, model: chat(model))
        one("hi")
        two("hi")
        with pytest.raises(fd.BudgetExceeded) as denied:
            one("hi")
        assert denied.value.gate == "budget:day-calls"

    def test_holds_the_dearest_tier_that_may_still_run(self, door):
        held = []

        @door.llm(
            "answer",
            tiers=[fd.Tier("small", max_output=100), fd.Tier("big", max_output=100)],
            budgets=[fd.Budget(usd=1, per="day")],
        )
        def answer(question, *, model):
            held.append(counters(door, "llm:answer/day")[1])
            return chat(model)

        answer("hi")
        assert held[0] > 100 * 10

    def test_counts_for_whole_tools_too(self, door):
        @door.tool("refund", budgets=[fd.Budget(calls=1, per="hour")])
        def refund(order):
            return "done"

        refund("a")
        with pytest.raises(fd.BudgetExceeded):
            refund("b")

    def test_in_dollars_on_a_tool_is_a_mistake(self, door):
        with pytest.raises(fd.ConfigurationError, match="a tool has no tokens"):
            door.tool("refund", budgets=[fd.Budget(usd=1)])


class TestScopes:
    def test_tell_tenants_apart(self, door):
        @door.llm("answer", model="big", budgets=[fd.Budget(calls=1, per="day", scope="tenant")])
        def answer(question, *, model):
            return chat(model)

        with door.request("help", tenant="acme"):
            answer("hi")
            with pytest.raises(fd.BudgetExceeded) as denied:
                answer("hi")
            assert "acme" not in str(denied.value)
        with door.request("help", tenant="initech"):
            answer("hi")

    def test_of_a_request_holds_for_the_requests_in_it_and_no_other(self, door):
        @door.llm("answer", model="big", budgets=[fd.Budget(calls=2, per="request")])
        def answer(question, *, model):
            return chat(model)

        for _ in range(2):
            with door.request("outer"):
                answer("hi")
                with door.request("inner"):
                    answer("hi")
                    with pytest.raises(fd.BudgetExceeded):
                        answer("hi")
        answer("outside a request, a call is its own")
        answer("and so is the next")

    def test_may_be_a_function_and_its_fault_is_not_the_callers(self, door, seen):
        def scope(request):
            raise KeyError("nothing here")

        @door.llm("answer", model="big", budgets=[fd.Budget(calls=5, per="day", scope=scope)])
        def answer(question, *, model):
            return chat(model)

        answer("hi")
        assert [v.status for v in seen.decisions[0].verdicts] == ["errored"]
        assert sum(p.value for p in seen.metric("firedoor.internal.errors")) == 1


class TestAPriceNobodyKnows:
    def make(self, door, mode):
        @door.llm(
            "answer",
            tiers=[fd.Tier("mystery", max_output=10)],
            budgets=[fd.Budget(usd=1, per="day", on_unknown_price=mode)],
        )
        def answer(question, *, model):
            return chat(model)

        return answer

    def test_is_refused_by_default(self, door):
        with pytest.raises(fd.BudgetExceeded, match="no price of 'mystery' is known"):
            self.make(door, "deny")("hi")

    def test_is_assumed_to_be_the_dearest_there_is(self, door, seen):
        self.make(door, "assume")("hi")
        assert counters(door, "llm:answer/day")[0] >= 20 * 10
        assert seen.decisions[0].cost_certainty == "unknown"

    def test_is_left_out_of_the_sum_and_the_decision_says_so(self, door, seen):
        self.make(door, "tokens")("hi")
        assert counters(door, "llm:answer/day") == (0, 0)
        (verdict,) = seen.decisions[0].verdicts
        assert verdict.status == "skipped"


class TestTheTableOfPrices:
    def test_shows_how_old_it_is(self, make_door, seen, caplog):
        """In the snapshot, as a metric, and once in the log as it is loaded."""
        for thread in threading.enumerate():  # those of tests before, which say it as well
            if thread.name == "firedoor-prices":
                thread.join()
        caplog.set_level("INFO", logger="firedoor")
        door = make_door()
        door.llm("answer", model="gpt-4o-mini", budgets=[fd.Budget(usd=1, per="day")])(
            lambda question, *, model: chat(model)
        )("hi")
        told = door.snapshot()["budgets"]["prices"]
        assert told["source"].startswith("genai-prices")
        assert told["age_s"] > 0
        (point,) = seen.metric("firedoor.prices.age")
        assert point.value == pytest.approx(told["age_s"], abs=60)
        for thread in threading.enumerate():
            if thread.name == "firedoor-prices":
                thread.join()  # whoever loads it tells of it
        (line,) = [r.getMessage() for r in caplog.records if "prices from" in r.getMessage()]
        assert "days old at the most" in line

    def test_is_not_waited_for_where_no_budget_counts_dollars(self, make_door, seen):
        with price_table._loading:
            door = make_door()
            answer = door.llm("answer", model="gpt-4o-mini", budgets=[fd.Budget(calls=9)])(
                lambda question, *, model: chat(model)
            )
            assert answer("hi")["model"] == "gpt-4o-mini"
        assert seen.decisions[0].cost_certainty == "unknown"

    @pytest.mark.parametrize("shape", ["async", "async generator"])
    async def test_holds_up_no_event_loop_while_it_is_loaded(self, make_door, seen, shape):
        with price_table._loading:
            guard = make_door().llm("answer", model="gpt-4o-mini", budgets=[fd.Budget(usd=1)])

            @guard
            async def answer(question, *, model):
                return chat(model)

            @guard
            async def stream(question, *, model):
                yield chunk("hi", "stop")

            async def ask():
                if shape == "async":
                    await answer("hi")
                else:
                    assert len([part async for part in stream("hi")]) == 1

            asking = asyncio.create_task(ask())
            for _ in range(10):
                await asyncio.sleep(0)
            assert not asking.done()
        await asking
        assert seen.decisions[0].cost_usd > 0


class TestWhatIsCharged:
    def budgeted(self, door, **kwargs):
        kwargs.setdefault("tiers", [fd.Tier("big", max_output=100, attempts=3)])
        return door.llm("answer", budgets=[fd.Budget(tokens=100_000, per="day")], **kwargs)

    def test_is_what_the_provider_told(self, door, seen):
        self.budgeted(door)(lambda question, *, model: chat(model, made=7, given=5))("hi")
        assert counters(door, "llm:answer/day-tokens") == (12, 0)
        (decision,) = seen.decisions
        assert decision.cost_usd == pytest.approx(120e-6)
        assert decision.cost_certainty == "exact"

    def test_adds_up_over_the_request(self, door):
        guarded = self.budgeted(door)(lambda question, *, model: chat(model))
        with door.request("help") as request:
            guarded("hi")
            guarded("hi")
        assert request.cost_usd == pytest.approx(2 * 200e-6)

    def test_needs_no_budget(self, door, seen):
        door.llm("plain", model="small")(lambda question, *, model: chat(model))("hi")
        assert seen.decisions[0].cost_usd == pytest.approx(20e-6)

    def test_is_nothing_for_what_the_provider_rejected(self, door, seen):
        calls = []

        @self.budgeted(door)
        def answer(question, *, model):
            calls.append(model)
            if len(calls) == 1:
                raise Rejected
            return chat(model)

        answer("hi")
        assert counters(door, "llm:answer/day-tokens") == (20, 0)
        assert [a.cost_usd for a in seen.decisions[0].attempts] == [0.0, pytest.approx(200e-6)]

    def test_is_the_prompt_of_an_attempt_that_broke_later(self, door, seen):
        calls = []

        @self.budgeted(door)
        def answer(question, *, model):
            calls.append(model)
            if len(calls) == 1:
                raise ConnectionError
            return chat(model)

        answer("hi")
        settled, held = counters(door, "llm:answer/day-tokens")
        assert held == 0
        assert settled > 20
        assert seen.decisions[0].cost_certainty == "estimated"

    def test_is_at_least_the_prompt_of_a_call_that_was_cancelled(self, door, seen):
        @self.budgeted(door)
        async def answer(question, *, model):
            await asyncio.Event().wait()

        async def main():
            task = asyncio.ensure_future(answer("hi"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        settled, held = counters(door, "llm:answer/day-tokens")
        assert held == 0
        assert 0 < settled < 100

    def test_is_nothing_for_a_call_cancelled_before_it_ran(self, make_door, seen):
        """Who only waited for a place has sent nothing."""
        door = make_door(prices=PRICES)
        guarded = self.budgeted(door, limiter=fd.Limiter(max_concurrent=1, max_wait=60.0))

        async def main():
            gate = asyncio.Event()

            @guarded
            async def answer(question, *, model):
                await gate.wait()
                return chat(model, made=7, given=5)

            first = asyncio.ensure_future(answer("hi"))
            second = asyncio.ensure_future(answer("hi"))
            for _ in range(10):
                await asyncio.sleep(0)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
            gate.set()
            await first

        asyncio.run(main())
        assert [d.outcome for d in seen.decisions] == ["cancelled", "answered"]
        assert counters(door, "llm:answer/day-tokens") == (12, 0)

    def test_is_bounded_by_the_text_of_an_answer_that_told_nothing(self, door, seen):
        self.budgeted(door)(lambda question, *, model: "twelve bytes")("hi")
        settled, _ = counters(door, "llm:answer/day-tokens")
        assert 12 <= settled < 100
        assert seen.decisions[0].cost_certainty == "estimated"

    def test_is_what_was_delivered_of_a_stream_the_user_left(self, door, seen):
        @self.budgeted(door)
        def answer(question, *, model):
            for _ in range(50):
                yield chunk("word ")

        for number, _ in enumerate(answer("hi")):
            if number == 4:
                break
        settled, held = counters(door, "llm:answer/day-tokens")
        assert held == 0
        assert 5 <= settled < 100

    def test_holds_the_losers_of_a_hedge(self, make_door, seen):
        door = make_door(prices=PRICES)
        gate = asyncio.Event()
        calls = []

        @door.llm(
            "answer",
            tiers=[fd.Tier("big", max_output=100)],
            budgets=[fd.Budget(calls=10, per="day"), fd.Budget(tokens=10_000, per="day")],
            hedge=fd.Hedge(after=0.001),
            side_effect_free=True,
        )
        async def answer(question, *, model):
            calls.append(model)
            if len(calls) == 1:
                await gate.wait()
            return chat(model)

        asyncio.run(answer("hi"))
        assert counters(door, "llm:answer/day-calls") == (2, 0)
        settled, held = counters(door, "llm:answer/day-tokens")
        assert held == 0
        assert settled > 20


class TestAStream:
    def test_ends_when_its_hold_is_used_up_and_the_budget_has_no_more(self, door, seen):
        @door.llm(
            "answer",
            tiers=[fd.Tier("big", max_output=20)],
            budgets=[fd.Budget(tokens=50, per="day")],
        )
        def answer(question, *, model):
            for _ in range(500):
                yield chunk("x")

        got = len(list(answer("hi")))
        assert got <= 21
        (decision,) = seen.decisions
        assert decision.outcome == "degraded"
        assert decision.truncated
        assert decision.error_type == "budget_used_up"
        assert counters(door, "llm:answer/day-tokens")[1] == 0

    def test_goes_on_while_the_budget_has_room(self, door, seen):
        @door.llm(
            "answer",
            tiers=[fd.Tier("big", max_output=20)],
            budgets=[fd.Budget(tokens=5000, per="day")],
        )
        def answer(question, *, model):
            for _ in range(500):
                yield chunk("x")
            yield chunk("", "stop")

        assert len(list(answer("hi"))) == 501
        assert seen.decisions[0].outcome == "answered"

    def test_is_held_to_the_cap_that_the_call_itself_gave(self, door):
        @door.llm("answer", model="big", budgets=[fd.Budget(tokens=5000, per="day")])
        def answer(question, *, model, max_tokens):
            for _ in range(500):
                yield chunk("x")

        assert len(list(answer("hi", max_tokens=30))) <= 31


class TestSoftThresholds:
    def test_are_told_once_a_window(self, door, clock, seen):
        told = []
        door.on_threshold(told.append)

        @door.llm("answer", model="big", budgets=[fd.Budget(calls=10, per="hour")])
        def answer(question, *, model):
            return chat(model)

        for _ in range(10):
            answer("hi")
        assert [(t.budget, t.share, t.settled) for t in told] == [
            ("llm:answer/hour-calls", 0.5, 5),
            ("llm:answer/hour-calls", 0.8, 8),
        ]
        assert sum(p.value for p in seen.metric("firedoor.budget.thresholds")) == 2
        clock.advance(3600)
        for _ in range(5):
            answer("hi")
        assert len(told) == 3


class TestTogether:
    LIMIT = 30_000

    def make(self, door, costs):
        lock = threading.Lock()

        def cost():
            with lock:
                return costs.random()

        def reply(model):
            drawn = cost()
            if drawn < 0.2:
                raise Rejected
            if drawn < 0.3:
                raise ConnectionError
            return chat(model, made=int(drawn * 100), given=5)

        return reply, {
            "tiers": [fd.Tier("big", max_output=100, attempts=2), fd.Tier("small", max_output=100)],
            "budgets": [
                fd.Budget(usd=Decimal(self.LIMIT) / 1_000_000, per="day"),
                fd.Budget(tokens=2500, per="day", on_exceeded="degrade"),
            ],
        }

    def checked(self, door, seen):
        settled, held = counters(door, "llm:answer/day")
        assert held == 0
        assert 0 < settled <= self.LIMIT
        assert counters(door, "llm:answer/day-tokens")[0] <= 2500
        spent = sum(d.cost_usd or 0.0 for d in seen.decisions)
        assert settled == pytest.approx(spent * 1e6, abs=len(seen.decisions))
        assert any(d.budget == "exhausted" for d in seen.decisions)

    def test_threads_never_overspend(self, make_door, seen):
        door = make_door(prices=PRICES)
        reply, options = self.make(door, random.Random(7))

        @door.llm("answer", **options)
        def answer(question, *, model):
            return reply(model)

        def work():
            for _ in range(40):
                try:
                    answer("hi")
                except (fd.BudgetExceeded, ConnectionError):
                    pass

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.checked(door, seen)

    def test_tasks_never_overspend_and_those_cancelled_give_back(self, make_door, seen):
        door = make_door(prices=PRICES)
        draw = random.Random(11)
        reply, options = self.make(door, draw)

        @door.llm("answer", **options)
        async def answer(question, *, model):
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
            return reply(model)

        async def main():
            tasks = [asyncio.ensure_future(answer("hi")) for _ in range(300)]
            await asyncio.sleep(0)
            for task in draw.sample(tasks, 60):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())
        self.checked(door, seen)


class TestGoingInCircles:
    def test_a_request_makes_no_more_calls_than_it_may(self, make_door):
        door = make_door(loop_guard=fd.LoopGuard(calls=3))
        search = door.retrieval("kb")(lambda query: [])
        with door.request("help"):
            for _ in range(3):
                search("x")
            with pytest.raises(fd.BudgetExceeded) as denied:
                search("x")
        assert denied.value.gate == "loop:calls"
        with door.request("help"):
            search("x")

    def test_a_tool_is_not_called_the_same_way_again_and_again(self, make_door, seen):
        door = make_door(loop_guard=fd.LoopGuard(identical_calls=2))
        tool = door.tool("lookup")(lambda **kwargs: "?")
        with door.request("help"):
            tool(order="a", deep={"x": [1]})
            tool(order="a", deep={"x": [1]})
            tool(order="b", deep={"x": [1]})
            with pytest.raises(fd.BudgetExceeded) as denied:
                tool(deep={"x": [1]}, order="a")
        assert denied.value.gate == "loop:identical_calls"
        assert seen.decisions[-1].outcome == "blocked"

    def test_money_is_not_spent_faster_than_it_may(self, make_door, clock):
        door = make_door(
            clock=clock,
            prices=PRICES,
            loop_guard=fd.LoopGuard(usd_per_minute="0.001", window=60),
        )
        answer = door.llm("answer", model="big")(lambda question, *, model: chat(model, made=90))
        with door.request("help"):
            answer("hi")
            answer("hi")
            with pytest.raises(fd.BudgetExceeded, match="a minute; 0.001 are allowed") as denied:
                answer("hi")
            assert denied.value.gate == "loop:velocity"
            clock.advance(120)
            answer("hi")

    def test_a_tool_has_a_bound_of_its_own(self, door):
        refund = door.tool("refund", max_calls=2)(lambda order: "done")
        with door.request("help"):
            refund("a")
            refund("b")
            with pytest.raises(fd.BudgetExceeded, match="max_calls"):
                refund("c")
        refund("outside a request nothing is counted")

    def test_it_only_watches_where_nothing_is_enforced(self, make_door, seen):
        door = make_door(enforce=False, loop_guard=fd.LoopGuard(calls=1))
        search = door.retrieval("kb")(lambda query: [])
        with door.request("help"):
            search("x")
            search("x")
        (verdict,) = seen.decisions[-1].verdicts
        assert (verdict.gate, verdict.shadow) == ("loop:calls", True)

    def test_a_guard_that_watches_nothing_is_a_mistake(self):
        with pytest.raises(fd.ConfigurationError, match="watches nothing"):
            fd.LoopGuard()


class TestATierThatDoesNotFit:
    def test_is_skipped_for_one_with_a_larger_window(self, door, seen):
        @door.llm(
            "answer",
            tiers=[fd.Tier("small", context_window=50, max_output=10), fd.Tier("big")],
        )
        def answer(messages, *, model):
            return chat(model)

        assert answer([{"role": "user", "content": "word " * 30}])["model"] == "small"
        assert answer([{"role": "user", "content": "word " * 60}])["model"] == "big"
        assert [a.reason for a in seen.decisions[-1].attempts] == ["tier:small", None]

    @pytest.mark.parametrize(
        ("arguments", "need"),
        [
            ({"tools": [{"type": "function"}]}, "tools"),
            ({"response_format": {"type": "json_schema"}}, "json"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
                "vision",
            ),
        ],
    )
    def test_is_skipped_for_one_that_can_do_what_is_asked(self, door, arguments, need):
        @door.llm(
            "answer",
            tiers=[fd.Tier("plain", capabilities=frozenset()), fd.Tier("big", capabilities={need})],
        )
        def answer(*, model, **rest):
            return chat(model)

        assert answer()["model"] == "plain"
        assert answer(**arguments)["model"] == "big"

    def test_is_told_of_where_none_fits(self, door):
        @door.llm("answer", tiers=[fd.Tier("small", context_window=5)])
        def answer(prompt, *, model):
            return chat(model)

        with pytest.raises(fd.Denied, match="takes 5"):
            answer("one two three four five six")


class TestATierOfItsOwnKind:
    def test_gets_the_arguments_adapted_to_it(self, door):
        def shorter(arguments):
            arguments["max_tokens"] = 5
            return arguments

        @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small", adapt=shorter)])
        def answer(prompt, *, model, max_tokens=100):
            if model == "big":
                raise ConnectionError
            return f"{model} {max_tokens}"

        assert answer("hi") == "small 5"

    def test_has_no_second_layer_of_retries(self, door):
        @door.llm("answer", tiers=[fd.Tier("big")])
        def answer(prompt, *, model, max_retries=2):
            return f"{model} {max_retries}"

        assert answer("hi") == "big 0"
        assert answer("hi", max_retries=1) == "big 1"
