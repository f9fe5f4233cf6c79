"""Going down the ladder: every shape, real providers, and never two models' text in one answer."""

import asyncio

import openai
import pytest

import firedoor as fd
from firedoor.testing import FakeClock
from support.provider_server import Failure, Reply

QUESTION = [{"role": "user", "content": "Where is my order?"}]
SAFE = "A person will follow up."
LADDER = [fd.Tier("big"), fd.Tier("small"), fd.Canned(SAFE)]


class Down(ConnectionError):
    """The provider is away."""


def failing(*models):
    """A function body that fails for these models."""

    def body(question, *, model):
        if model in models:
            raise Down(model)
        return f"{model}: {question}"

    return body


@pytest.fixture
def clock():
    return FakeClock(auto=True)


@pytest.fixture
def door(make_door, clock):
    return make_door(clock=clock)


def tiers_tried(decision):
    return [(a.tier, a.model, a.outcome) for a in decision.attempts]


class TestCalls:
    def test_the_first_tier_answers(self, door, seen):
        assert door.llm("answer", tiers=LADDER)(failing())("hi") == "big: hi"
        (decision,) = seen.decisions
        assert decision.outcome == "answered"
        assert not decision.degraded
        assert tiers_tried(decision) == [(0, "big", "answered")]
        assert [s.name for s in seen.spans] == ["chat big"]

    def test_the_second_answers_for_the_first(self, door, seen):
        assert door.llm("answer", tiers=LADDER)(failing("big"))("hi") == "small: hi"
        (decision,) = seen.decisions
        assert decision.outcome == "degraded"
        assert decision.tier == 1
        assert (decision.alias, decision.model) == ("big", "small")
        assert tiers_tried(decision) == [(0, "big", "failed"), (1, "small", "answered")]

    def test_each_attempt_is_a_span_where_there_was_more_than_one(self, door, seen):
        door.llm("answer", tiers=LADDER)(failing("big"))("hi")
        (call,) = [s for s in seen.spans if s.parent is None]
        attempts = [s for s in seen.spans if s.parent is not None]
        assert [s.name for s in attempts] == ["chat big", "chat small"]
        assert {s.parent.span_id for s in attempts} == {call.context.span_id}
        assert [s.status.is_ok for s in attempts] == [False, True]

    def test_the_safe_response_comes_last(self, door, seen):
        assert door.llm("answer", tiers=LADDER)(failing("big", "small"))("hi") == SAFE
        (decision,) = seen.decisions
        assert decision.outcome == "canned"
        assert decision.degraded
        assert decision.fault == "target"

    def test_without_one_the_last_providers_own_exception_is_raised(self, door, seen):
        guarded = door.llm("answer", tiers=LADDER[:2])(failing("big", "small"))
        with pytest.raises(Down, match="small") as raised:
            guarded("hi")
        assert "tried 2 times" in raised.value.__notes__[0]
        assert "big" in raised.value.__notes__[0]
        (decision,) = seen.decisions
        assert (decision.outcome, decision.fault) == ("failed", "target")

    def test_the_applications_own_bug_is_not_tried_on_every_tier(self, door, seen):
        calls = []

        @door.llm("answer", tiers=LADDER)
        def answer(*, model):
            calls.append(model)
            raise KeyError("bug")

        with pytest.raises(KeyError):
            answer()
        assert calls == ["big"]
        assert seen.decisions[0].fault == "caller"

    async def test_async(self, door, seen):
        body = failing("big")

        @door.llm("answer", tiers=LADDER)
        async def answer(question, *, model):
            await asyncio.sleep(0)
            return body(question, model=model)

        assert await answer("hi") == "small: hi"
        assert seen.decisions[0].outcome == "degraded"

    async def test_cancelling_does_not_fall_back(self, door, seen):
        begun = asyncio.Event()

        @door.llm("answer", tiers=LADDER)
        async def answer(*, model):
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(answer())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen.decisions[0].outcome == "cancelled"

    def test_the_block_form_that_falls_back(self, door, seen):
        models = []
        for attempt in door.llm("draft", tiers=LADDER[:2]).attempts():
            with attempt:
                models.append(attempt.model)
                if attempt.model == "big":
                    raise Down
                attempt.record("text")
        assert models == ["big", "small"]
        assert attempt.decision.outcome == "degraded"

    async def test_the_async_block_form_that_falls_back(self, door):
        async for attempt in door.llm("draft", tiers=LADDER[:2]).attempts():
            with attempt:
                if attempt.model == "big":
                    raise Down
                attempt.record("text")
        assert attempt.decision.tier == 1

    def test_a_plain_block_runs_once(self, door, seen):
        with pytest.raises(Down), door.llm("draft", tiers=LADDER):
            raise Down
        assert seen.decisions[0].outcome == "failed"


class TestRetries:
    def test_a_tier_is_tried_as_often_as_it_says(self, door, clock, seen):
        models = []

        @door.llm("answer", tiers=[fd.Tier("big", attempts=3), fd.Tier("small")])
        def answer(*, model):
            models.append(model)
            if model == "big":
                raise Down
            return "text"

        answer()
        assert models == ["big", "big", "big", "small"]
        assert clock.now() > 0

    def test_retry_after_is_honoured(self, door, clock, provider):
        provider.script(Failure(429, retry_after=7), Reply())
        client = provider.openai()

        @door.llm("answer", tiers=[fd.Tier("gpt-5", attempts=2)])
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION)

        assert answer().choices[0].message.content
        assert clock.now() >= 7


class TestRetryAfter:
    """The decision says when the same call may pass, whoever said it."""

    def guarded(self, door, client, *more):
        @door.llm(
            "answer",
            tiers=[fd.Tier("gpt-5"), *more],
            breaker=fd.Breaker(minimum_calls=1, open_for=30.0, jitter=0),
        )
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION)

        return answer

    def test_the_providers_word(self, door, provider, seen):
        provider.script(Failure(429, retry_after=7))
        with pytest.raises(openai.RateLimitError):
            self.guarded(door, provider.openai())()
        assert seen.decisions[0].retry_after_s == 7
        assert seen.spans[-1].attributes["firedoor.retry_after"] == 7

    def test_the_gates_word(self, door, clock, provider, seen):
        provider.script(Failure(500))
        answer = self.guarded(door, provider.openai())
        with pytest.raises(openai.InternalServerError):
            answer()
        clock.advance(10)
        with pytest.raises(fd.BreakerOpen) as caught:
            answer()
        assert [d.retry_after_s for d in seen.decisions] == [None, 20]
        assert caught.value.decision.retry_after_s == caught.value.retry_after

    def test_where_the_safe_response_was_given_instead(self, door, provider, seen):
        provider.script(Failure(500))
        answer = self.guarded(door, provider.openai(), fd.Canned("sorry"))
        answer()
        assert answer() == "sorry"
        assert seen.decisions[1].retry_after_s == 30
        assert seen.spans[-1].attributes["firedoor.retry_after"] == 30


class TestDeadline:
    def test_is_passed_down_and_shrinks(self, door, clock):
        timeouts = []

        @door.llm("answer", tiers=[fd.Tier("big", timeout=8.0), fd.Tier("small", timeout=8.0)])
        def answer(*, model, timeout=None):
            timeouts.append(timeout)
            clock.advance(6.0)
            raise Down

        with pytest.raises(Down), door.request("help", deadline=10.0):
            answer()
        assert timeouts == [8.0, 4.0]

    def test_used_up_before_the_call_is_a_denial(self, door, clock, seen):
        answer = door.llm("answer", model="m")(failing())
        with door.request("help", deadline=5.0):
            clock.advance(6.0)
            with pytest.raises(fd.DeadlineExceeded, match="deadline") as denied:
                answer("hi")
        assert denied.value.decision.outcome == "blocked"
        assert not denied.value.ran

    def test_used_up_serves_the_safe_response(self, door, clock):
        answer = door.llm("answer", tiers=LADDER)(failing())
        with door.request("help", deadline=5.0):
            clock.advance(6.0)
            assert answer("hi") == SAFE

    async def test_async_attempts_end_by_their_timeout(self, make_door, seen):
        clock = FakeClock()
        door = make_door(clock=clock)
        begun = asyncio.Event()

        @door.llm("answer", tiers=[fd.Tier("big", timeout=2.0), fd.Canned(SAFE)])
        async def answer(*, model):
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(answer())
        await begun.wait()
        await asyncio.sleep(0)
        clock.advance(2.0)
        assert await task == SAFE
        assert seen.decisions[0].latency_s == pytest.approx(2.0)


def stream_of(provider, door, tiers, *, asynchronous=False):
    if asynchronous:
        client = provider.async_openai()

        @door.llm("answer", tiers=tiers)
        async def answer(*, model):
            return await client.chat.completions.create(model=model, messages=QUESTION, stream=True)

    else:
        client = provider.openai()

        @door.llm("answer", tiers=tiers)
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION, stream=True)

    return answer


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


CHAT_LADDER = [fd.Tier("big"), fd.Tier("small"), fd.Canned(SAFE, shape="openai.chat")]


class TestStreams:
    @pytest.mark.parametrize("then", ["cut", "end", "malformed", "error"])
    def test_one_that_breaks_before_content_is_replaced(self, door, provider, seen, then):
        provider.on("big", Reply("One two", after=0, then=then))
        provider.on("small", Reply("From the small one."))
        assert text_of(stream_of(provider, door, CHAT_LADDER)()) == "From the small one."
        (decision,) = seen.decisions
        assert decision.outcome == "degraded"
        assert [a.outcome for a in decision.attempts] == ["failed", "answered"]

    @pytest.mark.parametrize("then", ["cut", "malformed", "error"])
    def test_one_that_breaks_after_content_is_surfaced(self, door, provider, seen, then):
        provider.on("big", Reply("One two three", after=2, then=then))
        got = []
        with pytest.raises(Exception):
            for chunk in stream_of(provider, door, CHAT_LADDER)():
                got.append(chunk)
        assert text_of(got) == "One two"
        (decision,) = seen.decisions
        assert decision.truncated
        assert decision.outcome == "failed"

    def test_when_none_begins_the_safe_response_is_streamed(self, door, provider, seen):
        provider.on("big", Failure(503))
        provider.on("small", Reply(after=0, then="cut"))
        stream = stream_of(provider, door, [*CHAT_LADDER[:2], fd.Canned(SAFE)])()
        assert list(stream)[-1:] == [SAFE]
        assert seen.decisions[0].outcome == "canned"

    async def test_async_one_that_breaks_before_content_is_replaced(self, door, provider, seen):
        provider.on("big", Reply("One two", after=0, then="cut"))
        provider.on("small", Reply("From the small one."))
        answer = stream_of(provider, door, CHAT_LADDER, asynchronous=True)
        chunks = [chunk async for chunk in await answer()]
        assert text_of(chunks) == "From the small one."
        assert seen.decisions[0].outcome == "degraded"

    def test_a_generator_function_falls_back_too(self, door, seen):
        @door.llm("answer", tiers=LADDER)
        def answer(*, model):
            if model == "big":
                raise Down
            yield from ["a", "b"]

        assert list(answer()) == ["a", "b"]
        assert seen.decisions[0].tier == 1

    async def test_an_async_generator_function_falls_back_too(self, door, seen):
        @door.llm("answer", tiers=LADDER)
        async def answer(*, model):
            if model == "big":
                raise Down
            yield "a"
            yield "b"

        assert [part async for part in answer()] == ["a", "b"]
        assert seen.decisions[0].tier == 1

    def test_a_legitimately_empty_stream_is_no_failure(self, door, seen):
        @door.llm("answer", tiers=LADDER)
        def answer(*, model):
            return
            yield

        assert list(answer()) == []
        assert seen.decisions[0].outcome == "answered"
        assert seen.decisions[0].tier == 0


class TestDeclaration:
    @pytest.mark.parametrize(
        ("tiers", "words"),
        [
            ([], "empty"),
            ([fd.Canned("x"), fd.Tier("m")], "put it last"),
            (["gpt-5"], "fd.Tier"),
        ],
    )
    def test_a_ladder_that_cannot_be_climbed_is_refused(self, door, tiers, words):
        with pytest.raises(fd.ConfigurationError, match=words):
            door.llm("answer", tiers=tiers)

    def test_model_and_tiers_together_are_refused(self, door):
        with pytest.raises(fd.ConfigurationError, match="not both"):
            door.llm("answer", model="m", tiers=LADDER)


def test_names_of_models_are_redacted_on_every_tier_and_counted(door):
    """A gateway's model name may hold an address; the names of a route are looked at once."""
    secret = "ops@example.com"

    @door.llm("answer", tiers=[fd.Tier("big"), fd.Tier(f"gateway:{secret}")])
    def answer(question, *, model):
        return failing("big")(question, model=model)

    with door.request("checkout") as request:
        assert secret in answer("hi")
    (decision,) = request.decisions
    assert (decision.alias, decision.tier) == ("big", 1)
    assert secret not in str(decision.to_dict())
    assert decision.model == decision.attempts[1].model != f"gateway:{secret}"
    assert decision.redactions


def test_a_call_that_has_ended_gives_no_further_attempt(door):
    call = door.llm("answer", tiers=[fd.Tier("big"), fd.Tier("small")]).attempts()
    made = []
    for attempt in call:
        with attempt:
            made.append(attempt.model)
    assert made == ["big"]
    assert list(call) == []
    assert call.finished


def test_an_adapter_that_would_have_to_be_awaited_is_refused():
    async def adapt(given):
        return given

    with pytest.raises(fd.ConfigurationError, match="not async"):
        fd.Tier("big", adapt=adapt)
