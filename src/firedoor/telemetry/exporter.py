"""The promise of redaction for spans made by anyone else in the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, TraceState

from firedoor.privacy import Redactor
from firedoor.privacy.markers import FAILED

__all__ = ["RedactingSpanExporter"]


class _Copy(ReadableSpan):
    """A span with other contents, that still tells how much its own limits had dropped."""

    def __init__(self, source: ReadableSpan, **fields: Any) -> None:
        super().__init__(
            kind=source.kind, start_time=source.start_time, end_time=source.end_time, **fields
        )
        self._dropped = (source.dropped_attributes, source.dropped_events, source.dropped_links)

    @property
    def dropped_attributes(self) -> int:
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        return self._dropped[2]


class RedactingSpanExporter(SpanExporter):
    """Hands redacted copies of spans to another exporter; the spans themselves are not touched.

    Names, attributes (keys and values), events, links, trace state, status description, resource
    and instrumentation scope pass the redactor. A span that cannot be redacted still goes out, with
    its times, ids, kind and status, and without any text.

    Args:
        inner: The exporter that sends.
        redactor: What every string passes. None: all default detectors, a random key.

    Attributes:
        failures: How many spans lost their text because redaction failed.
    """

    def __init__(self, inner: SpanExporter, redactor: Redactor | None = None) -> None:
        self._inner = inner
        self._redactor = redactor or Redactor()
        self._resources: dict[int, tuple[Resource, Resource]] = {}
        self.failures = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Redact and pass on; what the inner exporter answers."""
        return self._inner.export([self._copy(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the inner exporter down."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the inner exporter."""
        return self._inner.force_flush(timeout_millis)

    def _copy(self, span: ReadableSpan) -> ReadableSpan:
        try:
            return self._redacted(span)
        except Exception:
            self.failures += 1
            return _bare(span)

    def _redacted(self, span: ReadableSpan) -> ReadableSpan:
        text = self._redactor.redact_text
        status = span.status
        return _Copy(
            span,
            name=text(span.name),
            context=self._context(span.context),
            parent=self._context(span.parent),
            resource=self._resource(span.resource),
            attributes=self._attributes(span.attributes),
            events=[
                Event(text(event.name), self._attributes(event.attributes), event.timestamp)
                for event in span.events
            ],
            links=[
                Link(self._context(link.context) or link.context, self._attributes(link.attributes))
                for link in span.links
            ],
            status=Status(
                status.status_code, None if status.description is None else text(status.description)
            ),
            instrumentation_scope=self._scope(span.instrumentation_scope),
        )

    def _attributes(self, attributes: Mapping[str, Any] | None) -> dict[str, Any] | None:
        if attributes is None:
            return None
        redacted: dict[str, Any] = self._redactor.redact(dict(attributes))
        if not isinstance(redacted, dict):
            raise TypeError("attributes could not be redacted")
        return redacted

    def _context(self, context: SpanContext | None) -> SpanContext | None:
        if context is None or not context.trace_state:
            return context
        text = self._redactor.redact_text
        # Markers are no legal trace state, so an entry that holds something is left out.
        kept = [(k, v) for k, v in context.trace_state.items() if text(f"{k}={v}") == f"{k}={v}"]
        return SpanContext(
            context.trace_id,
            context.span_id,
            context.is_remote,
            context.trace_flags,
            TraceState(kept),
        )

    def _resource(self, resource: Resource) -> Resource:
        # A process has one or two resources, and they are immutable: each is redacted once.
        known = self._resources.get(id(resource))
        if known is not None and known[0] is resource:
            return known[1]
        made = Resource(self._attributes(resource.attributes) or {}, resource.schema_url)
        if len(self._resources) > 64:
            self._resources.clear()
        self._resources[id(resource)] = (resource, made)
        return made

    def _scope(self, scope: InstrumentationScope | None) -> InstrumentationScope | None:
        if scope is None:
            return None
        text = self._redactor.redact_text
        return InstrumentationScope(
            text(scope.name),
            None if scope.version is None else text(scope.version),
            None if scope.schema_url is None else text(scope.schema_url),
            self._attributes(scope.attributes),
        )


def _bare(span: ReadableSpan) -> ReadableSpan:
    """What is left of a span when nothing of its text may be shown."""

    def bare(context: SpanContext | None) -> SpanContext | None:
        if context is None:
            return None
        return SpanContext(
            context.trace_id, context.span_id, context.is_remote, context.trace_flags
        )

    return _Copy(
        span,
        name=FAILED,
        context=bare(span.context),
        parent=bare(span.parent),
        resource=Resource({}),
        status=Status(span.status.status_code),
    )
