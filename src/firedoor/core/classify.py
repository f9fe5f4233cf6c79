"""Which class an incident has, and why: signals weighed, causes told from what they cause.

Pure and deterministic: the same observations, in any order, give the same answer. Three steps.

1. Every signal in breach speaks for one or more classes, with a weight. Signals of one family (the
   quantiles of latency) count once. Weights of a class add up as independent hints do: 1 minus the
   product of (1 - weight).
2. A signal that another one explains (`Cause`) no longer speaks for a class of its own: empty
   searches explain a fall in groundedness. What is left over is what has to be explained.
3. Of the classes left over with a convincing weight, the first in the order of precedence is the
   primary one: safety, cost, latency, retrieval, quality. The others contribute, and so do the
   classes of explained signals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from firedoor.core.causes import CAUSES, FALLING, MECHANISMS, SPEAKS, Cause, family
from firedoor.core.evidence import SUSPICIOUS
from firedoor.core.series import Selector
from firedoor.types import Evidence, IncidentClass

__all__ = ["CONVINCING", "PRECEDENCE", "Classification", "Observation", "classify"]

PRECEDENCE: Final = (
    IncidentClass.SAFETY_VIOLATION,
    IncidentClass.COST_RUNAWAY,
    IncidentClass.LATENCY_SATURATION,
    IncidentClass.RETRIEVAL_FAILURE,
    IncidentClass.QUALITY_REGRESSION,
)
"""Which class leads where no cause says otherwise: harm, then money, then time, then content."""

CONVINCING: Final = 0.5
"""Weight from which on a class is believed."""

DECLARED: Final = 0.8
"""Weight of the class an alert's author declares. What else the signal may mean counts half."""

SLACK: Final = 900.0
"""Seconds a cause may be seen after what it causes: windows fill at different speeds."""

SAME_TIME: Final = 60.0
"""Seconds within which two onsets are not told apart."""

_EVERYWHERE = Selector()

_LEANS = 2.0
_LEAN_SAMPLE = 10
_LEAN_COUNTS = 0.5


@dataclass(frozen=True, slots=True)
class Observation:
    """What a rule read of one signal, as the classifier needs it.

    Attributes:
        signal: Its name, as in `refusal_rate`.
        value: In the signal's unit.
        baseline: What it was before, or the limit it is held to; None where there is neither.
        sample: Observations behind `value`.
        selector: Where it was seen.
        incident_class: The class the alert declares, where there is an alert.
        since: When it was first in breach, in seconds on any one clock; None: not known.
        breached: False for a reading that is given for context only.
        nats: Evidence for a change, where the rule weighs it.
        why: A few words of the rule or the alert's author.
    """

    signal: str
    value: float
    baseline: float | None = None
    sample: int = 0
    selector: Selector = _EVERYWHERE
    incident_class: IncidentClass | None = None
    since: float | None = None
    breached: bool = True
    nats: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Classification:
    """What the observations add up to.

    Attributes:
        primary: The class; None: nothing convincing, which is said as `unknown`.
        contributing: Other classes that users meet: those of their own first, then by weight.
        evidence: The signals, the most telling first.
        why: One sentence that names the deciding signals.
        weights: What spoke for each class in all, 0 to 1; classes without a hint are left out.
    """

    primary: IncidentClass | None
    contributing: tuple[IncidentClass, ...]
    evidence: tuple[Evidence, ...]
    why: str
    weights: Mapping[IncidentClass, float]


class _Seen(NamedTuple):
    observation: Observation
    speaks: Mapping[IncidentClass, float]


def classify(observations: Iterable[Observation]) -> Classification:
    """Weigh what is in breach, with the readings that are not as context.

    Args:
        observations: In any order. Values that are no number are left out.

    Returns:
        The class, what contributes, the evidence and the reason. Without an observation in breach
        the class is None.
    """
    usable = sorted((o for o in observations if math.isfinite(o.value)), key=_order)
    seen = [_Seen(o, _speaks_for(o)) for o in usable]
    breaches = [s for s in seen if s.observation.breached]
    leaning = [s for s in seen if not s.observation.breached and _leans(s.observation)]
    explained = _explanations(breaches, leaning)

    own = _weights(s for s in breaches if id(s) not in explained)
    for number, (cause, by) in explained.items():
        # A near miss that explains a breach is evidence by that alone.
        if not by.observation.breached:
            effect = next(s for s in breaches if id(s) == number)
            for weight in (by.speaks.get(cause.incident_class, 0.0), max(effect.speaks.values())):
                own[cause.incident_class] = _and(own.get(cause.incident_class), weight / 2)
    total = _weights(s for s in breaches if not _moves(s, explained))
    for c, weight in own.items():
        total[c] = max(total.get(c, 0.0), weight)

    primary = _first(own) or _first(total)
    contributing = sorted(
        (c for c in total if c is not primary and total[c] >= CONVINCING),
        key=lambda c: (-own.get(c, 0.0), -total[c], PRECEDENCE.index(c)),
    )
    evidence = _evidence(breaches, leaning, explained, primary)
    return Classification(
        primary=primary,
        contributing=tuple(contributing) if primary is not None else (),
        evidence=evidence,
        why=_sentence(primary, contributing, evidence),
        weights={c: round(total[c], 3) for c in PRECEDENCE if c in total},
    )


def _order(o: Observation) -> tuple[object, ...]:
    # Total: observations that tie are equal, or their order would show in the answer.
    since = math.inf if o.since is None else o.since
    place = tuple((part is not None, part or "") for part in o.selector)
    baseline = (o.baseline is not None, 0.0 if o.baseline is None else o.baseline)
    declared = o.incident_class or ""
    nats = (o.nats is not None, o.nats or 0.0)
    return (
        *(not o.breached, since, o.signal, place),
        *(o.value, o.sample, o.why, baseline, declared, nats),
    )


def _speaks_for(o: Observation) -> dict[IncidentClass, float]:
    wrong_way = o.baseline is not None and (
        o.value > o.baseline if o.signal in FALLING else o.value < o.baseline
    )
    # Fewer tokens, a faster answer: whoever alerts on that knows what it means, the table does not.
    weights = {} if wrong_way else dict(SPEAKS.get(o.signal, {}))
    declared = o.incident_class
    if declared is not None:
        least = max(DECLARED, weights.get(declared, 0.0))
        weights = {c: weight / 2 for c, weight in weights.items()} | {declared: least}
    return weights


def _leans(o: Observation) -> bool:
    """Whether a reading that is no breach has probably moved the bad way all the same."""
    if o.nats is not None:
        return o.nats >= SUSPICIOUS and bool(SPEAKS.get(o.signal))
    if o.baseline is None or o.sample < _LEAN_SAMPLE or not SPEAKS.get(o.signal):
        return False
    if o.signal in FALLING:
        return 0 <= o.value * _LEANS <= o.baseline and o.baseline > 0
    return o.value >= o.baseline * _LEANS and o.value > 0


def _explanations(
    breaches: Sequence[_Seen], leaning: Sequence[_Seen]
) -> dict[int, tuple[Cause, _Seen]]:
    """For each breach that another signal explains (by its `id`): how, and by which."""
    found: dict[int, tuple[Cause, _Seen]] = {}
    for effect in breaches:
        for cause in CAUSES:
            if not cause.could_explain(effect.observation.signal):
                continue
            by = next(
                (
                    s
                    for s in [*breaches, *(leaning if cause.near_misses else ())]
                    if s is not effect and _explains(cause, s, effect)
                ),
                None,
            )
            if by is not None:
                found[id(effect)] = (cause, by)
                break
    # What goes round in a circle explains nothing.
    if len(found) == len(breaches) and not any(
        not by.observation.breached for _, by in found.values()
    ):
        return {}
    return found


def _explains(cause: Cause, by: _Seen, effect: _Seen) -> bool:
    first, second = by.observation, effect.observation
    if not cause.can_be(first.signal, first.incident_class):
        return False
    weight = by.speaks.get(cause.incident_class)
    if weight is None or (not first.breached and weight < CONVINCING):
        return False
    # What speaks for nothing, or for the cause's class alone, has no need of it.
    if not effect.speaks or set(effect.speaks) == {cause.incident_class}:
        return False
    journeys = {first.selector.journey, second.selector.journey}
    if None not in journeys and len(journeys) > 1:
        return False
    later = 0.0 if first.since is None or second.since is None else first.since - second.since
    if abs(later) <= SAME_TIME:
        return not _reversed(CAUSES[: CAUSES.index(cause)], first, second)
    return later < 0 or (later <= SLACK and not _reversed(CAUSES, first, second))


def _reversed(causes: Sequence[Cause], first: Observation, second: Observation) -> bool:
    """Whether one of `causes` has `second` explain `first`, the other way round."""
    return any(
        c.can_be(second.signal, second.incident_class) and c.could_explain(first.signal)
        for c in causes
    )


def _moves(s: _Seen, explained: Mapping[int, tuple[Cause, _Seen]]) -> bool:
    """Whether a signal that only shows a mechanism was explained by another class."""
    return id(s) in explained and s.observation.signal in MECHANISMS


def _and(so_far: float | None, weight: float) -> float:
    return 1 - (1 - (so_far or 0.0)) * (1 - weight)


def _weights(seen: Iterable[_Seen]) -> dict[IncidentClass, float]:
    best: dict[tuple[IncidentClass, str], float] = {}
    for s in seen:
        for c, weight in s.speaks.items():
            key = (c, family(s.observation.signal))
            best[key] = max(best.get(key, 0.0), weight)
    weights: dict[IncidentClass, float] = {}
    for (c, _), weight in sorted(best.items()):
        weights[c] = _and(weights.get(c), weight)
    return weights


def _first(weights: Mapping[IncidentClass, float]) -> IncidentClass | None:
    return next((c for c in PRECEDENCE if weights.get(c, 0.0) >= CONVINCING), None)


def _evidence(
    breaches: Sequence[_Seen],
    leaning: Sequence[_Seen],
    explained: Mapping[int, tuple[Cause, _Seen]],
    primary: IncidentClass | None,
) -> tuple[Evidence, ...]:
    ranked = []
    for s in [*breaches, *leaning]:
        o = s.observation
        words = [o.why] if o.why else []
        speaks = s.speaks
        if id(s) in explained:
            cause, by = explained[id(s)]
            words.append(f"explained by {by.observation.signal}: {cause.why}")
            if o.signal in MECHANISMS:
                speaks = {cause.incident_class: max(speaks.values(), default=0.0)}
        if not o.breached:
            words.append("no breach yet")
            speaks = {c: weight * _LEAN_COUNTS for c, weight in speaks.items()}
        c = _strongest(speaks, primary)
        weight = speaks.get(c, 0.0) if c is not None else 0.0
        line = Evidence(
            o.signal,
            o.value,
            o.baseline,
            round(weight, 3),
            o.sample,
            *o.selector,
            incident_class=c,
            why="; ".join(words),
        )
        rank = (not o.breached, c is not primary, id(s) in explained, -weight, _order(o))
        ranked.append((rank, line))
    return tuple(line for _, line in sorted(ranked, key=lambda pair: pair[0]))


def _strongest(
    speaks: Mapping[IncidentClass, float], primary: IncidentClass | None
) -> IncidentClass | None:
    if primary in speaks:
        return primary
    return min(speaks, key=lambda c: (-speaks[c], PRECEDENCE.index(c)), default=None)


def _sentence(
    primary: IncidentClass | None,
    contributing: Sequence[IncidentClass],
    evidence: Sequence[Evidence],
) -> str:
    if not evidence:
        return "unknown: no signal is in breach"
    if primary is None:
        said = ", ".join(_told(e) for e in evidence[:3])
        return f"unknown: no class is convincing; seen: {said}"
    for_it = [e for e in evidence if e.incident_class is primary]
    said = f"{primary}: " + ", ".join(_told(e) for e in for_it[:3])
    effects = dict.fromkeys(
        e.signal for e in evidence if e.incident_class is not primary and "explained by" in e.why
    )
    if effects:
        said += f"; this explains {', '.join(effects)}"
    if contributing:
        said += f"; contributing {', '.join(contributing)}"
    return said


def _told(e: Evidence) -> str:
    was = "" if e.baseline is None else f" (against {e.baseline:.3g})"
    return f"{e.signal} {e.value:.3g}{was}"
