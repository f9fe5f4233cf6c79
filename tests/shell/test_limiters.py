"""The limiters of a door, waited on for real by threads and tasks; time by a fake clock."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from firedoor.clock import SYSTEM_CLOCK, SystemClock
from firedoor.config import Limiter
from firedoor.core.limiter import Ended, Shed, Ticket
from firedoor.errors import Saturated
from firedoor.shell.limiters import Limiters, LiveLimiter
from firedoor.shell.retries import Retries
from firedoor.testing import FakeClock


def make(clock=None, **settings):
    settings = {"max_concurrent": 1, "max_wait": 10.0, "max_queue": 2_000} | settings
    limiters = Limiters(clock or SYSTEM_CLOCK)
    limiters.declare("llm:answer", Limiter(**settings))
    return limiters.find("llm:answer", "gpt-5")


def until(condition):
    """Let other threads run until `condition()`; the suite's time-out ends a wait in vain."""
    while not condition():
        time.sleep(0)


class Gauge:
    """Counts who is inside at once."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = self.most = self.total = 0

    def enter(self):
        with self.lock:
            self.inside += 1
            self.total += 1
            self.most = max(self.most, self.inside)

    def exit(self):
        with self.lock:
            self.inside -= 1


def test_64_threads_never_outnumber_the_limit_and_all_come_in():
    live, gauge = make(max_concurrent=7, max_wait=60.0), Gauge()

    def work(_):
        for _ in range(20):
            ticket = live.acquire(SYSTEM_CLOCK.now())
            assert isinstance(ticket, Ticket)
            gauge.enter()
            time.sleep(0)
            gauge.exit()
            live.release(ticket, SYSTEM_CLOCK.now(), Ended.SILENT)

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(work, range(64)))
    assert (gauge.total, gauge.most) == (64 * 20, 7)
    assert (live.read().running, live.read().waiting) == (0, 0)


async def test_1000_tasks_never_outnumber_the_limit_and_all_come_in():
    live, gauge = make(max_concurrent=7, max_wait=60.0), Gauge()

    async def work():
        ticket = await live.acquire_async(SYSTEM_CLOCK.now())
        assert isinstance(ticket, Ticket)
        gauge.enter()
        await asyncio.sleep(0)
        gauge.exit()
        live.release(ticket, SYSTEM_CLOCK.now(), Ended.SILENT)

    await asyncio.gather(*(work() for _ in range(1000)))
    assert (gauge.total, gauge.most) == (1000, 7)
    assert (live.read().running, live.read().waiting) == (0, 0)


def test_threads_and_the_tasks_of_several_loops_share_one_limiter():
    live, gauge = make(max_concurrent=3, max_wait=60.0), Gauge()

    def thread(_):
        for _ in range(50):
            ticket = live.acquire(SYSTEM_CLOCK.now())
            gauge.enter()
            time.sleep(0)
            gauge.exit()
            live.release(ticket, SYSTEM_CLOCK.now(), Ended.SILENT)

    async def task():
        ticket = await live.acquire_async(SYSTEM_CLOCK.now())
        gauge.enter()
        await asyncio.sleep(0)
        gauge.exit()
        live.release(ticket, SYSTEM_CLOCK.now(), Ended.SILENT)

    async def loop():
        await asyncio.gather(*(task() for _ in range(200)))

    with ThreadPoolExecutor(11) as pool:
        jobs = [pool.submit(thread, n) for n in range(8)]
        jobs += [pool.submit(lambda: asyncio.run(loop())) for _ in range(3)]
        for job in jobs:
            job.result()
    assert gauge.total == 8 * 50 + 3 * 200
    assert gauge.most == 3
    assert (live.read().running, live.read().waiting) == (0, 0)


async def test_cancelling_who_waits_and_who_was_just_let_in_loses_no_slot():
    """Cancel in every phase: queued, and between the wake-up and the task's next step."""
    live = make(max_concurrent=2)
    held = [await live.acquire_async(0.0) for _ in range(2)]
    tasks = [asyncio.ensure_future(live.acquire_async(SYSTEM_CLOCK.now())) for _ in range(50)]
    await asyncio.sleep(0)
    assert live.read().waiting == 50
    for task in tasks[:10]:
        task.cancel()
    for ticket in held:
        live.release(ticket, SYSTEM_CLOCK.now(), Ended.SILENT)
    for task in tasks[10:13]:  # two of these hold a slot by now, and have not run since
        task.cancel()
    done = await asyncio.gather(*tasks[:13], return_exceptions=True)
    assert all(isinstance(d, asyncio.CancelledError) for d in done)
    for task in tasks[13:]:
        live.release(await task, SYSTEM_CLOCK.now(), Ended.SILENT)
    assert (live.read().running, live.read().waiting) == (0, 0)


def test_a_waiter_whose_loop_is_gone_passes_its_place_on():

    class Endless(SystemClock):
        """Only a wake-up ends the wait of a thread."""

        def wait(self, event, seconds):
            event.wait()

    live = make(Endless())
    held = live.acquire(0.0)
    loop = asyncio.new_event_loop()
    task = loop.create_task(live.acquire_async(SYSTEM_CLOCK.now()))
    loop.run_until_complete(asyncio.sleep(0))
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(live.acquire, SYSTEM_CLOCK.now())
        until(lambda: live.read().waiting == 2)
        # The loop's thread died with the task in the middle of its wait.
        loop.close()
        live.release(held, SYSTEM_CLOCK.now(), Ended.SILENT)
        assert isinstance(thread.result(), Ticket)
    assert live.read().running == 1
    task._log_destroy_pending = False


def test_a_thread_waits_no_longer_than_max_wait():
    clock = FakeClock()
    live = make(clock, max_wait=2.0)
    live.acquire(0.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.acquire, 0.0)
        until(lambda: clock.sleeping)
        clock.advance(1.9)
        assert live.read().waiting == 1
        clock.advance(0.1)
        assert waiting.result() == Shed("expired", None)
    assert live.read().waiting == 0
    assert clock.sleeping == 0


def test_a_thread_waits_no_longer_than_its_deadline():
    clock = FakeClock()
    live = make(clock, max_wait=9.0)
    live.acquire(0.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.acquire, 0.0, deadline=1.5)
        until(lambda: clock.sleeping)
        clock.advance(1.5)
        assert waiting.result() == Shed("expired", None)


async def test_a_task_waits_no_longer_than_max_wait():
    clock = FakeClock()
    live = make(clock, max_wait=2.0)
    held = await live.acquire_async(0.0)
    waiting = asyncio.ensure_future(live.acquire_async(0.0))
    while not clock.sleeping:
        await asyncio.sleep(0)
    clock.advance(2.0)
    assert await waiting == Shed("expired", None)
    live.release(held, 2.0)
    assert live.read().running == 0


def test_a_released_slot_wakes_a_thread_at_once():
    clock = FakeClock()
    live = make(clock)
    held = live.acquire(0.0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(live.acquire, 0.0)
        until(lambda: clock.sleeping)
        live.release(held, 0.0)
        assert isinstance(waiting.result(), Ticket)
    assert clock.sleeping == 0


async def test_who_is_outranked_is_told_at_once():
    live = make(max_queue=1, priority=("checkout",))
    await live.acquire_async(0.0)
    modest = asyncio.ensure_future(live.acquire_async(SYSTEM_CLOCK.now()))
    await asyncio.sleep(0)
    urgent = asyncio.ensure_future(live.acquire_async(SYSTEM_CLOCK.now(), journey="checkout"))
    assert await modest == Shed("outranked", None)
    urgent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await urgent


def test_an_interrupted_thread_gives_up_its_place():
    """Ctrl-C in the middle of a wait."""

    class Interrupted(FakeClock):
        def wait(self, event, seconds):
            raise KeyboardInterrupt

    live = make(Interrupted())
    live.acquire(0.0)
    with pytest.raises(KeyboardInterrupt):
        live.acquire(0.0)
    assert live.read().waiting == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_wait": 0.0, "max_queue": None}, "none may wait"),
        ({"max_queue": 0}, "none may wait"),
    ],
)
def test_a_refusal_says_what_is_full_and_what_to_do(settings, said):
    live = make(**settings)
    live.release(live.acquire(0.0), 2.0)
    live.acquire(2.0)
    shed = live.acquire(2.0)
    error = live.denied(shed)
    assert isinstance(error, Saturated)
    assert (error.gate, error.retry_after) == ("limiter:llm:answer/gpt-5", 2.0)
    assert "runs 1 of 1 calls" in str(error)
    assert said in str(error)
    assert "Try again in 2.0 s" in str(error)


def test_every_reason_can_be_told():
    live = make()
    for reason in ("saturated", "queue_full", "too_late", "expired", "outranked"):
        assert str(live.denied(Shed(reason, None)))


def test_the_snapshot_is_plain_data():
    limiters = Limiters(FakeClock())
    limiters.declare("llm:answer", Limiter(max_concurrent=4))
    limiters.find("llm:answer", "gpt-5").acquire(0.0)
    assert limiters.snapshot() == {
        "llm:answer/gpt-5": {
            "limit": 4,
            "running": 1,
            "waiting": 0,
            "admitted": 1,
            "shed": 0,
            "latency": None,
        }
    }
    assert limiters.find("tool:refund", "x") is None
    assert isinstance(next(iter(limiters)), LiveLimiter)


def test_one_limiter_for_every_model_of_a_route():
    """A fallback adds no concurrency of its own, and a refusal names no model."""
    limiters = Limiters(FakeClock())
    limiters.declare("llm:answer", Limiter(max_concurrent=1, per="route"))
    limiters.declare("llm:draft", Limiter(max_concurrent=1))
    live = limiters.find("llm:answer", "gpt-5")
    assert limiters.find("llm:answer", "gpt-5-mini") is live
    assert limiters.find("llm:draft", "gpt-5") is not limiters.find("llm:draft", "gpt-5-mini")
    live.acquire(0.0)
    denied = live.denied(live.acquire(0.0))
    assert str(denied).startswith("llm:answer runs 1 of 1 calls and none may wait")
    assert denied.gate == "limiter:llm:answer/*"
    limiters.declare("llm:answer", Limiter(max_concurrent=1))
    assert limiters.find("llm:answer", "a") is not limiters.find("llm:answer", "b")


def test_threads_share_one_retry_budget():
    retries = Retries(ratio=0.1, minimum=0)

    def work(_):
        granted = 0
        for _ in range(500):
            retries.attempted(1.0)
            granted += retries.take(1.0)
        return granted

    with ThreadPoolExecutor(16) as pool:
        granted = sum(pool.map(work, range(16)))
    assert granted == 800
    assert retries.snapshot(1.0) == {"ratio": 0.1, "left": 0, "refused": 8000 - 800}


def test_first_attempts_do_not_pile_up():
    retries = Retries()
    for _ in range(10_000):
        retries.attempted(1.0)
    assert len(retries._firsts) <= 129
    assert retries.snapshot(1.0)["left"] == 1000
