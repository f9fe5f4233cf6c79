"""Asking once more: the first good answer wins, the loser is in the ledger, the budget binds."""

import asyncio
import threading

import pytest

import firedoor as fd
from firedoor.core.latencies import Latencies
from firedoor.testing import FakeClock
from support.provider_server import Reply, Tokens
from support.waiting import until as eventually

QUESTION = [{"role": "user", "content": "Where is my order?"}]


class Down(ConnectionError):
    """The provider is away."""


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def door(make_door, clock):
    return make_door(clock=clock)


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def pass_time(clock, seconds, task):
    await until(lambda: clock.sleeping or task.done())
    clock.advance(seconds)
    for _ in range(5):
        await asyncio.sleep(0)


def hedged(door, after=2.0, tiers=(fd.Tier("big"),), **options):
    return door.llm(
        "answer", tiers=list(tiers), hedge=fd.Hedge(after=after), side_effect_free=True, **options
    )


class Asked:
    """An async function body each run of which a test answers by hand."""

    def __init__(self):
        self.runs = []

    def __call__(self, model):
        answer = asyncio.get_running_loop().create_future()
        self.runs.append((model, answer))
        return answer


def guarded(door, asked, **options):
    @hedged(door, **options)
    async def answer(*, model):
        return await asked(model)

    return answer


class TestAsync:
    async def test_nothing_is_added_where_the_answer_comes_in_time(self, door, seen):
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await until(lambda: asked.runs)
        asked.runs[0][1].set_result("first")
        assert await task == "first"
        assert len(asked.runs) == 1
        assert [a.outcome for a in seen.decisions[0].attempts] == ["answered"]

    async def test_the_second_may_win_and_the_first_is_cancelled(self, door, clock, seen):
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        asked.runs[1][1].set_result("second")
        assert await task == "second"
        await until(lambda: asked.runs[0][1].cancelled())
        (decision,) = seen.decisions
        assert decision.outcome == "answered"
        assert [a.outcome for a in decision.attempts] == ["cancelled", "answered"]
        assert [a.started_s for a in decision.attempts] == [0.0, pytest.approx(2.0)]

    async def test_the_first_may_still_win(self, door, clock, seen):
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        asked.runs[0][1].set_result("first")
        assert await task == "first"
        assert [a.outcome for a in seen.decisions[0].attempts] == ["cancelled", "answered"]

    async def test_one_that_fails_leaves_the_race_to_the_other(self, door, clock, seen):
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        asked.runs[0][1].set_exception(Down())
        await asyncio.sleep(0)
        asked.runs[1][1].set_result("second")
        assert await task == "second"
        assert [a.outcome for a in seen.decisions[0].attempts] == ["failed", "answered"]

    async def test_when_all_fail_the_next_tier_is_tried(self, door, clock, seen):
        asked = Asked()
        answer = guarded(door, asked, tiers=[fd.Tier("big"), fd.Canned("safe")])
        task = asyncio.create_task(answer())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        for _, future in asked.runs:
            future.set_exception(Down())
        assert await task == "safe"
        outcomes = [a.outcome for a in seen.decisions[0].attempts]
        assert outcomes == ["failed", "failed", "canned"]

    async def test_cancelling_the_call_cancels_both(self, door, clock, seen):
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: all(future.cancelled() for _, future in asked.runs))
        (decision,) = seen.decisions
        assert decision.outcome == "cancelled"
        assert [a.outcome for a in decision.attempts] == ["cancelled", "cancelled"]

    async def test_the_retry_budget_binds(self, door, clock, seen):
        door._runtime.retries._budget.minimum = 0
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await pass_time(clock, 2.0, task)
        assert len(asked.runs) == 1
        asked.runs[0][1].set_result("first")
        assert await task == "first"

    async def test_the_deadline_binds(self, door, clock, seen):
        asked = Asked()
        answer = guarded(door, asked)

        async def ask():
            with door.request("help", deadline=3.0):
                return await answer()

        task = asyncio.create_task(ask())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        clock.advance(1.0)
        with pytest.raises(TimeoutError):
            await task
        assert seen.decisions[0].latency_s == pytest.approx(3.0)

    async def test_an_open_circuit_sends_the_hedge_to_the_next_tier(self, door, clock, seen):
        breaker = fd.Breaker(failure_rate=1.0, minimum_calls=1, window_type="count", window=1)
        asked = Asked()
        answer = guarded(door, asked, tiers=[fd.Tier("big"), fd.Tier("small")], breaker=breaker)
        slow = asyncio.create_task(answer())
        await until(lambda: len(asked.runs) == 1)
        other = asyncio.create_task(answer())
        await until(lambda: len(asked.runs) == 2)
        asked.runs[1][1].set_exception(Down())
        await until(lambda: len(asked.runs) == 3)
        asked.runs[2][1].set_result("small for the other")
        assert await other == "small for the other"
        await pass_time(clock, 2.0, slow)
        await until(lambda: len(asked.runs) == 4)
        assert asked.runs[3][0] == "small"
        asked.runs[3][1].set_result("small")
        assert await slow == "small"
        assert (seen.decisions[-1].tier, seen.decisions[-1].model) == (1, "small")

    async def test_p95_waits_for_twenty_answers(self, door, clock):
        asked = Asked()
        answer = guarded(door, asked, after="p95")
        for number in range(20):
            task = asyncio.create_task(answer())
            await until(lambda number=number: len(asked.runs) == number + 1)
            assert not clock.sleeping
            clock.advance(1.0)
            asked.runs[-1][1].set_result("text")
            await task
        task = asyncio.create_task(answer())
        await pass_time(clock, 1.1, task)
        await until(lambda: len(asked.runs) == 22)
        asked.runs[-1][1].set_result("text")
        await task

    async def test_a_real_stream_without_first_content_is_beaten(
        self, make_door, provider, gate, seen
    ):
        slow = Reply("One two", after=0, then="stall", gate=gate)
        provider.on("big", slow, Reply("From the second."))
        client = provider.async_openai()

        @hedged(make_door(), after=0.1)
        async def answer(*, model):
            return await client.chat.completions.create(model=model, messages=QUESTION, stream=True)

        chunks = [chunk async for chunk in await answer()]
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == "From the second."
        (decision,) = seen.decisions
        assert [a.outcome for a in decision.attempts] == ["cancelled", "answered"]
        assert decision.outcome == "answered"

    async def test_a_loser_is_charged_the_prompt_that_it_read(
        self, make_door, provider, gate, seen
    ):
        """It is cancelled before it tells what it used; it was asked what the winner was asked."""
        provider.on("big", Reply("Late.", hold=gate), Reply("From the second."))
        client = provider.async_openai()
        door = make_door(prices={"big": fd.Price(1_000_000, 2_000_000)})

        @hedged(door, after=0.1)
        async def answer(*, model):
            return await client.chat.completions.create(model=model, messages=QUESTION)

        await answer()
        (decision,) = seen.decisions
        loser, winner = decision.attempts
        assert loser.usage == fd.Usage(12, 0, certainty="at_least")
        assert loser.cost_usd == 12
        assert decision.cost_usd == loser.cost_usd + winner.cost_usd
        assert decision.cost_certainty == "at_least"

    async def test_every_attempt_says_which_model_it_asked(self, door, clock, seen):
        asked = Asked()
        task = asyncio.create_task(guarded(door, asked)())
        await pass_time(clock, 2.0, task)
        await until(lambda: len(asked.runs) == 2)
        asked.runs[0][1].set_result("from the first")
        await task
        assert [(a.model, a.outcome) for a in seen.decisions[0].attempts] == [
            ("big", "cancelled"),
            ("big", "answered"),
        ]


class TestSync:
    @pytest.mark.parametrize(("used", "settled"), [(1, 0), (5_000, 5_000)])
    def test_a_loser_that_answers_late_is_charged_once(
        self, make_door, provider, gate, used, settled
    ):
        """What it was thought to use, or what it really used where that was more."""
        slow = Reply("Late.", hold=gate, usage=Tokens(input=used, output=0))
        provider.on("big", slow, Reply("Soon.", usage=Tokens(input=7, output=0)))
        client = provider.openai()
        door = make_door(prices={"big": (1, 1)})

        @door.llm(
            "answer",
            tiers=[fd.Tier("big", timeout=20.0, max_output=10)],
            hedge=fd.Hedge(after=0.1),
            side_effect_free=True,
            budgets=[fd.Budget(usd=5, name="b"), fd.Budget(tokens=100_000, name="t")],
        )
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION)

        def charged(name):
            (counter,) = door.snapshot()["budgets"]["budgets"][name]["counters"].values()
            return counter["settled"]

        answer()
        thought = charged("llm:answer/b")
        gate.set()
        eventually(lambda: not door.snapshot()["workers"]["abandoned"])
        for name in ("llm:answer/b", "llm:answer/t"):
            eventually(lambda name=name: charged(name) == max(thought, 7 + settled))

    def test_the_second_wins_and_the_first_is_left_behind(self, make_door, provider, gate, seen):
        provider.on("big", Reply("Late.", hold=gate), Reply("From the second."))
        client = provider.openai()
        door = make_door()

        @hedged(door, after=0.1)
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION)

        assert answer().choices[0].message.content == "From the second."
        assert [a.outcome for a in seen.decisions[0].attempts] == ["cancelled", "answered"]
        assert door.snapshot()["workers"]["abandoned"] == 1
        gate.set()
        while not door.snapshot()["workers"]["output_tokens"]:
            threading.Event().wait(0.001)

    def test_streams(self, make_door, provider, gate, seen):
        slow = Reply("One two", after=0, then="stall", gate=gate)
        provider.on("big", slow, Reply("From the second."))
        client = provider.openai()

        @hedged(make_door(), after=0.1)
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION, stream=True)

        said = "".join(c.choices[0].delta.content or "" for c in answer())
        assert said == "From the second."
        assert [a.outcome for a in seen.decisions[0].attempts] == ["cancelled", "answered"]

    def test_a_failure_falls_back_without_a_hedge(self, make_door):
        @hedged(make_door(), tiers=[fd.Tier("big"), fd.Tier("small")])
        def answer(*, model):
            if model == "big":
                raise Down
            return model

        assert answer() == "small"

    def test_a_timeout_ends_it(self, make_door, gate, seen):
        @hedged(make_door(), tiers=[fd.Tier("big", timeout=0.05), fd.Canned("safe")])
        def answer(*, model):
            gate.wait()

        assert answer() == "safe"
        assert seen.decisions[0].attempts[0].error_type == "TimeoutError"


class TestDeclaration:
    def test_only_for_functions_declared_free_of_side_effects(self, door):
        with pytest.raises(fd.ConfigurationError, match="side_effect_free=True"):
            door.llm("answer", hedge=fd.Hedge(after=1.0))

    def test_a_delay_that_cannot_be(self):
        with pytest.raises(fd.ConfigurationError, match="after"):
            fd.Hedge(after="p50")

    def test_async_generator_functions_are_refused(self, door):
        with pytest.raises(fd.ConfigurationError, match="async generator"):

            @hedged(door)
            async def answer(*, model):
                yield "text"


class TestLatencies:
    def test_no_quantile_before_twenty_samples(self):
        latencies = Latencies()
        for _ in range(19):
            latencies.record(1.0)
        assert latencies.quantile(0.95) is None
        latencies.record(1.0)
        assert latencies.quantile(0.95) == pytest.approx(1.0, rel=0.1)

    def test_the_quantile_is_an_upper_bound_within_a_bucket(self):
        latencies = Latencies()
        for number in range(1, 101):
            latencies.record(number / 10)
        assert 9.5 <= latencies.quantile(0.95) <= 9.5 * 2 ** (1 / 8)

    def test_what_is_long_ago_is_forgotten(self):
        latencies = Latencies()
        for _ in range(300):
            latencies.record(60.0)
        for _ in range(600):
            latencies.record(0.5)
        assert latencies.quantile(0.95) == pytest.approx(0.5, rel=0.1)
