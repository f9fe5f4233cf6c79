"""The circuit breaker: when to stop calling a target, and how to find out that it is back.

```
            a rate reaches its limit                 open time is over, next call
  CLOSED ──────────────────────────────▶ OPEN ──────────────────────────────▶ HALF_OPEN
    ▲                                     ▲     a rate reaches its limit, or      │  │
    │                                     └──── half_open_max_wait is over ───────┘  │
    └──────────────────── half_open_calls outcomes, every rate below its limit ──────┘

  by hand, from anywhere:  FORCED_OPEN (refuses)  DISABLED (admits, records nothing)
                           METRICS_ONLY (admits, records, tells when it would have opened)
```

Pure: no clock, lock, log or exception of its own. The caller passes `now` (monotonic seconds),
holds the lock, and is answered with values.

What every call does must not need the lock. So a closed circuit shows one `standing` permit for
everybody, and an open one a `shut` notice, each an object behind one reference, replaced as a
whole. Each carries a mailbox for what happens often and decides nothing: good calls as long as one
more can change no verdict (`calm_until`), refusals as long as the time is not over. A mailbox is a
list: `append` is atomic with and without the GIL, and only the holder of the lock takes out. Mail
for an epoch that is over is thrown away with it, as it must be.

- A permit carries the *epoch* it was given in. Every transition begins a new one, and an outcome
  from an older epoch is ignored: it says nothing about the state the circuit is in now.
- A half-open permit is a *lease* on one of `half_open_calls` places. It is given back by `cancel`
  or an outcome that does not count, and falls free by itself after `open_for` seconds, so a trial
  whose outcome never comes does not shut the target out for good. A late outcome still counts.
- Half-open closes on exactly `half_open_calls` outcomes. It opens as soon as no further outcome
  could change that verdict.

The semantics are those of resilience4j (https://resilience4j.readme.io/docs/circuitbreaker);
tests/core/test_breaker_parity.py lists them row by row, with what differs. The trial as a lease
is Polly's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from firedoor.config import Breaker
from firedoor.core.breaker_values import (
    Exceeded,
    Permit,
    Rates,
    Reading,
    Reason,
    Refusal,
    Result,
    Shut,
    State,
    Transition,
)
from firedoor.core.window import (
    CALL,
    CALLS,
    FAILURE,
    LANE,
    SLOW,
    SLOW_FIRST_TOKEN,
    TIMED,
    Counts,
    CountWindow,
    TimeWindow,
    slots_for,
)

__all__ = ["Circuit"]

RETRY_AFTER_MAX = 86_400.0
"""Seconds of a Retry-After that are believed: a day, the longest quota window in use. A wrong one
must not keep a target out for ever."""


class Circuit:
    """One target's breaker.

    Args:
        config: When to open, and for how long.
        random: Gives a float in [0, 1) for the jitter of each opening.
    """

    __slots__ = (
        "_config",
        "_epoch",
        "_failure_rate",
        "_leases",
        "_minimum",
        "_not_before",
        "_opens",
        "_overdue",
        "_random",
        "_refused",
        "_slow_call",
        "_slow_first_token",
        "_state",
        "_told",
        "_trials",
        "_until",
        "_wait",
        "_window",
        "calm_until",
        "shut",
        "standing",
    )

    standing: Permit | None
    """The permit for every call while nobody is refused, else None. Readable without the lock: who
    loses the race with a transition holds a permit of the epoch before, as if asked earlier."""
    shut: Shut | None
    """While open, until when. Readable without the lock."""
    calm_until: float
    """Before this moment a good call changes no verdict: the window holds nothing but good calls,
    or holds enough calls and forgets none before then. Readable without the lock: who loses the
    race with a failure has settled after it."""

    def __init__(self, config: Breaker, random: Callable[[], float]) -> None:
        self._config = config
        self._random = random
        self._slow_call = _or_never(config.slow_call)
        self._slow_first_token = config.slow_first_token
        self._failure_rate = config.failure_rate
        self._minimum = config.minimum_calls
        self._epoch = 0
        self._refused = 0
        self.standing = None
        self.shut = None
        self._trials = 0
        self._leases: dict[int, float] = {}  # trial -> when its place falls free; oldest first
        self._overdue: dict[int, None] = {}  # trials that lost their place but may still report
        self._enter(_MODES[config.mode])

    # Calls ---------------------------------------------------------------------------------

    def acquire(self, now: float) -> Permit | Refusal:
        """Leave to call, or not."""
        if self.standing is not None:
            return self.standing
        if self._state is State.FORCED_OPEN:
            self._refused += 1
            return Refusal(None, State.FORCED_OPEN)
        events: tuple[Transition, ...] = ()
        if self._state is State.HALF_OPEN and now >= self._until:
            events = (self._open(self._until, "half_open_max_wait"),)
        if self._state is State.OPEN:
            if now < self._until:
                self._refused += 1
                return Refusal(self._until - now, State.OPEN, events)
            events = (*events, self._move(State.HALF_OPEN, "open_time_over", now))
        return self._trial(now, events)

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
        """Tell how a call ended; answers what that changed.

        Args:
            permit: From `acquire`. One of an older epoch changes nothing.
            result: What it says of the target.
            duration: Seconds the call took.
            now: Monotonic seconds.
            first_token: Seconds to first content of a stream, or waited for it in vain; None for
                a call that was no stream. Counted only where `slow_first_token` is set.
            retry_after: Seconds the target asked to be left alone, with a failure.
        """
        delta = CALL
        if duration >= self._slow_call:
            delta += SLOW
        if first_token is not None and self._slow_first_token is not None:
            delta += SLOW_FIRST_TOKEN + TIMED if first_token >= self._slow_first_token else TIMED
        if permit is not self.standing:
            return self._settle_trial(permit, result, delta, now, retry_after)
        window = self._window
        if window is None:
            return None
        if result is not Result.SUCCESS:
            delta = self._counted(result, delta, now, retry_after)
            if not delta:
                return None
        if permit.good:
            self._collect()
        total = window.record(delta, now)
        if total <= CALLS:
            self._told = False
            self.calm_until = math.inf
            return None
        calls = total & CALLS
        if calls < self._minimum:
            self._told = False
            self.calm_until = -math.inf
            return None
        if total < SLOW and (total >> LANE) / calls < self._failure_rate:
            # The usual end while a few failures are in the window.
            self._told = False
            self.calm_until = window.turn
            return None
        return self._judge(Counts.of(total), now, window.turn)

    def cancel(self, permit: Permit) -> None:
        """Give a permit back: the call was not made, or says nothing."""
        if permit.epoch == self._epoch and permit.trial is not None:
            self._leases.pop(permit.trial, None)
            self._overdue.pop(permit.trial, None)

    # By hand -------------------------------------------------------------------------------

    def force(self, state: State, now: float) -> Transition | None:
        """Go to `state` by hand, with empty counts; None if it is there already.

        Raises:
            ValueError: For CLOSED to HALF_OPEN: a circuit that admits everybody needs no trials.
        """
        if state is self._state:
            return None
        if state is State.HALF_OPEN and self._state is State.CLOSED:
            raise ValueError("a closed circuit cannot become half-open: open it first")
        if state is State.OPEN:
            return self._open(now, "manual")
        return self._move(state, "manual", now)

    def reset(self, now: float) -> Transition | None:
        """Begin again: the configured state, nothing counted, the first open time."""
        before = self._state
        transition = self._move(_MODES[self._config.mode], "manual", now)
        return None if self._state is before else transition

    # Views ---------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state. An open circuit becomes half-open with the first call after its time."""
        return self._state

    def read(self, now: float) -> Reading:
        """The circuit at a glance."""
        counts = self._counts(now)
        return Reading(
            state=self._state,
            epoch=self._epoch,
            counts=counts,
            rates=self._rates(counts),
            retry_after=max(0.0, self._until - now) if self._state is State.OPEN else None,
            refused=self._refused,
            opens=self._opens,
            trials=len(self._leases),
        )

    # The machine ---------------------------------------------------------------------------

    def _enter(self, state: State) -> None:
        config = self._config
        self._state = state
        self._epoch += 1
        self._window: CountWindow | TimeWindow | None = None
        self._until = math.inf
        self._told = False
        self._not_before = -math.inf
        self.calm_until = math.inf
        self.shut = None
        if state is State.HALF_OPEN:
            self._window = CountWindow(config.half_open_calls)
            self._trials = 0
        elif state in {State.CLOSED, State.METRICS_ONLY}:
            self._window = (
                CountWindow(int(config.window))
                if config.window_type == "count"
                else TimeWindow(config.window, slots_for(config.window))
            )
        if state not in {State.OPEN, State.HALF_OPEN}:
            self._opens = 0
            self._wait = 0.0
        self._leases.clear()
        self._overdue.clear()
        # Last: whoever reads it without the lock must find everything else in place.
        if state is State.DISABLED:
            self.standing = Permit(self._epoch)
        elif state in {State.CLOSED, State.METRICS_ONLY}:
            self.standing = Permit(self._epoch, good=[])
        else:
            self.standing = None

    def _move(
        self,
        after: State,
        reason: Reason,
        at: float,
        counts: Counts | None = None,
        open_for: float | None = None,
    ) -> Transition:
        before = self._state
        if counts is None:
            counts = self._counts(at)
        self._enter(after)
        if after is State.HALF_OPEN and self._config.half_open_max_wait is not None:
            self._until = at + self._config.half_open_max_wait
        return Transition(before, after, reason, at, self._epoch, counts, open_for)

    def _open(self, at: float, reason: Reason, counts: Counts | None = None) -> Transition:
        config = self._config
        grown = config.open_for if not self._opens else self._wait * config.open_growth
        grown = min(grown, config.open_max)
        # Jitter only adds: nobody comes back before the time the target named.
        seconds = max(grown, self._not_before - at) * (1 + config.jitter * self._random())
        transition = self._move(State.OPEN, reason, at, counts, seconds)
        self._wait = grown
        self._opens += 1
        self._until = at + seconds
        self.shut = Shut(self._until)
        return transition

    def _trial(self, now: float, events: tuple[Transition, ...]) -> Permit | Refusal:
        places = self._config.half_open_calls - (self._window.total & CALLS if self._window else 0)
        leases = self._leases
        if len(leases) >= places:
            self._reclaim(now)
        if len(leases) >= places:
            self._refused += 1
            free = min(next(iter(leases.values())), self._until)
            return Refusal(max(0.0, free - now), State.HALF_OPEN, events)
        self._trials += 1
        leases[self._trials] = now + self._config.open_for
        return Permit(self._epoch, self._trials, events)

    def _reclaim(self, now: float) -> None:
        """Free the places of trials that have been away for longer than their lease."""
        for trial in [trial for trial, expiry in self._leases.items() if expiry <= now]:
            del self._leases[trial]
            self._overdue[trial] = None
        while len(self._overdue) > self._config.half_open_calls:
            del self._overdue[next(iter(self._overdue))]

    def _settle_trial(
        self, permit: Permit, result: Result, delta: int, now: float, retry_after: float | None
    ) -> Transition | None:
        trial = permit.trial
        if permit.epoch != self._epoch or trial is None:
            return None
        if now >= self._until:
            return self._open(self._until, "half_open_max_wait")
        if trial in self._leases:
            del self._leases[trial]
        elif trial in self._overdue:
            del self._overdue[trial]
        else:
            return None
        delta = self._counted(result, delta, now, retry_after)
        if not delta:
            return None
        assert self._window is not None
        counts = Counts.of(self._window.record(delta, now))
        left = self._config.half_open_calls - counts.calls
        reason = self._worst(counts, calls=counts.calls + left, timed=counts.timed + left)
        if reason is not None:
            return self._open(now, reason, counts)
        if left:
            return None
        return self._move(State.CLOSED, "trials_passed", now, counts)

    def _judge(self, counts: Counts, now: float, turn: float) -> Transition | Exceeded | None:
        timed = counts.timed if counts.timed >= self._minimum else 0
        reason = self._worst(counts, calls=counts.calls, timed=timed)
        told, self._told = self._told, reason is not None
        self.calm_until = -math.inf if self._told else turn
        if reason is None:
            return None
        if self._state is State.CLOSED:
            return self._open(now, reason, counts)
        return None if told else Exceeded(reason, now, counts)

    def _worst(self, counts: Counts, *, calls: int, timed: int) -> Reason | None:
        """The first rate at or above its limit, of `calls` calls and `timed` streams."""
        config = self._config
        # The rounded quotient of two integers equals the literal of the same decimal, where a
        # product with the limit may miss it: 3 of 30 is 0.1.
        if counts.failures / calls >= config.failure_rate:
            return "failure_rate"
        if counts.slow / calls >= config.slow_call_rate:
            return "slow_call_rate"
        if timed and counts.slow_first_token / timed >= config.slow_first_token_rate:
            return "slow_first_token_rate"
        return None

    def _collect(self) -> None:
        """Take in what was noted without the lock."""
        if self.standing is not None and self.standing.good and self._window is not None:
            self._window.record_all(CALL, self.standing.good)
        if self.shut is not None:
            refused = len(self.shut.refused)
            del self.shut.refused[:refused]
            self._refused += refused

    def _counts(self, now: float) -> Counts:
        self._collect()
        return Counts.of(0 if self._window is None else self._window.read(now))

    def _rates(self, counts: Counts) -> Rates:
        calls, failures, slow, timed, slow_first_token = counts
        minimum = self._config.minimum_calls
        if self._state is State.HALF_OPEN:
            minimum = self._config.half_open_calls
        return Rates(
            failures / calls if calls >= minimum else None,
            slow / calls if calls >= minimum else None,
            slow_first_token / timed if timed >= minimum else None,
        )

    def _counted(self, result: Result, delta: int, now: float, retry_after: float | None) -> int:
        """What a call that may not have succeeded adds to the window; 0: nothing."""
        if result is Result.FAILURE:
            if retry_after is not None and retry_after > 0:
                until = now + min(retry_after, RETRY_AFTER_MAX)
                self._not_before = max(self._not_before, until)
            return delta + FAILURE
        if result is Result.SUCCESS or (
            result is Result.CANCELLED and delta & (SLOW | SLOW_FIRST_TOKEN)
        ):
            return delta
        return 0


_MODES = {
    "enforce": State.CLOSED,
    "metrics_only": State.METRICS_ONLY,
    "disabled": State.DISABLED,
}


def _or_never(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
