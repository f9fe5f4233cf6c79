"""The block form: for code that is not a function."""

import asyncio
import contextlib
import contextvars
import threading

import pytest
from opentelemetry.context import get_current

import firedoor as fd
from firedoor.testing import FakeClock

REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m-2026",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}


def test_a_block_records_what_it_is_told(door):
    with door.llm("summarise", model="m") as call:
        assert call.model == "m"
        assert call.record(REPLY) is REPLY
        assert call.decision is None
    assert call.decision.outcome == "answered"
    assert call.decision.usage.input_tokens == 3
    assert call.decision.response_model == "m-2026"


def test_a_block_that_records_nothing_is_still_a_call(door):
    with door.tool("noop") as call:
        pass
    assert call.decision.outcome == "answered"


def test_a_raising_block_is_failed_and_raises(door):
    with pytest.raises(ValueError), door.llm("summarise") as call:
        raise ValueError("no")
    assert call.decision.outcome == "failed"
    assert call.decision.error_type == "ValueError"


async def test_an_async_block(door):
    async with door.llm("summarise", model="m") as call:
        call.record("hi")
    assert call.decision.outcome == "answered"


async def test_a_stream_recorded_in_a_block_ends_the_call_when_it_ends(door):
    with door.llm("summarise") as call:
        stream = call.record(iter(["a", "b"]))
    assert call.decision is None
    assert list(stream) == ["a", "b"]
    assert call.decision.chunks == 2


def test_attempts_give_one_attempt_without_tiers(door):
    models = []
    for attempt in door.llm("draft", model="m").attempts():
        with attempt:
            models.append(attempt.model)
            attempt.record("text")
    assert models == ["m"]
    assert attempt.decision.outcome == "answered"


async def test_attempts_are_async_too(door):
    async for attempt in door.llm("draft", model="m").attempts():
        with attempt:
            attempt.record("text")
    assert attempt.decision.outcome == "answered"


def test_one_guard_may_be_entered_by_many_threads_at_once(door, seen):
    guard = door.llm("summarise", model="m")
    inside = threading.Barrier(4)

    def work(number):
        with guard as call:
            inside.wait()
            call.record(f"reply {number}")
            inside.wait()
        assert call.decision.outcome == "answered"

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({d.id for d in seen.decisions}) == 4


def test_blocks_nest(door, seen):
    with door.tool("outer") as outer:
        with door.tool("inner") as inner:
            assert fd.current_attempt() is inner
        assert fd.current_attempt() is outer
    assert [d.route for d in seen.decisions] == ["tool:inner", "tool:outer"]


LADDER = [fd.Tier("big"), fd.Tier("small"), fd.Canned("A person will follow up.")]


def test_attempts_that_all_fail_come_down_to_the_canned_response(make_door, seen):
    door = make_door(prices={"big": (1, 2), "small": (1, 2)})
    attempts = door.llm("draft", tiers=LADDER, budgets=[fd.Budget(usd=1)]).attempts()
    for attempt in attempts:
        with attempt:
            raise ConnectionError(attempt.model)
    assert attempts.response == "A person will follow up."
    assert attempts.decision is seen.decisions[0]
    assert seen.decisions[0].outcome == "canned"
    (counter,) = door.snapshot()["budgets"]["budgets"]["llm:draft/day"]["counters"].values()
    assert counter["held"] == 0


async def test_async_attempts_come_down_to_it_too(door, seen):
    attempts = door.llm("draft", tiers=LADDER).attempts()
    async for attempt in attempts:
        with attempt:
            raise ConnectionError(attempt.model)
    assert attempts.response == "A person will follow up."
    assert [d.outcome for d in seen.decisions] == ["canned"]


def test_attempts_that_go_well_have_no_canned_response(door):
    attempts = door.llm("draft", tiers=LADDER).attempts()
    for attempt in attempts:
        with attempt:
            attempt.record("text")
    assert attempts.response is None
    assert attempts.decision.outcome == "answered"


def busy(door):
    """What the gates of `llm:draft` hold for calls that run."""
    (limiter,) = door.snapshot()["limiters"].values()
    (counter,) = door.snapshot()["budgets"]["budgets"]["llm:draft/day-calls"]["counters"].values()
    return limiter["running"], counter["held"]


@pytest.fixture
def gated(door):
    return door.llm(
        "draft",
        model="m",
        limiter=fd.Limiter(max_concurrent=2),
        budgets=[fd.Budget(calls=1000)],
    )


def test_a_loop_left_before_its_block_gives_back_what_the_gates_gave(door, gated, seen):
    def use():
        for attempt in gated.attempts():
            raise ValueError("the prompt cannot be built")
            with attempt:
                pass

    for _ in range(5):
        with pytest.raises(ValueError, match="prompt"):
            use()
    assert busy(door) == (0, 0)
    assert [d.outcome for d in seen.decisions] == ["abandoned"] * 5
    assert all(d.cost_usd is None for d in seen.decisions)


async def test_an_async_loop_cancelled_before_its_block_gives_it_back_too(door, gated, seen):
    began = asyncio.Event()

    async def use():
        async for attempt in gated.attempts():
            began.set()
            await asyncio.Event().wait()
            with attempt:
                pass

    task = asyncio.create_task(use())
    await began.wait()
    assert busy(door) == (1, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert busy(door) == (0, 0)
    assert [d.outcome for d in seen.decisions] == ["abandoned"]


def test_an_attempt_that_is_passed_over_ends_the_call(door, gated, seen):
    handed = [attempt.number for attempt in gated.attempts()]
    assert handed == [1]
    assert busy(door) == (0, 0)
    assert [d.outcome for d in seen.decisions] == ["abandoned"]


def test_a_half_open_circuit_has_its_trial_back_from_a_loop_that_was_left(make_door):
    clock = FakeClock()
    door = make_door(clock=clock)
    guard = door.llm(
        "draft",
        model="m",
        breaker=fd.Breaker(minimum_calls=1, half_open_calls=1, open_for=10, jitter=0),
    )
    with pytest.raises(ConnectionError), guard:
        raise ConnectionError
    clock.advance(10)
    for attempt in guard.attempts():  # noqa: B007
        break
    with guard as call:
        call.record("text")
    assert call.decision.outcome == "answered"


def test_a_loop_left_after_a_failed_attempt_failed(door, seen):
    for attempt in door.llm("draft", tiers=LADDER).attempts():
        with attempt:
            raise ConnectionError("down")
        break
    assert [(d.outcome, d.error_type) for d in seen.decisions] == [("failed", "ConnectionError")]


def test_a_stream_handed_out_of_the_loop_ends_the_call_itself(door, gated, seen):
    def begin():
        for attempt in gated.attempts():
            with attempt:
                return attempt.record(iter(["a", "b"]))
        raise AssertionError("no attempt was handed out")

    stream = begin()
    assert busy(door) == (1, 1)
    assert list(stream) == ["a", "b"]
    assert busy(door) == (0, 0)
    assert [d.outcome for d in seen.decisions] == ["answered"]


def test_a_block_that_only_a_canned_response_could_answer_raises_what_stopped_it(make_door, seen):
    door = make_door()
    guard = door.llm(
        "draft", tiers=[fd.Tier("m"), fd.Canned("later")], budgets=[fd.Budget(calls=1)]
    )
    with guard as call:
        call.record("text")
    with pytest.raises(fd.BudgetExceeded) as denied, guard:
        raise AssertionError("no budget is left")
    assert denied.value.decision is seen.decisions[-1]
    assert seen.decisions[-1].outcome == "blocked"


async def test_likewise_in_safe_mode(door, seen):
    guard = door.llm("draft", tiers=[fd.Tier("m"), fd.Canned("later")])
    switch = door.switches.safe_mode(reason="leaks orders", actor="ana")
    with pytest.raises(fd.RouteDisabled, match=switch.id) as denied:
        async with guard:
            raise AssertionError("in safe mode")
    assert denied.value.decision is seen.decisions[-1]
    attempts = guard.attempts()
    assert [attempt async for attempt in attempts] == []
    assert attempts.response == "later"


def read_in_contexts_of_their_own(*streams):
    """As servers read sync generators: each step in a thread's own copy of the context."""
    ended = 0
    while ended < len(streams):
        ended = 0
        for stream in streams:
            ended += contextvars.copy_context().run(next, stream, "ended") == "ended"


@pytest.mark.parametrize(
    "read", [read_in_contexts_of_their_own, lambda *s: list(zip(*s, strict=True))]
)
def test_blocks_of_one_guard_that_take_turns_are_each_their_own(door, seen, read):
    guard = door.llm("summarise", model="m", limiter=fd.Limiter(max_concurrent=8))

    def stream(name, count):
        with guard as call:
            yield from range(count)
            call.record(name)
        told.append((name, call.decision is not None, call.decision.outcome))

    told = []
    read(stream("first", 3), stream("second", 3))
    assert sorted(told) == [("first", True, "answered"), ("second", True, "answered")]
    (limiter,) = door.snapshot()["limiters"].values()
    assert limiter["running"] == 0


@pytest.mark.parametrize("last", [0, 1, 2])
@pytest.mark.parametrize("kind", ["call", "request"])
def test_blocks_that_take_turns_leave_what_was_there_before(door, kind, last):
    """In whatever order they are left: the next call is inside none of them."""

    def stream():
        with door.llm("summarise", model="m") if kind == "call" else door.request("news"):
            yield

    with door.request("outer") as outer:
        before = get_current()
        streams = [stream() for _ in range(3)]
        for each in streams:
            next(each)
        streams.append(streams.pop(last))
        for each in streams:
            assert next(each, "ended") == "ended"
        assert get_current() is before
        door.llm("answer", model="m")(lambda: "hi")()
    assert outer.decisions[-1].route == "llm:answer"


async def test_async_blocks_of_one_guard_too(door):
    guard = door.llm("summarise", model="m")

    async def stream(fails):
        async with guard as call:
            yield call
            if fails:
                raise ConnectionError

    first, second = stream(True), stream(False)
    one, other = await anext(first), await anext(second)
    with pytest.raises(ConnectionError):
        await anext(first)
    assert await anext(second, None) is None
    assert (one.decision.outcome, other.decision.outcome) == ("failed", "answered")


def test_a_guard_on_a_stack_of_contexts(door):
    guard = door.llm("summarise", model="m")
    with contextlib.ExitStack() as stack:
        outer = stack.enter_context(guard)
        with guard as inner:
            pass
        assert (outer.decision, inner.decision.outcome) == (None, "answered")
    assert outer.decision.outcome == "answered"
