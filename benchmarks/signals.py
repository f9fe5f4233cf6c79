"""What signals cost: to record a decision, to keep quantiles, to read, to remember 10,000 keys.

    python benchmarks/signals.py [--rounds 9]

*Recording* puts one finished decision into every default signal: counts, latency and first token
as distributions, money and tokens, a search's scores and ages. "the call" is a guarded call with
signals less the same call without. Floors: an append to a deque; a lock and a dict of 15 counters.

*Quantiles* of a sliding window: one insert, one query, and both amortised over a query per 100
inserts, which is a look once a second at 100 calls a second. Peers are given the same values;
those marked "window" forget, the others would have to be rotated. "off" is the p95 against the
exact one, per cent. Peers that are not installed are left out.

Times are of the processor, not of the wall: one thread, no waiting, and a machine that may be shared.

*Memory* is measured in a process of its own: so many keys, each with calls in every half hour of
three days and then in every fine slot of seven minutes, one key in five set apart.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import contextlib
import gc
import json
import math
import pathlib
import random
import subprocess
import sys
import threading
import time

from _harness import added, interleave, ratios, spread, table, versions

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests"))

import firedoor as fd
from firedoor.core.causes import SPEAKS
from firedoor.core.cells import Cell
from firedoor.core.quantiles import Histogram, quantile
from firedoor.core.series import Selector
from firedoor.incidents.signals import Signals
from firedoor.testing import FakeClock
from support.calls import chat, failed, fallback, retrieval, stream, tool

PEERS = ("ddsketch", "hdrhistogram", "tdigest", "fastdigest", "sortedcontainers", "numpy")
WINDOW = 1_000
LOOK = 100
SOME = 20
"""Decisions that are left behind at once: fewer than a batch."""
RNG = random.Random(5)
TIMES = [RNG.lognormvariate(-1.0, 0.8) for _ in range(4_096)]
"""Seconds, the median 0.37."""


def loop(call):
    """A case that calls `call`, by the processor's clock."""

    def run(n):
        began = time.thread_time()
        for _ in range(n):
            call()
        return time.thread_time() - began

    return run


def live():
    return Signals(time.perf_counter, time.time, on_fault=print)


# Recording -------------------------------------------------------------------------------------


def recording():
    """(name, case) of what it takes to record one decision."""
    pending = collections.deque(maxlen=1_000)
    one = chat().freeze()
    yield "floor: append to a deque", loop(lambda: pending.append(one))
    lock, counts = threading.Lock(), dict.fromkeys(range(15), 0)

    def count():
        with lock:
            for name in counts:
                counts[name] += 1

    yield "floor: a lock and 15 counters", loop(count)
    signals = live()
    record = signals.record
    kinds = {
        "a model call": chat(),
        "a stream": stream(),
        "a failed call": failed(),
        "a fallback, two attempts": fallback(),
        "a search, two documents": retrieval(),
        "a tool call": tool(),
    }
    for name, made in kinds.items():
        made.freeze()
        yield f"firedoor: {name}", loop(lambda made=made: record(made))
    yield "firedoor: a model call, on its path", on_path(lambda: record(one), signals)
    mixed = [chat(latency_s=t, alias=f"m{n % 4}").freeze() for n, t in enumerate(TIMES)]
    turn = iter(range(1 << 62))
    yield (
        "firedoor: model calls, 4 keys, times drawn",
        loop(lambda: record(mixed[next(turn) & 4_095])),
    )
    for name, silent in (("without signals", True), ("with signals", False)):
        door = fd.Firedoor("bench")
        if silent:
            door._runtime.listeners.remove(door.signals.record)
            door._runtime.request_listeners.remove(door.signals.record_request)
        guarded = door.llm("answer", model="gpt-5")(_answer)
        yield f"the call, {name}", in_a_request(door, guarded)
        yield (
            f"the call on its path, {name}",
            on_path(lambda g=guarded: g([]), None if silent else door.signals),
        )
        yield f"a request with one call, {name}", loop(lambda d=door, g=guarded: one_request(d, g))


def on_path(call, signals):
    """A case of calls that leave themselves behind; to take them in is not in its time."""

    def run(n):
        took = 0.0
        for _ in range(0, n, SOME):
            began = time.thread_time()
            for _ in range(SOME):
                call()
            took += time.thread_time() - began
            if signals is not None:
                signals.read("blocked_rate")
        return took

    return run


def in_a_request(door, guarded):
    """A case of calls in one request, which is kept from growing."""

    def run(n):
        with door.request("checkout-help") as request:
            began = time.thread_time()
            for _ in range(n):
                guarded([])
                request._decisions.clear()
            return time.thread_time() - began

    return run


def one_request(door, guarded):
    with door.request("checkout-help"):
        guarded([])


REPLY = {
    "model": "gpt-5",
    "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 61, "completion_tokens": 48},
}


def _answer(messages, *, model):
    return REPLY


# Quantiles -------------------------------------------------------------------------------------


class LogRing:
    """The floor: ten slices of log-scaled counts, 2 % wide, with a running total."""

    def __init__(self):
        self.slices = collections.deque([[0] * 512 for _ in range(10)], maxlen=10)
        self.total = [0] * 512
        self.current, self.left, self.lock = self.slices[-1], 100, threading.Lock()

    def add(self, x):
        place = min(511, int(math.log2(x * 1e3 + 1e-9) * 35.0)) if x > 1e-3 else 0
        with self.lock:
            self.current[place] += 1
            self.total[place] += 1
            self.left -= 1
            if not self.left:
                self.rotate()

    def rotate(self):
        old = self.slices.popleft()
        for place, count in enumerate(old):
            if count:
                self.total[place] -= count
                old[place] = 0
        self.slices.append(old)
        self.current, self.left = old, 100

    def p95(self):
        need = sum(self.total) * 0.05
        for place in range(511, -1, -1):
            need -= self.total[place]
            if need <= 0:
                return 2 ** ((place + 0.5) / 35.0) / 1e3
        return None


def quantiles():
    """(name, insert, query) of each way to have a p95."""
    ring = LogRing()
    yield "floor: log ring (window)", ring.add, ring.p95
    ordered, order = [], collections.deque()

    def add(x):
        order.append(x)
        bisect.insort(ordered, x)
        if len(order) > WINDOW:
            del ordered[bisect.bisect_left(ordered, order.popleft())]

    yield "floor: bisect on a list, exact (window)", add, lambda: ordered[int(len(ordered) * 0.95)]
    cell = Cell()
    yield (
        "firedoor: one cell",
        lambda x: cell.spread("latency", x),
        lambda: quantile(cell.bins["latency"], 0.95),
    )
    histogram = Histogram()
    yield "firedoor: a histogram", histogram.record, lambda: histogram.quantile(0.95)
    signals = live()
    signals.register("wait", shape="quantile", quantile=0.95)
    series = signals.series("wait", Selector())
    still = Signals(lambda: 0.0, lambda: 0.0, on_fault=print)  # one slot, for as long as it takes
    still.record(chat(latency_s=TIMES[0]).freeze())
    (slot,) = still._counting.open.values()
    late = still.series("latency_p95", Selector(route="llm:answer"))
    yield (
        "firedoor: latency_p95, a call's insert and a rule's query (window)",
        lambda x: slot.spread("latency", x),
        lambda: late.over(300.0, 0.0).value,
    )
    yield (
        "firedoor: a signal, observed and read (window)",
        lambda x: signals.observe("wait", x),
        lambda: series.over(300.0, time.perf_counter()).value,
    )
    with contextlib.suppress(ImportError):
        from ddsketch import DDSketch

        sketch = DDSketch(0.01)
        yield "ddsketch 1 %", sketch.add, lambda: sketch.get_quantile_value(0.95)
    with contextlib.suppress(ImportError):
        from hdrh.histogram import HdrHistogram

        hdr = HdrHistogram(1, 3_600_000, 2)
        yield (
            "hdrhistogram, 2 digits",
            lambda x: hdr.record_value(int(x * 1e3)),
            lambda: hdr.get_value_at_percentile(95) / 1e3,
        )
    with contextlib.suppress(ImportError):
        from sortedcontainers import SortedList

        held, came = SortedList(), collections.deque()

        def put(x):
            came.append(x)
            held.add(x)
            if len(came) > WINDOW:
                held.remove(came.popleft())

        yield "sortedcontainers, exact (window)", put, lambda: held[int(len(held) * 0.95)]
    with contextlib.suppress(ImportError):
        import fastdigest

        rust = fastdigest.TDigest()
        yield "fastdigest (Rust)", rust.update, lambda: rust.quantile(0.95)
    with contextlib.suppress(ImportError):
        from tdigest import TDigest

        digest = TDigest()
        yield "tdigest", digest.update, lambda: digest.percentile(95)


def amortised(insert, query):
    """A case of inserts with a query after every hundredth."""

    def run(n):
        began = time.thread_time()
        for i in range(n):
            insert(TIMES[i & 4_095])
            if i % LOOK == 0:
                query()
        return time.thread_time() - began

    return run


def off(insert, query, *, window):
    """How far the p95 is from the exact one, per cent."""
    for x in TIMES:
        insert(x)
    seen = sorted(TIMES[-WINDOW:] if window else TIMES)
    exact = seen[math.floor(0.95 * (len(seen) - 1))]
    return abs(query() / exact - 1) * 100


# Reading ---------------------------------------------------------------------------------------


def busy(clock, keys=50):
    """Signals with an hour and a half of traffic behind them, 50 keys, 20 calls a second."""
    signals = Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=print)
    made = [chat(journey=f"j{n % 5}", alias=f"m{n // 5}").freeze() for n in range(keys)]
    for n in range(100_000):
        signals.record(made[n % keys])
        clock.advance(0.054)
    return signals


def reading():
    """(name, case) of looks at signals under traffic."""
    clock = FakeClock()
    signals = busy(clock)
    one = chat(journey="j1", alias="m1").freeze()
    journey = signals.series("refusal_rate", Selector("j1"))
    whole = signals.series("refusal_rate")
    late = signals.series("latency_p95", Selector("j1", "llm:answer"))

    def fresh(look):
        def run():
            signals.record(one)
            look()

        return run

    now = clock.now
    yield "a rate, 5 min of a journey", loop(fresh(lambda: journey.over(300, now())))
    yield "a rate, 5 min of the door", loop(fresh(lambda: whole.over(300, now())))
    yield "a rate, the hour before", loop(fresh(lambda: journey.over(3_600, now(), before=300)))
    yield "a p95, 5 min of a route", loop(fresh(lambda: late.over(300, now())))
    yield "every signal, 5 min of the door", loop(fresh(lambda: signals.snapshot(now())))


# Memory ----------------------------------------------------------------------------------------


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def remember(keys, each):
    """Fill the slots of `keys` keys with `each` calls; print what that takes, as JSON."""
    clock = FakeClock()
    signals = Signals(clock.now, lambda: clock.time_ns() / 1e9, on_fault=print)
    rng = random.Random(3)

    def one(n, latency):
        made = stream(
            journey=f"journey-{n % 100}",
            alias=f"alias-{n // 100}",
            latency_s=latency,
            switches=("sw-1",) if n % 5 == 0 else (),
        )
        return made.freeze()

    made = [one(n, rng.lognormvariate(-1.0, 0.8)) for n in range(keys) for _ in range(each)]
    gc.collect()
    before = resident()
    began = time.thread_time()
    calls = 0
    for _ in range(144):
        for decision in made:
            signals.record(decision)
        calls += len(made)
        clock.advance(1_800)
        signals.read("refusal_rate")
    for _ in range(42):
        for decision in made:
            signals.record(decision)
        calls += len(made)
        clock.advance(10)
        signals.read("refusal_rate")
    took = time.thread_time() - began
    gc.collect()
    told = signals.snapshot(clock.now())
    watched = signals.read("refusal_rate", window=3 * 86_400.0)
    print(
        json.dumps(
            {
                "keys": told["keys"],
                "cells": told["cells"],
                "MB": (resident() - before) * 1.048576,
                "hours": watched.seconds / 3_600,
                "us": took / calls * 1e6,
            }
        )
    )


def memory():
    """A row for each number of keys."""
    rows = []
    for keys, calls in ((1, 1_000), (100, 10), (1_000, 1), (10_000, 1)):
        done = subprocess.run(
            [sys.executable, __file__, "--remember", str(keys), "--each", str(calls)],
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(done.stdout)
        name = f"{told['keys']:,} keys, {calls:,} calls of each in each slot"
        each = told["MB"] * 1e3 / told["keys"]
        rows.append([name, told["cells"], told["MB"], each, told["hours"], told["us"]])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--remember", type=int, default=0, help="for the processes it starts")
    parser.add_argument("--each", type=int, default=1, help="likewise")
    asked = parser.parse_args()
    if asked.remember:
        remember(asked.remember, asked.each)
        return
    print(versions("firedoor", *PEERS))
    print(f"\nRecording a decision into all {len(SPEAKS)} default signals\n")
    figures = interleave(dict(recording()), rounds=asked.rounds)
    bare = figures["floor: append to a deque"]
    rows = [[name, *spread(took), ratios(took, bare).median] for name, took in figures.items()]
    for what in ("the call", "the call on its path", "a request with one call"):
        more = added(figures[f"{what}, with signals"], figures[f"{what}, without signals"])
        rows.append([f"added to {what} by signals", *more, None])
    print(table(["case", "µs least", "median", "greatest", "x append"], rows))

    print("\nA p95 of a sliding window\n")
    ways = {name: (insert, query) for name, insert, query in quantiles()}
    missed = {n: off(*way, window="window" in n and "firedoor" not in n) for n, way in ways.items()}
    cases = {}
    for name, (insert, query) in ways.items():
        turn = iter(range(1 << 62))
        cases["insert", name] = loop(
            lambda insert=insert, turn=turn: insert(TIMES[next(turn) & 4_095])
        )
        cases["query", name] = loop(query)
        cases["both", name] = amortised(insert, query)
    empty = iter(range(1 << 62))
    cases["insert", ""] = loop(lambda: TIMES[next(empty) & 4_095])
    figures = interleave(cases, rounds=asked.rounds)
    floor = figures["both", "floor: bisect on a list, exact (window)"]
    rows = [
        [
            name,
            added(figures["insert", name], figures["insert", ""]).median,
            spread(figures["query", name]).median,
            spread(figures["both", name]).least,
            spread(figures["both", name]).median,
            ratios(figures["both", name], floor).median,
            missed[name],
        ]
        for name in ways
    ]
    print(table(["way", "insert µs", "query µs", "both, least", "both", "x bisect", "off %"], rows))

    print("\nReading under traffic: 50 keys, 90 minutes behind, a new decision before each look\n")
    figures = interleave(dict(reading()), rounds=asked.rounds)
    print(
        table(
            ["look", "µs least", "median", "greatest"],
            [[name, *spread(took)] for name, took in figures.items()],
        )
    )
    print("\nMemory: every key in every slot of seven minutes and every half hour of three days\n")
    print(table(["keys", "cells", "MB", "kB a key", "hours kept", "µs a call"], memory()))


if __name__ == "__main__":
    main()
