"""Which incident an alert belongs to, and what the alerts of one incident have in common. Pure.

Alerts that fire on one journey at about the same time are one incident: whatever is behind them,
the same users meet it. Across journeys they are one where they speak for the same class and began
together, or are about the same model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from firedoor.core.classify import SAME_TIME, SLACK
from firedoor.core.incident import AlertRecord, IncidentRecord
from firedoor.types import IncidentClass

__all__ = ["common", "joined", "key_of", "name_of", "place_of"]

TOGETHER: Final = 2 * SAME_TIME
"""Seconds between two onsets on different journeys that still are one event."""


def place_of(alert: AlertRecord) -> tuple[str, str | None, str | None, str | None]:
    """What tells one alert from another: its name, and where it fires."""
    return (alert.name, alert.journey, alert.route, alert.alias)


def name_of(alert: AlertRecord, *, many: bool) -> str:
    """The name its actions carry; with the place where there is one alert for each of `many`."""
    if not many:
        return alert.name
    where = "|".join(part or "" for part in (alert.journey, alert.route, alert.alias))
    return f"{alert.name}[{where}]"


def key_of(alert: AlertRecord, incident_class: IncidentClass | None) -> str:
    """The correlation key: two processes that see the same thing at once open one incident."""
    return f"{alert.journey or '*'}|{incident_class or alert.signal}"


def joined(
    alert: AlertRecord, incident_class: IncidentClass | None, records: Iterable[IncidentRecord]
) -> IncidentRecord | None:
    """The open incident that an alert belongs to; None: it is a new one.

    Args:
        alert: It has just begun to fire.
        incident_class: What it speaks for.
        records: The open incidents.
    """
    place = place_of(alert)
    open_ones = [record for record in records if record.open]
    for record in open_ones:
        if any(place_of(had) == place for had in record.alerts):
            return record
    near = [r for r in open_ones if _related(alert, incident_class, r)]
    # The nearest in time: with two incidents at hand it is rather the younger one's.
    return max(near, key=lambda r: r.detected_at or 0.0, default=None)


def _related(
    alert: AlertRecord, incident_class: IncidentClass | None, record: IncidentRecord
) -> bool:
    firing = [had for had in record.alerts if had.recovered_at is None]
    onsets = [had.since for had in record.alerts] or [record.detected_at or 0.0]
    apart = min(abs(alert.since - onset) for onset in onsets)
    if record.journey == alert.journey or any(had.journey == alert.journey for had in firing):
        return apart <= SLACK or bool(firing)
    if not firing:
        return False
    if alert.journey is None or record.journey is None:
        return apart <= SLACK
    same = incident_class is not None and incident_class is record.incident_class
    if same and apart <= TOGETHER:
        return True
    shared = {had.alias for had in firing if had.alias} | {had.route for had in firing if had.route}
    return same and apart <= SLACK and bool(shared & {alert.alias, alert.route})


def common(alerts: Sequence[AlertRecord], field: str) -> str | None:
    """What every alert has in `field`; None where they differ or one has nothing."""
    values = {getattr(alert, field) for alert in alerts}
    return values.pop() if len(values) == 1 else None
