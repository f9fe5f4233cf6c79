"""Async generator functions whose gates may have to wait: for a place, or for a shared store."""

import asyncio
import gc
import inspect

import pytest

import firedoor as fd

PAST = {"object": "chat.completion.chunk"}


def chunk(text):
    return {**PAST, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


def last():
    return {**PAST, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def texts(chunks):
    return "".join(one["choices"][0]["delta"].get("content", "") for one in chunks)


@pytest.fixture
def answer(make_door, tmp_path):
    """A guarded async generator function of which one may run at once, and two in all."""
    door = make_door(state=f"sqlite:///{tmp_path}/state.db")

    @door.llm(
        "answer",
        model="m",
        limiter=fd.Limiter(max_concurrent=1, max_wait=30.0),
        budgets=[fd.Budget(calls=2, per="month", on_store_error="closed")],
    )
    async def answer(question, *, model, gate=None, running=None):
        if gate is not None:
            running.set()
            await gate.wait()
        for word in ("one ", "two"):
            yield chunk(word)
        yield last()

    return answer


async def read(stream):
    return [one async for one in stream]


class TestADeferredStream:
    async def test_is_read_as_any_other(self, answer, seen):
        assert inspect.isasyncgenfunction(answer)
        assert texts(await read(answer("hi"))) == "one two"
        (decision,) = seen.decisions
        assert (decision.outcome, decision.chunks) == ("answered", 3)

    async def test_waits_for_its_place_while_the_loop_goes_on(self, answer, seen):
        gate, running = asyncio.Event(), asyncio.Event()
        first = asyncio.ensure_future(read(answer("hi", gate=gate, running=running)))
        await running.wait()
        second = asyncio.ensure_future(read(answer("hi")))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not second.done()
        gate.set()
        assert [texts(one) for one in await asyncio.gather(first, second)] == ["one two"] * 2

    async def test_is_refused_at_its_first_chunk(self, answer, seen):
        await read(answer("hi"))
        await read(answer("hi"))
        stream = answer("hi")
        with pytest.raises(fd.BudgetExceeded):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert [d.outcome for d in seen.decisions] == ["answered", "answered", "blocked"]

    async def test_that_nobody_asks_never_ran(self, answer, seen):
        """Dropped or closed before its first chunk: one abandoned call each, and nothing held."""
        dropped = answer("hi")
        del dropped
        gc.collect()
        closed = answer("hi")
        await closed.aclose()
        await closed.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(closed)
        assert [d.outcome for d in seen.decisions] == ["abandoned", "abandoned"]
        for _ in range(2):
            assert texts(await read(answer("hi"))) == "one two"

    async def test_cancelled_as_it_begins(self, answer, seen):
        gate, running = asyncio.Event(), asyncio.Event()
        first = asyncio.ensure_future(read(answer("hi", gate=gate, running=running)))
        await running.wait()
        stream = answer("hi")
        second = asyncio.ensure_future(anext(stream))
        for _ in range(100):
            await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        gate.set()
        await first
        assert sorted(d.outcome for d in seen.decisions) == ["answered", "cancelled"]

    async def test_left_in_the_middle(self, answer, seen):
        stream = answer("hi")
        await anext(stream)
        await stream.aclose()
        assert [d.outcome for d in seen.decisions] == ["abandoned"]

    async def test_takes_what_is_sent_and_thrown(self, make_door, tmp_path):
        door = make_door(state=f"sqlite:///{tmp_path}/state.db")

        @door.llm("echo", model="m", budgets=[fd.Budget(calls=9)])
        async def echo(*, model):
            got = yield "ready"
            try:
                yield got
            except KeyError:
                yield "caught"

        stream = echo()
        assert await stream.asend(None) == "ready"
        assert await stream.asend("sent") == "sent"
        assert await stream.athrow(KeyError()) == "caught"

    async def test_falls_back_to_the_safe_response(self, make_door, tmp_path, seen):
        door = make_door(state=f"sqlite:///{tmp_path}/state.db")

        @door.llm(
            "answer",
            tiers=[fd.Tier("m"), fd.Canned("later")],
            budgets=[fd.Budget(calls=1, per="month")],
        )
        async def answer(question, *, model):
            yield "now"

        assert await read(answer("hi")) == ["now"]
        assert "".join(await read(answer("hi"))) == "later"
        assert [d.outcome for d in seen.decisions] == ["answered", "canned"]
