"""What a finished call or request counts for, as one integer.

Each thing that is counted has a 32-bit lane (`Lane`) of one integer, as in `firedoor.core.window`:
to record is one addition, to merge windows is one addition, and both are exact whatever the order.
What a call counts for depends on a handful of its fields; `Tallies` remembers the answer for each
combination it has met.

*Set apart* is a call that its first choice did not answer as configured: a switch changed it, it
came from a lower tier, or it was canned. Such calls are recorded beside the others and not with
them, so that whoever asks can tell "quiet because it is contained" from "well again".
"""

from __future__ import annotations

import re
from enum import IntEnum
from operator import itemgetter
from typing import Final

from firedoor.core.window import LANE
from firedoor.records import Decision
from firedoor.types import Fault, Outcome, RouteKind, VerdictStatus

__all__ = [
    "FAULTS",
    "PLACE",
    "Lane",
    "Tallies",
    "apart",
    "asked",
    "documents",
    "lane",
    "lanes",
    "request_tally",
    "shape_of",
]


class Lane(IntEnum):
    """Position in a tally; the most frequent ones first, which keeps the integers short."""

    CALLS = 0
    """All but cancelled ones."""
    WANTED = 1
    """Asked a target, or would have."""
    TRIED = 2
    """Asked the first choice, and told something of it."""
    ANSWERS = 3
    """A model answered to the end."""
    REPLIES = 4
    """An answer, or a canned one."""
    ENDED = 5
    """An answer, or a stream that broke off."""
    SEARCHES = 6
    RAN = 7
    """A tool that ran to an end."""
    USED = 8
    """A tool call inside a request."""
    REQUESTS = 9
    SOURCES = 10
    SCREENED = 11
    """A content policy looked at it."""
    REFUSED = 12
    CUT = 13
    FLAGGED = 14
    BLOCKED = 15
    ERRORS = 16
    SATURATED = 17
    FALLBACK = 18
    CANNED = 19
    PARTIAL = 20
    EMPTY = 21
    DUPLICATES = 22
    FAILED = 23
    REPEATED = 24
    AFFECTED = 25
    """A request whose user did not get a plain answer."""
    TARGET_FAULTS = 26
    CALLER_FAULTS = 27
    POLICY_FAULTS = 28
    FIREDOOR_FAULTS = 29


_ONE: Final = {name: 1 << LANE * name for name in Lane}
_MASK: Final = (1 << LANE) - 1

FAULTS: Final = {
    Fault.TARGET: Lane.TARGET_FAULTS,
    Fault.CALLER: Lane.CALLER_FAULTS,
    Fault.POLICY: Lane.POLICY_FAULTS,
    Fault.FIREDOOR: Lane.FIREDOOR_FAULTS,
}
"""The lane in which calls that failed or were blocked are counted by whose fault it was."""

_FAULT_OF: Final = {fault: _ONE[name] for fault, name in FAULTS.items()}
_LLM = RouteKind.LLM
_ANSWERED = (Outcome.ANSWERED, Outcome.DEGRADED, Outcome.REFUSED)
_LEFT = (Outcome.CANCELLED, Outcome.ABANDONED)
_LOOKED = (
    VerdictStatus.PASSED,
    VerdictStatus.FLAGGED,
    VerdictStatus.REDACTED,
    VerdictStatus.BLOCKED,
)
_POLICY = "policy:"
_LIMITER = "limiter:"
_FULL = re.compile(
    r"rate.?limit|overloaded|too.?many.?requests|resource.?exhausted|throttl|slow.?down|saturated"
    r"|capacity|\b(?:429|529)\b",
    re.IGNORECASE,
)
_REMEMBERED = 4_096


def lane(tally: int, name: Lane) -> int:
    """How often `name` was counted."""
    return tally >> LANE * name & _MASK


def lanes(**counts: int) -> int:
    """A tally with these counts, by the names of their lanes in lower case."""
    return sum(count << LANE * Lane[name.upper()] for name, count in counts.items())


def asked(decision: Decision) -> bool:
    """Whether a target was asked anything."""
    outcome = decision.outcome
    if decision.attempts:
        return outcome in _ANSWERED or any(
            a.outcome is not None and a.model is not None for a in decision.attempts
        )
    if outcome is not Outcome.BLOCKED:
        return outcome is not Outcome.CANNED
    return decision.usage is not None or any(
        v.stage in ("output", "tool_result", "retrieval") and v.status is VerdictStatus.BLOCKED
        for v in decision.verdicts
    )


def apart(decision: Decision) -> bool:
    """Whether it was answered otherwise than configured: see the module's text."""
    return bool(decision.switches) or decision.tier > 0 or decision.outcome is Outcome.CANNED


PLACE: Final = 4
"""How many of a shape's parts say where a call counts."""

_of_attempt = itemgetter(0, 1, 2, 7, 8, 9)  # no times, no costs


def shape_of(decision: Decision) -> tuple[object, ...]:
    """Where a finished call counts, and everything that decides what for.

    The first `PLACE` parts are its journey, route and alias, and whether it is set apart.
    """
    # No field that is read below may be missing here.
    kind, verdicts = decision.kind, decision.verdicts
    more: tuple[object, ...]
    if kind is _LLM:
        more = (
            decision.finish_reasons,
            decision.refusal,
            decision.partial_refusal,
            decision.truncated,
            decision.error_type,
        )
    else:
        more = (not decision.sources, not decision.notes, decision.repeated)
    return (
        decision.journey,
        decision.route,
        decision.alias,
        apart(decision),
        kind,
        decision.outcome,
        decision.tier,
        not decision.switches,
        decision.fault,
        decision.usage is None,
        decision.request_id == decision.id,
        tuple(map(_of_attempt, decision.attempts)),
        tuple([(v.gate, v.status, v.stage) for v in verdicts]) if verdicts else None,
        more,
    )


class Tallies:
    """What decisions count for. Remembers the answer for each shape it has met."""

    __slots__ = ("_full", "_known")

    def __init__(self) -> None:
        self._known: dict[object, tuple[int, bool]] = {}
        self._full: dict[str, bool] = {}

    def of(self, decision: Decision, shape: tuple[object, ...]) -> tuple[int, bool]:
        """The tally of one finished call, and whether it asked a target anything.

        A search's documents are counted by the caller, who reads them anyway.

        Args:
            decision: The call.
            shape: What `shape_of` says of it.
        """
        key = shape[PLACE:]
        told = self._known.get(key)
        if told is None:
            told = self._count(decision), asked(decision)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = told
        return told

    def _count(self, decision: Decision) -> int:
        outcome = decision.outcome
        if outcome is Outcome.CANCELLED:
            return 0
        tally = _ONE[Lane.CALLS]
        if outcome is Outcome.BLOCKED:
            tally += _ONE[Lane.BLOCKED]
        fault = decision.fault
        if fault is not None:
            tally += _FAULT_OF[fault]
        if decision.verdicts:
            tally += _screened(decision)
        match decision.kind:
            case RouteKind.LLM:
                return tally + self._llm(decision)
            case RouteKind.RETRIEVAL:
                return tally + _tried(decision) + _retrieval(decision)
            case RouteKind.TOOL:
                return tally + _tried(decision) + _tool(decision)

    def _llm(self, decision: Decision) -> int:
        outcome = decision.outcome
        tally = _tried(decision)
        full = self._saturated(decision)
        if full or asked(decision):
            tally += _ONE[Lane.WANTED] + full * _ONE[Lane.SATURATED]
        cut = decision.truncated or "length" in decision.finish_reasons
        answered = outcome in _ANSWERED
        if answered:
            tally += _ONE[Lane.ANSWERS]
            if decision.refusal is not None:
                tally += _ONE[Lane.REFUSED]
            elif decision.partial_refusal:
                tally += _ONE[Lane.PARTIAL]
        if answered or decision.truncated:
            tally += _ONE[Lane.ENDED] + cut * _ONE[Lane.CUT]
        if answered or outcome is Outcome.CANNED:
            fell = any(a.tier < decision.tier for a in decision.attempts)
            if outcome is not Outcome.CANNED:
                tally += _ONE[Lane.REPLIES] + fell * _ONE[Lane.FALLBACK]
            elif fell or not decision.switches:
                tally += _ONE[Lane.REPLIES] + _ONE[Lane.CANNED]
        return tally

    def _saturated(self, decision: Decision) -> bool:
        for attempt in decision.attempts:
            if attempt.reason is not None and attempt.reason.startswith(_LIMITER):
                return True
            if attempt.error_type is not None and self._names_limit(attempt.error_type):
                return True
        if decision.error_type is not None and decision.outcome in (
            Outcome.FAILED,
            Outcome.BLOCKED,
        ):
            return self._names_limit(decision.error_type)
        return False

    def _names_limit(self, error_type: str) -> bool:
        known = self._full.get(error_type)
        if known is None:
            if len(self._full) >= _REMEMBERED:
                self._full.clear()
            known = self._full[error_type] = _FULL.search(error_type) is not None
        return known


def _tried(decision: Decision) -> int:
    """Whether the first choice was asked and told something, and whether it failed."""
    outcome = decision.outcome
    attempts = decision.attempts
    if attempts:
        first = min(a.tier for a in attempts)
        made = [a for a in attempts if a.tier == first and a.model is not None]
        made = [a for a in made if a.outcome is not None]
        if not made:
            return 0
        if any(a.fault is Fault.TARGET for a in made):
            return _ONE[Lane.TRIED] + _ONE[Lane.ERRORS]
        if any(a.fault is Fault.CALLER for a in made):
            return 0
        lost = all(a.outcome is Outcome.CANCELLED for a in made)
        return 0 if lost and outcome not in _ANSWERED else _ONE[Lane.TRIED]
    if decision.fault is Fault.TARGET:
        return _ONE[Lane.TRIED] + _ONE[Lane.ERRORS]
    told = outcome in _ANSWERED or outcome is Outcome.ABANDONED
    return _ONE[Lane.TRIED] if told or (outcome is Outcome.BLOCKED and asked(decision)) else 0


def _screened(decision: Decision) -> int:
    looked = flagged = False
    for verdict in decision.verdicts:
        if verdict.gate.startswith(_POLICY):
            status = verdict.status
            if status is VerdictStatus.PASSED:
                looked = True
            elif status in _LOOKED:
                looked = flagged = True
    return looked * _ONE[Lane.SCREENED] + flagged * _ONE[Lane.FLAGGED]


def _retrieval(decision: Decision) -> int:
    if decision.sources:
        return _ONE[Lane.SEARCHES]
    if decision.outcome in _ANSWERED and not decision.notes:
        return _ONE[Lane.SEARCHES] + _ONE[Lane.EMPTY]
    if decision.outcome is Outcome.FAILED:
        return _ONE[Lane.SEARCHES] + _ONE[Lane.EMPTY]
    return 0


def documents(found: int, unique: int) -> int:
    """What the documents of one search count for."""
    return found * _ONE[Lane.SOURCES] + (found - unique) * _ONE[Lane.DUPLICATES]


def _tool(decision: Decision) -> int:
    tally = 0
    if decision.outcome not in _LEFT and asked(decision):
        failed = decision.outcome is Outcome.FAILED
        tally += _ONE[Lane.RAN] + failed * _ONE[Lane.FAILED]
    if decision.request_id != decision.id:
        tally += _ONE[Lane.USED] + decision.repeated * _ONE[Lane.REPEATED]
    return tally


def request_tally(outcome: Outcome) -> int:
    """What one request counts for."""
    return _REQUEST[outcome]


_PLAIN = (Outcome.ANSWERED, Outcome.ABANDONED)
_REQUEST: Final = {
    outcome: _ONE[Lane.REQUESTS] + (outcome not in _PLAIN) * _ONE[Lane.AFFECTED]
    for outcome in Outcome
} | {Outcome.CANCELLED: 0}
