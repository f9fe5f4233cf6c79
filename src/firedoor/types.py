"""The words of firedoor as types: enumerations and small frozen values.

Every enumeration is a `StrEnum`, so that a record reads the same in Python, in a span attribute
and in JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "AlertState",
    "CostCertainty",
    "Effect",
    "Evidence",
    "Extract",
    "Fault",
    "IncidentClass",
    "IncidentState",
    "Mode",
    "Outcome",
    "RouteKind",
    "Severity",
    "Source",
    "ToolCall",
    "Usage",
    "UsageCertainty",
    "Verdict",
    "VerdictStatus",
]


class RouteKind(StrEnum):
    """What a guarded function does. A route is written `kind:name`, as in `llm:answer`."""

    LLM = "llm"
    RETRIEVAL = "retrieval"
    TOOL = "tool"


class Outcome(StrEnum):
    """What the user saw of a call or a request."""

    ANSWERED = "answered"
    DEGRADED = "degraded"
    """Answered by less than was asked for: a lower tier, a reduced depth, a redacted text."""
    REFUSED = "refused"
    """The model declined."""
    CANNED = "canned"
    """A prepared safe response stood in for the model."""
    BLOCKED = "blocked"
    """A gate said no."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The caller's task was cancelled or interrupted while the call ran."""
    ABANDONED = "abandoned"
    """The consumer stopped reading: it left the loop, closed the stream, or never began."""


class Fault(StrEnum):
    """Whose fault a failure is. Only `target` feeds breakers."""

    TARGET = "target"
    """The provider: its errors, its time-outs, its broken streams."""
    CALLER = "caller"
    """The application: a bad request, a bug in the guarded function."""
    POLICY = "policy"
    """A gate or content policy."""
    FIREDOOR = "firedoor"
    """Firedoor itself."""


class Effect(StrEnum):
    """What a tool does to the world, from harmless to far-reaching."""

    READ = "read"
    WRITE = "write"
    NETWORK = "network"


class VerdictStatus(StrEnum):
    """What a gate or policy said. Not having run is never `passed`."""

    PASSED = "passed"
    FLAGGED = "flagged"
    REDACTED = "redacted"
    BLOCKED = "blocked"
    ERRORED = "errored"
    SKIPPED = "skipped"
    NOT_APPLICABLE = "not_applicable"


class UsageCertainty(StrEnum):
    """How far a token count can be trusted."""

    EXACT = "exact"
    """The provider reported it."""
    AT_LEAST = "at_least"
    """Counted by firedoor from what was delivered; the true figure may be higher."""
    UNKNOWN = "unknown"


class CostCertainty(StrEnum):
    """How far a cost can be trusted."""

    EXACT = "exact"
    AT_LEAST = "at_least"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


class IncidentClass(StrEnum):
    """What kind of harm users meet. An incident that fits none has no class, and says so."""

    QUALITY_REGRESSION = "quality_regression"
    """Answers got worse: refusals, invented facts, broken tools, negative feedback."""
    SAFETY_VIOLATION = "safety_violation"
    """Policies, probes or injected text: something got in or out that must not."""
    RETRIEVAL_FAILURE = "retrieval_failure"
    """What answers are built on is missing, poor, old or doubled."""
    LATENCY_SATURATION = "latency_saturation"
    """Slow, queueing or failing targets."""
    COST_RUNAWAY = "cost_runaway"
    """Spending out of proportion to the requests served."""


class Severity(StrEnum):
    """How bad an incident is for users, SEV1 the worst."""

    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"


class IncidentState(StrEnum):
    """Where an incident stands. Each follows from the one before it, never by a jump."""

    OPEN = "open"
    CONTAINED = "contained"
    STABILISED = "stabilised"
    DIAGNOSING = "diagnosing"
    CLOSED = "closed"


class AlertState(StrEnum):
    """Where an alert stands. Not knowing is a state of its own, never `ok`."""

    NO_DATA = "no_data"
    """No traffic to judge."""
    WARMING_UP = "warming_up"
    """Traffic, and not yet enough of it, or of its past, for a verdict."""
    OK = "ok"
    PENDING = "pending"
    """Breached, and not yet for long enough."""
    FIRING = "firing"
    RECOVERING = "recovering"
    """No longer breached, and not yet for long enough."""


class Mode(StrEnum):
    """How far an alert's first action may go by itself."""

    AUTO = "auto"
    APPROVE = "approve"
    SUGGEST = "suggest"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of why an incident has the class it has.

    Attributes:
        signal: The signal's name, as in `refusal_rate`.
        value: What it showed, in the signal's unit.
        baseline: What it showed before, or the limit that was set; None where there is neither.
        weight: How much it counts for the class, 0 to 1.
        sample: Observations behind `value`.
        journey: The journey it was seen on; None: the whole door.
        route: The route, as in `llm:answer`.
        alias: The model name the application asked for.
        incident_class: The class it speaks for.
        why: A few words, from firedoor or the alert's author; never of a conversation.
    """

    signal: str
    value: float
    baseline: float | None = None
    weight: float = 1.0
    sample: int = 0
    journey: str | None = None
    route: str | None = None
    alias: str | None = None
    incident_class: IncidentClass | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, init=False)
class Usage:
    """Tokens of one attempt.

    Attributes:
        input_tokens: Prompt tokens, cached ones included (as OpenTelemetry asks).
        output_tokens: Generated tokens, reasoning ones included.
        cached_input_tokens: Part of `input_tokens` that was read from the provider's cache.
        cache_write_tokens: Part of `input_tokens` that was written to the provider's cache.
        reasoning_tokens: Part of `output_tokens` spent on hidden reasoning.
        certainty: `exact` when the provider reported the figures.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    certainty: UsageCertainty = UsageCertainty.EXACT

    def __init__(  # noqa: PLR0917 - a value's fields, in their order
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_input_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        certainty: UsageCertainty = UsageCertainty.EXACT,
    ) -> None:
        # The dataclass's own goes through `object.__setattr__` by name, at twice the cost, and
        # one of these is made for every model call.
        _set_input(self, input_tokens)
        _set_output(self, output_tokens)
        _set_cached(self, cached_input_tokens)
        _set_written(self, cache_write_tokens)
        _set_reasoning(self, reasoning_tokens)
        _set_certainty(self, certainty)


_slots: Any = Usage
_set_input = _slots.input_tokens.__set__
_set_output = _slots.output_tokens.__set__
_set_cached = _slots.cached_input_tokens.__set__
_set_written = _slots.cache_write_tokens.__set__
_set_reasoning = _slots.reasoning_tokens.__set__
_set_certainty = _slots.certainty.__set__


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call the model asked for. `arguments` is text as sent; it stays in the process."""

    name: str
    id: str | None = None
    arguments: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Source:
    """One retrieved document as a decision names it: no text.

    Attributes:
        id: The document's id, redacted like everything else.
        score: The retriever's own score; higher is better for most, not for distances.
        timestamp: When the document was last changed, seconds since the epoch, where known.
    """

    id: str
    score: float | None = None
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate or policy said of one text or call.

    Attributes:
        gate: Who said it, written `kind:name` (`policy:secrets`, `budget:day`).
        status: The verdict.
        stage: What it looked at: `input`, `retrieval`, `tool_arguments`, `tool_result`, `output`,
            or `call` for gates that look at no text.
        reason: Why, in a few words and without any of the text.
        labels: What was found, by kind (`email`, `aws_access_key`), never the finding itself.
        shadow: The gate only watched: the verdict is what it would have done.
        replacement: The text to use instead, for `redacted`; stays in the process.
    """

    gate: str
    status: VerdictStatus
    stage: str = "call"
    reason: str | None = None
    labels: tuple[str, ...] = ()
    shadow: bool = False
    replacement: str | None = field(default=None, repr=False)


@dataclass(slots=True)
class Extract:
    """What a response object says, whatever library made it. Lives only as long as the call.

    `text` and the arguments of `tool_calls` are raw: they stay in the process and leave only
    through redaction. A field that the object does not tell is None or empty, never guessed.

    Attributes:
        finish_reasons: One per choice, in OpenTelemetry's words where they exist:
            `stop`, `length`, `content_filter`, `tool_call`, `error`; else the provider's own.
        complete: Whether the provider said that it had finished. False for a stream that ended
            without a finish reason; None where the shape has no such notion (plain text).
        refusal: `stop_reason`, `refusal_block` or `text`: the layer that told of a refusal.
        answered: What was said beside a refusal block: where it has substance, the refusal is a
            partial one.
        unknown: Why the shape was not understood; None if it was.
    """

    model: str | None = None
    provider: str | None = None
    response_id: str | None = None
    usage: Usage | None = None
    finish_reasons: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    text: str | None = None
    complete: bool | None = None
    output_type: str | None = None
    sources: tuple[Source, ...] = ()
    documents: tuple[str, ...] = ()
    unknown: str | None = None
    answered: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
