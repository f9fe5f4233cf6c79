"""An alert of an incident as this process sees it now, and what can be told of actions by looking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from firedoor.core.incident import ActionRecord, ActionState, AlertRecord, IncidentRecord
from firedoor.core.switches import ANYTHING
from firedoor.incidents.actions import CUTS, FINAL, ShedLoad
from firedoor.incidents.alert import Alert
from firedoor.incidents.correlation import name_of
from firedoor.incidents.watch import Transition
from firedoor.types import AlertState

__all__ = ["HELD", "Sight", "hidden", "holds", "safe", "same_target"]

HELD: Final = frozenset({ActionState.APPLIED, ActionState.VERIFIED})
"""In force, and not known to be of no help."""


@dataclass(frozen=True, slots=True)
class Sight:
    """One alert of an incident as this process sees it now.

    Attributes:
        record: As the incident has it.
        alert: As it is declared here; None: it is not.
        latest: Its state and reading; None: it does not fire here.
        better: Answers whether the signal has been good since something was done, so many seconds
            ago, given the time; None: it cannot be told.
    """

    record: AlertRecord
    alert: Alert | None
    latest: Transition | None
    better: Callable[[float, float], bool | None]

    @property
    def name(self) -> str:
        """What its actions are filed under."""
        many = self.alert is not None and self.alert.each is not None
        return name_of(self.record, many=many)

    @property
    def firing(self) -> bool:
        """Whether users are still affected, as the rule sees it now."""
        seen = self.latest
        return seen is not None and seen.new is AlertState.FIRING and bool(seen.reading.breached)

    @property
    def silent(self) -> bool:
        """Whether it fires only because nothing can be told: there is no traffic to judge."""
        seen = self.latest
        return seen is not None and seen.reading.breached is None


def holds(action: ActionRecord) -> bool:
    """Whether it keeps users from harm, or only told somebody."""
    return action.kind != "notify"


def safe(record: IncidentRecord, sight: Sight) -> bool:
    """Whether users of the alert's journey get nothing but safe responses already."""
    return any(
        a.kind in FINAL
        and a.state in HELD
        and a.parameters.get("journey") in {ANYTHING, sight.record.journey}
        for a in record.actions
    )


def hidden(action: ActionRecord, alert: AlertRecord) -> bool:
    """Whether an action keeps from being seen what an alert reads: quiet is no recovery then.

    Load that is shed hides the journeys it turns away whole, from their own alerts and from those
    of the whole door. The journey it makes room for is seen as well as ever, and so is one of which
    a share goes on: which requests are turned away does not depend on how they would have gone.
    """
    if action.kind != ShedLoad.kind:
        return action.kind in CUTS
    if action.parameters.get("share", 1.0) < 1.0:
        return False
    named = action.parameters.get("journeys") or [action.target.partition(":")[2]]
    return alert.journey is None or alert.journey in named or ANYTHING in named


def same_target(one: str, other: str) -> bool:
    """Whether two targets are one: `alias:gpt-5` is also that of every journey."""
    first, _, where = one.partition("@")
    second, _, there = other.partition("@")
    return bool(one) and first == second and (where == there or not where or not there)
