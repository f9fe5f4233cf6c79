"""What 8 threads lose against one: total throughput of a breaker, a budget and a guarded call.

    python benchmarks/threads.py [--rounds 9]

Under the GIL no pure Python call gains by threads; what it can do is lose, where threads queue for
a lock that one of them holds as it is switched out. Every case makes the same number of calls in 1
and in 8 threads, in the same shuffled rounds; lost is the share of the throughput of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

from _harness import in_threads, interleave, ratios, spread, table, versions

import firedoor as fd
from firedoor.core.breaker_values import Permit, Result
from firedoor.shell.breakers import Breakers

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
    return {
        "bare function": bare(),
        "breaker": breaker(),
        "guarded call, two tiers": guarded(),
        "guarded call, breaker": guarded(breaker=fd.Breaker()),
        "guarded call, budget": guarded(budgets=[budget]),
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
    timed = {
        (name, count): in_threads(call, count)
        for name, call in made.items()
        for count in (1, THREADS)
    }
    figures = interleave(timed, rounds=rounds, seconds=0.2)
    rows = []
    for name in made:
        one, many = figures[name, 1], figures[name, THREADS]
        kept = ratios(one, many)
        rows.append(
            (name, spread(one).median, spread(many).median, f"{100 * (1 - kept.median):.0f} %")
        )
    print(table(("case", "us, 1 thread", f"{THREADS} threads", "lost"), rows))


if __name__ == "__main__":
    main()
