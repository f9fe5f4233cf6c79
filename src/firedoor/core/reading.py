"""What a rule answers, and what it may remember."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from firedoor.core.evidence import NOTHING, Reference
from firedoor.core.series import Sample

__all__ = ["Memory", "Reading", "Worse", "describe", "no_data"]

Worse = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How a signal stands under a rule at one moment.

    Attributes:
        breached: Whether it is in breach; None: cannot be said.
        cleared: Whether it is well out of breach, which is more than not being in it.
        value: The signal's value; None without observations.
        baseline: What it is compared with: what it was before, or the limit.
        sample: Observations behind `value`.
        why: A few words with the figures.
        warming: There is traffic, and not yet enough of it or of its past.
        no_data: There is no traffic to judge.
        since: When the breach seems to have begun, on the clock of `now`; None: not known.
        nats: Evidence for a change, by a rule that weighs it; None by one that does not.
    """

    breached: bool | None
    cleared: bool
    value: float | None
    baseline: float | None
    sample: int
    why: str = ""
    warming: bool = False
    no_data: bool = False
    since: float | None = None
    nats: float | None = None


class Memory:
    """What a rule keeps of one series between two readings: a few figures, however long it runs.

    While a rule is in breach it is judged against what was usual before, which is kept here: a
    reference that takes the incident in would call it usual after a while. After the breach that
    reference stays in force until the past is long enough again without the incident in it.

    Attributes:
        past: The reference from before the breach.
        bad: What the signal showed when it breached.
        since: When the breach seems to have begun.
        latched_at: When it breached; None: it is not in breach.
        free_at: Since when observations count as usual again.
        kept: A reading of the past that was costly to make, and when it was made.
    """

    __slots__ = ("bad", "free_at", "kept", "latched_at", "past", "since")

    def __init__(self) -> None:
        self.past: Sample | None = None
        self.bad = 0.0
        self.since: float | None = None
        self.latched_at: float | None = None
        self.free_at: float | None = None
        self.kept: tuple[float, Sample] | None = None

    @property
    def latched(self) -> bool:
        """Whether the rule is in breach."""
        return self.latched_at is not None

    def latch(self, past: Sample | None, bad: float, now: float, since: float) -> None:
        """In breach from `now` on, with what was usual before."""
        self.past = past
        self.bad = bad
        self.since = since
        self.latched_at = now

    def release(self, free_at: float) -> None:
        """Out of breach; what is observed from `free_at` on is usual again."""
        self.latched_at = None
        self.since = None
        self.free_at = free_at
        self.kept = None

    def thaw(self, now: float, after: float) -> None:
        """Give the old reference up once the new past is `after` seconds long."""
        if self.latched_at is None and self.free_at is not None and now - self.free_at >= after:
            self.forget()

    def forget(self) -> None:
        """Whatever is now is usual."""
        self.past = None
        self.since = None
        self.latched_at = None
        self.free_at = None
        self.kept = None

    @property
    def prior(self) -> Reference:
        """The kept reference as counts; nothing if there is none."""
        if self.past is None:
            return NOTHING
        return Reference(self.past.size, self.past.total, self.past.squares)


def no_data(baseline: float | None) -> Reading:
    """There is nothing to judge."""
    return Reading(
        breached=None,
        cleared=False,
        value=None,
        baseline=baseline,
        sample=0,
        why="no traffic to judge",
        no_data=True,
    )


def describe(value: float) -> str:
    """A figure in four significant digits."""
    return f"{value:.4g}"
