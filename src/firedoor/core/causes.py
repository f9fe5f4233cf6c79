"""The tables the classifier reads: what each signal speaks for, and what explains what.

Weights are judgements, on one scale: 0.9 and more is the harm itself, 0.5 to 0.8 a hint that may
stand alone, below 0.5 a hint that needs another one. Causes stand in order: where two lines have
the same pair the other way round and the onsets tell nothing, the earlier line holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from firedoor.types import IncidentClass

__all__ = ["CAUSES", "FALLING", "MECHANISMS", "SPEAKS", "Cause", "family"]

_QUALITY = IncidentClass.QUALITY_REGRESSION
_SAFETY = IncidentClass.SAFETY_VIOLATION
_RETRIEVAL = IncidentClass.RETRIEVAL_FAILURE
_LATENCY = IncidentClass.LATENCY_SATURATION
_COST = IncidentClass.COST_RUNAWAY

_LATENCIES = frozenset({"latency_p50", "latency_p95", "latency_p99"})
_FIRST_TOKENS = frozenset({"first_token_p50", "first_token_p95", "first_token_p99"})
_SEARCH = frozenset(
    {"retrieval_empty_rate", "top_score", "score_gap", "source_age", "duplicate_rate"}
)

SPEAKS: Final[Mapping[str, Mapping[IncidentClass, float]]] = MappingProxyType(
    {
        # Somebody was, or could have been, harmed.
        "policy_flag_rate": {_SAFETY: 1.0},
        "probe_failure_rate": {_SAFETY: 1.0},
        # Money.
        "cost_velocity": {_COST: 0.9},
        "cost_per_request": {_COST: 0.9},
        "tokens_per_call": {_COST: 0.6},
        "repeated_tool_rate": {_COST: 0.6, _QUALITY: 0.4},
        # Time and capacity.
        "error_rate": {_LATENCY: 0.9},
        "saturation_rate": {_LATENCY: 0.9},
        **{quantile: {_LATENCY: 0.9} for quantile in sorted(_LATENCIES | _FIRST_TOKENS)},
        "fallback_rate": {_LATENCY: 0.6},
        "canned_rate": {_LATENCY: 0.5},
        # A gate said no: without knowing which one, it may be any of the three.
        "blocked_rate": {_SAFETY: 0.3, _COST: 0.3, _LATENCY: 0.3},
        # What answers are built on.
        "retrieval_empty_rate": {_RETRIEVAL: 0.9},
        "top_score": {_RETRIEVAL: 0.8},
        "source_age": {_RETRIEVAL: 0.7},
        "duplicate_rate": {_RETRIEVAL: 0.6},
        "score_gap": {_RETRIEVAL: 0.4},
        # Answers.
        "refusal_rate": {_QUALITY: 0.9},
        "groundedness": {_QUALITY: 0.9},
        "ungrounded_rate": {_QUALITY: 0.9},
        "partial_refusal_rate": {_QUALITY: 0.7},
        "tool_error_rate": {_QUALITY: 0.7},
        "negative_feedback_rate": {_QUALITY: 0.6},
        "truncation_rate": {_QUALITY: 0.5},
    }
)
"""By signal: the classes it speaks for. A signal that is not here speaks for its alert's class."""

FALLING: Final = frozenset({"groundedness", "top_score", "score_gap"})
"""Signals that are worse the lower they are; all others are worse the higher."""

MECHANISMS: Final = frozenset(
    {
        "blocked_rate",
        "canned_rate",
        "fallback_rate",
        "negative_feedback_rate",
        "repeated_tool_rate",
        "truncation_rate",
    }
)
"""Signals that show something at work, not what: explained, they speak for the cause's class."""

_WORSE_ANSWERS = frozenset(
    {
        "groundedness",
        "negative_feedback_rate",
        "partial_refusal_rate",
        "refusal_rate",
        "ungrounded_rate",
    }
)
_GATES = frozenset({"blocked_rate", "canned_rate", "fallback_rate"})


@dataclass(frozen=True, slots=True)
class Cause:
    """One relation: any of `by` explains any of `of`.

    Attributes:
        incident_class: The class of the cause. A signal of the application's own that is declared
            to be of it counts as one of `by`.
        by: Signals that can be the cause.
        of: Signals that can be its effect.
        why: How the one leads to the other.
        near_misses: Whether a cause that has probably moved, and is not in breach yet, is enough.
    """

    incident_class: IncidentClass
    by: frozenset[str]
    of: frozenset[str]
    why: str
    near_misses: bool = False

    def can_be(self, signal: str, declared: IncidentClass | None) -> bool:
        """Whether `signal` can be the cause here."""
        return signal in self.by or (signal not in SPEAKS and declared is self.incident_class)

    def could_explain(self, signal: str) -> bool:
        """Whether `signal` can be the effect here."""
        return signal in self.of


CAUSES: Final = (
    Cause(
        _SAFETY,
        by=frozenset({"policy_flag_rate", "probe_failure_rate"}),
        of=_GATES | {"refusal_rate", "partial_refusal_rate", "negative_feedback_rate"},
        why="policies block and models decline what is attacked",
        near_misses=True,
    ),
    Cause(
        _LATENCY,
        by=frozenset({"error_rate", "fallback_rate"}),
        of=_WORSE_ANSWERS
        | {"blocked_rate", "canned_rate"}
        | {"cost_velocity", "cost_per_request", "tokens_per_call", "truncation_rate"},
        why="a failing provider is retried, and lower tiers answer differently",
    ),
    Cause(
        _LATENCY,
        by=_FIRST_TOKENS,
        of=frozenset({"cost_velocity", "cost_per_request"}),
        why="calls that are slow to begin are hedged and tried again",
    ),
    Cause(
        _COST,
        by=frozenset({"tokens_per_call", "repeated_tool_rate", "cost_per_request"}),
        of=_GATES | _LATENCIES | {"saturation_rate", "truncation_rate"},
        why="longer and repeated calls take more time, hold slots and use budgets up",
    ),
    Cause(
        _LATENCY,
        by=_LATENCIES | _FIRST_TOKENS | {"saturation_rate"},
        of=_GATES | {"cost_velocity", "negative_feedback_rate", "truncation_rate"},
        why="slow calls time out, are hedged and are tried again",
    ),
    Cause(
        _COST,
        by=frozenset({"cost_velocity"}),
        of=_GATES,
        why="budgets that are used up block or degrade",
    ),
    Cause(
        _RETRIEVAL,
        by=_SEARCH,
        of=_WORSE_ANSWERS | {"repeated_tool_rate"},
        why="answers cannot be better than what was found",
        near_misses=True,
    ),
)
"""The relations, the most certain first."""


def family(signal: str) -> str:
    """Signals of one family are one hint: quantiles, and the two ways to tell groundedness."""
    if signal in _LATENCIES or signal in _FIRST_TOKENS:
        return "latency"
    return "groundedness" if signal == "ungrounded_rate" else signal
