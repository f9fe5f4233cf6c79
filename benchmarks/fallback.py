"""What a ladder of two tiers costs, and what going down it costs, beside its peers.

    python benchmarks/fallback.py [--rounds 9]
    python benchmarks/fallback.py --peers litellm     in an environment that has LiteLLM too

The function fails at once with a connection error, or answers a small dict; no network. Telemetry
is off: no tracer or meter provider is set, so no span is made. All else a default door does is
done: both attempts are attributed and written down, the decision is made (ids, times, tokens,
finish reason, refusal by its text), the retry budget and the sums of calls, attempts and tokens are
kept. The row `firedoor` counts the signals of the incident rules as well; `no signals` is the same
call without them, which is the like of a router that only routes.

Last comes what the ladder itself adds, over the same call of one model without one: to a call that
the first tier answers, and to one that fails over.

Floor: a loop over the tiers with `try`/`except`. Peers that are not installed are left out:
LangChain's `with_fallbacks`, LiteLLM's `Router` (which mocks its answers itself). LiteLLM brings
some sixty packages: with `--peers litellm` everything runs once more in an environment of its own
(see `_peers.py`), firedoor and LangChain beside it in the same process and the same rounds.

Also: what a chunk of an async stream costs, guarded and with time limits, over a bare one.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from _harness import Case, added, interleave, loop, ratios, spread, table, versions
from _peers import environment

import firedoor as fd

ANSWER = {
    "id": "resp-1",
    "model": "small",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi."}}
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
}
CHUNK = {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
TIERS = ("big", "small")
PEERS = ("litellm", "langchain-core", "opentelemetry-sdk")
QUIET = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}
"""Nothing is fetched or sent."""


ALONE = "alone"
"""In the place of the tier that is down: there is one model, and no ladder."""


def floor(down: str | None) -> Callable[[], Any]:
    """A loop over the tiers."""

    def ask(model: str) -> Any:
        if model == down:
            raise ConnectionError(model)
        return ANSWER

    def call() -> Any:
        last: Exception | None = None
        for model in TIERS:
            try:
                return ask(model)
            except Exception as error:
                last = error
        raise AssertionError from last

    return call


def ours(down: str | None, *, signals: bool = True) -> Callable[[], Any]:
    """A guarded function on two tiers."""
    door = fd.Firedoor("bench")
    if not signals:
        door._runtime.listeners.clear()

    route = {"model": "big"} if down == ALONE else {"tiers": [fd.Tier(m) for m in TIERS]}

    @door.llm("answer", **route)
    def answer(*, model: str = fd.ROUTED) -> Any:
        if model == down:
            raise ConnectionError(model)
        return ANSWER

    return answer


def langchain(down: str | None) -> Callable[[], Any] | None:
    """Two runnables."""
    try:
        from langchain_core.runnables import RunnableLambda
    except ImportError:
        return None

    def ask(model: str) -> Any:
        def body(_: Any) -> Any:
            if model == down:
                raise ConnectionError(model)
            return ANSWER

        return RunnableLambda(body)

    chain: Any = ask("big")
    if down != ALONE:
        chain = chain.with_fallbacks([ask("small")])
    return lambda: chain.invoke("hi")


def litellm(down: str | None) -> Callable[[], Any] | None:
    """A router with a fallback, answering from its mocks."""
    try:
        import litellm as library
        from litellm import Router
    except ImportError:
        return None
    library.suppress_debug_info = True
    logging.disable(logging.CRITICAL)

    def deployment(model: str) -> dict[str, Any]:
        mock: Any = ConnectionError(model) if model == down else "Hi."
        return {
            "model_name": model,
            "litellm_params": {"model": "openai/m", "api_key": "k", "mock_response": mock},
        }

    router = Router(
        model_list=[deployment(model) for model in TIERS],
        fallbacks=[{"big": ["small"]}],
        num_retries=0,
        disable_cooldowns=True,
    )
    messages = [{"role": "user", "content": "hi"}]
    return lambda: router.completion(model="big", messages=messages)


class Chunks:
    """An async stream object that is there already."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Any:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        return CHUNK


def chunks(**limits: float) -> Case:
    """A case that reads n chunks of one stream."""
    door = fd.Firedoor("bench")

    @door.llm("answer", tiers=[fd.Tier("big", **limits)])
    async def answer(n: int, *, model: str = fd.ROUTED) -> Any:
        return Chunks(n)

    async def body(n: int) -> float:
        stream = await answer(n)
        began = time.perf_counter()
        async for _ in stream:
            pass
        return time.perf_counter() - began

    return lambda n: asyncio.run(body(n))


async def bare(n: int) -> float:
    """Seconds to read n chunks that nobody guards."""
    stream = Chunks(n)
    began = time.perf_counter()
    async for _ in stream:
        pass
    return time.perf_counter() - began


def what_the_ladder_adds(rounds: int) -> None:
    """Print what it adds to a call, ours beside LangChain's."""
    downs = {"alone": ALONE, "answers": None, "fails over": "big"}
    cases = {
        (name, what): loop(call)
        for name, make in (("firedoor", ours), ("LangChain", langchain))
        for what, down in downs.items()
        if (call := make(down)) is not None
    }
    figures = interleave(cases, rounds=rounds)
    rows = []
    for what in ("answers", "fails over"):
        more = {
            name: [a - b for a, b in zip(figures[name, what], figures[name, "alone"], strict=True)]
            for name in ("firedoor", "LangChain")
            if (name, what) in figures
        }
        peer = more.get("LangChain")
        ratio = ratios(more["firedoor"], peer).median if peer else float("nan")
        rows.append((what, *(spread(took).median for took in more.values()), ratio))
    print("\nadded by the ladder to a call of one model\n")
    names = ("firedoor", "LangChain")[: len(cases) // len(downs)]
    print(table(("", *(f"{name}, us" for name in names), "firedoor / LangChain"), rows))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peers", default="", help="litellm: run in an environment that has it")
    asked = parser.parse_args()
    rounds = asked.rounds
    if asked.peers:
        python = environment("litellm", PEERS)
        if python is not None:
            subprocess.run([str(python), __file__, "--rounds", str(rounds)], check=True, env=QUIET)
            return
    print(versions("langchain-core", "litellm"))
    made = {
        "try/except": floor,
        "firedoor": ours,
        "firedoor, no signals": lambda down: ours(down, signals=False),
        "LangChain": langchain,
        "LiteLLM": litellm,
    }
    for title, down in (("first tier answers", None), ("failover to the second", "big")):
        calls = {name: make(down) for name, make in made.items()}
        cases = {name: loop(call) for name, call in calls.items() if call is not None}
        figures = interleave(cases, rounds=rounds)
        rows = [
            (
                name,
                spread(took).median,
                added(took, figures["try/except"]).median,
                ratios(figures["firedoor"], took).median,
                ratios(figures["firedoor, no signals"], took).median,
            )
            for name, took in figures.items()
        ]
        print(f"\n{title}\n")
        print(table(("", "us", "over the floor", "firedoor / this", "no signals / this"), rows))
    what_the_ladder_adds(rounds)
    figures = interleave(
        {
            "not guarded": lambda n: asyncio.run(bare(n)),
            "none": chunks(),
            "all three": chunks(timeout=60.0, first_token=5.0, idle=5.0),
        },
        rounds=rounds,
    )
    rows = [
        (k, spread(v).median, added(v, figures["not guarded"]).median) for k, v in figures.items()
    ]
    print("\na chunk of an async stream\n")
    print(table(("time limits", "us", "added"), rows))


if __name__ == "__main__":
    main()
