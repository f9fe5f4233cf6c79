"""Spans made by anyone else leave redacted, or bare; never as they were, never not at all."""

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState

from firedoor.privacy import Redactor
from firedoor.telemetry.exporter import RedactingSpanExporter

SECRET = "anna.kovacs@example.com"
KEY = "AKIAIOSFODNN7EXAMPLQ"


class Broken(Redactor):
    def redact_text(self, text, found=None):
        raise RuntimeError("no")


@pytest.fixture
def inner():
    return InMemorySpanExporter()


def provider_with(exporter):
    provider = TracerProvider(
        resource=Resource({"service.name": "shop", "owner": SECRET, KEY: "x"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def make_span(provider):
    tracer = provider.get_tracer(f"library {SECRET}", "1.0", attributes={"author": SECRET})
    linked = SpanContext(
        1, 2, False, TraceFlags(1), TraceState([("vendor", KEY), ("other", "fine")])
    )
    parent = trace.set_span_in_context(
        trace.NonRecordingSpan(
            SpanContext(3, 4, True, TraceFlags(1), TraceState([("vendor", KEY)]))
        )
    )
    span = tracer.start_span(
        f"GET {SECRET}",
        context=parent,
        links=[Link(linked, {SECRET: [SECRET, "x"]})],
        attributes={"n": 1},
    )
    span.set_attribute("q", (SECRET, "plain"))
    span.set_attribute(SECRET, True)
    span.add_event(f"event {SECRET}", {"body": SECRET})
    span.record_exception(ValueError(SECRET))
    span.set_status(trace.StatusCode.ERROR, f"bad {SECRET}")
    span.end()
    return span


def shown(span):
    return f"{span.to_json()} {span.context} {span.parent} {[link.context for link in span.links]}"


def test_no_text_of_a_span_leaves_unseen(inner):
    span = make_span(provider_with(RedactingSpanExporter(inner, Redactor())))
    (out,) = inner.get_finished_spans()
    assert SECRET not in shown(out) and KEY not in shown(out)
    assert SECRET in shown(span)
    assert out.attributes["n"] == 1
    assert out.attributes["q"][1] == "plain"
    assert out.resource.attributes["service.name"] == "shop"
    assert out.links[0].context.trace_state.get("other") == "fine"
    assert out.context.span_id == span.context.span_id
    assert out.parent.span_id == 4
    assert (out.start_time, out.end_time, out.kind) == (span.start_time, span.end_time, span.kind)
    assert out.status.status_code is trace.StatusCode.ERROR
    assert [event.timestamp for event in out.events] == [event.timestamp for event in span.events]


def test_a_span_that_cannot_be_redacted_leaves_without_its_text(inner):
    exporter = RedactingSpanExporter(inner, Broken())
    span = make_span(provider_with(exporter))
    (out,) = inner.get_finished_spans()
    assert SECRET not in shown(out) and KEY not in shown(out)
    assert out.name == "<redaction_failed>"
    assert out.context.span_id == span.context.span_id
    assert out.end_time == span.end_time
    assert exporter.failures == 1


def test_what_the_spans_own_limits_dropped_is_still_told(inner):
    provider = TracerProvider(
        shutdown_on_exit=False, span_limits=SpanLimits(max_attributes=1, max_events=1)
    )
    provider.add_span_processor(SimpleSpanProcessor(RedactingSpanExporter(inner)))
    span = provider.get_tracer("t").start_span("s", attributes={"a": 1, "b": 2, "c": 3})
    for name in ("one", "two"):
        span.add_event(name)
    span.end()
    (out,) = inner.get_finished_spans()
    assert (out.dropped_attributes, out.dropped_events, out.dropped_links) == (2, 1, 0)


def test_the_rest_is_the_inner_exporters():
    class Inner(InMemorySpanExporter):
        flushed = None

        def export(self, spans):
            return SpanExportResult.FAILURE

        def force_flush(self, timeout_millis=30_000):
            self.flushed = timeout_millis
            return False

    inner = Inner()
    exporter = RedactingSpanExporter(inner)
    assert exporter.export([]) is SpanExportResult.FAILURE
    assert exporter.force_flush(5) is False and inner.flushed == 5
    exporter.shutdown()
    assert inner._stopped
