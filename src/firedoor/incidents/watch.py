"""The watch: every alert's rule on its series, and every alert's state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from firedoor.core.alerting import AlertMachine, Change
from firedoor.core.classify import Observation
from firedoor.core.reading import Memory, Reading
from firedoor.core.series import Selector, Series
from firedoor.errors import ConfigurationError
from firedoor.incidents.alert import Alert
from firedoor.types import AlertState

__all__ = ["SignalSource", "Transition", "Watch"]

_STORM: Final = 20
_STORM_WINDOW: Final = 60.0
_MACHINES: Final = 200


class SignalSource(Protocol):
    """Where series come from: `door.signals`."""

    def series(self, name: str, selector: Selector = ...) -> Series:
        """One signal under one selector.

        Raises:
            ConfigurationError: If there is no such signal.
        """
        ...

    def selectors(self, name: str) -> tuple[Selector, ...]:
        """Where the signal has been seen."""
        ...


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert changed its state.

    Attributes:
        alert: Which.
        selector: Where.
        old: The state before.
        new: The state after.
        reading: What the rule said.
        since: When the breach began, on the clock of `now`; None outside of one.
        at: When the alert changed, likewise.
        flaps: How often it has come back to firing within the last hour.
        muted: It began to fire in a storm of alerts, beyond the cap: evidence for the incident at
            hand, and not to be acted on by itself.
    """

    alert: Alert
    selector: Selector
    old: AlertState
    new: AlertState
    reading: Reading
    since: float | None
    at: float
    flaps: int = 0
    muted: bool = False


class _Place:
    """One alert at one selector."""

    __slots__ = ("alert", "machine", "memory", "muted", "reading", "selector")

    def __init__(self, alert: Alert, selector: Selector) -> None:
        self.alert = alert
        self.selector = selector
        self.machine = AlertMachine(alert.pending, alert.keep)
        self.memory = Memory()
        self.reading: Reading | None = None
        self.muted = False


class Watch:
    """All alerts of a door, evaluated together. Not thread-safe: one evaluation at a time.

    Args:
        alerts: What to watch; more with `add`.
        signals: Where the series come from.
        on_fault: Told what went wrong in a rule; the alert stays as it was.
        storm: Alerts that may begin to fire within a minute; beyond, they are muted.

    Raises:
        ConfigurationError: If a name is used twice, a signal does not exist, or a rule cannot
            judge it.
    """

    def __init__(
        self,
        alerts: Iterable[Alert],
        signals: SignalSource,
        *,
        on_fault: Callable[[BaseException], object] | None = None,
        storm: int = _STORM,
    ) -> None:
        self._signals = signals
        self._on_fault = on_fault
        self._storm = storm
        self._alerts: dict[str, Alert] = {}
        self._places: dict[tuple[str, Selector], _Place] = {}
        self._began: deque[float] = deque(maxlen=max(1, storm))
        self.add(alerts)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What is watched, in the order it was added."""
        return tuple(self._alerts.values())

    def add(self, alerts: Iterable[Alert]) -> None:
        """Watch more; all of them, or, if one cannot work, none.

        Raises:
            ConfigurationError: As for the class.
        """
        new: dict[str, Alert] = {}
        for alert in alerts:
            if not isinstance(alert, Alert):
                raise ConfigurationError(
                    f"{alert!r} is no alert: use fd.Alert(...) or fd.alerts.defaults(...)"
                )
            if alert.name in self._alerts or alert.name in new:
                raise ConfigurationError(
                    f"two alerts are named {alert.name!r}: give each a name of its own"
                )
            shape = self._signals.series(alert.signal, alert.selector).shape
            why = alert.rule.refuses(shape)
            if why is not None:
                raise ConfigurationError(
                    f"alert {alert.name!r}: {type(alert.rule).__name__} cannot judge "
                    f"{alert.signal}, a {shape}: {why}"
                )
            new[alert.name] = alert
        self._alerts.update(new)

    def evaluate(self, now: float) -> list[Transition]:
        """Judge every alert at `now`, in seconds on the signals' clock.

        Returns:
            What changed, in the order of the alerts.
        """
        changed = []
        for alert in self._alerts.values():
            try:
                for place in self._look(alert):
                    transition = self._judge(place, now)
                    if transition is not None:
                        changed.append(transition)
            except Exception as error:
                if self._on_fault is not None:
                    self._on_fault(error)
        return changed

    def _look(self, alert: Alert) -> Sequence[_Place]:
        if alert.each is None:
            return [self._place(alert, alert.selector)]
        selectors = {
            alert.selector._replace(**{alert.each: getattr(seen, alert.each)})
            for seen in self._signals.selectors(alert.signal)
            if getattr(seen, alert.each) is not None and _within(seen, alert.selector)
        }
        return [
            self._place(alert, selector)
            for selector in sorted(selectors, key=_key)
            if (alert.name, selector) in self._places or len(self._places) < _MACHINES
        ]

    def _place(self, alert: Alert, selector: Selector) -> _Place:
        key = (alert.name, selector)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(alert, selector)
        return place

    def _judge(self, place: _Place, now: float) -> Transition | None:
        alert = place.alert
        series = self._signals.series(alert.signal, place.selector)
        reading = place.reading = alert.rule.judge(series, now, place.memory)
        change = place.machine.update(reading, now)
        if change is None:
            return None
        if change.new is AlertState.FIRING and change.old is not AlertState.RECOVERING:
            place.muted = self._is_storm(now)
        return _transition(place, change, reading, now)

    def _is_storm(self, now: float) -> bool:
        """Whether as many alerts as may have begun to fire within the last minute."""
        began = self._began
        if len(began) >= self._storm and now - began[0] < _STORM_WINDOW:
            return True
        began.append(now)
        return False

    def firing(self) -> tuple[Transition, ...]:
        """What fires, or is recovering, as its latest reading has it."""
        return tuple(
            _transition(
                place,
                Change(
                    place.machine.state,
                    place.machine.state,
                    place.machine.changed_at,
                    place.machine.since,
                ),
                place.reading,
                place.machine.changed_at,
            )
            for place in tuple(self._places.values())
            if place.machine.in_force and place.reading is not None
        )

    def state(self, name: str, selector: Selector | None = None) -> AlertState:
        """Where an alert stands; of several places, the worst."""
        states = [
            place.machine.state
            for (known, where), place in tuple(self._places.items())
            if known == name and selector in (None, where)
        ]
        return max(states, key=_RANK.index, default=AlertState.NO_DATA)

    def observations(self) -> list[Observation]:
        """Every latest reading with a value, in breach or not, as the classifier takes them."""
        return [
            Observation(
                signal=place.alert.signal,
                value=place.reading.value,
                baseline=place.reading.baseline,
                sample=place.reading.sample,
                selector=place.selector,
                incident_class=place.alert.declared,
                since=place.machine.since,
                breached=place.machine.in_force,
                nats=place.reading.nats,
                why=place.alert.why,
            )
            for place in tuple(self._places.values())
            if place.reading is not None and place.reading.value is not None
        ]

    def reset(self, name: str) -> None:
        """Take what an alert's signal shows now for its usual state.

        Raises:
            ConfigurationError: If there is no such alert.
        """
        if name not in self._alerts:
            raise ConfigurationError(
                f"no alert {name!r}; there are: {', '.join(self._alerts) or 'none'}"
            )
        for (known, _), place in tuple(self._places.items()):
            if known == name:
                place.machine.reset()
                place.memory.forget()
                place.muted = False

    def snapshot(self) -> Mapping[str, Any]:
        """Every alert's state and latest figures, as plain values."""
        found: dict[str, Any] = {}
        for alert in self._alerts.values():
            places = [p for (name, _), p in tuple(self._places.items()) if name == alert.name]
            found[alert.name] = {
                "signal": alert.signal,
                "state": str(self.state(alert.name)),
                "places": [
                    {
                        "journey": p.selector.journey,
                        "route": p.selector.route,
                        "alias": p.selector.alias,
                        "state": str(p.machine.state),
                        "value": p.reading.value,
                        "baseline": p.reading.baseline,
                        "sample": p.reading.sample,
                        "why": p.reading.why,
                        "muted": p.muted,
                    }
                    for p in places
                    if p.reading is not None
                ],
            }
        return found


_RANK: Final = (
    AlertState.NO_DATA,
    AlertState.WARMING_UP,
    AlertState.OK,
    AlertState.RECOVERING,
    AlertState.PENDING,
    AlertState.FIRING,
)


def _transition(place: _Place, change: Change, reading: Reading, now: float) -> Transition:
    return Transition(
        alert=place.alert,
        selector=place.selector,
        old=change.old,
        new=change.new,
        reading=reading,
        since=change.since,
        at=change.at,
        flaps=place.machine.flaps(now),
        muted=place.muted,
    )


def _within(seen: Selector, where: Selector) -> bool:
    return all(want is None or want == has for want, has in zip(where, seen, strict=True))


def _key(selector: Selector) -> tuple[str, ...]:
    return tuple(part or "" for part in selector)
