"""Time limits of an attempt: streams held to them, sync calls too where asked, nothing lost."""

import asyncio
import contextvars
import threading

import httpx
import openai
import pytest

import firedoor as fd
from firedoor.testing import FakeClock
from support.provider_server import Reply

QUESTION = [{"role": "user", "content": "Where is my order?"}]
SAFE = " A person will follow up."
CANNED = fd.Canned(SAFE)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def door(make_door, clock):
    return make_door(clock=clock)


@pytest.fixture
def gate():
    """What a stalled provider waits for; opened at the end whatever happens."""
    gate = threading.Event()
    yield gate
    gate.set()


async def until(condition):
    """Let the loop run until `condition`."""
    while not condition():
        await asyncio.sleep(0.001)


async def pass_time(clock, seconds, task):
    """Move the clock once somebody sleeps on it, and wait for the task."""
    await until(lambda: clock.sleeping or task.done())
    clock.advance(seconds)
    return await task


def chat(provider, door, tiers, **options):
    client = provider.async_openai()

    @door.llm("answer", tiers=tiers, **options)
    async def answer(*, model):
        return await client.chat.completions.create(model=model, messages=QUESTION, stream=True)

    return answer


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def read(stream, into):
    async for chunk in stream:
        into.append(chunk)


class TestAsyncStreams:
    async def test_metadata_is_no_first_token_and_the_next_tier_takes_over(
        self, door, clock, provider, gate, seen
    ):
        provider.on("big", Reply("One two", after=0, then="stall", gate=gate))
        provider.on("small", Reply("From the small one."))
        answer = chat(provider, door, [fd.Tier("big", first_token=2.0), fd.Tier("small")])
        got = []
        stream = await answer()
        await pass_time(clock, 2.0, asyncio.create_task(read(stream, got)))
        assert text_of(got) == "From the small one."
        (decision,) = seen.decisions
        assert decision.outcome == "degraded"
        slow, good = decision.attempts
        assert (slow.outcome, slow.error_type, slow.fault) == ("failed", "TimeoutError", "target")
        assert slow.latency_s == pytest.approx(2.0)
        assert good.outcome == "answered"

    async def test_the_slow_stream_is_closed(self, door, clock):
        closed = []

        @door.llm("answer", tiers=[fd.Tier("big", first_token=2.0), CANNED])
        async def answer(*, model):
            try:
                await asyncio.Event().wait()
                yield ""
            finally:
                closed.append(model)

        got = []
        await pass_time(clock, 2.0, asyncio.create_task(read(answer(), got)))
        assert got == [SAFE]
        assert closed == ["big"]

    async def test_a_pause_after_content_is_surfaced(self, door, clock, provider, gate, seen):
        provider.on("big", Reply("One two three", after=2, then="stall", gate=gate))
        answer = chat(provider, door, [fd.Tier("big", idle=3.0, first_token=9.0), fd.Tier("small")])
        got = []
        stream = await answer()
        task = asyncio.create_task(read(stream, got))
        await until(lambda: text_of(got) == "One two")
        with pytest.raises(TimeoutError, match="idle"):
            await pass_time(clock, 3.0, task)
        (decision,) = seen.decisions
        assert (decision.outcome, decision.fault) == ("failed", "target")
        assert decision.truncated

    async def test_pauses_below_the_limit_do_not_add_up(self, door, clock):
        pieces = asyncio.Queue()

        @door.llm("answer", tiers=[fd.Tier("big", idle=3.0)])
        async def answer(*, model):
            while (piece := await pieces.get()) is not None:
                yield piece

        got = []
        task = asyncio.create_task(read(answer(), got))
        for number in range(5):
            pieces.put_nowait(str(number))
            await until(lambda number=number: len(got) == number + 1)
            clock.advance(2.0)
            await asyncio.sleep(0)
        pieces.put_nowait(None)
        await task
        assert got == list("01234")

    async def test_the_total_binds_a_stream_that_flows(self, door, clock, seen):
        @door.llm("answer", tiers=[fd.Tier("big", timeout=5.0)])
        async def answer(*, model):
            for number in range(100):
                clock.advance(1.0)
                yield str(number)

        got = []
        with pytest.raises(TimeoutError, match="timeout"):
            await read(answer(), got)
        assert len(got) == 5
        assert seen.decisions[0].latency_s == pytest.approx(5.0)

    async def test_a_cancellation_from_outside_stays_one(self, door, clock, seen):
        @door.llm("answer", tiers=[fd.Tier("big", first_token=2.0), CANNED])
        async def answer(*, model):
            await asyncio.Event().wait()
            yield ""

        task = asyncio.create_task(read(answer(), []))
        await until(lambda: clock.sleeping)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen.decisions[0].outcome == "cancelled"

    async def test_the_systems_clock_holds_to_them_as_well(self, make_door, provider, gate):
        provider.on("big", Reply("One two", after=0, then="stall", gate=gate))
        provider.on("small", Reply("From the small one."))
        tiers = [fd.Tier("big", first_token=0.05), fd.Tier("small")]
        got = []
        await read(await chat(provider, make_door(), tiers)(), got)
        assert text_of(got) == "From the small one."


class TestClosing:
    @pytest.mark.parametrize("then", ["cut", "error", "end"])
    async def test_a_stream_that_breaks_after_content_ends_with_the_safe_text(
        self, make_door, provider, seen, then
    ):
        provider.on("big", Reply("One two three", after=2, then=then))
        answer = chat(provider, make_door(), [fd.Tier("big"), CANNED], on_stream_failure="close")
        got = []
        await read(await answer(), got)
        assert text_of(got) == "One two" + SAFE
        assert type(got[-1]) is type(got[0])
        (decision,) = seen.decisions
        assert (decision.outcome, decision.fault) == ("degraded", "target")
        assert decision.truncated
        assert decision.degraded
        assert [a.outcome for a in decision.attempts] == ["failed"]

    def test_sync(self, make_door, provider, seen):
        provider.on("big", Reply("One two three", after=2, then="cut"))
        client = provider.openai()

        @make_door().llm("answer", tiers=[fd.Tier("big"), CANNED], on_stream_failure="close")
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION, stream=True)

        assert text_of(answer()) == "One two" + SAFE
        assert seen.decisions[0].outcome == "degraded"

    def test_the_applications_own_bug_is_surfaced(self, make_door, seen):
        @make_door().llm("answer", tiers=[fd.Tier("big"), CANNED], on_stream_failure="close")
        def answer(*, model):
            yield "One"
            raise KeyError("bug")

        with pytest.raises(KeyError):
            list(answer())
        assert (seen.decisions[0].outcome, seen.decisions[0].fault) == ("failed", "caller")

    def test_one_read_to_its_end_is_not_touched(self, make_door, seen):
        @make_door().llm("answer", tiers=[fd.Tier("big"), CANNED], on_stream_failure="close")
        def answer(*, model):
            yield from ["One", " two"]

        assert list(answer()) == ["One", " two"]
        assert seen.decisions[0].outcome == "answered"

    @pytest.mark.parametrize(
        ("tiers", "word", "said"),
        [
            ([fd.Tier("big")], "close", "put fd.Canned"),
            ([fd.Tier("big"), fd.Canned({"a": 1})], "close", "no text"),
            ([fd.Tier("big"), CANNED], "splice", "'surface' or 'close'"),
        ],
    )
    def test_what_cannot_work_is_refused_at_once(self, make_door, tiers, word, said):
        with pytest.raises(fd.ConfigurationError, match=said):
            make_door().llm("answer", tiers=tiers, on_stream_failure=word)


WHO = contextvars.ContextVar("who", default="nobody")


class TestPassedDown:
    """What the caller or the function says of its client's timeout is only ever made shorter."""

    @pytest.mark.parametrize(
        ("given", "passed"),
        [
            (None, 2.0),
            (60, 2.0),
            (0.5, 0.5),
            (openai.NOT_GIVEN, 2.0),
            pytest.param(openai.omit, 2.0, id="omit-2.0"),
            (httpx.Timeout(60), httpx.Timeout(2.0)),
            (httpx.Timeout(None), httpx.Timeout(2.0)),
            (httpx.Timeout(60, connect=0.5), httpx.Timeout(2.0, connect=0.5)),
            (httpx.Timeout(1), httpx.Timeout(1)),
            ((0.5, 60), (0.5, 2.0)),
        ],
        ids=repr,
    )
    def test_as_the_client_takes_it(self, door, given, passed):
        @door.llm("answer", tiers=[fd.Tier("big", timeout=2.0)])
        def answer(*, model, timeout=None):
            return timeout

        @door.llm("by-default", tiers=[fd.Tier("big", timeout=2.0)])
        def by_default(*, model, timeout=given):
            return timeout

        assert answer(timeout=given) == passed
        assert by_default() == passed

    def test_what_only_the_client_understands_is_left_to_it(self, door):
        class Patience:
            total = 60

        @door.llm("answer", tiers=[fd.Tier("big", timeout=2.0)])
        def answer(*, model, timeout=None):
            return timeout

        own = Patience()
        assert answer(timeout=own) is own


class TestSync:
    def test_without_enforcement_the_overrun_is_recorded(self, door, clock, seen):
        @door.llm("answer", tiers=[fd.Tier("big", timeout=2.0)])
        def answer(*, model):
            clock.advance(5.0)
            return "late"

        assert answer() == "late"
        assert seen.decisions[0].attempts[0].overrun_s == pytest.approx(3.0)

    def test_a_thread_enforces_what_the_client_does_not_honour(self, make_door, gate, seen):
        door = make_door()

        @door.llm("answer", tiers=[fd.Tier("big", timeout=0.05), CANNED], enforce_timeout="thread")
        def answer(*, model):
            gate.wait()
            return "late"

        assert answer() == SAFE
        (decision,) = seen.decisions
        assert decision.outcome == "canned"
        assert decision.attempts[0].error_type == "TimeoutError"
        assert door.snapshot()["workers"]["abandoned"] == 1
        gate.set()

    def test_the_context_goes_along(self, make_door):
        @make_door().llm("answer", tiers=[fd.Tier("big", timeout=9.0)], enforce_timeout="thread")
        def answer(*, model):
            return WHO.get(), fd.current_attempt().model, threading.current_thread().name

        WHO.set("me")
        assert answer() == ("me", "big", "firedoor-worker")

    def test_exceptions_come_back_as_they_are(self, make_door):
        @make_door().llm("answer", tiers=[fd.Tier("big", timeout=9.0)], enforce_timeout="thread")
        def answer(*, model):
            raise KeyError("bug")

        with pytest.raises(KeyError):
            answer()

    def test_what_an_abandoned_call_used_is_counted_when_it_ends(self, make_door, provider, gate):
        provider.on("big", Reply("Late.", hold=gate))
        client = provider.openai()
        door = make_door()

        @door.llm("answer", tiers=[fd.Tier("big", timeout=0.05), CANNED], enforce_timeout="thread")
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION)

        assert answer() == SAFE
        gate.set()
        ended = threading.Event()
        while door.snapshot()["workers"]["abandoned"]:
            ended.wait(0.001)
        while not door.snapshot()["workers"]["output_tokens"]:
            ended.wait(0.001)
        assert door.snapshot()["workers"]["returned"] == 1

    def test_abandoned_calls_are_bounded(self, make_door, gate, seen):
        door = make_door()
        door._runtime.workers._most = 2

        @door.llm("answer", tiers=[fd.Tier("big", timeout=0.01)], enforce_timeout="thread")
        def answer(*, model):
            gate.wait()

        for _ in range(2):
            with pytest.raises(TimeoutError):
                answer()
        with pytest.raises(fd.Saturated, match="still running"):
            answer()
        assert seen.decisions[-1].outcome == "blocked"
        gate.set()

    def test_a_sync_stream_that_pauses_is_ended_by_its_thread(
        self, make_door, provider, gate, seen
    ):
        provider.on("big", Reply("One two", after=0, then="stall", gate=gate))
        provider.on("small", Reply("From the small one."))
        client = provider.openai()
        tiers = [fd.Tier("big", first_token=0.1), fd.Tier("small")]

        @make_door().llm("answer", tiers=tiers, enforce_timeout="thread")
        def answer(*, model):
            return client.chat.completions.create(model=model, messages=QUESTION, stream=True)

        assert text_of(answer()) == "From the small one."
        assert [a.outcome for a in seen.decisions[0].attempts] == ["failed", "answered"]

    def test_a_sync_stream_ends_between_chunks_without_a_thread(self, door, clock, seen):
        @door.llm("answer", tiers=[fd.Tier("big", timeout=3.0)])
        def answer(*, model):
            for number in range(9):
                clock.advance(1.0)
                yield str(number)

        got = []
        with pytest.raises(TimeoutError):
            got.extend(answer())
        assert seen.decisions[0].chunks == 3

    def test_a_word_it_does_not_know_is_refused(self, door):
        with pytest.raises(fd.ConfigurationError, match="thread"):
            door.llm("answer", enforce_timeout="process")
