"""The alerts most applications need, with rules and first actions that need no figures.

What is usual is learnt from the traffic; what is too much is said here, and the reasons are in
docs/alerts.md. Every first action works out its target from the incident.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from firedoor.core.rules import Above, Cusum
from firedoor.errors import ConfigurationError
from firedoor.incidents.actions import (
    CapBudget,
    DisableRoute,
    RaiseMinimumTier,
    ReduceDepth,
    RestoreKnownGood,
    RollbackPrompt,
    SafeMode,
    ShedLoad,
    SwitchAlias,
    TightenPolicies,
)
from firedoor.incidents.alert import Alert, Journey
from firedoor.types import IncidentClass, Mode

__all__ = ["defaults"]

_QUALITY: Final = IncidentClass.QUALITY_REGRESSION
_SAFETY: Final = IncidentClass.SAFETY_VIOLATION
_RETRIEVAL: Final = IncidentClass.RETRIEVAL_FAILURE
_LATENCY: Final = IncidentClass.LATENCY_SATURATION
_COST: Final = IncidentClass.COST_RUNAWAY

_HOUR: Final = 3_600.0


def defaults(
    journeys: Mapping[str, Journey] | None = None, *, mode: str | Mode = Mode.AUTO
) -> list[Alert]:
    """Alerts for each journey, and those of the whole door.

    Args:
        journeys: What is known of them, by name. None: the whole door is one.
        mode: How far first actions may go by themselves; those that always need a person stay so.

    Returns:
        A list to change as you like: `dataclasses.replace(alert, rule=...)`.

    Raises:
        ConfigurationError: If a value cannot work.
    """
    try:
        mode = Mode(mode)
    except ValueError:
        raise ConfigurationError(
            f"fd.alerts.defaults(mode={mode!r}): use one of {', '.join(Mode)}"
        ) from None
    if journeys is not None and not isinstance(journeys, Mapping):
        raise ConfigurationError(
            f"fd.alerts.defaults(journeys={journeys!r}): map names to what is known of them, as in "
            "{'checkout-help': fd.Journey()}"
        )
    found: list[Alert] = []
    for name, journey in (journeys or {"": Journey()}).items():
        _check(name, journey, journeys)
        found += [
            _alert(alert | {"critical": journey.critical}, name or None, mode)
            for alert in _of_journey(journey)
        ]
    found += [_alert(alert, None, mode) for alert in _of_door()]
    return found


def _check(name: object, journey: object, journeys: Mapping[str, Journey] | None) -> None:
    if not isinstance(journey, Journey) or (journeys and not str(name).strip()):
        raise ConfigurationError(
            f"fd.alerts.defaults(journeys={{{name!r}: {journey!r}}}): use a journey's name and "
            "fd.Journey(p95=6.0, critical=True)"
        )


def _alert(fields: dict[str, Any], journey: str | None, mode: Mode) -> Alert:
    name = fields.pop("name")
    # `suggest` asks for less than `approve`, and that for less than `auto`.
    careful = max(Mode(fields.pop("mode", mode)), mode, key=list(Mode).index)
    return Alert(
        name if journey is None else f"{journey}/{name}", journey=journey, mode=careful, **fields
    )


def _of_journey(journey: Journey) -> Iterator[dict[str, Any]]:
    yield from _answers()
    yield from _safety()
    yield from _time(journey)
    yield from _search()
    yield from _money(journey)


def _answers() -> Iterator[dict[str, Any]]:
    ladder = (SwitchAlias(), RestoreKnownGood(), SafeMode())
    yield {
        "name": "refusals",
        "signal": "refusal_rate",
        "rule": Cusum(excess=0.02),
        "first_action": RollbackPrompt(),
        "then": ladder,
        "incident_class": _QUALITY,
        "why": "users are refused what they were answered before",
    }
    yield {
        "name": "partial-refusals",
        "signal": "partial_refusal_rate",
        "rule": Cusum(excess=0.05),
        "first_action": RollbackPrompt(),
        "then": ladder,
        "why": "answers leave out what was asked for",
    }
    yield {
        "name": "factuality",
        "signal": "ungrounded_rate",
        "rule": Cusum(excess=0.05),
        "first_action": RollbackPrompt(),
        "then": ladder,
        "incident_class": _QUALITY,
        "why": "answers say what no source says",
    }
    yield {
        "name": "tool-errors",
        "signal": "tool_error_rate",
        "rule": Cusum(excess=0.1),
        "first_action": DisableRoute(),
        "then": (RestoreKnownGood(), SafeMode()),
        "why": "tools fail, and answers that need them with them",
    }
    yield {
        "name": "feedback",
        "signal": "negative_feedback_rate",
        "rule": Cusum(excess=0.1),
        "first_action": RollbackPrompt(),
        "then": ladder,
        # What users dislike has many causes, and none of them is known from this alone.
        "mode": Mode.APPROVE,
        "why": "users say that answers are bad",
    }


def _safety() -> Iterator[dict[str, Any]]:
    yield {
        "name": "policy-flags",
        "signal": "policy_flag_rate",
        "rule": Cusum(excess=0.02, factor=2.0),
        "first_action": TightenPolicies(),
        "then": (SafeMode(in_flight="cut"),),
        "incident_class": _SAFETY,
        "why": "policies find more than they used to",
    }


def _time(journey: Journey) -> Iterator[dict[str, Any]]:
    ladder = (SwitchAlias(), ShedLoad(), SafeMode())
    yield {
        "name": "p95",
        "signal": "latency_p95",
        "rule": _slow(journey.p95),
        "first_action": RaiseMinimumTier(),
        "then": ladder,
        "incident_class": _LATENCY,
        "why": "users wait longer than they should",
    }
    yield {
        "name": "first-token",
        "signal": "first_token_p95",
        "rule": _slow(journey.first_token_p95),
        "first_action": RaiseMinimumTier(),
        "then": ladder,
        "incident_class": _LATENCY,
        "why": "answers take long to begin",
    }
    yield {
        "name": "errors",
        "signal": "error_rate",
        "rule": Cusum(excess=0.05),
        "first_action": RaiseMinimumTier(),
        "then": ladder,
        "incident_class": _LATENCY,
        "why": "the provider fails",
    }
    yield {
        "name": "fallbacks",
        "signal": "fallback_rate",
        "rule": Cusum(excess=0.1),
        "first_action": RaiseMinimumTier(),
        "then": ladder,
        "why": "the first model is not the one that answers",
    }
    yield {
        "name": "saturation",
        "signal": "saturation_rate",
        "rule": Cusum(excess=0.05),
        "first_action": ShedLoad(),
        "then": (RaiseMinimumTier(), SafeMode()),
        "incident_class": _LATENCY,
        "why": "calls are turned away for want of room",
    }


def _slow(limit: float | None) -> Cusum:
    """Against the limit where there is one; a journey well within it may become slower."""
    if limit is None:
        return Cusum(factor=2.0, excess=0.05)
    return Cusum(limit=limit, baseline=None, excess=0.05)


def _search() -> Iterator[dict[str, Any]]:
    yield {
        "name": "empty-searches",
        "signal": "retrieval_empty_rate",
        "rule": Cusum(excess=0.05),
        # Fewer documents of none are none.
        "first_action": SafeMode(),
        "then": (RestoreKnownGood(),),
        "incident_class": _RETRIEVAL,
        "why": "searches find nothing to answer from",
    }
    yield {
        "name": "search-scores",
        "signal": "top_score",
        "rule": Cusum(worse="lower", factor=1.3),
        "first_action": ReduceDepth(),
        "then": (RestoreKnownGood(), SafeMode()),
        "incident_class": _RETRIEVAL,
        "why": "the best that is found fits worse",
    }
    yield {
        "name": "source-age",
        "signal": "source_age",
        "rule": Cusum(factor=3.0, excess=_HOUR),
        "first_action": ReduceDepth(),
        "then": (RestoreKnownGood(),),
        "mode": Mode.APPROVE,
        "why": "what is found has become old",
    }
    yield {
        "name": "duplicates",
        "signal": "duplicate_rate",
        "rule": Cusum(excess=0.15, factor=2.0),
        "first_action": ReduceDepth(),
        "then": (RestoreKnownGood(),),
        "why": "what is found is there several times",
    }


def _money(journey: Journey) -> Iterator[dict[str, Any]]:
    ladder = (RaiseMinimumTier(), ShedLoad(), SafeMode())
    yield {
        "name": "cost",
        "signal": "cost_per_request",
        "rule": Cusum(factor=2.0, minimum=20),
        "first_action": CapBudget(),
        "then": ladder,
        "incident_class": _COST,
        "why": "a request costs more than it used to",
    }
    if journey.usd_per_request is not None:
        yield {
            "name": "cost-limit",
            "signal": "cost_per_request",
            "rule": Above(journey.usd_per_request, window=600.0, minimum=30),
            "first_action": CapBudget(),
            "then": ladder,
            "incident_class": _COST,
            "why": "a request costs more than it may",
        }
    if journey.usd_per_hour is not None:
        yield {
            "name": "spending",
            "signal": "cost_velocity",
            "rule": Above(journey.usd_per_hour / _HOUR, window=900.0),
            "first_action": CapBudget(),
            "then": ladder,
            "incident_class": _COST,
            "why": "more is spent in an hour than may be",
        }
    yield {
        "name": "tokens",
        "signal": "tokens_per_call",
        "rule": Cusum(factor=2.0, minimum=20),
        "first_action": CapBudget(),
        "then": ladder,
        "why": "calls have become longer",
    }
    yield {
        "name": "repeated-tools",
        "signal": "repeated_tool_rate",
        "rule": Cusum(excess=0.1, factor=2.0),
        "first_action": DisableRoute(),
        "then": (SafeMode(),),
        "why": "requests call the same tool again and again",
    }


def _of_door() -> Iterator[dict[str, Any]]:
    yield {
        "name": "probes",
        "signal": "probe_failure_rate",
        "rule": Above(0.1, window=1_800.0, minimum=5),
        "first_action": TightenPolicies(),
        "then": (SafeMode(in_flight="cut"),),
        "incident_class": _SAFETY,
        "why": "attacks that used to fail succeed",
    }
