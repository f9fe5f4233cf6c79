"""The decision: the frozen record of one call, redacted by construction."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, NoReturn

from firedoor.types import (
    CostCertainty,
    Fault,
    Outcome,
    RouteKind,
    Source,
    ToolCall,
    Usage,
    Verdict,
)

__all__ = ["SCHEMA_VERSION", "AttemptRecord", "Decision", "OpenDecision"]

SCHEMA_VERSION = "1.0"
"""Version of the decision record and of the `firedoor.*` attributes made from it."""


class AttemptRecord(NamedTuple):
    """One try on one tier.

    Attributes:
        tier: Index of the tier on its ladder; 0 is the first choice.
        model: The model asked for; None for canned tiers.
        outcome: How the attempt ended.
        latency_s: Seconds from its start to its end, the last chunk of a stream included.
        first_token_s: Seconds to the first content chunk of a stream.
        usage: Tokens, where known. An attempt that failed or lost a race still has them.
        cost_usd: What the attempt cost, in US dollars; None where unknown.
        error_type: The error's canonical name, for attempts that failed.
        fault: Whose fault the failure is.
        reason: Why a tier was skipped without being tried.
        started_s: Seconds from the call's start to the attempt's.
        overrun_s: Seconds by which it went over its time limit, where nothing could stop it.
    """

    tier: int
    model: str | None
    outcome: Outcome | None = None
    latency_s: float | None = None
    first_token_s: float | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    error_type: str | None = None
    fault: Fault | None = None
    reason: str | None = None
    started_s: float | None = None
    overrun_s: float | None = None


class Decision:
    """The record of one call. Immutable once the call has ended.

    No field holds a conversation: texts are absent unless `capture="redacted"`, and then they
    have passed the redactor, as every other string here has.

    A plain class with its defaults on the class: an instance stores only what a call knows, which
    is what keeps the record cheaper than the span made from it.
    """

    schema_version: ClassVar[str] = SCHEMA_VERSION

    id: str = ""
    """Random, 16 hexadecimal digits."""
    request_id: str = ""
    trace_id: str | None = None
    """32 hexadecimal digits, or None when nothing records spans."""
    span_id: str | None = None
    time: float = 0.0
    """When the call began, seconds since the epoch."""
    service: str = ""
    journey: str | None = None
    user: str | None = None
    """A keyed token of the user, never the name given."""
    tenant: str | None = None
    kind: RouteKind = RouteKind.LLM
    route: str = ""
    """Kind and name, as in ``llm:answer``."""
    alias: str | None = None
    """The model name the application asked for."""
    model: str | None = None
    """The model that was asked: the alias after switches and tiers."""
    response_model: str | None = None
    response_id: str | None = None
    provider: str | None = None
    prompt_name: str | None = None
    prompt_revision: str | None = None
    parameters: dict[str, Any] = {}  # noqa: RUF012 - shared and empty; a record that has some holds its own
    """Request parameters from an allowlist: numbers, flags and short names, never messages."""
    sources: tuple[Source, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    """Tools the model asked for: names and ids; arguments are never kept here."""
    finish_reasons: tuple[str, ...] = ()
    usage: Usage | None = None
    cost_usd: float | None = None
    cost_certainty: CostCertainty = CostCertainty.UNKNOWN
    latency_s: float = 0.0
    first_token_s: float | None = None
    """Seconds to the first chunk with content; None where the call did not stream."""
    idle_gap_s: float | None = None
    """The longest wait between two chunks of a stream, seconds."""
    chunks: int | None = None
    tier: int = 0
    attempts: tuple[AttemptRecord, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    switches: tuple[str, ...] = ()
    """Ids of the switches that changed this call."""
    budget: str | None = None
    """`ok`, `near_limit`, `exhausted`, or None when no budget applies."""
    breaker: str | None = None
    """State of the breaker when the call was admitted, or None."""
    outcome: Outcome = Outcome.ANSWERED
    fault: Fault | None = None
    error_type: str | None = None
    error_fingerprint: str | None = None
    """Keyed hash over the error's type and place, the same for the same failure."""
    retry_after_s: float | None = None
    """Seconds after which the same call may pass, as the gate or the provider that stopped it said."""
    refusal: str | None = None
    """The layer that told of a refusal: `stop_reason`, `refusal_block`, `text`."""
    partial_refusal: bool = False
    """The answer does part of what was asked and declines the rest; `refusal` is None then."""
    truncated: bool = False
    """The provider's stream ended without saying that it was finished."""
    degraded: bool = False
    synthetic: bool = False
    effect: str | None = None
    repeated: bool = False
    """The request had made this tool call before, with the same arguments."""
    input_text: str | None = None
    """Only with `capture="redacted"`."""
    output_text: str | None = None
    redactions: dict[str, int] = {}  # noqa: RUF012 - as parameters
    """How many values of each kind were replaced in this record."""
    notes: tuple[str, ...] = ()
    """What could not be read or checked, and why."""
    incident_id: str | None = None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a decision is frozen: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a decision is frozen: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        model = f" {self.model}" if self.model else ""
        return f"<Decision {self.id} {self.route}{model} {self.outcome} {self.latency_s:.3f}s>"

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain JSON types, in the order they are declared."""
        return {name: _plain(getattr(self, name)) for name in FIELDS}


FIELDS: tuple[str, ...] = tuple(n for n in Decision.__annotations__ if n != "schema_version")


class OpenDecision(Decision):
    """A decision while its call still runs: writable, and turned into a `Decision` in place."""

    __setattr__ = object.__setattr__  # type: ignore[assignment]
    __delattr__ = object.__delattr__  # type: ignore[assignment]

    def freeze(self) -> Decision:
        """The same object, from now on immutable."""
        object.__setattr__(self, "__class__", Decision)
        return self


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, AttemptRecord):
        return {name: _plain(given) for name, given in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return {name: _plain(getattr(value, name)) for name in value.__slots__}
