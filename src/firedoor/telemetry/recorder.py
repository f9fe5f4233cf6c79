"""What a door tells of its calls and requests: spans, metrics, and log events where asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, TracerProvider

from firedoor.errors import ConfigurationError
from firedoor.records import SCHEMA_VERSION, Decision
from firedoor.telemetry import names
from firedoor.telemetry.attributes import (
    attempt_attributes,
    call_attributes,
    response_attributes,
)
from firedoor.telemetry.common import Common, Commons, cut
from firedoor.telemetry.evaluations import Evaluated, evaluation_attributes
from firedoor.telemetry.events import Events
from firedoor.telemetry.faults import Faults
from firedoor.telemetry.incidents import IncidentTelemetry
from firedoor.telemetry.metrics import Metrics
from firedoor.telemetry.names import CONVENTIONS, Regime
from firedoor.telemetry.spans import Spans
from firedoor.types import Outcome, Verdict, VerdictStatus

if TYPE_CHECKING:
    from collections.abc import Sized

__all__ = ["Recorder"]

_FAILURES = frozenset({Outcome.FAILED, Outcome.CANCELLED, Outcome.BLOCKED})
_BEFORE = frozenset({"call", "input", "tool_arguments"})
_LEAF_ONLY = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL)


class RequestSummary(Protocol):
    """What `end_request` reads of a request."""

    journey: str
    outcome: Outcome | None

    @property
    def decisions(self) -> Sized: ...
    @property
    def cost_usd(self) -> float: ...


class Recorder:
    """Turns records into telemetry. The records' strings are redacted before they get here.

    Args:
        tracer_provider: Where spans go. None: the global provider, also one that is set later.
        meter_provider: Where metrics go; None as above.
        logger_provider: Where log events that mirror the spans go. None: there are none.
        service: The application's name.
        semconv: The state of the GenAI conventions to follow: `1.41`, which dashboards read
            today, or `0.1`, the first release of the conventions' own repository.

    Raises:
        ConfigurationError: If `semconv` names no known state, or a provider is none.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: Any = None,
        service: str = "",
        semconv: Regime = "1.41",
    ) -> None:
        if semconv not in CONVENTIONS:
            raise ConfigurationError(
                f"semconv={semconv!r}: use one of {', '.join(map(repr, CONVENTIONS))}"
            )
        _check("tracer_provider", tracer_provider, "get_tracer")
        _check("meter_provider", meter_provider, "get_meter")
        self._convention = CONVENTIONS[semconv]
        self._service = service
        self._commons = Commons()
        self.spans = Spans(tracer_provider, self._convention.schema_url)
        self._metrics = Metrics(meter_provider, self._convention)
        self._events = (
            None
            if logger_provider is None
            else Events(logger_provider, self._convention.schema_url)
        )
        self._faults = Faults(self._metrics)
        self.incidents = IncidentTelemetry(
            self.spans, meter_provider, self._events, self._convention.schema_url
        )
        """What is told of incidents, alerts and actions."""

    # Calls -----------------------------------------------------------------------------------

    @property
    def traces(self) -> bool:
        """Whether spans or log events go anywhere by now."""
        return self._events is not None or self.spans.made

    def start_call(self, record: Decision, start_ns: int | None = None) -> Span:
        """The span of a call that begins; a child of the current span, and not made current.

        Args:
            record: The decision so far: route, model and journey are known.
            start_ns: When the call began, nanoseconds since the epoch. None: `record.time`.
        """
        common = self._commons.of(record)
        if start_ns is None and record.time:
            start_ns = int(record.time * 1e9)
        return self.spans.start(common.name, common.kind, common.start, start_ns)

    def end_call(self, record: Decision, span: Span | None, end_ns: int | None = None) -> None:
        """End a call's span with what its decision says, and record its metrics.

        Args:
            record: The finished decision.
            span: From `start_call`; None where nothing traces, or none could be made.
            end_ns: When the call ended, nanoseconds since the epoch. None: now.
        """
        gate = _stopped_by(record) if record.verdicts else None
        traced = span is not None and (span.is_recording() or self._events is not None)
        common = self._commons.of(record) if traced or self._metrics.live else None
        try:
            if traced and span is not None and common is not None:
                attributes = self._finish(record, common, span, gate, end_ns)
                if self._events is not None:
                    failed = record.outcome in _FAILURES
                    self._events.emit(attributes, span, failed=failed, time_ns=end_ns)
        except Exception as error:
            self.internal_error("telemetry", error)
            if span is not None and common is not None and span.is_recording():
                self.spans.finish(span, common.base, end_time_ns=end_ns)
        finally:
            self._metrics.call(record, common, ran=gate is None)

    def _finish(
        self,
        record: Decision,
        common: Common,
        span: Span,
        gate: Verdict | None,
        end_ns: int | None,
    ) -> dict[str, Any]:
        """End the span; gives its attributes."""
        failed = record.outcome in _FAILURES
        description = record.error_type if failed else None
        if gate is None and len(record.attempts) < 2:
            attributes = call_attributes(record, common, self._convention)
            self.spans.finish(
                span,
                attributes,
                error=failed,
                description=description,
                end_time_ns=end_ns,
                name=common.name,
            )
            return attributes
        # The span is not a model call's: its attempts have spans of their own, or there was none.
        if gate is None:
            self._attempts(record, common, span, end_ns)
        attributes = call_attributes(record, common, self._convention, leaf=False)
        for key in _LEAF_ONLY:
            attributes.pop(key, None)
        if record.model is not None:
            attributes[names.MODEL] = cut(record.model)
        name = common.name
        if gate is None:
            attributes[names.SPAN_KIND] = "CHAIN"
        else:
            attributes[names.SPAN_KIND] = "GUARDRAIL"
            attributes[names.GATE_NAME] = cut(gate.gate)
            name = f"{names.GATE_SPAN} {cut(gate.gate)}"
        self.spans.finish(
            span,
            attributes,
            error=failed,
            description=description,
            end_time_ns=end_ns,
            name=name,
            kind=SpanKind.INTERNAL,
            without=_LEAF_ONLY,
        )
        return attributes

    def _attempts(self, record: Decision, common: Common, span: Span, end_ns: int | None) -> None:
        """A finished span for every attempt that was made."""
        begun: int = getattr(span, "start_time", None) or int(record.time * 1e9)
        end = end_ns if end_ns is not None else begun + int(record.latency_s * 1e9)
        tried = [attempt for attempt in record.attempts if attempt.outcome is not None]
        at = begun
        for index, attempt in enumerate(tried):
            if attempt.started_s is not None:
                at = begun + int(attempt.started_s * 1e9)
            until = min(at + int((attempt.latency_s or 0.0) * 1e9), end)
            attributes = attempt_attributes(record, attempt, index, common, self._convention)
            if attempt is tried[-1]:
                response_attributes(attributes, record)
            failed = attempt.outcome in _FAILURES
            self.spans.child(
                span,
                f"{common.operation} {cut(attempt.model)}" if attempt.model else common.operation,
                SpanKind.INTERNAL if attempt.model is None else common.kind,
                attributes,
                start_ns=at,
                end_ns=until,
                error=failed,
                description=attempt.error_type if failed else None,
            )
            at = until

    # Requests --------------------------------------------------------------------------------

    def start_request(
        self,
        journey: str,
        *,
        request_id: str,
        user: str | None = None,
        tenant: str | None = None,
        synthetic: bool = False,
        start_ns: int | None = None,
    ) -> Span:
        """The span of a request that begins; a child of the current span, and not made current.

        Args:
            journey: The critical path it walks, redacted.
            request_id: Its id, redacted.
            user: A keyed token.
            tenant: A keyed token.
            synthetic: Probe traffic.
            start_ns: Nanoseconds since the epoch; None for now.
        """
        attributes: dict[str, Any] = {
            names.SCHEMA_VERSION_KEY: SCHEMA_VERSION,
            names.SERVICE: cut(self._service),
            names.JOURNEY: cut(journey),
            names.REQUEST_ID: cut(request_id),
            names.SPAN_KIND: "CHAIN",
        }
        if user is not None:
            attributes[names.USER] = cut(user)
        if tenant is not None:
            attributes[names.TENANT] = cut(tenant)
        if synthetic:
            attributes[names.SYNTHETIC] = True
        return self.spans.start(
            f"{names.REQUEST_SPAN} {cut(journey)}", SpanKind.INTERNAL, attributes, start_ns
        )

    def end_request(
        self,
        span: Span,
        request: RequestSummary,
        *,
        error_type: str | None = None,
        duration_s: float | None = None,
        end_ns: int | None = None,
    ) -> None:
        """End a request's span with what the user saw.

        Args:
            span: From `start_request`.
            request: Its outcome, decisions and cost are read.
            error_type: The error that left the block, by its canonical name.
            duration_s: Seconds the user waited. None: no duration is recorded.
            end_ns: Nanoseconds since the epoch; None for now.
        """
        outcome = request.outcome
        attributes: dict[str, Any] = {names.REQUEST_CALLS: len(request.decisions)}
        if outcome is not None:
            attributes[names.OUTCOME] = outcome._value_
        if request.cost_usd:
            attributes[names.REQUEST_COST] = request.cost_usd
        if error_type is not None:
            attributes[names.ERROR_TYPE] = cut(error_type)
        self.spans.finish(
            span,
            attributes,
            error=error_type is not None and outcome in _FAILURES,
            description=error_type,
            end_time_ns=end_ns,
        )
        if duration_s is not None and outcome is not None:
            self._metrics.request(request.journey, outcome, duration_s)

    # Evaluations -----------------------------------------------------------------------------

    def checked(self, name: str, status: str) -> None:
        """Count what came of a check."""
        self._metrics.checked(name, status)

    def evaluation(
        self,
        name: str,
        evaluated: Evaluated | None,
        *,
        value: float | None,
        label: str | None,
        explanation: str | None = None,
        error_type: str | None = None,
    ) -> None:
        """Emit a `gen_ai.evaluation.result` event, where events are asked for.

        Args:
            name: Of the check.
            evaluated: The call it judged; None: it is not known which.
            value: The score, 0 to 1; None where there is none.
            label: A word for it.
            explanation: Why, redacted.
            error_type: Why there is no score.
        """
        if self._events is None:
            return
        attributes = evaluation_attributes(
            name,
            evaluated,
            service=self._service,
            value=value,
            label=label,
            explanation=explanation,
            error_type=error_type,
        )
        self._events.emit(
            attributes,
            INVALID_SPAN if evaluated is None else evaluated.span(),
            failed=error_type is not None,
            time_ns=None,
            name=names.EVALUATION_EVENT,
        )

    # Ourselves -------------------------------------------------------------------------------

    def unknown_shape(self, route: str) -> None:
        """Count a response whose shape was not understood."""
        self._metrics.unknown_shape(route)

    def prices(self, age: Callable[[], float | None]) -> None:
        """Observe the age of the table of prices, in seconds."""
        self._metrics.prices(age)

    def threshold(self, budget: str, share: float) -> None:
        """Count that a budget passed one of its soft thresholds."""
        self._metrics.threshold(budget, share)

    def internal_error(self, seam: str, error: BaseException) -> None:
        """Count a fault of ours, and log its type once a minute for each seam. Never raises.

        An exception's text may hold anything, so it is neither logged nor exported.
        """
        self._faults.tell(seam, error)


def _check(name: str, provider: object, method: str) -> None:
    if provider is not None and not callable(getattr(provider, method, None)):
        raise ConfigurationError(
            f"{name}={provider!r}: an OpenTelemetry provider has {method}(); leave it out for the "
            "global one"
        )


def _stopped_by(record: Decision) -> Verdict | None:
    """The gate that stopped a call before anything was asked, or None."""
    if record.outcome is not Outcome.BLOCKED or record.usage is not None:
        return None
    if any(attempt.outcome is not None for attempt in record.attempts):
        return None
    for verdict in record.verdicts:
        if (
            verdict.status is VerdictStatus.BLOCKED
            and not verdict.shadow
            and verdict.stage in _BEFORE
        ):
            return verdict
    return None
