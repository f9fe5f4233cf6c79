"""What a collector gets over the wire: OTLP/HTTP, protobuf, exact keys."""

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from firedoor.telemetry.recorder import Recorder
from support.calls import chat, everything, failed, fallback, retrieval, tool
from support.otlp import attributes, collector, collector_binary, receiver


@pytest.fixture(params=["direct", "through a collector"])
def wire(request):
    """Where to send, and where it arrives."""
    with receiver() as inbox:
        if request.param == "direct":
            yield inbox.endpoint, inbox
            return
        if collector_binary() is None:
            pytest.skip("the rotel wheel is not installed")
        with collector(inbox.endpoint) as endpoint:
            yield endpoint, inbox


@pytest.fixture
def recorder(wire):
    endpoint, _ = wire
    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"), 3_600_000)
    meters = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs")))
    made = Recorder(
        tracer_provider=spans, meter_provider=meters, logger_provider=logs, service="app"
    )
    made.flush = lambda: (spans.force_flush(), meters.force_flush())
    yield made
    for provider in (spans, meters, logs):
        provider.shutdown()


def test_spans_metrics_and_events_arrive_whole(wire, recorder):
    _, inbox = wire
    records = [chat(), everything(), failed(), retrieval(), tool(), fallback()]
    for record in records:
        recorder.end_call(record.freeze(), recorder.start_call(record))
    recorder.flush()
    spans = inbox.wait_for(lambda: inbox.spans if len(inbox.spans) >= 8 else None)
    told = {(s.name, attributes(s.attributes).get("firedoor.outcome")): s for s, _, _ in spans}
    assert len(spans) == 8, "six calls, and two attempts of one of them"
    assert attributes(told["chat gpt-5", "answered"].attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "firedoor.route": "llm:answer",
        "firedoor.journey": "checkout-help",
        "firedoor.schema.version": "1.0",
        "firedoor.service": "support-copilot",
        "firedoor.alias": "gpt-5",
        "gen_ai.prompt.name": "answer",
        "gen_ai.prompt.version": "v13",
        "firedoor.prompt.name": "answer",
        "firedoor.prompt.version": "v13",
        "firedoor.outcome": "answered",
        "firedoor.decision.id": "00000000000000d1",
        "firedoor.request.id": "00000000000000a1",
        "gen_ai.response.model": "gpt-5-2026-08-07",
        "gen_ai.response.id": "chatcmpl-9x1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 61,
        "gen_ai.usage.output_tokens": 48,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 8,
        "firedoor.cost.usd": 0.0125,
        "firedoor.cost.certainty": "exact",
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 512,
        "firedoor.parameters": '{"tools":3}',
    }
    refused = attributes(told["chat gpt-5", "refused"].attributes)
    assert refused["firedoor.synthetic"] is True
    assert refused["firedoor.switches"] == ["sw-1", "sw-2"]
    assert refused["firedoor.stream.idle_gap"] == 0.03
    failure = next(
        s for s, _, _ in spans if attributes(s.attributes).get("error.type") == "RateLimitError"
    )
    assert (failure.status.code, failure.status.message) == (2, "RateLimitError")
    parent = told["chat gpt-5-mini", "degraded"]
    children = [s for s, _, _ in spans if s.parent_span_id == parent.span_id]
    assert [s.trace_id for s in children] == [parent.trace_id] * 2
    assert {s.kind for s in children} == {3}, "CLIENT"
    _, scope, resource = spans[0]
    assert scope.scope.name == "firedoor"
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"
    assert "service.name" in attributes(resource.resource.attributes)

    wanted = {
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.execute_tool.duration",
        "firedoor.decisions",
        "firedoor.cost",
    }
    inbox.wait_for(lambda: wanted <= set(inbox.metrics))
    assert sum(p.as_int for p in inbox.metrics["firedoor.decisions"].sum.data_points) == 6
    assert inbox.metrics["firedoor.decisions"].sum.is_monotonic
    inbox.wait_for(lambda: len(inbox.logs) == 6)
    assert {record.event_name for record in inbox.logs} == {"firedoor.decision"}
    assert not [body for body in inbox.raw if b"never-exported" in body]
