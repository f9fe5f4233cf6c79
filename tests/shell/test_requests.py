"""A request gathers the decisions of its calls, wherever they run."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import firedoor as fd


@pytest.fixture
def answer(door):
    return door.llm("answer", model="m")(lambda text="yes": text)


def test_calls_in_the_block_carry_its_id_and_journey(door, answer):
    with door.request("help", user="ana", tenant="acme") as request:
        answer()
    (decision,) = request.decisions
    assert decision.request_id == request.id
    assert decision.journey == "help"
    assert request.outcome == "answered"


def test_user_and_tenant_leave_only_as_tokens_that_join(door, answer, seen):
    for _ in range(2):
        with door.request("help", user="ana@example.com", tenant="acme"):
            answer()
    first, second = seen.decisions
    assert first.user == second.user
    assert "ana" not in first.user
    assert "acme" not in first.tenant


def test_a_call_outside_a_request_gets_an_id_of_its_own(answer, seen):
    answer()
    answer()
    first, second = seen.decisions
    assert first.request_id
    assert first.request_id != second.request_id
    assert first.journey is None


def test_current_request_is_the_innermost(door):
    assert fd.current_request() is None
    with door.request("outer") as outer:
        with door.request("inner") as inner:
            assert fd.current_request() is inner
        assert fd.current_request() is outer
    assert fd.current_request() is None


def test_a_nested_request_counts_for_the_outer_and_inherits_from_it(door, answer):
    with door.request("outer", user="ana", deadline=10.0) as outer:
        with door.request("inner", deadline=60.0) as inner:
            answer()
    assert outer.decisions == inner.decisions
    assert inner.user == outer.user
    assert inner.deadline == outer.deadline


async def test_async_with(door, answer):
    async with door.request("help") as request:
        answer()
    assert len(request.decisions) == 1


async def test_tasks_inherit_the_request(door):
    @door.llm("answer")
    async def answer():
        await asyncio.sleep(0)
        return "yes"

    async with door.request("help") as request:
        await asyncio.gather(*(answer() for _ in range(5)))
    assert {d.request_id for d in request.decisions} == {request.id}
    assert len(request.decisions) == 5


def test_an_executor_thread_is_in_the_request_through_wrap(door, answer, seen):
    with door.request("help") as request, ThreadPoolExecutor() as pool:
        run = fd.wrap(answer)
        list(pool.map(lambda _: run(), range(8)))
        pool.submit(answer).result()
    assert len(request.decisions) == 8
    assert len(seen.decisions) == 9


def test_spans_have_the_right_parents(door, answer, seen):
    search = door.retrieval("kb")(list)

    @door.tool("plan")
    def plan():
        search()

    with door.request("help"), ThreadPoolExecutor() as pool:
        plan()
        pool.submit(fd.wrap(answer)).result()
    spans = {s.name: s for s in seen.spans}
    root = spans["firedoor.request help"]
    assert root.parent is None
    assert spans["execute_tool plan"].parent.span_id == root.context.span_id
    assert spans["retrieval kb"].parent.span_id == spans["execute_tool plan"].context.span_id
    assert spans["chat m"].parent.span_id == root.context.span_id
    assert len({s.context.trace_id for s in seen.spans}) == 1


class TestOutcome:
    """What the user saw of the whole request."""

    def test_of_an_empty_request_is_answered(self, door):
        with door.request("help") as request:
            pass
        assert request.outcome == "answered"

    def test_of_a_raising_request_is_failed(self, door):
        with pytest.raises(KeyError), door.request("help") as request:
            raise KeyError("x")
        assert request.outcome == "failed"

    def test_of_an_answer_beside_a_failed_search_is_degraded(self, door, answer):
        @door.retrieval("kb")
        def search():
            raise TimeoutError

        with door.request("help") as request:
            with pytest.raises(TimeoutError):
                search()
            answer()
        assert request.outcome == "degraded"

    async def test_of_a_cancelled_request_is_cancelled(self, door):
        started = asyncio.Event()
        requests = []

        async def work():
            async with door.request("help") as request:
                requests.append(request)
                started.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert requests[0].outcome == "cancelled"


async def test_leaving_a_request_in_another_task_neither_fails_nor_leaks(door):
    """An async generator with a request inside may be closed by another task."""

    async def stream():
        async with door.request("help"):
            yield fd.current_request()

    generator = stream()
    assert await anext(generator) is not None
    await asyncio.create_task(generator.aclose())


def test_attempt_is_current_only_inside_the_function(door):
    @door.llm("answer", model="m")
    def answer():
        return fd.current_attempt().model

    assert answer() == "m"
    assert fd.current_attempt() is None
