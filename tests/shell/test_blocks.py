"""The block form: for code that is not a function."""

import threading

import pytest

import firedoor as fd

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
