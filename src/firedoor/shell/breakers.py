"""The breakers of a door: one circuit and one lock per route and model.

A lock is held for bookkeeping only, and not at all by a good call to a healthy target or a refusal
while the open time lasts (`firedoor.core.breaker` says why that is exact). Listeners are called
after it is dropped.
"""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable
from random import random as system_random
from typing import Any

from firedoor.clock import SYSTEM_CLOCK
from firedoor.config import Breaker
from firedoor.core.breaker import Circuit
from firedoor.core.breaker_values import (
    Exceeded,
    Permit,
    Reading,
    Refusal,
    Result,
    State,
    Transition,
)
from firedoor.errors import BreakerOpen, ConfigurationError
from firedoor.shell.targets import Targets

__all__ = ["Breakers", "Listener", "LiveBreaker"]

Listener = Callable[[str, str, Transition | Exceeded], object]
"""Called with the route, the model and what happened to their circuit."""

BATCH = 128
"""Notes in a mailbox before somebody takes the lock to empty it."""

# Looked up once: an enumeration's members are found by its metaclass, at four times the price.
_SUCCESS = Result.SUCCESS
_OPEN = State.OPEN
_REFUSING = frozenset({State.OPEN, State.HALF_OPEN, State.FORCED_OPEN})
_new_denied = BreakerOpen.__new__


class LiveBreaker:
    """The circuit of one route and model, safe to use from any thread or task.

    Attributes:
        route: As in `llm:answer`.
        model: The real model, after switches.
        config: What the circuit was made with.
    """

    __slots__ = (
        "_circuit",
        "_gate",
        "_lock",
        "_publish",
        "_slow_call",
        "_times_streams",
        "config",
        "model",
        "route",
    )

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
        self.config = config
        self._circuit = Circuit(config, random)
        self._slow_call = math.inf if config.slow_call is None else config.slow_call
        self._times_streams = config.slow_first_token is not None
        self._gate = f"breaker:{route}/{model}"
        self._lock = threading.Lock()
        self._publish = publish

    def acquire(self, now: float) -> Permit | Refusal:
        """Leave to make one call at `now` (monotonic seconds), or not. Never waits."""
        circuit = self._circuit
        permit = circuit.standing
        if permit is not None:
            return permit
        shut = circuit.shut
        if shut is not None and now < shut.until:
            shut.refused.append(None)
            if len(shut.refused) > BATCH:
                self.read(now)
            return Refusal(shut.until - now, _OPEN)
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
        *,
        first_token: float | None = None,
        retry_after: float | None = None,
    ) -> Transition | Exceeded | None:
        """Tell how the call ended, once per permit; see `Circuit.settle`."""
        good = permit.good
        if (
            good is not None
            and result is _SUCCESS
            and duration < self._slow_call
            and (first_token is None or not self._times_streams)
            and now < self._circuit.calm_until
            and len(good) < BATCH
        ):
            good.append(now)
            return None
        with self._lock:
            event = self._circuit.settle(
                permit, result, duration, now, first_token=first_token, retry_after=retry_after
            )
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

    @property
    def admits_all(self) -> bool:
        """Whether nobody is refused."""
        return self._circuit.standing is not None

    def read(self, now: float) -> Reading:
        """The circuit at a glance."""
        with self._lock:
            return self._circuit.read(now)

    def denied(self, refusal: Refusal) -> BreakerOpen:
        """The exception that tells a caller of `refusal`."""
        # Made for every refused call: its message is put into words when somebody reads it.
        denied = _new_denied(BreakerOpen, self._words, refusal)
        denied.gate = self._gate
        denied.retry_after = refusal.retry_after
        return denied

    def _words(self, refusal: Refusal) -> str:
        after = refusal.retry_after
        if after is None:
            way_out = "forced open: reset it, or revert the switch that did"
        elif refusal.state is State.HALF_OPEN:
            way_out = "half-open, with all its trial calls under way: try again shortly"
        else:
            way_out = f"open: a trial call is admitted in {after:.1f} s"
        return f"The circuit of {self.route} to {self.model!r} is {way_out}."


class Breakers(Targets[Breaker, LiveBreaker]):
    """Every circuit of a door.

    Args:
        enforce: False: every circuit that would refuse only watches (`metrics_only`).
        random: Gives a float in [0, 1) for the jitter; a constant in tests.
        now: Monotonic seconds, for what is done by hand.
        on_error: Told when a listener raised; nothing of it reaches a call.
    """

    def __init__(
        self,
        *,
        enforce: bool = True,
        random: Callable[[], float] = system_random,
        now: Callable[[], float] = SYSTEM_CLOCK.now,
        on_error: Callable[[BaseException], object] | None = None,
    ) -> None:
        super().__init__(self._new, idle=lambda live: live.admits_all)
        self._enforce = enforce
        self._random = random
        self._now = now
        self._on_error = on_error
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> None:
        """Call `listener(route, model, event)` after each transition, outside every lock.

        Threads may deliver two events in either order; `Transition.epoch` says which came first.
        """
        self._listeners = (*self._listeners, listener)

    def force(self, route: str, model: str, state: State | str) -> None:
        """Put a circuit into a state by hand, with nothing counted.

        In this process only, and until it is reset. To turn a model off for every process, with a
        reason, a name and an end: `door.switches.disable("model:NAME", ...)`.

        Args:
            route: As in `llm:answer`.
            model: The real model; of a route without one its name.
            state: `forced_open` refuses until told otherwise; `open` as if a rate had been
                reached; `metrics_only` records and never refuses; `disabled` does neither.

        Raises:
            ConfigurationError: If the route has no breaker, or cannot come to that state now.
        """
        try:
            wanted = State(state)
        except ValueError:
            raise ConfigurationError(
                f"breaker state={state!r}: use one of {', '.join(State)}"
            ) from None
        if not self._enforce and wanted in _REFUSING:
            raise ConfigurationError(
                f"breaker state={state!r}: this door has enforce=False and refuses nothing"
            )
        try:
            self._declared(route, model).force(wanted, self._now())
        except ValueError as error:
            raise ConfigurationError(f"{route}, {model}: {error}") from None

    def reset(self, route: str, model: str) -> None:
        """Let a circuit begin again as it was declared, with nothing counted.

        Raises:
            ConfigurationError: If the route has no breaker.
        """
        self._declared(route, model).reset(self._now())

    def _declared(self, route: str, model: str) -> LiveBreaker:
        live = self.find(route, model)
        if live is None:
            raise ConfigurationError(f"{route} has no breaker: declare it with breaker=")
        return live

    def snapshot(self, now: float) -> dict[str, dict[str, Any]]:
        """Every circuit as plain data, under `route/model`."""
        return {
            f"{live.route}/{live.model}": {
                "state": str(reading.state),
                "epoch": reading.epoch,
                "retry_after": reading.retry_after,
                "refused": reading.refused,
                "opens": reading.opens,
                "trials": reading.trials,
                "counts": reading.counts._asdict(),
                "rates": reading.rates._asdict(),
            }
            for live in self
            for reading in (live.read(now),)
        }

    def _new(self, route: str, model: str, config: Breaker) -> LiveBreaker:
        if not self._enforce and config.mode == "enforce":
            config = dataclasses.replace(config, mode="metrics_only")
        return LiveBreaker(route, model, config, self._random, self._publish)

    def _publish(self, route: str, model: str, event: Transition | Exceeded) -> None:
        for listener in self._listeners:
            try:
                listener(route, model, event)
            except Exception as error:
                if self._on_error is not None:
                    self._on_error(error)
