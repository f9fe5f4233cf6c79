"""What 8 threads lose against one: total throughput of each gate and of a guarded call.

    python benchmarks/threads.py [--rounds 9]

Under the GIL no pure Python call gains by threads; what it can do is lose, where threads queue for
a lock that one of them holds as it is switched out. Every case makes the same number of calls in 1
and in 8 threads, one right after the other, in shuffled rounds; lost is the share of the throughput
of one thread, in the median round, and from the second lowest to the second highest.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from _harness import in_threads, side_by_side, spread, table, versions

import firedoor as fd
from firedoor.clock import SYSTEM_CLOCK
from firedoor.core.breaker_values import Permit, Result
from firedoor.core.budget import Line
from firedoor.core.limiter import Ticket
from firedoor.shell.breakers import Breakers
from firedoor.shell.limiters import Limiters
from firedoor.stores import MemoryStore

ANSWER = {
    "id": "resp-1",
    "model": "small",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}
THREADS = 8


def bare() -> Callable[[], Any]:
    """Nothing but a function."""
    return lambda: ANSWER


def breaker() -> Callable[[], Any]:
    """A permit taken and a good outcome told."""
    breakers = Breakers()
    breakers.declare("llm:answer", fd.Breaker(slow_call=6.0, slow_call_rate=0.5))
    live = breakers.find("llm:answer", "gpt-5")
    now = time.perf_counter

    def call() -> None:
        began = now()
        permit = live.acquire(began)
        assert isinstance(permit, Permit)
        ended = now()
        live.settle(permit, Result.SUCCESS, ended - began, ended)

    return call


def limiter(**settings: Any) -> Callable[[], Any]:
    """A place taken and given back."""
    limiters = Limiters(SYSTEM_CLOCK)
    limiters.declare("llm:answer", fd.Limiter(max_concurrent=64, **settings))
    live = limiters.find("llm:answer", "gpt-5")
    now = time.perf_counter

    def call() -> None:
        ticket = live.acquire(now())
        assert isinstance(ticket, Ticket)
        live.release(ticket, now())

    return call


def counters(*keys: str) -> Callable[[], Any]:
    """Budgets in memory: held together, and given back."""
    tally = MemoryStore().tally
    lines = tuple(Line(key, 2**50, 100, 10, 4e9) for key in keys)
    spent = (60,) * len(lines)

    def call() -> None:
        if not isinstance(tally.take(lines), int):
            tally.give(lines, spent)

    return call


def guarded(**options: Any) -> Callable[[], Any]:
    """A guarded call of a default door, without telemetry."""
    door = fd.Firedoor("bench", prices={"big": (1, 2), "small": (1, 2)})
    tiers = [fd.Tier("big", max_output=100), fd.Tier("small", max_output=100)]

    @door.llm("answer", tiers=tiers, **options)
    def answer(*, model: str = fd.ROUTED) -> Any:
        return ANSWER

    return answer


def cases() -> dict[str, Callable[[], Any]]:
    """What is called, by name."""
    budget = fd.Budget(usd=1_000_000_000, per="day")
    several = [
        budget,
        fd.Budget(tokens=10**12, per="hour"),
        fd.Budget(usd=1_000_000_000, per="month", scope="journey"),
    ]
    return {
        "bare function": bare(),
        "breaker": breaker(),
        "limiter": limiter(),
        "limiter, adaptive": limiter(adaptive=True),
        "budget": counters("a"),
        "three budgets": counters("a", "b", "c"),
        "guarded call, two tiers": guarded(),
        "guarded call, breaker": guarded(breaker=fd.Breaker()),
        "guarded call, budget": guarded(budgets=[budget]),
        "guarded call, three budgets": guarded(budgets=several),
        "guarded call, breaker, limiter, budget": guarded(
            breaker=fd.Breaker(), limiter=fd.Limiter(max_concurrent=64), budgets=[budget]
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(versions("firedoor"))
    made = cases()
    figures = side_by_side(
        {name: (in_threads(call, 1), in_threads(call, THREADS)) for name, call in made.items()},
        rounds=rounds,
        seconds=0.2,
    )
    rows = []
    for name, (one, many) in figures.items():
        lost = sorted(100 * (1 - a / b) for a, b in zip(one, many, strict=True))
        rows.append(
            (
                name,
                spread(one).median,
                spread(many).median,
                f"{statistics.median(lost):.0f} %",
                f"{lost[1]:.0f} to {lost[-2]:.0f} %",
                f"{100 * (1 - min(one) / min(many)):.0f} %",
            )
        )
    head = ("case", "us, 1 thread", f"{THREADS} threads", "lost", "rounds", "least times")
    print(table(head, rows))


if __name__ == "__main__":
    main()
