"""What one call does next: try a tier, wait, serve the safe response, or stop.

Pure: no clock, no waiting, no function of the application. The shell asks `next(now)`, does what it
is told, and says how it went: `refused` (a gate would not let this tier run), `failed`,
`committed` (the user has seen content), or nothing more after a success.

Invariants, held by tests/core/test_flow.py:

- Tiers are visited in order, each at most once in a row of its own attempts; none comes back.
- No attempt begins at or after the deadline, and none is given more time than is left.
- After `committed` nothing is tried again: two models' text is never spliced.
- A fault that is not the target's is never retried and never falls back, with one exception: a
  prompt too long for one tier may fit the next.
- A `Canned` tier needs no provider and no time: it is served even when the deadline is used up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from firedoor.config import Canned, Tier
from firedoor.types import Fault

__all__ = ["CallFlow", "Failure", "Pause", "Serve", "Step", "Stop", "Try", "steps_of"]


@dataclass(frozen=True, slots=True)
class Try:
    """Make an attempt on a tier.

    Attributes:
        index: Which tier, counted from 0.
        tier: The tier itself.
        timeout: Seconds the attempt may take: the tier's own limit or what the deadline leaves,
            whichever is less; None where neither binds.
        first_token: Seconds to first content, likewise.
    """

    index: int
    tier: Tier
    timeout: float | None
    first_token: float | None

    def within(self, left: float) -> Try:
        """The same with no more time than is left."""
        return Try(
            self.index, self.tier, _least(self.timeout, left), _least(self.first_token, left)
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this many seconds, then ask again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer with the prepared response of this tier."""

    index: int
    tier: Canned


@dataclass(frozen=True, slots=True)
class Stop:
    """Give up.

    Attributes:
        reason: No tier is left (`exhausted`), the time is used up (`deadline`), the failure would
            repeat (`fault`), or the user has seen part of an answer (`committed`).
    """

    reason: Literal["exhausted", "deadline", "fault", "committed"]


Step = Try | Pause | Serve | Stop

_EXHAUSTED = Stop("exhausted")
_LATE = Stop("deadline")
_TARGET = Fault.TARGET


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed.

    Attributes:
        fault: Whose it was.
        retryable: Whether the same request may succeed on the same target.
        overflow: The prompt did not fit the model's context window.
    """

    fault: Fault
    retryable: bool = False
    overflow: bool = False


def steps_of(tiers: Sequence[Tier | Canned]) -> tuple[Try | Serve, ...]:
    """What is done on each tier of a ladder where no deadline binds; the same for every call."""
    return tuple(
        [
            Serve(index, tier)
            if isinstance(tier, Canned)
            else Try(index, tier, tier.timeout, tier.first_token)
            for index, tier in enumerate(tiers)
        ]
    )


class CallFlow:
    """The machine of one call.

    Args:
        steps: Of the ladder, best tier first, as `steps_of` says. A `Serve` may only be last.
        first: The tier to begin with (a switch may raise it).
        deadline: On the caller's clock; None where nothing binds.
        begun: An attempt on the first tier has begun, without asking.
    """

    __slots__ = (
        "_attempts_here", "_deadline", "_index", "_pause", "_reached", "_steps", "_stop",
    )  # fmt: skip

    def __init__(
        self,
        steps: Sequence[Try | Serve],
        first: int = 0,
        deadline: float | None = None,
        *,
        begun: bool = False,
    ) -> None:
        self._steps = steps
        self._index = min(first, len(steps) - 1) if first else 0
        self._deadline = deadline
        self._reached = self._index
        self._attempts_here = 1 if begun else 0
        self._pause = 0.0
        self._stop: Stop | None = None

    @property
    def here(self) -> int:
        """Attempts begun on the tier in hand."""
        return self._attempts_here

    def next(self, now: float) -> Step:
        """What to do at `now`. Asking twice without saying how it went starts a new attempt."""
        left = None
        if self._deadline is not None or self._stop is not None:
            stop = self.over(now)
            if stop is not None:
                return stop
            left = None if self._deadline is None else self._deadline - now
            if left is not None and left <= 0:
                self._index = len(self._steps) - 1
        if self._index >= len(self._steps):
            return _EXHAUSTED
        step = self._steps[self._index]
        if isinstance(step, Serve):
            return step
        if self._pause:
            seconds, self._pause = self._pause, 0.0
            return Pause(seconds)
        self._attempts_here += 1
        return step if left is None else step.within(left)

    def beside(self, index: int, now: float) -> Try | None:
        """One more attempt beside the one that runs, on its tier or a later one.

        None where there is no such tier, or no time. A later tier counts as visited.
        """
        left = None if self._deadline is None else self._deadline - now
        if self._stop is not None or index >= len(self._steps) or (left is not None and left <= 0):
            return None
        step = self._steps[index]
        if isinstance(step, Serve):
            return None
        return step if left is None else step.within(left)

    def ran(self, step: Try) -> None:
        """An extra attempt was let run."""
        self._reached = max(self._reached, step.index)

    def over(self, now: float) -> Stop | None:
        """Why nothing more would happen at `now`; None if there is something to do."""
        if self._stop is not None:
            return self._stop
        if self._index >= len(self._steps):
            return _EXHAUSTED
        deadline = self._deadline
        if deadline is not None and deadline <= now and not isinstance(self._steps[-1], Serve):
            return _LATE
        return None

    def refused(self, *, final: bool = False) -> None:
        """A gate would not let the tier run: go on to the next one.

        `final`: nor any other model; only a canned response is left.
        """
        self._descend()
        if final:
            last = len(self._steps) - 1
            self._index = last if isinstance(self._steps[last], Serve) else last + 1

    def may_retry(self, failure: Failure) -> bool:
        """Whether a retry on the same tier is worth a token of the retry budget."""
        if self._stop is not None or self._index >= len(self._steps):
            return False
        step = self._steps[self._index]
        return (
            failure.retryable
            and failure.fault is _TARGET
            and isinstance(step, Try)
            and self._attempts_here < step.tier.attempts
        )

    def failed(self, failure: Failure, now: float, *, retry_in: float | None = None) -> bool:
        """The attempt failed; whether there is something else to do.

        Args:
            failure: How.
            now: On the caller's clock.
            retry_in: Seconds to wait for another try on the same tier; None: no retry is granted.
        """
        if self._stop is not None:
            return False
        if failure.fault is not _TARGET and not failure.overflow:
            self._stop = Stop("fault")
            return False
        if (
            retry_in is not None
            and self.may_retry(failure)
            and (self._deadline is None or now + retry_in < self._deadline)
        ):
            self._pause = retry_in
            return True
        self._descend()
        return self._index < len(self._steps) and (self._deadline is None or self.over(now) is None)

    def committed(self) -> None:
        """The user has seen content of this attempt: whatever happens now, nothing is retried."""
        self._stop = Stop("committed")

    def _descend(self) -> None:
        self._index = self._reached = max(self._index, self._reached) + 1
        self._attempts_here = 0
        self._pause = 0.0


def _least(limit: float | None, left: float) -> float:
    return left if limit is None else min(limit, left)
