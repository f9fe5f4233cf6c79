"""Budgets of a fleet: on a real server and a real file, there, away in mid-run, and back."""

import asyncio
import contextlib
import itertools
import random
import sqlite3
import threading

import pytest

import firedoor as fd
from firedoor.shell.budget_report import report
from firedoor.stores import open_store
from firedoor.testing import FakeClock
from support.valkey import valkey
from support.waiting import until

pytestmark = pytest.mark.timeout(120)


def chat(model, made=10, given=10):
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": given, "completion_tokens": made},
    }


class Server:
    """A Valkey server that comes back empty."""

    forgets = True

    def __init__(self):
        self.stack = contextlib.ExitStack()
        self.server = self.stack.enter_context(valkey())
        self.url = self.server.url()
        self.go, self.back = self.server.stop, self.server.start

    def close(self):
        self.stack.close()


class File:
    """A file that somebody keeps locked."""

    forgets = False

    def __init__(self, path):
        self.path = path
        self.url = f"sqlite:///{path}?busy_timeout=0.05"
        self.other = None

    def go(self):
        self.other = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.other.execute("BEGIN IMMEDIATE")

    def back(self):
        self.other.execute("ROLLBACK")
        self.other.close()
        self.other = None

    def close(self):
        if self.other is not None:
            self.back()


@pytest.fixture(params=["redis", "sqlite"])
def place(request, tmp_path):
    """A shared store, with `go()` and `back()`."""
    with contextlib.closing(
        Server() if request.param == "redis" else File(tmp_path / "state.db")
    ) as found:
        yield found


def guarded(door, mode="closed", **budget):
    """A guarded function of one budget, sync and as a coroutine."""
    budget = {"calls": 1000, "per": "month", "name": "b", **budget}
    guard = door.llm("answer", model="m", budgets=[fd.Budget(on_store_error=mode, **budget)])

    @guard
    def answer(question, *, model):
        return chat(model)

    @guard
    async def aanswer(question, *, model):
        return chat(model)

    answer.asynchronously = lambda: asyncio.run(aanswer("hi"))
    return answer


def counter(url, name="llm:answer/b"):
    """Settled and held of a budget's one counter, as anybody else sees them."""
    with contextlib.closing(open_store(url)) as store:
        found = [tuple(b) for k, b in store.counters().items() if k.startswith(name + "|")]
    return found[0] if found else (0, 0)


def verdicts(decision):
    return [(v.gate, v.status) for v in decision.verdicts]


def accounts(door):
    return door.snapshot()["budgets"]["accounts"]


def runs(answer):
    try:
        answer("hi")
    except fd.BudgetExceeded:
        return False
    return True


class TestWithTheStoreThere:
    def test_a_fleet_spends_from_one_budget(self, make_door, place):
        doors = [make_door(state=place.url) for _ in range(3)]
        answers = [guarded(door, calls=9) for door in doors]
        for _ in range(3):
            for answer in answers:
                answer("hi")
        for answer in answers:
            with pytest.raises(fd.BudgetExceeded):
                answer("hi")
        for door in doors:
            door.flush()
        assert counter(place.url) == (9, 0)

    def test_what_was_spent_arrives_behind_the_calls(self, make_door, place):
        door = make_door(state=place.url)
        answer = guarded(door)
        answer("hi")
        until(lambda: counter(place.url)[0] == 1)
        until(lambda: accounts(door)["untold"] == 0)

    def test_tasks_share_it_too(self, make_door, place):
        door = make_door(state=place.url)

        @door.llm("answer", model="m", budgets=[fd.Budget(calls=20, per="month", name="b")])
        async def answer(question, *, model):
            await asyncio.sleep(0.001)
            return chat(model)

        async def main():
            return await asyncio.gather(*(answer("hi") for _ in range(50)), return_exceptions=True)

        found = asyncio.run(main())
        assert sum(isinstance(one, dict) for one in found) == 20
        assert all(isinstance(one, dict | fd.BudgetExceeded) for one in found)
        door.flush()
        assert counter(place.url)[0] == 20

    def test_nobody_is_refused_for_what_is_only_not_told_yet(self, make_door, place):
        """One call after the other, each of which holds most of the budget and spends little."""
        door = make_door(state=place.url)
        guard = door.llm(
            "answer",
            tiers=[fd.Tier("m", max_output=600)],
            budgets=[fd.Budget(tokens=1000, per="month", name="b", on_store_error="closed")],
        )

        @guard
        def answer(question, *, model):
            return chat(model, made=5, given=5)

        @guard
        async def aanswer(question, *, model):
            return chat(model, made=5, given=5)

        async def main():
            for _ in range(15):
                await aanswer("hi")

        for _ in range(15):
            answer("hi")
        asyncio.run(main())
        door.flush()
        assert counter(place.url) == (300, 0)

    def test_what_is_set_aside_is_not_lost_to_anybody(self, make_door, place):
        """A process that has set a share aside may spend the whole budget all the same."""
        door = make_door(state=place.url)
        answer = guarded(door, "local_share", calls=100)
        answer("hi")
        until(lambda: accounts(door)["shares"])
        assert counter(place.url)[1] == 2
        for _ in range(99):
            answer("hi")
        with pytest.raises(fd.BudgetExceeded):
            answer("hi")
        door.flush()
        assert counter(place.url) == (100, 0)

    def test_what_a_fleet_sets_aside_is_a_tenth_at_the_most(self, make_door, place):
        doors = [make_door(state=place.url) for _ in range(12)]
        for door in doors:
            guarded(door, "local_share", calls=1000)("hi")
        for door in doors:
            door.flush()
        settled, held = counter(place.url)
        assert settled == 12
        assert 0 < held <= 100

    def test_a_call_cancelled_while_it_asks_holds_nothing_for_long(self, make_door, place, seen):
        door = make_door(state=place.url, lease=0.3)
        answer = door.llm("answer", model="m", budgets=[fd.Budget(calls=9, name="b", per="month")])

        @answer
        async def aanswer(question, *, model):
            return chat(model)

        async def main():
            for turns in range(12):
                task = asyncio.ensure_future(aanswer("hi"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())
        ran = sum(decision.outcome == "answered" for decision in seen.decisions)
        assert ran < 12
        until(lambda: counter(place.url) == (ran, 0))

    def test_a_call_that_slept_past_its_lease_holds_anew(self, make_door, tmp_path, seen):
        """The process stood still in its first attempt; what it spent is counted once, in all."""
        clock = FakeClock(auto=True)
        url = f"sqlite:///{tmp_path}/state.db"
        door = make_door(state=url, clock=clock, lease=60.0)
        tries, held = [], []

        @door.llm(
            "answer",
            tiers=[fd.Tier("m", attempts=2, max_output=100)],
            budgets=[fd.Budget(calls=5, per="month", name="b", on_store_error="closed")],
        )
        def answer(question, *, model):
            tries.append(model)
            if len(tries) == 1:
                clock.advance(200.0)
                raise ConnectionError
            held.append(door._store.counters())
            return chat(model)

        answer("hi")
        assert len(tries) == 2
        ((_, balance),) = held[0].items()
        assert balance.held == 1
        door.flush()
        ((_, balance),) = door._store.counters().items()
        assert tuple(balance) == (2, 0)

    def test_soft_thresholds_are_told_by_one_of_the_fleet(self, make_door, place):
        told = []
        doors = [make_door(state=place.url) for _ in range(3)]
        answers = [guarded(door, calls=10) for door in doors]
        for door in doors:
            door.on_threshold(told.append)
        for answer, _ in zip(itertools.cycle(answers), range(9), strict=False):
            answer("hi")
            for door in doors:
                door.flush()
        assert [(one.share, one.settled) for one in told] == [(0.5, 5), (0.8, 8)]

    @pytest.mark.parametrize("scope", ["tenant", "user"])
    @pytest.mark.parametrize("key", [None, b"the same in every process"])
    def test_tenants_and_users_are_the_same_in_every_process(self, make_door, place, scope, key):
        """A key for each process would give each of them the whole budget."""
        more = {} if key is None else {"redactor": fd.Redactor(key=key)}

        def counted(**more):
            door = make_door(state=place.url, **more)
            return door, door.tool("mail", budgets=[fd.Budget(calls=3, scope=scope)])(lambda: 1)

        doors = [counted(**more) for _ in range(2)]
        ran = []
        for door, mail in itertools.islice(itertools.cycle(doors), 6):
            with door.request("news", **{scope: "acme"}), contextlib.suppress(fd.BudgetExceeded):
                ran.append(mail())
            door.flush()
        assert len(ran) == 3

    def test_an_operator_sees_them_without_the_application(self, make_door, place):
        with make_door(state=place.url) as door:
            guarded(door, calls=10)("hi")
            door.llm("other", model="m", budgets=[fd.Budget(usd=5, scope="tenant")])
            door.flush()
        with contextlib.closing(open_store(place.url)) as store:
            one, other = report(store)
        assert (one.name, one.service, one.limit) == ("llm:answer/b", "test-app", 10)
        (only,) = one.counters
        assert (only.scope, only.settled, only.held) == ("-", 1, 0)
        assert one.share(only) == pytest.approx(0.1)
        assert (other.name, other.unit, other.limit) == ("llm:other/tenant-day", "usd", 5_000_000)
        assert (other.scope, other.per, other.on_exceeded) == ("tenant", "day", "block")
        assert other.counters == ()


class TestWithTheStoreAway:
    def test_closed_refuses_and_says_why(self, make_door, place, seen):
        answer = guarded(make_door(state=place.url), "closed")
        answer("hi")
        place.go()
        for ask in (answer, answer, lambda _: answer.asynchronously()):
            with pytest.raises(fd.BudgetExceeded, match="its store is away"):
                ask("hi")
        assert verdicts(seen.decisions[-1]) == [("budget:llm:answer/b", "blocked")]
        place.back()
        until(lambda: runs(answer))

    def test_open_admits_and_says_that_nothing_was_checked(self, make_door, place, seen):
        door = make_door(state=place.url)
        answer = guarded(door, "open")
        answer("hi")
        door.flush()
        place.go()
        for _ in range(4):
            answer("hi")
        answer.asynchronously()
        assert verdicts(seen.decisions[-1]) == [("budget:llm:answer/b", "skipped")]
        place.back()
        # What was spent without it is counted all the same; a server has come back empty.
        until(lambda: door.flush() or counter(place.url) == (5 + (not place.forgets), 0))

    def test_a_local_share_is_spent_and_no_more(self, make_door, place, seen):
        door = make_door(state=place.url)
        answer = guarded(door, "local_share", calls=500)
        answer("hi")
        until(lambda: accounts(door)["shares"])
        door.flush()
        assert counter(place.url) == (1, 10)
        place.go()
        let = 0
        with pytest.raises(fd.BudgetExceeded):
            for _ in range(50):
                answer("hi")
                let += 1
        assert let == 10
        assert verdicts(seen.decisions[-2]) == [("budget:llm:answer/b", "passed")]
        assert seen.decisions[-2].verdicts[0].reason == "the store is away: this process's share"
        place.back()
        until(lambda: runs(answer))
        door.close()
        assert counter(place.url)[0] == 11 + (not place.forgets)

    def test_what_was_spent_before_is_told_when_it_is_back(self, make_door, place, seen):
        door = make_door(state=place.url)

        @door.llm("answer", model="m", budgets=[fd.Budget(calls=100, per="month", name="b")])
        def answer(question, *, model):
            place.go()
            return chat(model)

        answer("hi")
        assert seen.decisions[0].outcome == "answered"
        assert accounts(door)["untold"] == 1
        place.back()
        until(lambda: door.flush() or counter(place.url)[0] == 1)

    @pytest.mark.parametrize("mode", ["closed", "local_share", "open"])
    def test_a_retry_beyond_what_is_held_asks_the_mode_again(self, make_door, place, seen, mode):
        """The first attempt broke and was charged; the store is gone as the next one begins."""
        door = make_door(state=place.url)
        tries = []

        @door.llm(
            "answer",
            tiers=[fd.Tier("m", attempts=2)],
            budgets=[fd.Budget(calls=1000, per="month", name="b", on_store_error=mode)],
        )
        def answer(question, *, model):
            tries.append(model)
            if len(tries) == 2:
                place.go()
                raise ConnectionError
            return chat(model)

        answer("hi")
        if mode == "local_share":
            until(lambda: accounts(door)["shares"])
        if mode == "closed":
            with pytest.raises((fd.BudgetExceeded, ConnectionError)):
                answer("hi")
            assert len(tries) == 2
        else:
            answer("hi")
            assert len(tries) == 3
        assert seen.decisions[-1].verdicts[-1].gate == "budget:llm:answer/b"
        place.back()
        spent = 2 if mode == "closed" else 3
        door.flush()
        until(lambda: door.flush() or counter(place.url)[0] >= spent - place.forgets)

    def test_nothing_is_waited_for_twice(self, make_door, place):
        door = make_door(state=place.url)
        answer = guarded(door, "open")
        answer("hi")
        place.go()
        answer("hi")
        assert accounts(door)["away"]

    @pytest.mark.parametrize("mode", ["closed", "local_share", "open"])
    def test_coming_and_going_raises_nothing_but_the_denial(self, make_door, place, seen, mode):
        """Threads and tasks call without pause while the store is taken away and given back."""
        door = make_door(state=place.url)
        answer = guarded(door, mode, calls=100_000)
        stop, wrong, counts = threading.Event(), [], {"let": 0, "refused": 0}
        lock = threading.Lock()

        def call(ask):
            while not stop.is_set():
                try:
                    ask()
                except fd.BudgetExceeded:
                    outcome = "refused"
                except Exception as error:
                    wrong.append(error)
                    return
                else:
                    outcome = "let"
                with lock:
                    counts[outcome] += 1
                stop.wait(0.002)

        callers = [lambda: answer("hi")] * 3 + [answer.asynchronously]
        threads = [threading.Thread(target=call, args=(one,)) for one in callers]
        for thread in threads:
            thread.start()

        def some_more(outcome):
            before = counts[outcome]
            until(lambda: counts[outcome] > before + 3)

        for _ in range(2):
            some_more("let")
            place.go()
            until(lambda: accounts(door)["away"])
            some_more("refused" if mode == "closed" else "let")
            place.back()
            until(lambda: not accounts(door)["away"])
        some_more("let")
        stop.set()
        for thread in threads:
            thread.join()
        assert wrong == []
        if mode == "open":
            assert counts["refused"] == 0
        for decision in seen.decisions:
            if decision.outcome == "blocked":
                assert decision.error_type == "firedoor.BudgetExceeded"
                assert decision.verdicts[-1].gate == "budget:llm:answer/b"
        if not place.forgets:
            until(lambda: door.flush() or accounts(door)["untold"] == 0)
            door.close()
            assert counter(place.url) == (counts["let"], 0)


class Recording:
    """A store that notes on which thread each of its operations ran."""

    def __init__(self, store):
        self._store = store
        self.threads = set()

    def __getattr__(self, name):
        found = getattr(self._store, name)
        # What never waits: the clock, and the coroutines' own twins, whose work is looked at below.
        if name in ("now", "shared", "areserve", "asettle") or not callable(found):
            return found

        def recorded(*args, **kwargs):
            self.threads.add(threading.current_thread())
            return found(*args, **kwargs)

        return recorded


class TestTheEventLoop:
    async def test_never_waits_for_the_store(self, make_door, place):
        """Whatever calls do, no operation of the store runs on the thread of the loop."""
        door = make_door(state=place.url)
        answer = door.llm(
            "answer",
            tiers=[fd.Tier("m", max_output=600)],
            budgets=[
                fd.Budget(tokens=1500, per="month", name="b"),
                fd.Budget(calls=12, per="month", scope="tenant", on_exceeded="degrade"),
            ],
        )
        store = Recording(door._store)
        door._runtime.budgets.accounts.store = store
        door._runtime.budgets.accounts._outbox._store = store
        door._runtime.budgets.accounts._shares._store = store
        if hasattr(store._store, "_file"):
            file = store._store._file
            store._store._file = Recording(file)
            store._store._file.in_thread = file.in_thread
        draw = random.Random(3)

        @answer
        async def ask(question, *, model):
            await asyncio.sleep(0)
            if draw.random() < 0.3:
                raise ConnectionError
            return chat(model)

        @answer
        async def stream(question, *, model):
            for _ in range(700):
                yield {
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {"content": "x"}}],
                }

        async def read():
            return [chunk async for chunk in stream("hi")]

        async def block():
            async with answer as call:
                await asyncio.sleep(0)
                call.record(chat("m"))

        async def attempts():
            async for attempt in answer.attempts():
                with attempt:
                    attempt.record(chat("m"))

        async with door.request("help", tenant="acme"):
            for _ in range(6):
                tasks = [asyncio.ensure_future(ask("hi")) for _ in range(4)]
                tasks += [asyncio.ensure_future(one()) for one in (read, block, attempts)]
                await asyncio.sleep(0)
                tasks[0].cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(door.flush)
        assert store.threads
        assert threading.current_thread() not in store.threads
        if hasattr(store._store, "_file"):
            assert threading.current_thread() not in store._store._file.threads
