"""Spans finished by hand are the spans that the SDK's own API would have exported."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBasedTraceIdRatio,
    Sampler,
    SamplingResult,
)
from opentelemetry.sdk.version import __version__ as sdk_version
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from firedoor.telemetry import sdk_span
from firedoor.telemetry.spans import Spans, _ThroughApi

START = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", "firedoor.route": "r"}
FINAL = {
    "firedoor.outcome": "answered",
    "gen_ai.usage.input_tokens": 61,
    "gen_ai.response.finish_reasons": ("stop",),
    "firedoor.cost.usd": 0.25,
    "firedoor.degraded": True,
    "gen_ai.request.model": "gpt-5-mini",
}


NOT_MIRRORED = "this SDK is not one that is mirrored: firedoor uses its plain API"


def test_the_sdk_this_was_written_against_is_mirrored():
    """A newer one is used through its API until the mirror has learnt it; this tells of it."""
    if not sdk_version.startswith("1.45."):
        pytest.skip(NOT_MIRRORED)
    from firedoor.telemetry import sdk_series

    assert Spans(TracerProvider(shutdown_on_exit=False)).by_hand
    assert sdk_series.can_shortcut()


class CountedIds(IdGenerator):
    """1, 2, 3, ...: the same for both sides of a comparison."""

    def __init__(self, random=False):
        self.at = 0
        self.random = random

    def generate_span_id(self):
        self.at += 1
        return self.at

    generate_trace_id = generate_span_id

    def is_trace_id_random(self):
        return self.random


class Custom(Sampler):
    """Decides as told, and adds attributes and a trace state of its own."""

    def __init__(self, decision, attributes=None, *, keep=False):
        self.decision = decision
        self.attributes = attributes
        self.keep = keep
        self.asked = []

    def should_sample(self, parent_context, trace_id, name, *rest):
        kind, attributes, links = rest
        self.asked.append((parent_context, trace_id, name, kind, dict(attributes), tuple(links)))
        given = {**attributes, **(self.attributes or {})} if self.keep else self.attributes
        return SamplingResult(self.decision, given, TraceState([("vendor", "custom")]))

    def get_description(self):
        return "custom"


class Meddler(SpanProcessor):
    """Does to a span what processors do, and remembers what it was shown."""

    def __init__(self, attributes=()):
        self.attributes = dict(attributes)
        self.log = []

    def on_start(self, span, parent_context=None):
        self.log.append(
            (
                "start",
                isinstance(span, SdkSpan),
                span.is_recording(),
                parent_context,
            )
        )
        for key, value in self.attributes.items():
            span.set_attribute(key, value)

    def _on_ending(self, span):
        self.log.append(
            ("ending", span.is_recording(), span.end_time is not None, dict(span.attributes))
        )

    def on_end(self, span):
        self.log.append(("end", type(span) is ReadableSpan, dict(span.attributes)))


def told(span):
    """Everything an exporter can learn of a span, ids and times included."""
    return {
        "name": span.name,
        "kind": span.kind,
        "context": (span.context, span.context.trace_flags, span.context.trace_state),
        "parent": span.parent,
        "status": (span.status.status_code, span.status.description),
        "attributes": dict(span.attributes),
        "events": [(e.name, dict(e.attributes), e.dropped_attributes) for e in span.events],
        "links": [(k.context, dict(k.attributes), k.dropped_attributes) for k in span.links],
        "dropped": (span.dropped_events, span.dropped_links),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
        "time": (span.start_time, span.end_time),
    }


class Side:
    """One provider, used either by hand or through the API, and what it exported."""

    def __init__(self, by_hand, *, ids=None, meddler=None, **options):
        self.exporter = InMemorySpanExporter()
        self.meddler = meddler or Meddler()
        self.provider = TracerProvider(
            shutdown_on_exit=False,
            id_generator=ids or CountedIds(),
            resource=Resource({"service.name": "app"}),
            **options,
        )
        self.provider.add_span_processor(self.meddler)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.spans = Spans(self.provider, "https://opentelemetry.io/schemas/1.41.0")
        if not self.spans.by_hand:
            pytest.skip(NOT_MIRRORED)
        if not by_hand:
            self.spans._maker = _ThroughApi(self.spans.tracer)

    def run(self, parent=None, actions=(), *, final=FINAL, error=False, name=None):
        token = context.attach(
            context.Context()
            if parent is None
            else trace.set_span_in_context(parent, context.Context())
        )
        try:
            span = self.spans.start("chat gpt-5", SpanKind.CLIENT, START, 100)
            inner = context.attach(trace.set_span_in_context(span))
            for action in actions:
                action(trace.get_current_span())
            context.detach(inner)
            self.spans.finish(
                span,
                final,
                error=error,
                description="RateLimitError" if error else None,
                end_time_ns=200,
                name=name,
            )
        finally:
            context.detach(token)
        return span

    @property
    def told(self):
        return [told(s) for s in self.exporter.get_finished_spans()]


def pair(**options):
    """The same provider twice; makers of stateful options are called once for each side."""

    def fresh():
        return {
            k: v() if callable(v) and not isinstance(v, Sampler) else v for k, v in options.items()
        }

    return Side(True, **fresh()), Side(False, **fresh())


def assert_same(hand, api):
    assert hand.told == api.told
    assert hand.meddler.log == api.meddler.log


SAMPLED = NonRecordingSpan(SpanContext(7, 8, False, TraceFlags(1), TraceState([("a", "b")])))
REMOTE = NonRecordingSpan(SpanContext(7, 8, True, TraceFlags(3)))
UNSAMPLED = NonRecordingSpan(SpanContext(7, 8, False, TraceFlags(0)))
PARENTS = {
    "none": None,
    "sampled": SAMPLED,
    "remote": REMOTE,
    "unsampled": UNSAMPLED,
    "invalid": trace.INVALID_SPAN,
}


@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
@pytest.mark.parametrize("random", [True, False])
def test_parent_flags_and_trace_state_are_the_same(parent, random):
    hand, api = pair(ids=lambda: CountedIds(random))
    for side in (hand, api):
        span = side.run(parent)
        assert span.get_span_context().trace_flags.random_trace_id == (
            parent.get_span_context().trace_flags.random_trace_id
            if parent and parent is not trace.INVALID_SPAN
            else random
        )
    assert_same(hand, api)


SAMPLERS = {
    "on": lambda: ALWAYS_ON,
    "off": lambda: ALWAYS_OFF,
    "default": lambda: DEFAULT_ON,
    "ratio": lambda: ParentBasedTraceIdRatio(0.5),
    "record only": lambda: Custom(Decision.RECORD_ONLY),
    "drop": lambda: Custom(Decision.DROP, {"x": 1}),
    "own attributes": lambda: Custom(
        Decision.RECORD_AND_SAMPLE, {"sampler.rule": ["a", "b"], "": 1}
    ),
    "added attributes": lambda: Custom(
        Decision.RECORD_AND_SAMPLE, {"sampler.rate": 0.5}, keep=True
    ),
    "no attributes": lambda: Custom(Decision.RECORD_AND_SAMPLE, {}),
}


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_any_sampler_is_asked_the_same_and_obeyed(make, parent):
    hand, api = pair(sampler=make)
    spans = [side.run(parent) for side in (hand, api)]
    assert_same(hand, api)
    assert len({s.is_recording() for s in spans}) == 1
    assert spans[0].get_span_context() == spans[1].get_span_context()
    if isinstance(hand.provider.sampler, Custom):
        assert hand.provider.sampler.asked == api.provider.sampler.asked != []


LIMITS = {
    "few attributes": {"max_span_attributes": 5},
    "no attributes": {"max_span_attributes": 0},
    "short values": {"max_span_attribute_length": 3},
    "short everything": {
        "max_attributes": 4,
        "max_attribute_length": 2,
        "max_events": 1,
        "max_links": 1,
    },
    "unlimited": {"max_span_attributes": SpanLimits.UNSET, "max_events": SpanLimits.UNSET},
    "exactly ours": {"max_span_attributes": 128},
}


def meddle(span):
    span.set_attribute("user.note", "from inside")
    span.set_attribute("user.list", ["a", "b"])
    span.add_event("first", {"text": "something long"})
    span.add_event("second")
    span.add_link(SpanContext(5, 6, False), {"why": "because"})
    span.add_link(SpanContext(5, 7, False))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("actions", [(), (meddle,)], ids=["untouched", "touched"])
def test_span_limits_hold(limits, actions):
    hand, api = pair(span_limits=SpanLimits(**limits))
    for side in (hand, api):
        side.run(actions=actions)
    assert_same(hand, api)


def test_limits_of_the_environment_hold(monkeypatch):
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "4")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2")
    hand, api = pair()
    for side in (hand, api):
        side.run(actions=[meddle])
    assert_same(hand, api)
    assert len(hand.told[0]["attributes"]) == 4


@pytest.mark.parametrize("by_hand", [True, False])
def test_early_keys_are_never_pushed_out(by_hand):
    """The SDK drops the oldest attributes; those are the ones that say what was called."""
    side = Side(by_hand, span_limits=SpanLimits(max_span_attributes=5))
    side.run(final={f"late.{n}": n for n in range(9)})
    assert list(side.told[0]["attributes"]) == [*START, "late.0", "late.1"]
    if by_hand:
        assert side.exporter.get_finished_spans()[0].dropped_attributes == 7


def test_attributes_of_processors_stay():
    hand, api = pair(
        meddler=lambda: Meddler({"added.on_start": True, "gen_ai.operation.name": "renamed"})
    )
    for side in (hand, api):
        side.run()
    assert_same(hand, api)
    assert hand.told[0]["attributes"]["added.on_start"] is True


ERROR = ValueError("from inside")


def early_end(span):
    span.end(150)


ACTIONS = {
    "attribute": lambda s: s.set_attribute("user.key", 1),
    "ours": lambda s: s.set_attribute("firedoor.outcome", "overwritten"),
    "attributes": lambda s: s.set_attributes({"user.a": [1, 2], "user.b": "x", "": 1}),
    "event": lambda s: s.add_event("an event", {"k": "v"}),
    "exception": lambda s: s.record_exception(ERROR, {"k": "v"}, escaped=True),
    "link": lambda s: s.add_link(SpanContext(5, 6, True), {"why": "because"}),
    "bad link": lambda s: s.add_link(trace.INVALID_SPAN_CONTEXT),
    "ok": lambda s: s.set_status(StatusCode.OK),
    "error": lambda s: s.set_status(Status(StatusCode.ERROR, "from inside")),
    "name": lambda s: s.update_name("renamed"),
    "end": early_end,
    "read": lambda s: (
        (s.attributes, s.events, s.links, s.to_json(), s.is_recording())
        if s.is_recording()
        else None
    ),
}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=80, deadline=None)
@given(
    actions=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=8),
    parent=st.sampled_from(sorted(PARENTS)),
    sampler=st.sampled_from(["on", "default", "record only", "own attributes", "added attributes"]),
    limits=st.sampled_from([None, *sorted(LIMITS)]),
    processor=st.booleans(),
    error=st.booleans(),
    name=st.sampled_from([None, "chat gpt-5-mini"]),
)
def test_whatever_is_done_to_the_span_the_result_is_the_same(
    *, actions, parent, sampler, limits, processor, error, name
):
    hand, api = pair(
        sampler=SAMPLERS[sampler],
        span_limits=SpanLimits(**LIMITS[limits]) if limits else None,
        meddler=lambda: Meddler({"p": 1} if processor else ()),
    )
    for side in (hand, api):
        side.run(PARENTS[parent], [ACTIONS[a] for a in actions], error=error, name=name)
    assert_same(hand, api)


def test_the_current_span_is_a_recording_sdk_span():
    hand, _ = pair()
    seen = []
    hand.run(actions=[lambda s: seen.append((isinstance(s, SdkSpan), s.is_recording(), s.name))])
    assert seen == [(True, True, "chat gpt-5")]


def test_an_ended_span_is_closed_to_changes(caplog):
    hand, _ = pair()
    span = hand.run()
    span.set_attribute("late", 1)
    span.add_event("late")
    span.end()
    assert not span.is_recording()
    assert "late" not in hand.told[0]["attributes"]
    assert hand.told[0]["events"] == []
    assert len(hand.told) == 1
    with pytest.raises(TypeError):
        hand.exporter.get_finished_spans()[0]._attributes["late"] = 1
    assert "ended span" in caplog.text


def test_threads_may_write_while_the_span_ends():
    """Nothing is lost that was written before the end, and nothing breaks after it."""
    hand, _ = pair()
    for _ in range(20):
        span = hand.spans.start("chat gpt-5", SpanKind.CLIENT, START)
        written = [[] for _ in range(4)]
        go = threading.Barrier(5)

        def write(mine, number, span=span, go=go):
            go.wait()
            for step in range(50):
                if not span.is_recording():
                    break
                span.set_attribute(f"t{number}.{step % 10}", step)
                mine.append(f"t{number}.{step % 10}")

        threads = [threading.Thread(target=write, args=(w, n)) for n, w in enumerate(written)]
        for thread in threads:
            thread.start()
        go.wait()
        hand.spans.finish(span, FINAL)
        for thread in threads:
            thread.join()
        attributes = hand.exporter.get_finished_spans()[-1].attributes
        assert FINAL.items() <= dict(attributes).items()
        for keys in written:
            # The last write may have been refused: the span ended between look and write.
            assert set(keys[:-1]) <= set(attributes)


def test_a_batch_processor_exports_it():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    spans = Spans(provider)
    spans.finish(spans.start("chat", SpanKind.CLIENT, START), FINAL)
    provider.force_flush()
    (span,) = exporter.get_finished_spans()
    assert dict(span.attributes) == {**START, **FINAL}
    assert span.start_time <= span.end_time
    provider.shutdown()


def test_kind_and_keys_can_be_corrected_at_the_end():
    hand, api = pair()
    for side in (hand, api):
        span = side.spans.start("chat gpt-5", SpanKind.CLIENT, START, 100)
        side.spans.finish(
            span,
            {"a": 1},
            name="firedoor.gate g",
            kind=SpanKind.INTERNAL,
            without=("gen_ai.request.model",),
            end_time_ns=200,
        )
    assert hand.told[0]["kind"] is SpanKind.INTERNAL
    assert hand.told[0]["name"] == api.told[0]["name"] == "firedoor.gate g"
    assert "gen_ai.request.model" not in hand.told[0]["attributes"]
    assert "gen_ai.request.model" in api.told[0]["attributes"], "no public call takes it off"


def test_a_child_made_afterwards_hangs_under_its_parent():
    hand, _ = pair()
    span = hand.spans.start("chat gpt-5", SpanKind.CLIENT, START, 100)
    hand.spans.child(
        span,
        "chat a",
        SpanKind.CLIENT,
        {"k": 1},
        start_ns=110,
        end_ns=120,
        error=True,
        description="E",
    )
    hand.spans.finish(span, FINAL, end_time_ns=200)
    child, parent = hand.told
    assert child["parent"] == parent["context"][0]
    assert child["time"] == (110, 120)
    assert child["status"] == (StatusCode.ERROR, "E")


def test_the_sdk_counts_its_own_spans_as_ever(monkeypatch):
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")

    def counted(by_hand):
        reader = InMemoryMetricReader()
        side = Side(
            by_hand, meter_provider=MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
        )
        side.run()
        side.spans.start("left open", SpanKind.CLIENT, START)
        side.run(SAMPLED)
        data = reader.get_metrics_data()
        return sorted(
            (m.name, str(p.attributes), p.value)
            for r in data.resource_metrics
            for s in r.scope_metrics
            for m in s.metrics
            for p in m.data.data_points
            if m.name.startswith("otel.sdk.span")
        )

    assert counted(True) == counted(False) != []


# Where the mirror does not apply ----------------------------------------------------------------


def test_a_patched_sdk_gets_the_plain_api(monkeypatch):
    from opentelemetry.sdk.trace import Tracer

    original = Tracer.start_span

    def start_span(self, name, *args, extra=None, **kwargs):
        return original(self, f"patched {name}", *args, **kwargs)

    monkeypatch.setattr(sdk_span, "_MIRRORED", (start_span, *sdk_span._MIRRORED[1:]))
    spans = Spans(TracerProvider(shutdown_on_exit=False))
    assert not spans.by_hand


def test_a_tracer_of_another_class_gets_the_plain_api():
    from opentelemetry.sdk.trace import Tracer

    class Other(Tracer):
        pass

    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("x")
    tracer.__class__ = Other
    assert sdk_span.maker_for(tracer) is None


class ForeignSpan(trace.Span):
    """A span of a provider that has nothing to do with the SDK."""

    def __init__(self, name, attributes):
        self.name = name
        self.seen = dict(attributes)
        self.ended = None
        self.status = None

    def get_span_context(self):
        return SpanContext(1, 2, False)

    def is_recording(self):
        return self.ended is None

    def end(self, end_time=None):
        self.ended = end_time

    def set_attributes(self, attributes):
        self.seen.update(attributes)

    def set_attribute(self, key, value):
        self.seen[key] = value

    def add_event(self, name, attributes=None, timestamp=None): ...
    def update_name(self, name):
        self.name = name

    def set_status(self, status, description=None):
        self.status = status

    def record_exception(self, exception, attributes=None, timestamp=None, escaped=False): ...


class ForeignTracer(trace.Tracer):
    def start_span(self, name, context=None, kind=SpanKind.INTERNAL, attributes=None, **rest):
        return ForeignSpan(name, attributes)

    def start_as_current_span(self, *args, **kwargs):
        raise NotImplementedError


class ForeignProvider(trace.TracerProvider):
    def get_tracer(self, *args, **kwargs):
        return ForeignTracer()


def test_a_foreign_provider_works():
    spans = Spans(ForeignProvider())
    assert not spans.by_hand
    span = spans.start("chat", SpanKind.CLIENT, START)
    spans.finish(span, FINAL, error=True, description="E", end_time_ns=5, name="chat b")
    assert span.seen == {**START, **FINAL}
    assert (span.name, span.ended, span.status.status_code) == ("chat b", 5, StatusCode.ERROR)


def test_a_disabled_sdk_is_a_no_op(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    spans = Spans(TracerProvider(shutdown_on_exit=False))
    span = spans.start("chat", SpanKind.CLIENT, START)
    spans.finish(span, FINAL, error=True)
    assert not span.is_recording()
