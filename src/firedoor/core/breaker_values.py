"""What a circuit is told and what it answers: values, and no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from firedoor.core.window import NOTHING, Counts

__all__ = [
    "Exceeded",
    "Permit",
    "Rates",
    "Reading",
    "Reason",
    "Refusal",
    "Result",
    "Shut",
    "State",
    "Transition",
]


class State(StrEnum):
    """What the circuit does with calls."""

    CLOSED = "closed"
    """Admits and records."""
    OPEN = "open"
    """Refuses until its time is over."""
    HALF_OPEN = "half_open"
    """Admits a fixed number of trials and refuses the rest."""
    FORCED_OPEN = "forced_open"
    """Refuses until told otherwise: a person's or a switch's kill."""
    DISABLED = "disabled"
    """Admits; nothing is recorded."""
    METRICS_ONLY = "metrics_only"
    """Admits and records; tells when it would have opened."""


class Result(StrEnum):
    """How an admitted call ended, as far as its target is concerned."""

    SUCCESS = "success"
    FAILURE = "failure"
    """The target's fault."""
    IGNORED = "ignored"
    """Somebody else's fault: it says nothing of the target, and is not counted."""
    CANCELLED = "cancelled"
    """The caller stopped waiting. Counted, as slow, if it had waited that long already."""


Reason = Literal[
    "failure_rate",
    "slow_call_rate",
    "slow_first_token_rate",
    "open_time_over",
    "trials_passed",
    "half_open_max_wait",
    "manual",
]


class Rates(NamedTuple):
    """Shares in 0..1; None with fewer than `minimum_calls` calls (streams, for the last)."""

    failure: float | None
    slow_call: float | None
    slow_first_token: float | None


@dataclass(frozen=True, slots=True)
class Transition:
    """The circuit changed its state.

    Attributes:
        at: When, on the caller's clock.
        epoch: The one that begins; orders transitions seen by several threads.
        counts: What the window held; empty where nothing was recorded.
        open_for: Seconds it will stay open; None if it did not open.
    """

    before: State
    after: State
    reason: Reason
    at: float
    epoch: int
    counts: Counts = NOTHING
    open_for: float | None = None


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A circuit in METRICS_ONLY would have opened. Told once until the rates are below again."""

    reason: Reason
    at: float
    counts: Counts


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call, to be settled or cancelled once.

    Attributes:
        trial: The number of a half-open trial; None for any other permit, which is one object
            for all calls of its epoch.
        events: Transitions that asking brought about.
        good: Where good calls of a recording epoch may be noted without the lock: the times at
            which they ended. None for trials and where nothing is recorded.
    """

    epoch: int
    trial: int | None = None
    events: tuple[Transition, ...] = ()
    good: list[float] | None = field(default=None, compare=False, repr=False)


# Not frozen: made for every refused call, and a frozen dataclass takes three times as long.
@dataclass(slots=True)
class Refusal:
    """No leave to call.

    Attributes:
        retry_after: Seconds until asking again can help; None where only a person can.
        state: OPEN, HALF_OPEN or FORCED_OPEN.
        events: Transitions that asking brought about.
    """

    retry_after: float | None
    state: State
    events: tuple[Transition, ...] = ()


@dataclass(frozen=True, slots=True)
class Shut:
    """An open circuit's notice on the door.

    Attributes:
        until: When the first trial is admitted.
        refused: Where refusals before that may be noted without the lock.
    """

    until: float
    refused: list[None] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """A circuit at a glance.

    Attributes:
        retry_after: Seconds until an open circuit admits a trial; None if it is not open.
        refused: Calls refused since the circuit was made.
        opens: Openings in a row without closing in between.
        trials: Half-open trials under way.
    """

    state: State
    epoch: int
    counts: Counts
    rates: Rates
    retry_after: float | None
    refused: int
    opens: int
    trials: int
