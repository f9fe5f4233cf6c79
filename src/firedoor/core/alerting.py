"""The state of one alert: how readings become `firing`, and how firing ends. Pure.

    no_data / warming_up / ok --breached--> pending --held--> firing --cleared--> recovering --held--> ok
                                                                 ^------ breached ------'

Not knowing is a state of its own. What fires does not stop firing because nobody calls any more:
silence after a switch turned the traffic away is no recovery.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from firedoor.core.reading import Reading
from firedoor.types import AlertState

__all__ = ["AlertMachine", "Change"]

FLAP_WINDOW: Final = 3_600.0
"""Seconds over which flaps are counted."""
FLAPS_KEPT: Final = 16
_CALM: Final = 2
_LONGEST: Final = 4.0

_IN_FORCE: Final = frozenset({AlertState.FIRING, AlertState.RECOVERING})


class Change(NamedTuple):
    """One step of the machine.

    Attributes:
        old: The state before.
        new: The state after.
        at: When, on the clock of `now`.
        since: When the breach began; None outside of one.
    """

    old: AlertState
    new: AlertState
    at: float
    since: float | None


class AlertMachine:
    """One alert on one series.

    Args:
        pending: Seconds a breach has to hold before it fires.
        keep: Seconds it has to be over before it counts as over. Doubled with each flap (a return
            to firing) beyond the second within an hour, up to four times: what keeps coming back
            is not over.
    """

    __slots__ = ("_calm_since", "_changed_at", "_fired", "_keep", "_pending", "_since", "_state")

    def __init__(self, pending: float = 0.0, keep: float = 300.0) -> None:
        self._pending = pending
        self._keep = keep
        self._state = AlertState.NO_DATA
        self._since: float | None = None
        self._calm_since: float | None = None
        self._changed_at = 0.0
        self._fired: deque[float] = deque(maxlen=FLAPS_KEPT)

    @property
    def state(self) -> AlertState:
        """Where it stands."""
        return self._state

    @property
    def in_force(self) -> bool:
        """Whether it fires, or is recovering and could come back."""
        return self._state in _IN_FORCE

    @property
    def since(self) -> float | None:
        """When the breach began, on the clock of `now`; None outside of one."""
        return self._since

    @property
    def changed_at(self) -> float:
        """When it came to where it stands."""
        return self._changed_at

    def flaps(self, now: float) -> int:
        """How often it has come back to firing within the last hour, over or on its way there.

        A return is what somebody on call counts. Share of state changes, as in Nagios, would count
        each twice, and recovery from `recovering` to `ok` once more.
        """
        return max(0, sum(now - at <= FLAP_WINDOW for at in self._fired) - 1)

    def keep(self, now: float) -> float:
        """Seconds of calm it takes at present."""
        return self._keep * min(_LONGEST, 2.0 ** max(0, self.flaps(now) - _CALM))

    def update(self, reading: Reading, now: float) -> Change | None:
        """Take one reading in.

        Returns:
            The change; None where it stays as it is. A reading makes at most one.
        """
        new = self._active(reading, now) if self.in_force else self._idle(reading, now)
        old, self._state = self._state, new
        if new is old:
            return None
        self._changed_at = now
        if new is AlertState.FIRING:
            self._fired.append(now)
        since = self._since
        if new not in _IN_FORCE and new is not AlertState.PENDING:
            self._since = None
        return Change(old, new, now, since)

    def reset(self) -> None:
        """Begin again, without a past."""
        self._state = AlertState.NO_DATA
        self._since = self._calm_since = None
        self._fired.clear()

    def _idle(self, reading: Reading, now: float) -> AlertState:
        if reading.breached:
            if self._state is not AlertState.PENDING:
                self._since = now if reading.since is None else reading.since
                self._calm_since = now
            held = now - (now if self._calm_since is None else self._calm_since)
            return AlertState.FIRING if held >= self._pending else AlertState.PENDING
        if reading.no_data:
            return AlertState.NO_DATA
        if reading.breached is None or reading.warming:
            return AlertState.WARMING_UP
        return AlertState.OK

    def _active(self, reading: Reading, now: float) -> AlertState:
        if reading.breached:
            return AlertState.FIRING
        if self._state is AlertState.FIRING:
            if not reading.cleared:
                return AlertState.FIRING
            self._calm_since = now
            return AlertState.RECOVERING
        if reading.breached is False and not reading.cleared:
            # Between the two levels: not over, and not back either.
            self._calm_since = now
        calm = now - (now if self._calm_since is None else self._calm_since)
        return AlertState.OK if calm >= self.keep(now) else AlertState.RECOVERING
