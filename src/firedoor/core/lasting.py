"""How long incidents take to be seen, held and over, class by class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from firedoor.core.incident import IncidentRecord
from firedoor.types import IncidentClass

__all__ = ["Times", "Took", "times"]


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds that one step took, over the incidents that came to it.

    Attributes:
        count: Incidents that came to it.
        median: Half took no longer; None where there is none.
        longest: The longest; None likewise.
    """

    count: int = 0
    median: float | None = None
    longest: float | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """The steps of one class of incident, each from the first bad decision on.

    Attributes:
        incidents: How many there were, open ones included.
        open: How many are not closed.
        recurrences: How many repeated an earlier one.
        detect: Until the first alert.
        contain: Until users were no longer hurt.
        recover: Until the signals were back.
    """

    incidents: int
    open: int
    recurrences: int
    detect: Took
    contain: Took
    recover: Took


def times(records: Iterable[IncidentRecord]) -> dict[IncidentClass | None, Times]:
    """The times of each class among `records`; None stands for incidents that fit no class."""
    by_class: dict[IncidentClass | None, list[IncidentRecord]] = {}
    for record in records:
        by_class.setdefault(record.incident_class, []).append(record)
    order = [*IncidentClass, None]
    return {
        kind: Times(
            incidents=len(by_class[kind]),
            open=sum(record.open for record in by_class[kind]),
            recurrences=sum(record.recurrence_of is not None for record in by_class[kind]),
            detect=_took(record.time_to_detect for record in by_class[kind]),
            contain=_took(record.time_to_contain for record in by_class[kind]),
            recover=_took(record.time_to_recover for record in by_class[kind]),
        )
        for kind in sorted(by_class, key=order.index)
    }


def _took(seconds: Iterable[float | None]) -> Took:
    known = [one for one in seconds if one is not None]
    return Took(len(known), median(known), max(known)) if known else Took()
