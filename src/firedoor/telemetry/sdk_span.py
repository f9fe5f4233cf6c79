"""Spans of the SDK, made by hand: the same exported span for a fraction of the price.

`Tracer.start_span` and `Span.end` are mirrored step by step (parent, sampler, flags, limits,
processors, the SDK's own metrics). What is saved is only work whose result is not needed: the
containers for attributes, events and links are made when somebody asks for them, and attributes
that are clean by construction are not cleaned again.

The span is a real SDK span. Code that finds it as the current one sets attributes, adds events
and records exceptions as ever.

This reads private names of the SDK. `maker_for` looks first whether the installed SDK's own code
is what this mirror was written against, and gives None where it is not.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import time_ns
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, Tracer
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
)

from firedoor.telemetry.common import within
from firedoor.telemetry.sdk_code import fingerprint

__all__ = ["HandmadeSpan", "Maker", "maker_for"]

_UNSET: Final = Status(StatusCode.UNSET)
_FLAGS = tuple(TraceFlags(value) for value in range(4))
_MIN_ROOM = 128
"""Where spans may hold this many attributes of any length, ours need neither counting nor cutting."""


class _Lazy:
    """An attribute that is made when first read; as safe with threads as `dict.setdefault`."""

    __slots__ = ("_make", "_name")

    def __init__(self, make: Any) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._make(instance))


def _make_attributes(span: Any) -> BoundedAttributes:
    limits = span._limits
    return BoundedAttributes(
        limits.max_span_attributes,
        span._initial,
        immutable=False,
        max_value_len=limits.max_span_attribute_length,
    )


class HandmadeSpan(SdkSpan):
    """An SDK span whose containers do not exist until they are needed."""

    # What `Span.__init__` would set on every instance, and is the same for all of ours.
    _instrumentation_info: Any = None
    _instrumentation_scope: Any = None
    _trace_config: Any = None
    _record_exception = False
    _set_status_on_exception = False
    _status = _UNSET
    _end_time: int | None = None
    _initial: Mapping[str, Any]

    _attributes: Any = _Lazy(_make_attributes)
    _events: Any = _Lazy(lambda span: BoundedList(span._limits.max_events))
    _links: Any = _Lazy(lambda span: BoundedList(span._limits.max_links))

    __init__: Any = object.__init__


class Maker:
    """Makes and finishes the spans of one SDK tracer."""

    __slots__ = ("_roomy", "_span", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer: Any = tracer
        limits: SpanLimits = tracer._span_limits
        most = limits.max_span_attributes
        self._roomy = (
            most is None or most >= _MIN_ROOM
        ) and limits.max_span_attribute_length is None

        class OfTracer(HandmadeSpan):
            """A span of this tracer."""

            _instrumentation_info = tracer.instrumentation_info
            _instrumentation_scope = tracer._instrumentation_scope
            _limits = limits
            _sampler = tracer.sampler
            _span_processor = tracer.span_processor

        OfTracer.__name__ = OfTracer.__qualname__ = "_Span"
        self._span = OfTracer

    def start(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Any], start_ns: int | None
    ) -> Span:
        """As `Tracer.start_span` of the SDK, with the current context and without links."""
        tracer = self._tracer
        parent: SpanContext | None = get_current_span().get_span_context()
        if not tracer._is_enabled():
            return NonRecordingSpan(parent)  # type: ignore[arg-type]
        ids = tracer.id_generator
        if parent is None or not parent.is_valid:
            parent = None
            trace_id = ids.generate_trace_id()
            random = ids.is_trace_id_random()
        else:
            trace_id = parent.trace_id
            random = parent.trace_flags.random_trace_id
        sampled = tracer.sampler.should_sample(None, trace_id, name, kind, attributes, ())
        decision = sampled.decision
        context = SpanContext(
            trace_id,
            ids.generate_span_id(),
            is_remote=False,
            trace_flags=_FLAGS[decision.is_sampled() + (2 if random else 0)],
            trace_state=sampled.trace_state,
        )
        on_end = tracer._tracer_metrics.start_span(parent, decision)
        if not decision.is_recording():
            return NonRecordingSpan(context)
        span: Any = object.__new__(self._span)
        given = sampled.attributes
        held = span.__dict__
        held["_name"] = name
        held["_context"] = context
        held["_kind"] = kind
        held["_parent"] = parent
        held["_resource"] = tracer.resource
        held["_lock"] = threading.Lock()
        held["_record_end_metrics"] = on_end
        held["_start_time"] = start_ns if start_ns is not None else time_ns()
        held["_initial"] = attributes
        if not self._roomy or given != attributes:
            # A sampler's own attributes may be anything, and limits must be kept to: the SDK's
            # container does both.
            held["_initial"] = given
            span._attributes  # noqa: B018 - makes it
        tracer.span_processor.on_start(span, parent_context=None)
        return span  # type: ignore[no-any-return]

    def finish(  # noqa: PLR0917 - keywords cost time here
        self,
        span: Any,
        attributes: Mapping[str, Any],
        end_ns: int | None,
        name: str | None,
        kind: SpanKind | None,
        without: tuple[str, ...],
    ) -> None:
        """As `set_attributes` and `end` of the SDK's span, in one go."""
        held = span.__dict__
        with held["_lock"]:
            if span._end_time is not None:
                return
            initial = held["_initial"]
            bag: Any = held.get("_attributes")
            if bag is None:
                bag = held["_attributes"] = _Finished.__new__(_Finished)
                bag._dict = {**initial, **attributes}
                bag.maxlen = span._limits.max_span_attributes
                bag.dropped = 0
                bag.max_value_len = None
            else:
                self._add(bag, attributes)
            for key in without:
                bag._dict.pop(key, None)
            bag._immutable = True
            if name is not None:
                held["_name"] = name
            if kind is not None:
                held["_kind"] = kind
            held["_end_time"] = end_ns if end_ns is not None else time_ns()
        held["_record_end_metrics"]()
        processor = span._span_processor
        processor._on_ending(span)
        readable = object.__new__(ReadableSpan)
        readable.__dict__ = {
            "_name": held["_name"],
            "_context": held["_context"],
            "_kind": held["_kind"],
            "_instrumentation_info": span._instrumentation_info,
            "_instrumentation_scope": span._instrumentation_scope,
            "_parent": held["_parent"],
            "_start_time": held["_start_time"],
            "_end_time": held["_end_time"],
            "_attributes": bag,
            "_events": held.get("_events", ()),
            "_links": held.get("_links", ()),
            "_resource": held["_resource"],
            "_status": span._status,
        }
        processor.on_end(readable)

    def _add(self, bag: Any, attributes: Mapping[str, Any]) -> None:
        most = bag.maxlen
        if most is not None and len(bag) + len(attributes) > most:
            kept = within(attributes, bag, most)
            bag.dropped += len(attributes) - len(kept)
            attributes = kept
        if self._roomy:
            with bag._lock:
                bag._dict.update(attributes)
        else:
            bag._set_items(attributes)


class _Finished(BoundedAttributes):
    """Attributes that nobody touched before they were final: clean, and already immutable."""

    _lock: Any = _Lazy(lambda _: threading.Lock())


_MIRRORED: Final = (
    Tracer.start_span,
    SdkSpan.__init__,
    SdkSpan.start,
    SdkSpan.end,
    SdkSpan._readable_span,
    ReadableSpan.__init__,
    BoundedAttributes.__init__,
)
_KNOWN: Final = frozenset({3_109_693_019})
"""Fingerprints of the SDK code this mirrors: opentelemetry-sdk 1.45."""


def maker_for(tracer: object) -> Maker | None:
    """A maker for `tracer`, or None where it is not the SDK's own as this module knows it."""
    if (
        type(tracer) is not Tracer
        or "start_span" in vars(tracer)
        or fingerprint(_MIRRORED) not in _KNOWN
    ):
        return None
    return Maker(tracer)
