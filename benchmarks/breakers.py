"""What a circuit breaker adds to one guarded call, closed and open, beside its peers.

    python benchmarks/breakers.py [--rounds 9]

Ours counts failures, slow calls and slow first tokens in a sliding window and has exact half-open
permits; the peers count failures in a row. Peers that are not installed are left out:
circuitbreaker, pybreaker, purgatory, aiobreaker, hyx.

The wrapper around ours is the least that uses it fully: two clock readings, a permit, a settled
outcome. `gate` is without the raising of an exception, which is what the skipping of a tier costs.
Floors: a flag check; the same with two clock readings, a lock and one histogram increment.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import threading
import time
from datetime import timedelta

from _harness import (
    added,
    async_loop,
    in_threads,
    interleave,
    loop,
    ratios,
    spread,
    table,
    versions,
)

from firedoor.config import Breaker
from firedoor.core.breaker_values import Permit, Result, State
from firedoor.shell.breakers import Breakers, LiveBreaker

PEERS = ("circuitbreaker", "pybreaker", "purgatory", "aiobreaker", "hyx")


def good():
    return 1


def bad():
    raise ValueError


async def async_good():
    return 1


async def async_bad():
    raise ValueError


def absorb(call):
    """`call`, with what it raises taken in."""

    def absorbed():
        try:
            call()
        except Exception:
            return

    return absorbed


def async_absorb(call):
    async def absorbed():
        try:
            await call()
        except Exception:
            return

    return absorbed


# Ours ------------------------------------------------------------------------------------------


def live(**settings) -> LiveBreaker:
    breakers = Breakers()
    breakers.declare("llm:answer", Breaker(slow_call=6.0, slow_call_rate=0.5, **settings))
    return breakers.find("llm:answer", "gpt-5")


def forced(state: State) -> LiveBreaker:
    breaker = live(open_for=600.0)
    breaker.force(state, time.perf_counter())
    return breaker


def with_failures() -> LiveBreaker:
    """The window of a target that fails now and then."""
    breaker = live(window=3600.0, minimum_calls=100, failure_rate=0.9)
    now = time.perf_counter()
    for n in range(200):
        result = Result.FAILURE if n % 20 == 0 else Result.SUCCESS
        breaker.settle(breaker.acquire(now), result, 0.1, now)
    return breaker


def guard(breaker, function):
    now = time.perf_counter

    def guarded():
        began = now()
        permit = breaker.acquire(began)
        if not isinstance(permit, Permit):
            raise breaker.denied(permit)
        try:
            answer = function()
        except Exception:
            ended = now()
            breaker.settle(permit, Result.FAILURE, ended - began, ended)
            raise
        ended = now()
        breaker.settle(permit, Result.SUCCESS, ended - began, ended)
        return answer

    return guarded


def async_guard(breaker, function):
    now = time.perf_counter

    async def guarded():
        began = now()
        permit = breaker.acquire(began)
        if not isinstance(permit, Permit):
            raise breaker.denied(permit)
        try:
            answer = await function()
        except Exception:
            ended = now()
            breaker.settle(permit, Result.FAILURE, ended - began, ended)
            raise
        ended = now()
        breaker.settle(permit, Result.SUCCESS, ended - began, ended)
        return answer

    return guarded


def gate(breaker):
    now = time.perf_counter

    def ask():
        if isinstance(breaker.acquire(now()), Permit):
            raise AssertionError("was not refused")

    return ask


# Floors ----------------------------------------------------------------------------------------


class Flag:
    """The least a breaker can be."""

    def __init__(self, until=0.0):
        self.until = until

    def guard(self, function):
        def guarded():
            if self.until and time.monotonic() < self.until:
                raise RuntimeError("open")
            return function()

        return guarded

    def async_guard(self, function):
        async def guarded():
            if self.until and time.monotonic() < self.until:
                raise RuntimeError("open")
            return await function()

        return guarded

    def timed(self, function):
        """With two clock readings, a lock and an increment."""
        buckets, lock, now = [0] * 64, threading.Lock(), time.perf_counter_ns

        def guarded():
            if self.until and time.monotonic() < self.until:
                raise RuntimeError("open")
            began = now()
            try:
                return function()
            finally:
                bucket = ((now() - began) >> 10).bit_length()
                with lock:
                    buckets[bucket] += 1

        return guarded


# Peers -----------------------------------------------------------------------------------------


def peers():
    """(name, sync wrapper or None, async wrapper or None) of each installed peer."""
    with contextlib.suppress(ImportError):
        from circuitbreaker import CircuitBreaker

        def wrap(function):
            return CircuitBreaker(failure_threshold=5, recovery_timeout=600)(function)

        yield "circuitbreaker", wrap, wrap
    with contextlib.suppress(ImportError):
        import pybreaker

        def wrap_call(function):
            breaker = pybreaker.CircuitBreaker(fail_max=5, reset_timeout=600)
            return lambda: breaker.call(function)

        yield "pybreaker", wrap_call, None
    with contextlib.suppress(ImportError):
        from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory

        yield (
            "purgatory",
            lambda f: SyncCircuitBreakerFactory(default_threshold=5, default_ttl=600)("peer")(f),
            lambda f: AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=600)("peer")(f),
        )
    with contextlib.suppress(ImportError):
        import aiobreaker

        def wrap_aio(function):
            return aiobreaker.CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=600))(
                function
            )

        yield "aiobreaker", None, wrap_aio
    with contextlib.suppress(ImportError):
        from hyx.circuitbreaker import consecutive_breaker

        def wrap_hyx(function):
            breaker = consecutive_breaker(failure_threshold=5, recovery_time_secs=600)

            async def guarded():
                async with breaker:
                    return await function()

            return guarded

        yield "hyx", None, wrap_hyx


def cases():
    """(group, name, timed case), the bare call of each group first."""
    found = list(peers())
    closed = {
        "bare": good,
        "floor: flag": Flag().guard(good),
        "floor: flag, clocks, lock, bucket": Flag().timed(good),
        "firedoor": guard(live(), good),
        "firedoor, failures in the window": guard(with_failures(), good),
        **{name: sync(good) for name, sync, _ in found if sync},
    }
    for name, call in closed.items():
        yield "sync closed", name, loop(call)
        yield "sync closed, 8 threads", name, in_threads(call, 8)
    opened = {
        "bare": bad,
        "floor: flag": Flag(time.monotonic() + 600).guard(bad),
        "firedoor, raising": guard(forced(State.OPEN), bad),
    }
    for name, sync, _ in found:
        if sync:
            opened[name] = sync(bad)
    for name, call in opened.items():
        for _ in range(8):
            absorb(call)()
        yield "sync open", name, loop(absorb(call))
    yield "sync open", "firedoor, gate", loop(gate(forced(State.OPEN)))
    closed = {
        "bare": async_good,
        "floor: flag": Flag().async_guard(async_good),
        "firedoor": async_guard(live(), async_good),
        **{name: wrap(async_good) for name, _, wrap in found if wrap},
    }
    for name, call in closed.items():
        yield "async closed", name, async_loop(call)
    opened = {
        "bare": async_bad,
        "firedoor, raising": async_guard(forced(State.OPEN), async_bad),
        **{name: wrap(async_bad) for name, _, wrap in found if wrap},
    }
    for name, call in opened.items():
        absorbed = async_absorb(call)
        async_loop(absorbed)(8)
        yield "async open", name, async_loop(absorbed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    logging.disable(logging.CRITICAL)
    named = {(group, name): case for group, name, case in cases()}
    figures = interleave(named, rounds=rounds)
    print(versions("firedoor", *PEERS))
    rows = []
    for (group, name), took in figures.items():
        bare = figures[group, "bare"]
        ours = figures.get((group, "firedoor")) or figures[group, "firedoor, raising"]
        over = [took_ - bare_ for took_, bare_ in zip(took, bare, strict=True)]
        least = [took_ - bare_ for took_, bare_ in zip(ours, bare, strict=True)]
        rows.append(
            [
                f"{group}: {name}",
                *spread(took),
                added(took, bare).median,
                None if name == "bare" else ratios(over, least).median,
            ]
        )
    print(table(["case", "µs least", "median", "greatest", "added", "x firedoor"], rows))


if __name__ == "__main__":
    main()
