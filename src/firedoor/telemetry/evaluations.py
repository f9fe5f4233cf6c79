"""What was said of an answer afterwards: by a check, or by its user."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, Span, SpanContext, TraceFlags

from firedoor.records import SCHEMA_VERSION, Decision
from firedoor.telemetry import names
from firedoor.telemetry.common import cut

__all__ = ["Evaluated", "evaluation_attributes"]


class Evaluated(NamedTuple):
    """The call that is judged, as far as an event names it; redacted, as its decision is."""

    decision_id: str
    request_id: str
    journey: str | None
    route: str
    alias: str | None
    response_id: str | None
    trace_id: str | None
    span_id: str | None

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """What an event names of a decision."""
        return cls(
            decision.id,
            decision.request_id,
            decision.journey,
            decision.route,
            decision.alias,
            decision.response_id,
            decision.trace_id,
            decision.span_id,
        )

    def span(self) -> Span:
        """The call's span, as a parent for what is told of it later."""
        if self.trace_id is None or self.span_id is None:
            return INVALID_SPAN
        return NonRecordingSpan(
            SpanContext(
                int(self.trace_id, 16),
                int(self.span_id, 16),
                is_remote=False,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )
        )


def evaluation_attributes(
    name: str,
    evaluated: Evaluated | None,
    *,
    service: str,
    value: float | None,
    label: str | None,
    explanation: str | None,
    error_type: str | None,
) -> dict[str, Any]:
    """The attributes of a `gen_ai.evaluation.result` event; strings are redacted already."""
    attributes: dict[str, Any] = {
        names.EVALUATION_NAME: name,
        names.SCHEMA_VERSION_KEY: SCHEMA_VERSION,
        names.SERVICE: cut(service),
    }
    if value is not None:
        attributes[names.EVALUATION_SCORE] = value
    if label is not None:
        attributes[names.EVALUATION_LABEL] = label
    if explanation is not None:
        attributes[names.EVALUATION_EXPLANATION] = cut(explanation)
    if error_type is not None:
        attributes[names.ERROR_TYPE] = cut(error_type)
    if evaluated is not None:
        attributes[names.DECISION_ID] = evaluated.decision_id
        attributes[names.REQUEST_ID] = cut(evaluated.request_id)
        attributes[names.ROUTE] = cut(evaluated.route)
        if evaluated.journey is not None:
            attributes[names.JOURNEY] = cut(evaluated.journey)
        if evaluated.response_id is not None:
            attributes[names.RESPONSE_ID] = cut(evaluated.response_id)
    return attributes
