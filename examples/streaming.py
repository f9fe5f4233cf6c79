"""A stream that is cut off raises nothing in the client. The decision tells it from a whole answer."""

from openai import OpenAI

import firedoor as fd
from firedoor.drill.extractive import ExtractiveServer
from firedoor.drill.faults import Fault, FaultKind
from firedoor.drill.proxy import FaultProxy

QUESTION = """Documentation:
Parcels leave our warehouse within two days and reach you in five.

Question: When do parcels leave the warehouse?"""

with ExtractiveServer() as server, FaultProxy(server.base_url) as proxy:
    client = OpenAI(base_url=proxy.base_url, api_key="none")
    door = fd.Firedoor("support-copilot")

    @door.llm("answer", model="gpt-5-mini")
    def answer(messages, *, model=fd.ROUTED):
        return client.chat.completions.create(model=model, messages=messages, stream=True)

    def ask():
        with door.request("delivery-help") as request:
            # The proxy around the stream keeps its interface: iterate it as if it were bare.
            for chunk in answer([{"role": "user", "content": QUESTION}]):
                print(chunk.choices[0].delta.content or "", end="")
        decision = request.decisions[0]
        print(f"\n  -> {decision.outcome}, truncated: {decision.truncated}")

    ask()
    proxy.board.inject(Fault(FaultKind.CUT, after=5))
    ask()
