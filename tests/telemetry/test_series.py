"""A series recorded to directly exports what the instrument's own `record` would have exported."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    SumAggregation,
    View,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from firedoor.telemetry.series import Series

sdk_series = pytest.importorskip("firedoor.telemetry.sdk_series", exc_type=ImportError)
pytestmark = pytest.mark.skipif(
    not sdk_series.can_shortcut(), reason="this SDK is used through its API"
)
ATTRIBUTES = {
    "gen_ai.request.model": "gpt-5",
    "gen_ai.operation.name": "chat",
    "firedoor.route": "r",
}
SPAN = NonRecordingSpan(SpanContext(7, 8, False, TraceFlags(1)))


def made(views=(), temporality=None, readers=1, exemplars=None):
    """A histogram, and the readers that see it."""
    preferred = {Histogram: temporality} if temporality else None
    watching = [InMemoryMetricReader(preferred_temporality=preferred) for _ in range(readers)]
    provider = MeterProvider(
        metric_readers=watching, views=views, exemplar_filter=exemplars, shutdown_on_exit=False
    )
    meter = provider.get_meter("test")
    return (
        meter.create_histogram("d", explicit_bucket_boundaries_advisory=[0.1, 1, 10]),
        watching,
        provider,
    )


def seen(reader):
    """Everything a reader exports of it but the times."""
    data = reader.get_metrics_data()
    if data is None:
        return []
    plain = []
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    fields = {k: v for k, v in vars(point).items() if "time" not in k}
                    fields["exemplars"] = [
                        (e.value, e.span_id, e.trace_id, dict(e.filtered_attributes or {}))
                        for e in point.exemplars
                    ]
                    fields["attributes"] = dict(point.attributes)
                    plain.append((metric.name, type(point).__name__, fields))
    return sorted(plain, key=str)


VIEWS = {
    "none": [],
    "buckets": [View(instrument_name="d", aggregation=ExplicitBucketHistogramAggregation([5.0]))],
    "exponential": [View(instrument_name="d", aggregation=ExponentialBucketHistogramAggregation())],
    "sum": [View(instrument_name="d", aggregation=SumAggregation())],
    "dropped": [View(instrument_name="d", aggregation=DropAggregation())],
    "fewer attributes": [View(instrument_name="d", attribute_keys={"firedoor.route"})],
    "two views": [
        View(instrument_name="d", name="a"),
        View(instrument_name="d", name="b", attribute_keys=set()),
    ],
}


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize(
    "temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA]
)
@pytest.mark.parametrize("readers", [0, 1, 2])
def test_views_readers_and_temporality_are_respected(views, temporality, readers):
    sides = [made(VIEWS[views], temporality, readers) for _ in range(2)]
    (direct, direct_readers, _), (plain, plain_readers, _) = sides
    series = Series(direct, ATTRIBUTES)
    for round_of_amounts in ((0.05, 0.5, 5), (50, 0), ()):
        for amount in round_of_amounts:
            series.record(amount)
            plain.record(amount, ATTRIBUTES)
        assert [seen(r) for r in direct_readers] == [seen(r) for r in plain_readers]
    if temporality is AggregationTemporality.CUMULATIVE:
        assert series._target is not None


@settings(max_examples=40, deadline=None)
@given(amounts=st.lists(st.one_of(st.floats(), st.integers(-5, 10**12)), max_size=12))
def test_any_amount_counts_the_same(amounts):
    (direct, (direct_reader,), _), (plain, (plain_reader,), _) = made(), made()
    series = Series(direct, ATTRIBUTES)
    for amount in amounts:
        series.record(amount)
        plain.record(amount, ATTRIBUTES)
    assert seen(direct_reader) == seen(plain_reader)


@pytest.mark.parametrize(
    "kind", [AlwaysOnExemplarFilter, AlwaysOffExemplarFilter, TraceBasedExemplarFilter]
)
@pytest.mark.parametrize("inside", [True, False])
def test_exemplars_point_to_the_same_span(kind, inside):
    (direct, (direct_reader,), _), (plain, (plain_reader,), _) = (
        made([View(instrument_name="d", attribute_keys={"firedoor.route"})], exemplars=kind())
        for _ in range(2)
    )
    series = Series(direct, ATTRIBUTES)
    series.record(0.5)
    plain.record(0.5, ATTRIBUTES)
    with trace.use_span(SPAN if inside else trace.INVALID_SPAN):
        series.record(5)
        plain.record(5, ATTRIBUTES)
    found = seen(direct_reader)
    assert found == seen(plain_reader)
    assert series._target is not None
    if kind is TraceBasedExemplarFilter:
        assert [e[2] for e in found[0][2]["exemplars"]] == ([7] if inside else [])


def test_readers_may_come_and_go():
    histogram, (first,), provider = made()
    series = Series(histogram, ATTRIBUTES)
    series.record(1)
    series.record(1)
    second = InMemoryMetricReader()
    provider.add_metric_reader(second)
    series.record(1)
    series.record(1)
    assert [seen(r)[0][2]["count"] for r in (first, second)] == [4, 2]
    provider.remove_metric_reader(first)
    series.record(1)
    series.record(1)
    assert seen(second)[0][2]["count"] == 4


def test_a_series_past_the_cardinality_limit_stays_in_the_overflow():
    try:
        limited = View(instrument_name="d", aggregation_cardinality_limit=2)
    except TypeError:
        pytest.skip("this SDK has no cardinality limits")
    histogram, (reader,), _ = made([limited])
    many = [Series(histogram, {"n": str(n)}) for n in range(5)]
    for _ in range(3):
        for series in many:
            series.record(1)
    counts = {str(fields["attributes"]): fields["count"] for _, _, fields in seen(reader)}
    assert counts.pop("{'otel.metric.overflow': True}") == 9
    assert list(counts.values()) == [3, 3]


def test_threads_lose_nothing():
    histogram, (reader,), _ = made()
    series = Series(histogram, ATTRIBUTES)
    threads = [
        threading.Thread(target=lambda: [series.record(1) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(reader)[0][2]["count"] == 4000


def test_an_unknown_sdk_is_used_through_its_api(monkeypatch):
    monkeypatch.setattr(sdk_series, "can_shortcut", lambda: False)
    histogram, (reader,), _ = made()
    series = Series(histogram, ATTRIBUTES)
    series.record(1)
    series.record(1)
    assert series._target is None
    assert seen(reader)[0][2]["count"] == 2


def test_a_foreign_instrument_is_used_through_its_api():
    class Foreign:
        seen = []

        def record(self, amount, attributes):
            self.seen.append((amount, dict(attributes)))

    series = Series(Foreign(), ATTRIBUTES)
    series.record(1)
    series.record(2)
    assert Foreign.seen == [(1, ATTRIBUTES), (2, ATTRIBUTES)]
