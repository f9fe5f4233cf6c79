"""What a span says of a call: exact names, exact keys, and nothing that was not asked for."""

import json

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from firedoor.errors import ConfigurationError
from firedoor.records import AttemptRecord
from firedoor.telemetry.common import MAX_TEXT
from firedoor.telemetry.recorder import Recorder
from firedoor.telemetry.spans import _ThroughApi
from firedoor.types import Fault, Outcome, RouteKind, Source, Usage, Verdict, VerdictStatus
from support.calls import (
    STARTED_NS,
    blocked,
    chat,
    decision,
    everything,
    failed,
    fallback,
    retrieval,
    stream,
    tool,
)


@pytest.fixture(params=["by hand", "through the API"])
def way(request):
    return request.param


@pytest.fixture
def recorder(seen, way):
    made = Recorder(
        tracer_provider=seen.tracer_provider,
        meter_provider=seen.meter_provider,
        service="support-copilot",
    )
    if way != "by hand":
        made.spans._maker = _ThroughApi(made.spans.tracer)
    elif not made.spans.by_hand:
        pytest.skip("this SDK is used through its API")
    return made


@pytest.fixture
def tell(seen, recorder):
    """Records one call from beginning to end; gives the spans it made."""

    def told(record):
        span = recorder.start_call(record, STARTED_NS)
        recorder.end_call(record.freeze(), span, STARTED_NS + int(record.latency_s * 1e9))
        return seen.spans

    return told


COMMON = {
    "gen_ai.operation.name",
    "firedoor.route",
    "firedoor.journey",
    "firedoor.schema.version",
    "firedoor.service",
    "firedoor.outcome",
    "firedoor.decision.id",
    "firedoor.request.id",
}
MODEL = {
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.prompt.name",
    "gen_ai.prompt.version",
    "firedoor.prompt.name",
    "firedoor.prompt.version",
    "firedoor.alias",
}
RESPONSE = {
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "firedoor.cost.usd",
    "firedoor.cost.certainty",
}
PARAMETERS = {"gen_ai.request.temperature", "gen_ai.request.max_tokens", "firedoor.parameters"}
FAILURE = {"error.type", "firedoor.fault", "firedoor.error.fingerprint"}
STREAMED = {
    "gen_ai.request.stream",
    "gen_ai.response.time_to_first_chunk",
    "firedoor.stream.chunks",
    "firedoor.stream.idle_gap",
}
RETRIEVED = {
    "gen_ai.data_source.id",
    "gen_ai.retrieval.top_k",
    "gen_ai.retrieval.documents",
    "firedoor.retrieval.count",
    "openinference.span.kind",
    "output.value",
    "output.mime_type",
}
EVERYTHING = {
    "firedoor.user",
    "firedoor.tenant",
    "firedoor.tool_calls",
    "firedoor.refusal",
    "firedoor.verdicts",
    "firedoor.switches",
    "firedoor.budget.state",
    "firedoor.breaker.state",
    "firedoor.synthetic",
    "firedoor.truncated",
    "firedoor.redaction.count",
    "firedoor.redaction.types",
    "firedoor.notes",
    "firedoor.incident.id",
    "input.value",
    "output.value",
}

KINDS = {
    "chat": (chat, "chat gpt-5", SpanKind.CLIENT, COMMON | MODEL | RESPONSE | PARAMETERS),
    "stream": (stream, "chat gpt-5", SpanKind.CLIENT, COMMON | MODEL | RESPONSE | STREAMED),
    "failed": (failed, "chat gpt-5", SpanKind.CLIENT, COMMON | MODEL | PARAMETERS | FAILURE),
    "retrieval": (retrieval, "retrieval kb", SpanKind.CLIENT, COMMON | RETRIEVED),
    "tool": (
        tool,
        "execute_tool refund",
        SpanKind.INTERNAL,
        COMMON | {"gen_ai.tool.name", "gen_ai.tool.type", "firedoor.tool.effect"},
    ),
    "everything": (
        everything,
        "chat gpt-5",
        SpanKind.CLIENT,
        COMMON | MODEL | RESPONSE | STREAMED | EVERYTHING,
    ),
}


@pytest.mark.parametrize(("make", "name", "kind", "keys"), KINDS.values(), ids=KINDS)
def test_name_kind_and_exact_keys(tell, make, name, kind, keys):
    (span,) = tell(make())
    assert (span.name, span.kind) == (name, kind)
    assert set(span.attributes) == keys
    assert (span.start_time, span.end_time) == (STARTED_NS, STARTED_NS + 500_000_000)


def test_values_of_a_model_call(tell):
    (span,) = tell(chat())
    assert dict(span.attributes) == {
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
        "gen_ai.response.finish_reasons": ("stop",),
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
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope.name == "firedoor"
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"


def test_enumerations_leave_as_plain_strings(tell):
    """An exporter that looks at exact types must not be surprised."""
    (span,) = tell(everything(fault=Fault.TARGET, error_type="E"))
    plain = (str, int, float, bool)
    for key, value in span.attributes.items():
        values = value if isinstance(value, tuple) else (value,)
        assert all(type(v) in plain for v in values), key


def test_structures_are_json_without_texts(tell):
    (span,) = tell(everything())
    attributes = span.attributes
    assert json.loads(attributes["firedoor.tool_calls"]) == [{"name": "refund", "id": "call_1"}]
    assert json.loads(attributes["firedoor.verdicts"]) == [
        {
            "gate": "policy:secrets",
            "status": "flagged",
            "stage": "output",
            "labels": ["jwt"],
            "shadow": True,
        }
    ]
    assert attributes["firedoor.switches"] == ("sw-1", "sw-2")
    assert attributes["firedoor.redaction.count"] == 3
    assert attributes["firedoor.redaction.types"] == ("email", "iban")
    assert "never-exported" not in span.to_json()


def test_retrieved_documents_are_told_by_id_and_score(tell):
    (span,) = tell(retrieval())
    documents = [{"id": "doc-1", "score": 0.9}, {"id": "doc-2", "score": 0.5}]
    assert json.loads(span.attributes["gen_ai.retrieval.documents"]) == documents
    assert json.loads(span.attributes["output.value"]) == documents
    assert span.attributes["openinference.span.kind"] == "RETRIEVER"
    assert span.attributes["gen_ai.retrieval.top_k"] == 8


def test_a_search_that_found_nothing_says_so(tell):
    (span,) = tell(retrieval(sources=()))
    assert span.attributes["firedoor.retrieval.count"] == 0
    assert "gen_ai.retrieval.documents" not in span.attributes


def test_numbers_that_json_does_not_have_are_left_out(tell):
    (span,) = tell(retrieval(sources=(Source("a", float("nan")), Source("b", float("inf")))))
    assert json.loads(span.attributes["gen_ai.retrieval.documents"]) == [{"id": "a"}, {"id": "b"}]


def test_captured_texts_of_a_tool_have_their_own_keys(tell):
    (span,) = tell(tool(input_text='{"order":"1"}', output_text="done"))
    assert span.attributes["gen_ai.tool.call.arguments"] == '{"order":"1"}'
    assert span.attributes["gen_ai.tool.call.result"] == "done"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.FAILED, StatusCode.ERROR),
        (Outcome.CANCELLED, StatusCode.ERROR),
        (Outcome.BLOCKED, StatusCode.ERROR),
        (Outcome.ABANDONED, StatusCode.UNSET),
        (Outcome.REFUSED, StatusCode.UNSET),
        (Outcome.CANNED, StatusCode.UNSET),
        (Outcome.DEGRADED, StatusCode.UNSET),
        (Outcome.ANSWERED, StatusCode.UNSET),
    ],
)
def test_status_follows_the_outcome(tell, outcome, status):
    error_type = None if outcome in ("answered", "degraded", "refused", "canned") else "SomeError"
    (span,) = tell(chat(outcome=outcome, error_type=error_type))
    assert span.status.status_code is status
    assert span.status.description == (error_type if status is StatusCode.ERROR else None)
    assert span.attributes.get("error.type") == error_type
    assert span.attributes["firedoor.outcome"] == outcome.value


def test_a_model_that_changed_after_the_start_is_the_one_told(seen, recorder):
    record = chat(provider=None, model="gpt-5")
    span = recorder.start_call(record, STARTED_NS)
    record.model, record.provider = "gpt-5-mini", "azure.ai.openai"
    recorder.end_call(record.freeze(), span)
    (told,) = seen.spans
    assert told.name == "chat gpt-5-mini"
    assert told.attributes["gen_ai.request.model"] == "gpt-5-mini"
    assert told.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert told.attributes["firedoor.alias"] == "gpt-5"


def test_a_call_without_a_model_has_a_name_all_the_same(tell):
    (span,) = tell(chat(model=None, alias=None, provider=None))
    assert span.name == "chat"
    assert "gen_ai.request.model" not in span.attributes


# Calls that a gate stopped ---------------------------------------------------------------------

LEAF = {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"}


def test_a_call_stopped_by_a_gate_is_no_model_call(tell, seen, way):
    (span,) = tell(blocked())
    assert span.name == "firedoor.gate budget:day"
    assert span.attributes["openinference.span.kind"] == "GUARDRAIL"
    assert span.attributes["firedoor.gate.name"] == "budget:day"
    assert span.attributes["firedoor.model"] == "gpt-5"
    assert span.attributes["error.type"] == "BudgetExceeded"
    assert span.status.status_code is StatusCode.ERROR
    if way == "by hand":
        assert span.kind is SpanKind.INTERNAL
        assert not LEAF & set(span.attributes)
    assert seen.metric("gen_ai.client.operation.duration") == []
    (counted,) = seen.metric("firedoor.decisions")
    assert counted.attributes["firedoor.outcome"] == "blocked"
    (gate,) = seen.metric("firedoor.gate.decisions")
    assert gate.attributes == {
        "firedoor.route": "llm:answer",
        "firedoor.gate.name": "budget:day",
        "firedoor.gate.verdict": "blocked",
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"verdicts": (Verdict("policy:x", VerdictStatus.BLOCKED, stage="output"),)},
        {"verdicts": (Verdict("budget:day", VerdictStatus.BLOCKED, shadow=True),)},
        {"verdicts": ()},
        {"usage": Usage(61, 48)},
        {"attempts": (AttemptRecord(0, "gpt-5", Outcome.FAILED),)},
    ],
    ids=["output policy", "shadow gate", "denied further in", "was paid for", "was tried"],
)
def test_a_call_blocked_after_the_model_was_asked_stays_one(tell, seen, fields):
    (span,) = tell(blocked(**fields))
    assert span.name == "chat gpt-5"
    assert set(span.attributes) >= LEAF
    assert len(seen.metric("gen_ai.client.operation.duration")) == 1


# Calls with more than one attempt ----------------------------------------------------------------


def test_each_attempt_is_a_span_and_only_they_carry_tokens(tell, way):
    first, second, parent = tell(fallback())
    assert [s.name for s in (first, second)] == ["chat gpt-5", "chat gpt-5-mini"]
    assert {s.kind for s in (first, second)} == {SpanKind.CLIENT}
    assert {s.parent.span_id for s in (first, second)} == {parent.context.span_id}
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "APITimeoutError"
    assert (first.start_time, first.end_time) == (STARTED_NS, STARTED_NS + 200_000_000)
    assert (second.start_time, second.end_time) == (
        STARTED_NS + 250_000_000,
        STARTED_NS + 500_000_000,
    )
    assert set(first.attributes) == LEAF | {
        "firedoor.route",
        "firedoor.fallback.tier",
        "firedoor.attempt.index",
        "firedoor.outcome",
        "error.type",
        "firedoor.fault",
    }
    assert second.attributes["gen_ai.usage.input_tokens"] == 61
    assert second.attributes["gen_ai.response.id"] == "chatcmpl-9x1"
    assert second.status.status_code is StatusCode.UNSET
    assert parent.status.status_code is StatusCode.UNSET
    assert not [k for k in parent.attributes if k.startswith(("gen_ai.usage", "gen_ai.response"))]
    assert parent.attributes["openinference.span.kind"] == "CHAIN"
    assert parent.attributes["firedoor.fallback.tier"] == 1
    assert [a["outcome"] for a in json.loads(parent.attributes["firedoor.attempts"])] == [
        "failed",
        "answered",
    ]
    if way == "by hand":
        assert parent.kind is SpanKind.INTERNAL
        assert not LEAF & set(parent.attributes)


def test_a_skipped_tier_is_told_of_but_was_no_attempt(tell):
    attempts = (
        AttemptRecord(0, "gpt-5", reason="the circuit is open"),
        AttemptRecord(1, "gpt-5-mini", Outcome.ANSWERED, 0.5, usage=Usage(1, 2)),
    )
    spans = tell(fallback(attempts=attempts))
    assert [s.name for s in spans] == ["chat gpt-5-mini"] * len(spans)
    told = json.loads(spans[-1].attributes["firedoor.attempts"])
    assert told[0] == {"tier": 0, "model": "gpt-5", "reason": "the circuit is open"}


def test_attempts_of_an_unsampled_call_make_no_spans(seen, recorder):
    unsampled = trace.NonRecordingSpan(trace.SpanContext(1, 2, False, trace.TraceFlags(0)))
    recorder.end_call(fallback().freeze(), unsampled)
    assert seen.spans == ()
    assert len(seen.metric("firedoor.decisions")) == 1


# Bounds ------------------------------------------------------------------------------------------


def test_no_value_is_longer_than_the_cap(tell):
    long = "x" * 50_000
    (span,) = tell(
        everything(
            model=long, alias=long, provider=long, response_model=long, response_id=long,
            request_id=long, journey=long, input_text=long, output_text=long, notes=(long,),
            error_type=long, user=long, tenant=long, prompt_name=long,
            verdicts=tuple(Verdict(f"policy:{n}", VerdictStatus.PASSED, reason=long[:200]) for n in range(500)),
        )
    )  # fmt: skip
    assert len(span.name) <= MAX_TEXT + 10
    for key, value in span.attributes.items():
        texts = value if isinstance(value, tuple) else (value,)
        assert max((len(t) for t in texts if isinstance(t, str)), default=0) <= MAX_TEXT, key
    verdicts = json.loads(span.attributes["firedoor.verdicts"])
    assert verdicts[-1] == {"omitted": 500 - (len(verdicts) - 1)}
    assert span.attributes["input.value"].endswith("…[50000]")


def test_one_element_too_long_for_the_cap_still_gives_json(tell):
    (span,) = tell(retrieval(sources=(Source("y" * 20_000, 0.5),)))
    assert json.loads(span.attributes["gen_ai.retrieval.documents"]) == [{"omitted": 1}]


def test_what_was_called_survives_a_small_span_limit(seen, way):
    exporter = InMemorySpanExporter()
    provider = TracerProvider(
        shutdown_on_exit=False, span_limits=SpanLimits(max_span_attributes=10)
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = Recorder(tracer_provider=provider, meter_provider=seen.meter_provider)
    if way != "by hand":
        recorder.spans._maker = _ThroughApi(recorder.spans.tracer)
    record = everything()
    recorder.end_call(record, recorder.start_call(record))
    (span,) = exporter.get_finished_spans()
    assert len(span.attributes) == 10
    assert set(span.attributes) >= LEAF | {"firedoor.route", "firedoor.journey"}


def test_a_user_of_many_models_does_not_grow_the_recorder(recorder):
    for number in range(5000):
        record = chat(model=f"model-{number}", response_model=f"answer-{number}")
        recorder.end_call(record, recorder.start_call(record))
    assert len(recorder._commons._known) <= 1024
    record = chat()
    for number in range(500):
        record.response_model = f"answer-{number}"
        recorder.end_call(record, recorder.start_call(record))
    assert len(recorder._commons.of(record)._series) <= 65


# Requests ----------------------------------------------------------------------------------------


class Summary:
    journey = "checkout-help"
    outcome = Outcome.DEGRADED
    decisions = (1, 2, 3)
    cost_usd = 0.5


def test_a_request_is_a_chain_on_its_journey(seen, recorder):
    span = recorder.start_request(
        "checkout-help",
        request_id="a1",
        user="<user:1>",
        tenant="<tenant:2>",
        synthetic=True,
        start_ns=100,
    )
    recorder.end_request(span, Summary, duration_s=2.5, end_ns=200)
    (told,) = seen.spans
    assert (told.name, told.kind) == ("firedoor.request checkout-help", SpanKind.INTERNAL)
    assert dict(told.attributes) == {
        "firedoor.schema.version": "1.0",
        "firedoor.service": "support-copilot",
        "firedoor.journey": "checkout-help",
        "firedoor.request.id": "a1",
        "openinference.span.kind": "CHAIN",
        "firedoor.user": "<user:1>",
        "firedoor.tenant": "<tenant:2>",
        "firedoor.synthetic": True,
        "firedoor.request.calls": 3,
        "firedoor.outcome": "degraded",
        "firedoor.request.cost_usd": 0.5,
    }
    (point,) = seen.metric("firedoor.request.duration")
    assert (point.sum, dict(point.attributes)) == (
        2.5,
        {"firedoor.journey": "checkout-help", "firedoor.outcome": "degraded"},
    )


def test_a_request_left_by_an_error_is_one(seen, recorder):
    class Failed(Summary):
        outcome = Outcome.FAILED

    recorder.end_request(
        recorder.start_request("j", request_id="a"), Failed, error_type="ValueError"
    )
    (told,) = seen.spans
    assert told.status.status_code is StatusCode.ERROR
    assert told.status.description == told.attributes["error.type"] == "ValueError"
    assert seen.metric("firedoor.request.duration") == []


def test_calls_hang_under_their_request(seen, recorder):
    request = recorder.start_request("j", request_id="a")
    with trace.use_span(request):
        record = chat()
        recorder.end_call(record, recorder.start_call(record))
    recorder.end_request(request, Summary)
    call, outer = seen.spans
    assert call.parent.span_id == outer.context.span_id
    assert call.context.trace_id == outer.context.trace_id


def test_no_span_is_made_current(recorder):
    before = trace.get_current_span()
    recorder.start_call(chat())
    recorder.start_request("j", request_id="a")
    assert trace.get_current_span() is before


# Faults of our own -------------------------------------------------------------------------------


def test_an_internal_fault_is_counted_and_logged_by_type_only(seen, recorder, caplog):
    for _ in range(5):
        recorder.internal_error("redaction", ValueError("the canary"))
    recorder.internal_error("redaction", KeyError("the canary"))
    points = {p.attributes["error.type"]: p.value for p in seen.metric("firedoor.internal.errors")}
    assert points == {"ValueError": 5, "KeyError": 1}
    assert [r.getMessage().split(";")[0] for r in caplog.records] == [
        "firedoor: an internal fault in redaction (ValueError)",
        "firedoor: an internal fault in redaction (KeyError)",
    ]
    assert "canary" not in caplog.text


def test_a_fault_of_counting_goes_nowhere(recorder, monkeypatch):
    monkeypatch.setattr(type(recorder._metrics), "internal_error", None)
    recorder.internal_error("redaction", ValueError())


def test_a_span_that_cannot_be_described_still_ends_and_is_counted(seen, recorder):
    record = chat(verdicts=(object(),), outcome=Outcome.ANSWERED)
    with pytest.raises(AttributeError):
        recorder.end_call(record, recorder.start_call(record))
    (span,) = seen.spans
    assert span.attributes["firedoor.route"] == "llm:answer"
    assert len(seen.metric("firedoor.internal.errors")) == 1
    assert len(seen.metric("gen_ai.client.operation.duration")) == 1


def test_an_unknown_convention_is_refused():
    with pytest.raises(ConfigurationError, match="1.41"):
        Recorder(semconv="1.99")


@pytest.mark.parametrize("name", ["tracer_provider", "meter_provider", "logger_provider"])
def test_a_provider_that_is_none_is_refused_by_name(name):
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        Recorder(**{name: object()})


# Log events --------------------------------------------------------------------------------------


def test_events_mirror_the_spans_where_asked_for(seen):
    exporter = InMemoryLogRecordExporter()
    logs = LoggerProvider(shutdown_on_exit=False)
    logs.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    recorder = Recorder(
        tracer_provider=seen.tracer_provider,
        meter_provider=seen.meter_provider,
        logger_provider=logs,
    )
    for record in (chat(), failed(), blocked()):
        recorder.end_call(record, recorder.start_call(record), STARTED_NS + 5)
    events = [data.log_record for data in exporter.get_finished_logs()]
    for event, span in zip(events, seen.spans, strict=True):
        assert event.event_name == "firedoor.decision"
        assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)
        assert dict(event.attributes) == dict(span.attributes)
        assert event.timestamp == STARTED_NS + 5
    assert [e.severity_text for e in events] == ["INFO", "WARN", "WARN"]
    logs.shutdown()


def test_an_open_record_may_be_told_of_too(tell):
    (span,) = tell(decision(kind=RouteKind.TOOL, route="tool:x", journey=None))
    assert span.name == "execute_tool x"
    assert "firedoor.journey" not in span.attributes
