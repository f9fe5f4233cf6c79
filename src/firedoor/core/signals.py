"""The default signals: what each counts, of what, and where it is looked at.

One table, from which recording, reading and the documentation are made. A rate names two lanes of a
tally (`firedoor.core.tallies`), a mean or a quantile the figure it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from firedoor.core.causes import FALLING
from firedoor.core.series import Shape
from firedoor.core.tallies import Lane

__all__ = ["ANY", "CATALOGUE", "OBSERVED", "REQUEST", "UNGROUNDED_BELOW", "Signal"]

REQUEST: Final = "request"
"""The kind of what is recorded at the end of a request: what its user met."""

ANY: Final = "any"
"""Calls of every kind."""

OBSERVED: Final = "observed"
"""Told by `observe`, wherever the one who tells says it belongs."""

UNGROUNDED_BELOW: Final = 0.5
"""Score of a groundedness check below which the answer counts as not grounded."""


@dataclass(frozen=True, slots=True)
class Signal:
    """The definition of one signal.

    Attributes:
        name: As alerts name it.
        shape: How observations become one value.
        unit: Of the value: `1` for shares and scores, else `s`, `USD`, `USD/s`, `token`.
        kind: Of which calls: `llm`, `retrieval`, `tool`; `any`; `request`, for which a selector
            with a route or an alias reads calls instead; `observed`.
        counts: What is counted.
        among: What it is counted among: the denominator of a rate, what a mean is taken over.
        hits: The lane of a rate's numerator; None where it is observed.
        base: The lane of its denominator.
        figure: What a mean, a quantile or a velocity is made of.
        share: Of a quantile: 0.95 for p95.
        higher_is_worse: The direction that hurts.
        custom: Registered by the application.
    """

    name: str
    shape: Shape
    unit: str
    kind: str
    counts: str
    among: str
    hits: Lane | None = None
    base: Lane | None = None
    figure: str = ""
    share: float | None = None
    higher_is_worse: bool = True
    custom: bool = False


def _rate(
    name: str, kind: str, hits: Lane | None, base: Lane | None, *, counts: str, among: str
) -> Signal:
    return Signal(name, Shape.RATE, "1", kind, counts, among, hits, base, figure=name)


def _mean(name: str, kind: str, unit: str, figure: str, *, counts: str, among: str) -> Signal:
    worse = name not in FALLING
    return Signal(name, Shape.MEAN, unit, kind, counts, among, figure=figure, higher_is_worse=worse)


_ANSWERS = "model calls that a model answered to the end, on whatever tier; canned ones are none"

_DEFAULTS = (
    _rate(
        "refusal_rate", "llm", Lane.REFUSED, Lane.ANSWERS,
        counts="answers that refuse, told by stop reason, refusal block or text",
        among=_ANSWERS,
    ),
    _rate(
        "partial_refusal_rate", "llm", Lane.PARTIAL, Lane.ANSWERS,
        counts="answers that do part of what was asked and decline the rest",
        among=_ANSWERS,
    ),
    _mean(
        "groundedness", OBSERVED, "1", "groundedness",
        counts="the score of the check: how far an answer rests on what was retrieved, 0 to 1",
        among="checked answers",
    ),
    _rate(
        "ungrounded_rate", OBSERVED, None, None,
        counts=f"answers that scored below {UNGROUNDED_BELOW:g}",
        among="checked answers",
    ),
    _rate(
        "policy_flag_rate", ANY, Lane.FLAGGED, Lane.SCREENED,
        counts="calls in which a content policy flagged, redacted or blocked, in shadow as well",
        among="calls that a content policy looked at",
    ),
    _rate(
        "blocked_rate", ANY, Lane.BLOCKED, Lane.CALLS,
        counts="calls that ended with a gate's no",
        among="calls, but those that were cancelled",
    ),
    *(
        Signal(
            f"latency_p{percent}", Shape.QUANTILE, "s", REQUEST,
            f"p{percent} of what the user waited; of a route: of its calls",
            "requests, and calls outside one, that asked a target: failed and abandoned ones too",
            figure="latency", share=percent / 100,
        )
        for percent in (50, 95, 99)
    ),
    *(
        Signal(
            f"first_token_p{percent}", Shape.QUANTILE, "s", "llm",
            f"p{percent} of the time to the first content",
            "streams that had content",
            figure="first_token", share=percent / 100,
        )
        for percent in (50, 95, 99)
    ),
    _rate(
        "error_rate", "llm", Lane.ERRORS, Lane.TRIED,
        counts="calls whose first choice failed by the target's fault, saved by a fallback or not",
        among="calls that asked their first choice; not those that ended by the caller's fault "
        "or were cancelled, nor those an open breaker kept from it",
    ),
    _rate(
        "saturation_rate", "llm", Lane.SATURATED, Lane.WANTED,
        counts="calls that met a full limiter, or a provider's rate limit or overload",
        among="calls that asked a target or would have",
    ),
    _rate(
        "fallback_rate", "llm", Lane.FALLBACK, Lane.REPLIES,
        counts="answers from a tier below the first that was tried or skipped; "
        "not by a switch, which would be containment",
        among="model calls with an answer, canned ones included",
    ),
    _rate(
        "canned_rate", "llm", Lane.CANNED, Lane.REPLIES,
        counts="safe responses because nothing else answered; not by a switch",
        among="model calls with an answer, canned ones included",
    ),
    _rate(
        "truncation_rate", "llm", Lane.CUT, Lane.ENDED,
        counts="answers cut off by a token limit, and streams that broke off",
        among="answers, and streams that broke off",
    ),
    _rate(
        "retrieval_empty_rate", "retrieval", Lane.EMPTY, Lane.SEARCHES,
        counts="searches that brought nothing: no document, or a failure",
        among="searches that ran; not those whose result could not be read",
    ),
    _mean(
        "top_score", "retrieval", "1", "top_score",
        counts="the best score; of distances, 1 / (1 + distance)",
        among="searches whose documents have scores",
    ),
    _mean(
        "score_gap", "retrieval", "1", "score_gap",
        counts="how far the best score is ahead of the second",
        among="searches with two scored documents or more",
    ),
    _mean(
        "source_age", "retrieval", "s", "source_age",
        counts="time since the documents found were last changed, their mean",
        among="searches whose documents have a time",
    ),
    _rate(
        "duplicate_rate", "retrieval", Lane.DUPLICATES, Lane.SOURCES,
        counts="documents that the same search had brought before, by id",
        among="documents found",
    ),
    _rate(
        "tool_error_rate", "tool", Lane.FAILED, Lane.RAN,
        counts="tool calls that raised, whosever fault",
        among="tool calls that ran to an end",
    ),
    _rate(
        "repeated_tool_rate", "tool", Lane.REPEATED, Lane.USED,
        counts="tool calls that repeat one of the same request with the same arguments",
        among="tool calls in requests",
    ),
    _mean(
        "cost_per_request", REQUEST, "USD", "cost",
        counts="what the model calls of a request cost; of a route: what a call cost",
        among="requests, and calls outside one, with a model call whose cost is known",
    ),
    Signal(
        "cost_velocity", Shape.VELOCITY, "USD/s", "llm",
        "the cost of model calls, as they end",
        "time watched",
        figure="cost",
    ),
    _mean(
        "tokens_per_call", "llm", "token", "tokens",
        counts="input and output tokens",
        among="model calls whose usage is known",
    ),
    _rate(
        "negative_feedback_rate", OBSERVED, None, None,
        counts="feedback that was negative", among="feedback given",
    ),
    _rate(
        "probe_failure_rate", OBSERVED, None, None,
        counts="probes that failed", among="probes that ran",
    ),
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Signal]] = MappingProxyType({s.name: s for s in _DEFAULTS})
"""The default signals by name."""
