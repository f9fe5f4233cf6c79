"""Starting and finishing spans: through the API, or by hand where the SDK's own can be mirrored.

`Spans` gives the same exported span either way. A span that is nobody's current one yet, whose
attributes are known to be clean and arrive in one dict, costs a fraction of one made through the
API; `firedoor.telemetry.sdk_span` makes those, for the SDK versions whose internals it was
written against. Every other provider, and every other version, gets the plain API.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from firedoor._version import __version__
from firedoor.telemetry.common import within
from firedoor.telemetry.names import SCOPE

__all__ = ["Spans"]

Attributes = Mapping[str, Any]
_NOTHING: Attributes = {}
_DEFAULT_LIMIT = 128


class _Maker(Protocol):
    """What makes spans of one tracer."""

    def start(
        self, name: str, kind: SpanKind, attributes: Attributes, start_ns: int | None
    ) -> Span: ...

    def finish(  # noqa: PLR0917 - keywords cost time here
        self,
        span: Any,
        attributes: Attributes,
        end_ns: int | None,
        name: str | None,
        kind: SpanKind | None,
        without: tuple[str, ...],
    ) -> None: ...


class Spans:
    """Makes the spans of one door.

    No span made here is current: who wants that puts it into a context. No context token is held.

    Args:
        provider: Where spans go. None: the global provider, also one that is set later.
        schema_url: The convention that the attributes follow.
    """

    __slots__ = ("_asked", "_maker", "_provider", "_schema_url", "tracer")

    def __init__(
        self, provider: TracerProvider | None = None, schema_url: str | None = None
    ) -> None:
        self._provider = provider
        self._schema_url = schema_url
        self._asked = False
        self._maker: _Maker | None = None
        self.tracer: Tracer | None = None
        self._resolve()

    def _resolve(self) -> _Maker | None:
        """The maker for the provider there is by now; None while the global one is not set."""
        provider = self._provider
        if provider is None:
            # Asked on every call until there is one; the private name is only a shorter way.
            if self._asked and getattr(trace, "_TRACER_PROVIDER", self) is None:
                return None
            self._asked = True
            provider = trace.get_tracer_provider()
            if isinstance(provider, ProxyTracerProvider):
                return None
        tracer = provider.get_tracer(SCOPE, __version__, self._schema_url)
        maker = _by_hand(tracer) or _ThroughApi(tracer)
        self.tracer = tracer
        self._maker = maker
        return maker

    @property
    def by_hand(self) -> bool:
        """Whether spans are finished by hand rather than through the API."""
        return self._maker is not None and not isinstance(self._maker, _ThroughApi)

    @property
    def made(self) -> bool:
        """Whether anything makes spans here by now, be it only to sample them out."""
        if self._maker is not None:
            return True
        if self._asked and getattr(trace, "_TRACER_PROVIDER", self) is None:
            return False
        return self._resolve() is not None

    def start(
        self, name: str, kind: SpanKind, attributes: Attributes, start_ns: int | None = None
    ) -> Span:
        """A span whose parent is the current one.

        Args:
            name: Of low cardinality.
            kind: As the convention has it for the operation.
            attributes: What a sampler may want to see. Kept, not copied: never change it.
            start_ns: Nanoseconds since the epoch; None for now.
        """
        maker = self._maker or self._resolve()
        if maker is None:
            # As the API's no-op tracer does, at a third of its price.
            current = get_current_span()
            if isinstance(current, NonRecordingSpan):
                return current
            return NonRecordingSpan(current.get_span_context())
        return maker.start(name, kind, attributes, start_ns)

    def finish(
        self,
        span: Span,
        attributes: Attributes = _NOTHING,
        *,
        error: bool = False,
        description: str | None = None,
        end_time_ns: int | None = None,
        name: str | None = None,
        kind: SpanKind | None = None,
        without: tuple[str, ...] = (),
    ) -> None:
        """End `span` with `attributes`.

        Where the span has no room for all attributes, the last ones given are left out; what is
        on the span already stays.

        Args:
            span: One from `start`.
            attributes: Plain strings, numbers, flags, and tuples of one of them. Kept, not copied.
            error: Whether the status becomes ERROR.
            description: Of the status: short, and without any text of an exception.
            end_time_ns: Nanoseconds since the epoch; None for now.
            name: A better name than the one at the start.
            kind: A truer kind than the one at the start. The API cannot change it: through it,
                the span keeps its kind.
            without: Keys to take off the span. The API cannot: through it, they stay.
        """
        maker = self._maker
        if maker is None or not span.is_recording():
            span.end(end_time_ns)
            return
        if error:
            span.set_status(Status(StatusCode.ERROR, description))
        maker.finish(span, attributes, end_time_ns, name, kind, without)

    def child(
        self,
        parent: Span,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        start_ns: int,
        end_ns: int,
        error: bool = False,
        description: str | None = None,
    ) -> None:
        """Make a finished span under `parent`, after the fact."""
        if self.tracer is None:
            self._resolve()
        if self.tracer is None:
            return
        span = self.tracer.start_span(
            name,
            context=set_span_in_context(parent, Context()),
            kind=kind,
            attributes=attributes,
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, description))
        span.end(end_ns)


class _ThroughApi:
    """Spans of any provider, by public calls only."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start(
        self, name: str, kind: SpanKind, attributes: Attributes, start_ns: int | None
    ) -> Span:
        span: Span | None = self._tracer.start_span(
            name,
            kind=kind,
            attributes=attributes,
            start_time=start_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        return span if span is not None else INVALID_SPAN

    def finish(  # noqa: PLR0917 - as the protocol
        self,
        span: Span,
        attributes: Attributes,
        end_ns: int | None,
        name: str | None,
        kind: SpanKind | None,  # noqa: ARG002 - no public call changes it
        without: tuple[str, ...],  # noqa: ARG002 - likewise
    ) -> None:
        if name is not None:
            span.update_name(name)
        held: Any = getattr(span, "attributes", None)
        limits: Any = getattr(self._tracer, "_span_limits", None)
        limit = getattr(limits, "max_span_attributes", _DEFAULT_LIMIT)
        if held is not None and limit is not None and len(held) + len(attributes) > limit:
            attributes = within(attributes, held, limit)
        span.set_attributes(attributes)
        span.end(end_ns)


def _by_hand(tracer: Tracer) -> _Maker | None:
    """A maker for the SDK's own tracer, if this version of it is one that can be mirrored."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    try:
        from firedoor.telemetry.sdk_span import maker_for  # noqa: PLC0415 - only with the SDK
    except Exception:
        return None
    return maker_for(tracer)
