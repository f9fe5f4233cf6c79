"""The breakers of a door: one circuit and one lock per route and model.

A lock is held for bookkeeping only. Permits of a circuit that admits everybody are read without
it (see `Circuit.standing`); listeners are called after it is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import random as system_random
from typing import Any

from firedoor.config import Breaker
from firedoor.core.breaker import (
    Circuit,
    Exceeded,
    Permit,
    Reading,
    Refusal,
    Result,
    State,
    Transition,
)
from firedoor.errors import BreakerOpen

__all__ = ["Breakers", "Listener", "LiveBreaker"]

Listener = Callable[[str, str, Transition | Exceeded], object]
"""Called with the route, the model and what happened to their circuit."""

MAX_CIRCUITS = 1_000
"""Circuits a door keeps. A model name may come from a user; memory must not."""


class LiveBreaker:
    """The circuit of one route and model, safe to use from any thread or task.

    Attributes:
        route: As in `llm:answer`.
        model: The real model, after switches.
    """

    __slots__ = ("_circuit", "_lock", "_publish", "model", "route")

    def __init__(
        self,
        route: str,
        model: str,
        config: Breaker,
        random: Callable[[], float],
        publish: Callable[[str, str, Transition | Exceeded], None],
    ) -> None:
        self.route = route
        self.model = model
        self._circuit = Circuit(config, random)
        self._lock = threading.Lock()
        self._publish = publish

    def acquire(self, now: float) -> Permit | Refusal:
        """Leave to make one call at `now` (monotonic seconds), or not. Never waits."""
        permit = self._circuit.standing
        if permit is not None:
            return permit
        with self._lock:
            answer = self._circuit.acquire(now)
        for event in answer.events:
            self._publish(self.route, self.model, event)
        return answer

    def settle(
        self,
        permit: Permit,
        result: Result,
        duration: float,
        now: float,
        first_token: float | None = None,
        retry_after: float | None = None,
    ) -> Transition | Exceeded | None:
        """Tell how the call ended, once per permit; see `Circuit.settle`."""
        with self._lock:
            event = self._circuit.settle(permit, result, duration, now, first_token, retry_after)
        if event is not None:
            self._publish(self.route, self.model, event)
        return event

    def cancel(self, permit: Permit) -> None:
        """Give back the permit of a call that was not made."""
        if permit.trial is not None:
            with self._lock:
                self._circuit.cancel(permit)

    def force(self, state: State, now: float) -> Transition | None:
        """Put the circuit into `state` by hand; see `Circuit.force`."""
        with self._lock:
            event = self._circuit.force(state, now)
        if event is not None:
            self._publish(self.route, self.model, event)
        return event

    def reset(self, now: float) -> Transition | None:
        """Begin again, with nothing counted."""
        with self._lock:
            event = self._circuit.reset(now)
        if event is not None:
            self._publish(self.route, self.model, event)
        return event

    @property
    def state(self) -> State:
        """The state at this moment."""
        return self._circuit.state

    def read(self, now: float) -> Reading:
        """The circuit at a glance."""
        with self._lock:
            return self._circuit.read(now)

    def denied(self, refusal: Refusal) -> BreakerOpen:
        """The exception that tells a caller of `refusal`."""
        gate = f"breaker:{self.route}/{self.model}"
        after = refusal.retry_after
        way_out = {
            State.OPEN: f"a trial call is admitted in {after or 0:.1f} s",
            State.HALF_OPEN: "its trial calls are under way; try again shortly",
        }.get(refusal.state, "it was forced open: reset it, or revert the switch that did")
        message = f"The circuit of {self.route} to {self.model!r} is {refusal.state}; {way_out}."
        return BreakerOpen(message, gate=gate, retry_after=after)
