"""A process of a fleet that spends from a shared budget until it is used up; tests start several.

    python spender.py '{"state": URL, "seed": 1, ...}'

It works with threads and then with tasks, at random costs, with calls that fail, break and are
cancelled. Its last line tells what it spent, as its decisions say it.
"""

import asyncio
import json
import random
import sys
import threading

import firedoor as fd

PRICES = {"big": (10, 10), "small": (1, 1)}
PROMPT = "why?"
MOST = 100
"""Output tokens of a call."""


class Rejected(ConnectionError):
    status_code = 503


def budget(told):
    """The one budget of the fleet."""
    return fd.Budget(
        usd=told["usd"],
        per="month",
        name="fleet",
        overshoot=told.get("overshoot", "strict"),
        on_store_error=told.get("on_store_error", "local_share"),
    )


def main(told):
    door = fd.Firedoor("fleet", state=told["state"], prices=PRICES, lease=told["lease"])
    spent, errors, lock = [], [], threading.Lock()
    draw = random.Random(told["seed"])
    done = threading.Event()

    @door.on_decision
    def count(decision):
        with lock:
            spent.append(round((decision.cost_usd or 0.0) * 1e6))

    guard = door.llm(
        "answer",
        tiers=[fd.Tier("big", max_output=MOST, attempts=2), fd.Tier("small", max_output=MOST)],
        budgets=[budget(told)],
    )

    def reply(model):
        with lock:
            drawn = draw.random()
        if drawn < 0.1:
            raise Rejected
        if drawn < 0.2:
            raise ConnectionError
        return {
            "object": "chat.completion",
            "model": model,
            "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": int(drawn * MOST)},
        }

    @guard
    def answer(question, *, model):
        done.wait(0.001)
        return reply(model)

    @guard
    async def aanswer(question, *, model):
        await asyncio.sleep(0.001)
        return reply(model)

    def outcome(error):
        if error is not None and not isinstance(
            error, (fd.BudgetExceeded, ConnectionError, asyncio.CancelledError)
        ):
            errors.append(repr(error))
        return isinstance(error, fd.BudgetExceeded)

    def spend(calls):
        for _ in range(calls):
            try:
                answer(PROMPT)
            except Exception as error:
                if outcome(error):
                    return

    async def spend_in_tasks():
        while True:
            tasks = [asyncio.ensure_future(aanswer(PROMPT)) for _ in range(16)]
            await asyncio.sleep(0.001)
            for task in draw.sample(tasks, 3):
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            refused = [outcome(one if isinstance(one, BaseException) else None) for one in found]
            # The others' holds come back as their calls end: only if nobody was let run it is over.
            if sum(refused) >= 13:
                return

    print("spending", flush=True)
    threads = [threading.Thread(target=spend, args=(told["calls"],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(spend_in_tasks())
    door.close()
    print(json.dumps({"spent": sum(spent), "decisions": len(spent), "errors": errors}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
