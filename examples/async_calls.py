"""Several calls at once on an event loop, all of them of one request."""

import asyncio

from openai import AsyncOpenAI

import firedoor as fd
from firedoor.drill.extractive import ExtractiveServer

QUESTIONS = ("Where is my order?", "When does it arrive?", "Who carries it?")

door = fd.Firedoor("support-copilot")


@door.tool("carrier", effect="read")
async def carrier(order_id: str) -> str:
    return f"Order {order_id} is carried by bicycle."


async def main() -> None:
    with ExtractiveServer() as server:
        async with AsyncOpenAI(base_url=server.base_url, api_key="none") as client:

            @door.llm("answer", model="gpt-5-mini")
            async def answer(messages, *, model=fd.ROUTED):
                return await client.chat.completions.create(model=model, messages=messages)

            async with door.request("delivery-help", tenant="acme") as request:
                known = await carrier("A-17")
                await asyncio.gather(
                    *(
                        answer([{"role": "user", "content": f"{known}\nQuestion: {question}"}])
                        for question in QUESTIONS
                    )
                )
    for decision in request.decisions:
        print(decision.route, decision.outcome, decision.model or "")


asyncio.run(main())
