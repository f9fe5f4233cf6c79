"""Fixtures for everyone: a door whose spans and decisions can be looked at."""

import logging
import os
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from opentelemetry.context import attach, get_current
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import firedoor as fd

# A busy machine is slow to draw examples, which says nothing of the code. CI draws the same ones
# each time, so that what lands is judged by what was tried; everyone else looks further.
settings.register_profile(
    "shared",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("shared")


@dataclass
class Seen:
    """What a door told of itself."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    decisions: list = field(default_factory=list)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    def metric(self, name):
        """Every data point of the metric called `name`."""
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def seen():
    exporter = InMemorySpanExporter()
    reader = InMemoryMetricReader()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter_provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    yield Seen(exporter, reader, tracer_provider, meter_provider)
    tracer_provider.shutdown()
    meter_provider.shutdown()


@pytest.fixture
def make_door(seen):
    """Builds doors whose spans, metrics and decisions end in `seen`."""
    doors = []

    def make(service="test-app", **kwargs):
        kwargs.setdefault("tracer_provider", seen.tracer_provider)
        kwargs.setdefault("meter_provider", seen.meter_provider)
        door = fd.Firedoor(service, **kwargs)
        door.on_decision(seen.decisions.append)
        doors.append(door)
        return door

    yield make
    for door in doors:
        door.close()


@pytest.fixture
def door(make_door):
    return make_door()


@pytest.fixture(autouse=True)
def no_context_errors(caplog):
    """No test may leave the OpenTelemetry context in a state it complains about, or another one."""
    caplog.set_level(logging.WARNING, logger="opentelemetry")
    before = get_current()
    yield
    left = get_current()
    attach(before)
    assert left is before or left == before, left
    complaints = [r for r in caplog.records if "detach" in r.getMessage().lower()]
    assert not complaints, complaints
