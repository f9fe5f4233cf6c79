"""One guarded model call, and the record of it. Needs no key: the endpoint is local."""

from openai import OpenAI

import firedoor as fd
from firedoor.drill.extractive import ExtractiveServer

with ExtractiveServer() as server:  # stands in for any OpenAI-compatible endpoint
    client = OpenAI(base_url=server.base_url, api_key="none")
    door = fd.Firedoor("support-copilot")

    @door.llm("answer", model="gpt-5-mini")
    def answer(messages, *, model=fd.ROUTED):
        return client.chat.completions.create(model=model, messages=messages)

    with door.request("checkout-help", user="ana@example.com") as request:
        answer([{"role": "user", "content": "Where is my order?"}])
    print(request.decisions[0])
    print(request.decisions[0].to_dict())
