"""How many calls run at once, who waits, and who is turned away first.

```
  acquire ──▶ ADMITTED ──────────────────────────────▶ RELEASED
        └───▶ WAITING ──▶ ADMITTED (a place fell free)
                     ├──▶ SHED     (a more important journey took its place in the queue)
                     ├──▶ EXPIRED  (its deadline or max_wait came first)
                     └──▶ LEFT     (cancelled)
```

Pure but for the guard, which is whatever keeps others out meanwhile: a lock. No clock and no waiting:
a waiting ticket is the adaptor's to wait on; every answer lists the tickets whose fate it decided,
and the adaptor wakes exactly those.

Where nobody waits, nothing is called while the guard is held (see `firedoor.core.tally`).

Rules, held by tests/core/test_limiter.py:

- Admitted tickets never outnumber the limit, except that a limit which shrinks does not call back
  those that run.
- The queue is bounded. Within a rank it is first in, first out; a more important rank goes first.
- In a full queue the newest ticket of the least important rank gives way, or the newcomer itself.
- No ticket is admitted at or after the moment it expires: the deadline or `max_wait`, whichever
  is first. One that cannot be reached in time is turned away at once: with `n` tickets ahead of
  it at least `n` calls must end first, which takes about `n * latency / limit` seconds (Little's
  law).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from firedoor.config import Limiter
from firedoor.core.gradient import Gradient

__all__ = ["ConcurrencyLimit", "Ended", "Load", "Shed", "Ticket", "TicketState"]

_SMOOTHING = 0.2
"""Weight of the newest call in the mean latency that waits are predicted from."""


class TicketState(StrEnum):
    """Where a ticket is in its life."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    RELEASED = "released"
    SHED = "shed"
    EXPIRED = "expired"
    LEFT = "left"


class Ended(StrEnum):
    """What an admitted call says of the target's load."""

    SAMPLE = "sample"
    """It ran to its end: its latency counts."""
    DROPPED = "dropped"
    """The target was overloaded: it timed out, or was refused for its rate."""
    SILENT = "silent"
    """Nothing: cancelled, or somebody else's fault."""


# Looked up once: finding an enumeration's member runs Python.
_ADMITTED, _RELEASED = TicketState.ADMITTED, TicketState.RELEASED
_SAMPLE, _DROPPED, _SILENT = Ended


# Not frozen: its state changes, and one is made for every call.
class Ticket:
    """One call's place, running or in the queue. Compared by identity.

    Attributes:
        state: Where it is in its life; only the machine changes it.
        rank: 0 for the most important journey.
        expires: When waiting ends.
        began: When it was admitted.
        waiter: The adaptor's own handle on whoever waits.
    """

    __slots__ = ("began", "expires", "rank", "state", "waiter")

    def __init__(self, state: TicketState, rank: int, expires: float, began: float) -> None:
        self.state = state
        self.rank = rank
        self.expires = expires
        self.began = began
        self.waiter: Any = None


@dataclass(frozen=True, slots=True)
class Shed:
    """No place.

    Attributes:
        reason: `saturated`: no slot, and no queue to wait in; `queue_full`; `too_late`: the
            deadline is over or would be before its turn; `expired`: it was, while waiting;
            `outranked`: a more important journey needed its place in the queue.
        retry_after: Seconds after which a slot is likely free; None where nothing is known.
    """

    reason: Literal["saturated", "queue_full", "too_late", "expired", "outranked"]
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """A limiter at a glance. `latency` is the mean in seconds; None before the first sample."""

    limit: int
    running: int
    waiting: int
    admitted: int
    shed: int
    latency: float | None


_UNGUARDED = nullcontext()


class ConcurrencyLimit:
    """The limiter of one target.

    Args:
        config: How many, who first, and how long to wait.
        guard: Held while it reads and changes itself.
    """

    __slots__ = (
        "_admitted",
        "_config",
        "_gradient",
        "_guard",
        "_latency",
        "_limit",
        "_queue",
        "_queue_max",
        "_ranks",
        "_running",
        "_shed",
        "_waiting",
    )

    def __init__(self, config: Limiter, guard: AbstractContextManager[object] = _UNGUARDED) -> None:
        self._config = config
        self._guard = guard
        self._ranks: dict[str | None, int] = {
            journey: rank for rank, journey in enumerate(config.priority)
        }
        # One queue per rank; ordered dicts, as tickets leave from both ends and the middle.
        self._queue: list[OrderedDict[Ticket, None]] = [
            OrderedDict() for _ in range(len(self._ranks) + 1)
        ]
        self._queue_max = config.max_concurrent if config.max_queue is None else config.max_queue
        if config.max_wait == 0:
            self._queue_max = 0
        self._gradient = (
            Gradient(config.min_concurrent, config.max_concurrent) if config.adaptive else None
        )
        self._limit = config.max_concurrent if self._gradient is None else self._gradient.limit
        self._latency: float | None = None
        self._running = 0
        self._waiting = 0
        self._admitted = 0
        self._shed = 0

    def acquire(
        self,
        now: float,
        *,
        journey: str | None = None,
        deadline: float | None = None,
        waiter: Callable[[], object] | None = None,
    ) -> tuple[Ticket | Shed, list[Ticket]]:
        """A ticket, admitted or waiting, or the refusal; and the tickets that were shed for it.

        Args:
            now: Monotonic seconds.
            journey: Whose call it is; ranks by `Limiter.priority`.
            deadline: On the same clock; None where nothing binds.
            waiter: Makes the `waiter` of a ticket that waits, before anybody can decide on it.
        """
        ticket = Ticket(_ADMITTED, 0, math.inf, now)
        with self._guard:
            if (
                self._running < self._limit
                and not self._waiting
                and (deadline is None or deadline > now)
            ):
                self._running += 1
                self._admitted += 1
                return ticket, []
            answer, shed = self._enqueue(now, journey, deadline)
            if waiter is not None and isinstance(answer, Ticket):
                answer.waiter = waiter()
            return answer, shed

    def release(self, ticket: Ticket, now: float, ended: Ended) -> list[Ticket]:
        """The call of an admitted ticket is over; answers who comes in for it.

        Releasing twice is releasing once.
        """
        latency = max(0.0, now - ticket.began)
        decided: list[Ticket] = []
        with self._guard:
            if ticket.state is not _ADMITTED:
                return decided
            ticket.state = _RELEASED
            running = self._running
            self._running = running - 1
            if ended is _SAMPLE:
                mean = self._latency
                self._latency = latency if mean is None else mean + _SMOOTHING * (latency - mean)
            gradient = self._gradient
            if gradient is not None and ended is not _SILENT:
                if ended is _DROPPED:
                    gradient.dropped = True
                else:
                    gradient.samples += 1
                    gradient.total += latency
                if running > gradient.busiest:  # noqa: PLR1730 - max() is a call
                    gradient.busiest = running
                if now >= gradient.ends:
                    self._limit = gradient.end(now)
            if self._waiting:
                decided = self._admit(now)
        return decided

    def leave(self, ticket: Ticket, now: float) -> list[Ticket]:
        """Nobody waits on `ticket` any more; answers who comes in.

        If it had been admitted meanwhile, its place goes to the next: no slot is lost to a
        cancellation that crosses an admission.
        """
        with self._guard:
            if ticket.state is TicketState.WAITING:
                self._take_out(ticket, TicketState.LEFT)
        return self.release(ticket, now, _SILENT)

    def expire(self, ticket: Ticket) -> Shed | None:
        """Why a ticket was not admitted, ending its wait if it still waits; None if it was."""
        with self._guard:
            if ticket.state is _ADMITTED:
                return None
            if ticket.state is TicketState.WAITING:
                self._take_out(ticket, TicketState.EXPIRED)
                self._shed += 1
            outranked = ticket.state is TicketState.SHED
            return Shed("outranked" if outranked else "expired", self._next_slot())

    def read(self) -> Load:
        """The limiter at a glance."""
        with self._guard:
            return Load(
                self._limit,
                self._running,
                self._waiting,
                self._admitted,
                self._shed,
                self._latency,
            )

    # The machine ---------------------------------------------------------------------------

    def _enqueue(
        self, now: float, journey: str | None, deadline: float | None
    ) -> tuple[Ticket | Shed, list[Ticket]]:
        rank = self._ranks.get(journey, len(self._ranks))
        expires = now + self._config.max_wait
        if deadline is not None:
            expires = min(expires, deadline)
        reason: Literal["saturated", "queue_full", "too_late"] | None = None
        shed: list[Ticket] = []
        if deadline is not None and deadline <= now:
            reason = "too_late"
        elif self._queue_max == 0:
            reason = "saturated"
        else:
            ahead = sum(len(self._queue[r]) for r in range(rank + 1))
            if self._latency is not None and now + ahead * self._latency / self._limit > expires:
                reason = "too_late"
            elif self._waiting >= self._queue_max:
                least = self._least()
                if least.rank > rank:
                    self._take_out(least, TicketState.SHED)
                    self._shed += 1
                    shed.append(least)
                else:
                    reason = "queue_full"
        if reason is not None:
            self._shed += 1
            return Shed(reason, self._next_slot()), []
        ticket = Ticket(TicketState.WAITING, rank, expires, now)
        self._queue[rank][ticket] = None
        self._waiting += 1
        return ticket, shed

    def _admit(self, now: float) -> list[Ticket]:
        """Fill free places from the queue; expired tickets are answered as well, to be woken."""
        decided = []
        for queue in self._queue:
            while queue and self._running < self._limit:
                ticket, _ = queue.popitem(last=False)
                self._waiting -= 1
                if ticket.expires <= now:
                    ticket.state = TicketState.EXPIRED
                    self._shed += 1
                else:
                    ticket.state = TicketState.ADMITTED
                    ticket.began = now
                    self._running += 1
                    self._admitted += 1
                decided.append(ticket)
        return decided

    def _least(self) -> Ticket:
        """The newest ticket of the least important rank that waits."""
        return next(reversed(next(queue for queue in reversed(self._queue) if queue)))

    def _take_out(self, ticket: Ticket, state: TicketState) -> None:
        del self._queue[ticket.rank][ticket]
        self._waiting -= 1
        ticket.state = state

    def _next_slot(self) -> float | None:
        if self._latency is None:
            return None
        return (self._waiting + 1) * self._latency / self._limit
