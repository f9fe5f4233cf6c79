"""The breakers of a door under threads and tasks: exact permits, no lock across anybody's code."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from firedoor.config import Breaker
from firedoor.core.breaker_values import Exceeded, Permit, Refusal, Result, State
from firedoor.core.window import Counts
from firedoor.errors import BreakerOpen
from firedoor.shell import targets
from firedoor.shell.breakers import BATCH, Breakers

SUCCESS, FAILURE, IGNORED, CANCELLED = Result


def make(*, seen=None, **settings):
    settings = {"minimum_calls": 10, "jitter": 0.0, "half_open_calls": 5} | settings
    breakers = Breakers(random=lambda: 0.0)
    if seen is not None:
        breakers.listen(lambda route, model, event: seen.append(event))
    breakers.declare("llm:answer", Breaker(**settings))
    return breakers


def trip(live, now=0.0):
    while live.state is not State.OPEN:
        live.settle(live.acquire(now), FAILURE, 0.1, now)


def in_threads(count, work):
    """Run `work(index)` in `count` threads that begin together."""
    gate = threading.Barrier(count)

    def run(index):
        gate.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return [f.result() for f in [pool.submit(run, i) for i in range(count)]]


@pytest.fixture(autouse=True)
def eager_switching():
    """Let threads change places as often as they can, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("half_open_calls", [1, 5, 17])
def test_64_threads_get_exactly_the_trials_there_are(half_open_calls):
    live = make(half_open_calls=half_open_calls).find("llm:answer", "gpt-5")
    trip(live)
    answers = in_threads(64, lambda _: [live.acquire(30.0) for _ in range(20)])
    permits = [a for some in answers for a in some if isinstance(a, Permit)]
    assert len(permits) == half_open_calls
    assert sorted(p.trial for p in permits) == list(range(1, half_open_calls + 1))


@pytest.mark.parametrize("half_open_calls", [1, 5, 17])
async def test_1000_tasks_get_exactly_the_trials_there_are(half_open_calls):
    live = make(half_open_calls=half_open_calls).find("llm:answer", "gpt-5")
    trip(live)
    running = 0
    most = 0

    async def one():
        nonlocal running, most
        await asyncio.sleep(0)
        answer = live.acquire(30.0)
        if isinstance(answer, Refusal):
            return None
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return answer

    answers = await asyncio.gather(*(one() for _ in range(1000)))
    assert sum(a is not None for a in answers) == most == half_open_calls


async def test_cancelled_trials_give_their_places_to_others():
    live = make().find("llm:answer", "gpt-5")
    trip(live)
    never = asyncio.Event()

    async def hang():
        permit = live.acquire(30.0)
        if isinstance(permit, Refusal):
            return
        try:
            await never.wait()
        except asyncio.CancelledError:
            live.settle(permit, CANCELLED, 0.1, 30.0)
            raise

    tasks = [asyncio.ensure_future(hang()) for _ in range(1000)]
    await asyncio.sleep(0)
    pending = [t for t in tasks if not t.done()]
    assert len(pending) == 5
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    assert sum(isinstance(live.acquire(30.0), Permit) for _ in range(9)) == 5


def test_the_permit_of_a_call_that_was_not_made_goes_back():
    live = make(half_open_calls=1).find("llm:answer", "gpt-5")
    live.cancel(live.acquire(0.0))
    trip(live)
    for _ in range(3):
        live.cancel(live.acquire(30.0))
    assert isinstance(live.acquire(30.0), Permit)
    assert isinstance(live.acquire(30.0), Refusal)


def test_by_hand_nothing_is_told_where_nothing_changes():
    seen = []
    live = make(seen=seen).find("llm:answer", "gpt-5")
    assert live.force(State.CLOSED, 0.0) is None
    assert live.reset(0.0) is None
    assert seen == []


def test_no_outcome_is_lost_between_threads():
    """Good calls go round the lock, others through it: every one is counted once."""
    live = make(failure_rate=1.0, window=100_000, window_type="count", minimum_calls=100_000).find(
        "llm:answer", "gpt-5"
    )

    def work(index):
        for n in range(2_000):
            permit = live.acquire(0.0)
            live.settle(permit, FAILURE if n % 50 == index else SUCCESS, 0.1, 0.0)

    in_threads(16, work)
    assert live.read(0.0).counts == Counts(calls=32_000, failures=640)


def test_no_refusal_is_lost_between_threads():
    live = make().find("llm:answer", "gpt-5")
    trip(live)
    in_threads(16, lambda _: [live.acquire(1.0) for _ in range(1_000)])
    assert live.read(1.0).refused == 16_000


def test_good_calls_noted_without_the_lock_count_towards_the_verdict():
    live = make(failure_rate=0.5, minimum_calls=10).find("llm:answer", "gpt-5")
    for _ in range(10):
        live.settle(live.acquire(0.0), SUCCESS, 0.1, 0.0)
    events = [live.settle(live.acquire(0.0), FAILURE, 0.1, 0.0) for _ in range(10)]
    assert events[:9] == [None] * 9
    assert events[9].counts == Counts(calls=20, failures=10)


def test_a_good_call_that_completes_the_minimum_opens_it_here_as_well():
    live = make(failure_rate=0.5, minimum_calls=10).find("llm:answer", "gpt-5")
    results = [SUCCESS] * 4 + [FAILURE] * 5 + [SUCCESS]
    events = [live.settle(live.acquire(0.0), result, 0.1, 0.0) for result in results]
    assert events[:9] == [None] * 9
    assert events[9].counts == Counts(calls=10, failures=5)


def test_a_good_call_after_the_window_forgot_older_ones_opens_it_here_as_well():
    live = make(failure_rate=0.5, minimum_calls=2, window=10.0).find("llm:answer", "gpt-5")
    for result, now in [(SUCCESS, 0.0)] * 5 + [(FAILURE, 5.0)] * 3 + [(SUCCESS, 5.0)]:
        assert live.settle(live.acquire(now), result, 0.1, now) is None
    event = live.settle(live.acquire(10.0), SUCCESS, 0.1, 10.0)
    assert event.counts == Counts(calls=5, failures=3)


def test_notes_are_taken_in_before_they_pile_up():
    live = make().find("llm:answer", "gpt-5")
    permit = live.acquire(0.0)
    for _ in range(BATCH * 10):
        live.settle(permit, SUCCESS, 0.1, 0.0)
        assert len(permit.good) <= BATCH


def test_slow_streams_are_not_mistaken_for_good_calls():
    live = make(slow_call=5.0, slow_first_token=1.0).find("llm:answer", "gpt-5")
    permit = live.acquire(0.0)
    live.settle(permit, SUCCESS, 5.0, 0.0)
    live.settle(permit, SUCCESS, 0.1, 0.0, first_token=1.0)
    live.settle(permit, SUCCESS, 0.1, 0.0, first_token=0.1)
    assert live.read(0.0).counts == Counts(calls=3, slow=1, timed=2, slow_first_token=1)


def test_listeners_hear_every_transition_and_hold_up_nobody():
    """A listener that asks the breaker itself would wait for ever if a lock were held."""
    seen, failed = [], []
    breakers = Breakers(random=lambda: 0.0, on_error=failed.append)
    breakers.declare("llm:answer", Breaker(minimum_calls=2, half_open_calls=1))
    live = breakers.find("llm:answer", "gpt-5")

    def curious(route, model, event):
        breakers.snapshot(0.0)
        seen.append((route, model, event.after))
        raise RuntimeError("a listener's own fault")

    breakers.listen(curious)
    trip(live)
    trial = live.acquire(30.0)
    live.settle(trial, SUCCESS, 0.1, 30.0)
    live.force(State.FORCED_OPEN, 30.0)
    live.reset(30.0)
    assert [after for *_, after in seen] == [
        State.OPEN,
        State.HALF_OPEN,
        State.CLOSED,
        State.FORCED_OPEN,
        State.CLOSED,
    ]
    assert {(route, model) for route, model, _ in seen} == {("llm:answer", "gpt-5")}
    assert len(failed) == 5


def test_each_route_and_model_has_a_circuit_of_its_own():
    breakers = make()
    breakers.declare("llm:draft", Breaker())
    one = breakers.find("llm:answer", "gpt-5")
    assert one is breakers.find("llm:answer", "gpt-5")
    others = [breakers.find("llm:answer", "mini"), breakers.find("llm:draft", "gpt-5")]
    trip(one)
    assert [live.state for live in others] == [State.CLOSED] * 2
    assert breakers.find("llm:other", "gpt-5") is None


def test_threads_that_ask_first_get_one_circuit():
    breakers = make()
    found = in_threads(32, lambda _: breakers.find("llm:answer", "gpt-5"))
    assert len(set(map(id, found))) == 1


def test_declaring_again_begins_anew():
    breakers = make()
    trip(breakers.find("llm:answer", "gpt-5"))
    breakers.declare("llm:answer", Breaker(failure_rate=0.9))
    live = breakers.find("llm:answer", "gpt-5")
    assert (live.state, live.config.failure_rate) == (State.CLOSED, 0.9)


def test_model_names_do_not_fill_the_memory_and_open_circuits_stay(monkeypatch):
    monkeypatch.setattr(targets, "MAX_TARGETS", 10)
    breakers = make()
    trip(breakers.find("llm:answer", "first"))
    for n in range(50):
        breakers.find("llm:answer", f"model-{n}")
    assert len(list(breakers)) == 10
    assert breakers.find("llm:answer", "first").state is State.OPEN


def test_a_door_that_does_not_enforce_only_watches():
    seen = []
    breakers = Breakers(enforce=False, random=lambda: 0.0)
    breakers.listen(lambda route, model, event: seen.append(event))
    breakers.declare("llm:answer", Breaker(minimum_calls=2))
    live = breakers.find("llm:answer", "gpt-5")
    for _ in range(9):
        assert live.settle(live.acquire(0.0), FAILURE, 0.1, 0.0) in (None, *seen)
    assert live.state is State.METRICS_ONLY
    assert [type(event) for event in seen] == [Exceeded]


def test_a_refusal_says_what_is_open_and_what_to_do():
    live = make().find("llm:answer", "gpt-5")
    trip(live)
    error = live.denied(live.acquire(17.5))
    assert isinstance(error, BreakerOpen)
    assert (error.gate, error.retry_after) == ("breaker:llm:answer/gpt-5", 12.5)
    assert "'gpt-5' is open" in str(error)
    assert "12.5 s" in str(error)
    live.force(State.FORCED_OPEN, 20.0)
    error = live.denied(live.acquire(20.0))
    assert error.retry_after is None
    assert "reset it, or revert the switch" in str(error)


def test_the_snapshot_is_plain_data():
    breakers = make()
    live = breakers.find("llm:answer", "gpt-5")
    trip(live)
    live.acquire(10.0)
    assert breakers.snapshot(10.0) == {
        "llm:answer/gpt-5": {
            "state": "open",
            "epoch": 2,
            "retry_after": 20.0,
            "refused": 1,
            "opens": 1,
            "trials": 0,
            "counts": Counts()._asdict(),
            "rates": {"failure": None, "slow_call": None, "slow_first_token": None},
        }
    }
