"""Three bad nights of one route, contained by what it declares. Needs no key: the endpoint is local."""

from openai import OpenAI

import firedoor as fd
from firedoor.drill.extractive import ExtractiveServer
from firedoor.drill.faults import Fault, FaultKind
from firedoor.drill.proxy import FaultProxy

SAFE = "I can't answer that right now; a person will follow up."
QUESTION = """Documentation:
Parcels leave our warehouse within two days and reach you in five.

Question: When do parcels leave the warehouse?"""

with ExtractiveServer() as server, FaultProxy(server.base_url) as proxy:
    client = OpenAI(base_url=proxy.base_url, api_key="none", max_retries=0)
    door = fd.Firedoor(
        "support-copilot", prices={"gpt-5": fd.Price(10, 40), "gpt-5-mini": fd.Price(1, 4)}
    )

    @door.llm(
        "answer",
        tiers=[
            fd.Tier("gpt-5", timeout=8.0, max_output=100),
            fd.Tier("gpt-5-mini", timeout=4.0, max_output=100),
            fd.Canned(SAFE, shape="openai.chat"),
        ],
        breaker=fd.Breaker(failure_rate=0.5, window_type="count", window=8, minimum_calls=4),
        limiter=fd.Limiter(max_concurrent=64, max_wait=0.5, priority=("delivery-help",)),
        budgets=[
            fd.Budget(usd="0.02", per="request"),
            fd.Budget(usd=50, per="day", on_exceeded="degrade"),
        ],
    )
    def answer(messages, *, model=fd.ROUTED, timeout=None):
        return client.chat.completions.create(
            model=model, messages=messages, max_tokens=100, timeout=timeout
        )

    def ask(times=1):
        with door.request("delivery-help", user="u-17") as request:
            for _ in range(times):
                said = answer([{"role": "user", "content": QUESTION}]).choices[0].message.content
        one = request.decisions[-1]
        gate = one.verdicts[-1].gate if one.verdicts else "no gate"
        print(f"  {one.outcome:9} tier {one.tier}  ${request.cost_usd:.4f}  {gate:32} {said[:40]}")

    print("healthy")
    ask()

    print("an agent asks in a circle: the request's budget refuses, before the money is spent")
    ask(times=20)

    print("gpt-5 is down: four users wait for its error, then nobody asks it any more")
    down = proxy.board.inject(Fault(FaultKind.ERROR, model="gpt-5", times=None))
    for _ in range(5):
        ask()
    print(f"  {down.struck} requests reached it")

    print("gpt-5-mini answers nonsense: an operator takes it out, for half an hour")
    switch = door.switches.disable(
        "model:gpt-5-mini", reason="invents tracking numbers", actor="ana", ttl="30m"
    )
    ask()

    print("over: what was switched is switched back, exactly")
    door.switches.revert(switch.id, actor="ana", reason="fixed by the provider")
    ask()
    door.close()
