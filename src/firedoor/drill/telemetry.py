"""Where the drill's spans and metrics go: a file always, OTLP where the environment names it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

__all__ = ["Telemetry"]

_OTLP = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OTLP_TRACES = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_OTLP_METRICS = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"


class Telemetry:
    """Providers whose spans are written to `path`, one JSON object a line.

    Args:
        path: The span file; it is written anew.
        service: The service's name in the resource.

    Attributes:
        path: The span file.
        otlp: Where else telemetry goes, as the `OTEL_EXPORTER_OTLP_*` variables say; else None.
    """

    def __init__(self, path: Path, service: str) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8")
        self._reader = InMemoryMetricReader()
        resource = Resource.create({SERVICE_NAME: service})
        readers: list[MetricReader] = [self._reader]
        self.tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(
            BatchSpanProcessor(ConsoleSpanExporter(out=self._file, formatter=_line))
        )
        traces, metrics = _configured(_OTLP_TRACES), _configured(_OTLP_METRICS)
        self.otlp = traces or metrics
        if traces:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )

            self.tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        if metrics:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
                OTLPMetricExporter,
            )

            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self.meter_provider = MeterProvider(
            metric_readers=readers, resource=resource, shutdown_on_exit=False
        )

    def metrics(self) -> dict[str, Any]:
        """All metrics so far, as the SDK writes them in JSON."""
        data = self._reader.get_metrics_data()
        read: dict[str, Any] = json.loads(data.to_json()) if data is not None else {}
        return read

    def close(self) -> None:
        """Write out what is pending and close the file. Idempotent."""
        if not self._file.closed:
            self.tracer_provider.shutdown()
            self.meter_provider.shutdown()
            self._file.close()

    def spans(self) -> list[dict[str, Any]]:
        """The spans, read back from the file."""
        with self.path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


def _configured(variable: str) -> str | None:
    return os.environ.get(variable) or os.environ.get(_OTLP) or None
