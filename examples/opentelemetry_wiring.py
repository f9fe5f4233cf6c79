"""firedoor on an application's own OpenTelemetry providers; other spans are redacted too.

Give the door no provider and it uses the global ones, also those that are set after it.
"""

from openai import OpenAI
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import firedoor as fd
from firedoor.drill.extractive import ExtractiveServer

redactor = fd.Redactor()
provider = TracerProvider(resource=Resource.create({"service.name": "support-copilot"}))
# In production: a BatchSpanProcessor around an OTLPSpanExporter.
exporter = fd.RedactingSpanExporter(ConsoleSpanExporter(), redactor)
provider.add_span_processor(SimpleSpanProcessor(exporter))

door = fd.Firedoor(
    "support-copilot", capture="redacted", redactor=redactor, tracer_provider=provider
)

with ExtractiveServer() as server:
    client = OpenAI(base_url=server.base_url, api_key="none")

    @door.llm("answer", model="gpt-5-mini")
    def answer(messages, *, model=fd.ROUTED):
        return client.chat.completions.create(model=model, messages=messages)

    with provider.get_tracer("my-app").start_as_current_span("handle POST /chat") as span:
        span.set_attribute("my.note", "asked by ana@example.com")
        with door.request("checkout-help", user="ana@example.com"):
            answer([{"role": "user", "content": "I am ana@example.com. Where is my order?"}])

provider.shutdown()
