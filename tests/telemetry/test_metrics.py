"""What a dashboard can read: durations, tokens, and counts by outcome."""

import subprocess
import sys
import textwrap
import threading

import pytest
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

from firedoor.telemetry import metrics, names
from firedoor.telemetry.recorder import Recorder
from firedoor.types import CostCertainty, Outcome
from support.calls import chat, everything, failed, fallback, retrieval, stream, tool


@pytest.fixture
def recorder(seen):
    return Recorder(tracer_provider=seen.tracer_provider, meter_provider=seen.meter_provider)


def tell(recorder, *records):
    for record in records:
        recorder.end_call(record.freeze(), recorder.start_call(record))


def points(seen, name):
    """`attributes -> value` (or sum) of a metric."""
    return {
        frozenset(p.attributes.items()): getattr(p, "value", None) or p.sum
        for p in seen.metric(name)
    }


BASE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
}
ANSWERED = {**BASE, "gen_ai.response.model": "gpt-5-2026-08-07"}


def test_a_model_call_has_a_duration_and_tokens(seen, recorder):
    tell(recorder, chat())
    assert points(seen, "gen_ai.client.operation.duration") == {
        frozenset({**ANSWERED, "firedoor.route": "llm:answer"}.items()): 0.5
    }
    assert points(seen, "gen_ai.client.token.usage") == {
        frozenset({**ANSWERED, "gen_ai.token.type": "input"}.items()): 61,
        frozenset({**ANSWERED, "gen_ai.token.type": "output"}.items()): 48,
    }


def test_a_failed_call_has_a_duration_by_its_error(seen, recorder):
    tell(recorder, failed())
    assert points(seen, "gen_ai.client.operation.duration") == {
        frozenset(
            {**BASE, "firedoor.route": "llm:answer", "error.type": "RateLimitError"}.items()
        ): 0.5
    }
    assert seen.metric("gen_ai.client.token.usage") == []


def test_a_stream_has_its_chunks_timed(seen, recorder):
    tell(recorder, stream())
    (first,) = seen.metric("gen_ai.client.operation.time_to_first_chunk")
    (chunk,) = seen.metric("gen_ai.client.operation.time_per_output_chunk")
    assert first.sum == 0.1
    assert chunk.sum == pytest.approx(0.4 / 200)


def test_retrievals_and_tools_have_durations_of_their_own(seen, recorder):
    tell(recorder, retrieval(), tool())
    assert points(seen, "gen_ai.client.operation.duration") == {
        frozenset(
            {"gen_ai.operation.name": "retrieval", "firedoor.route": "retrieval:kb"}.items()
        ): 0.5
    }
    assert points(seen, "gen_ai.execute_tool.duration") == {
        frozenset(
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "refund",
                "firedoor.route": "tool:refund",
            }.items()
        ): 0.5
    }


def test_the_recommended_buckets_are_advised_and_a_view_still_wins(seen, recorder):
    tell(recorder, chat())
    (duration,) = seen.metric("gen_ai.client.operation.duration")
    assert duration.explicit_bounds == names.SECONDS_BUCKETS
    assert seen.metric("gen_ai.client.token.usage")[0].explicit_bounds == names.TOKEN_BUCKETS
    reader = InMemoryMetricReader()
    view = View(
        instrument_name="gen_ai.client.*", aggregation=ExplicitBucketHistogramAggregation([1.0])
    )
    provider = MeterProvider(metric_readers=[reader], views=[view], shutdown_on_exit=False)
    tell(Recorder(tracer_provider=seen.tracer_provider, meter_provider=provider), chat())
    (metric,) = [
        m
        for m in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        if m.name == "gen_ai.client.operation.duration"
    ]
    assert list(metric.data.data_points[0].explicit_bounds) == [1.0]
    provider.shutdown()


def test_decisions_are_counted_by_what_an_operator_asks_for(seen, recorder):
    tell(recorder, chat(), chat(), failed(), chat(outcome=Outcome.REFUSED))
    common = {
        "firedoor.route": "llm:answer",
        "firedoor.journey": "checkout-help",
        "gen_ai.request.model": "gpt-5",
    }
    assert points(seen, "firedoor.decisions") == {
        frozenset({**common, "firedoor.outcome": "answered"}.items()): 2,
        frozenset({**common, "firedoor.outcome": "refused"}.items()): 1,
        frozenset(
            {
                **common,
                "firedoor.outcome": "failed",
                "firedoor.fault": "target",
                "error.type": "RateLimitError",
            }.items()
        ): 1,
    }


def test_cost_redactions_verdicts_and_attempts_are_summed(seen, recorder):
    tell(recorder, chat(), chat(), everything(), fallback(cost_certainty=CostCertainty.EXACT))
    assert sum(points(seen, "firedoor.cost").values()) == pytest.approx(0.05)
    assert points(seen, "firedoor.redaction.matches") == {
        frozenset({("firedoor.redaction.type", "email")}): 2,
        frozenset({("firedoor.redaction.type", "iban")}): 1,
    }
    assert sum(points(seen, "firedoor.gate.decisions").values()) == 1
    assert {
        (p.attributes["gen_ai.request.model"], p.attributes["firedoor.outcome"])
        for p in seen.metric("firedoor.fallback.attempts")
    } == {("gpt-5", "failed"), ("gpt-5-mini", "answered")}


def test_no_identifier_is_a_dimension(seen, recorder):
    tell(recorder, everything(), failed(), retrieval(), tool())
    ids = ("d1", "a1", "inc-9", "<user", "<tenant", "chatcmpl", "sw-1", "ab12cd34")
    data = seen.reader.get_metrics_data()
    values = [
        str(value)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        for value in point.attributes.values()
    ]
    assert len(values) > 20
    assert not [v for v in values if any(v.endswith(i) or v.startswith(i) for i in ids)]


def test_the_younger_convention_counts_tokens_its_own_way(seen):
    recorder = Recorder(
        tracer_provider=seen.tracer_provider, meter_provider=seen.meter_provider, semconv="0.1"
    )
    tell(recorder, chat(), failed())
    assert seen.metric("gen_ai.client.operation.duration") == []
    assert len(seen.metric("gen_ai.client.inference.duration")) == 2
    (given,) = seen.metric("gen_ai.client.inference.operation.input_tokens")
    assert (given.sum, "gen_ai.token.type" in given.attributes) == (61, False)
    assert {
        (p.attributes["gen_ai.token.modality"], p.value)
        for p in seen.metric("gen_ai.client.inference.usage.input_tokens")
    } == {("text", 61), ("unknown", 0)}
    (span, _) = seen.spans
    assert span.attributes["gen_ai.usage.cache_write.input_tokens"] == 5


def test_two_doors_of_one_provider_add_up(seen):
    """The SDK asks only the first of several observable counters of one name."""
    for _ in range(2):
        tell(
            Recorder(tracer_provider=seen.tracer_provider, meter_provider=seen.meter_provider),
            chat(),
        )
    assert sum(points(seen, "firedoor.decisions").values()) == 2


def test_sums_survive_readers_that_want_differences():
    reader = InMemoryMetricReader(
        preferred_temporality=dict.fromkeys(
            (Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA
        )
    )
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    recorder = Recorder(meter_provider=provider)

    def counted():
        data = reader.get_metrics_data()
        return sum(
            p.value
            for m in data.resource_metrics[0].scope_metrics[0].metrics
            if m.name == "firedoor.decisions"
            for p in m.data.data_points
        )

    tell(recorder, chat(), chat())
    assert counted() == 2
    tell(recorder, chat())
    assert counted() == 1
    provider.shutdown()


def test_series_are_bounded(seen, recorder, monkeypatch):
    monkeypatch.setattr(metrics, "_MAX_SERIES", 10)
    tell(recorder, *(chat(journey=f"journey-{n}") for n in range(50)))
    found = points(seen, "firedoor.decisions")
    assert len(found) == 11
    assert found[frozenset({("otel.metric.overflow", True)})] == 40


def test_an_unhashable_provider_works():
    class Unhashable(MeterProvider):
        __hash__ = None

    reader = InMemoryMetricReader()
    provider = Unhashable(metric_readers=[reader], shutdown_on_exit=False)
    tell(Recorder(meter_provider=provider), chat())
    assert reader.get_metrics_data() is not None
    provider.shutdown()


def run(code):
    """Run in a process of its own: the global providers can be set only once."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


PREAMBLE = """
    import sys
    sys.path.insert(0, "tests")
    from support.calls import chat
    from firedoor.telemetry.recorder import Recorder

    def tell(recorder):
        record = chat()
        recorder.end_call(record.freeze(), recorder.start_call(record))
"""


def test_providers_set_after_the_door_was_built_get_everything_from_then_on():
    told = run(
        PREAMBLE
        + """
    early = Recorder()
    tell(early)
    assert not early.spans.by_hand

    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
    tell(early)
    late = Recorder()
    tell(late)
    print(len(exporter.get_finished_spans()))
    found = {
        m.name: sum(getattr(p, "count", getattr(p, "value", 0)) for p in m.data.data_points)
        for m in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    }
    print(found["gen_ai.client.operation.duration"], found["firedoor.decisions"])
    """
    )
    # The decision before there was a provider is in the count: sums do not wait for one.
    assert told == ["2", "2", "3"]


def test_without_a_provider_nothing_is_recorded():
    told = run(
        PREAMBLE
        + """
    recorder = Recorder()
    tell(recorder)
    recorder.internal_error("seam", ValueError())
    span = recorder.start_request("j", request_id="a")
    print(span.is_recording(), recorder.start_call(chat()).is_recording())
    """
    )
    assert told == ["False", "False"]


def test_without_an_sdk_the_callers_context_is_passed_on():
    told = run(
        PREAMBLE
        + """
    from opentelemetry import trace
    remote = trace.NonRecordingSpan(trace.SpanContext(7, 8, True, trace.TraceFlags(1)))
    with trace.use_span(remote):
        print(Recorder().start_call(chat()).get_span_context() == remote.get_span_context())
    """
    )
    assert told == ["True"]


def test_sums_are_exact_whatever_threads_add_at_once(seen, recorder):
    """Amounts are left without a lock and summed up in batches: none is lost, none counted twice."""
    records = [everything().freeze() for _ in range(8)]
    gate = threading.Barrier(8)

    def work(record):
        gate.wait()
        for _ in range(1_000):
            recorder.end_call(record, None)

    threads = [threading.Thread(target=work, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        points(seen, "firedoor.decisions")  # a reader that collects meanwhile
    assert sum(points(seen, "firedoor.decisions").values()) == 8_000
