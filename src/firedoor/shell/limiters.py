"""The concurrency limits of a door, per route and model, waited on by threads and tasks alike.

The lock is held for bookkeeping only. Who waits, waits on something of its own (an event, or a
future of its own loop), so one limiter serves threads and any number of event loops, and exactly
those are woken whose fate was decided. A waiter that is cancelled, or whose loop is gone when its
turn comes, passes its place on: no slot is lost.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from firedoor.clock import Clock
from firedoor.config import Limiter
from firedoor.core.limiter import ConcurrencyLimit, Ended, Load, Shed, Ticket
from firedoor.errors import Saturated
from firedoor.shell.targets import Targets
from firedoor.shell.waiting import within

__all__ = ["Limiters", "LiveLimiter"]


WHOLE_ROUTE = "*"
"""What stands for the model in a limiter of all models of a route."""


class _Thread:
    """A thread that waits."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event = threading.Event()

    def wake(self) -> bool:
        self.event.set()
        return True


class _Task:
    """A task that waits, on a future of its loop."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    def wake(self) -> bool:
        """Whether its loop is still there to run it."""
        try:
            self.loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            return False
        return True

    def _resolve(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class LiveLimiter:
    """The limiter of one route and model, safe to use from any thread or task.

    Attributes:
        route: As in `llm:answer`.
        model: The real model, after switches; `*` for all of the route's together.
        config: What it was made with.
    """

    __slots__ = ("_clock", "_limit", "config", "model", "route")

    def __init__(self, route: str, model: str, config: Limiter, clock: Clock) -> None:
        self.route = route
        self.model = model
        self.config = config
        self._clock = clock
        self._limit = ConcurrencyLimit(config, threading.Lock())

    def acquire(
        self, now: float, *, journey: str | None = None, deadline: float | None = None
    ) -> Ticket | Shed:
        """A place to run, waited for in this thread if need be, or why there is none.

        Args:
            now: Monotonic seconds.
            journey: Whose call it is; see `Limiter.priority`.
            deadline: On the same clock; the wait never goes beyond it.
        """
        answer = self._begin(_Thread, now, journey, deadline)
        if not isinstance(answer, Ticket) or answer.waiter is None:
            return answer
        try:
            self._clock.wait(answer.waiter.event, answer.expires - self._clock.now())
        except BaseException:
            self._leave(answer)
            raise
        return self._end(answer)

    async def acquire_async(
        self, now: float, *, journey: str | None = None, deadline: float | None = None
    ) -> Ticket | Shed:
        """The same for a task; the loop is never blocked. Cancelling it gives up its place."""
        answer = self._begin(_Task, now, journey, deadline)
        if not isinstance(answer, Ticket) or answer.waiter is None:
            return answer
        try:
            await within(self._clock, answer.expires - self._clock.now(), answer.waiter.future)
        except TimeoutError:
            pass
        except BaseException:
            self._leave(answer)
            raise
        return self._end(answer)

    def release(self, ticket: Ticket, now: float, ended: Ended = Ended.SAMPLE) -> None:
        """The call is over: let the next one in. Releasing twice is releasing once."""
        decided = self._limit.release(ticket, now, ended)
        if decided:
            self._wake(decided)

    def read(self) -> Load:
        """The limiter at a glance."""
        return self._limit.read()

    def denied(self, shed: Shed) -> Saturated:
        """The exception that tells a caller of `shed`."""
        load = self.read()
        why = {
            "saturated": "none may wait (max_wait or max_queue is 0)",
            "queue_full": f"{load.waiting} are waiting, which is all that may",
            "too_late": "its turn would come after its deadline",
            "expired": f"none ended within max_wait={self.config.max_wait:g} s or its deadline",
            "outranked": "a more important journey took its place in the queue",
        }[shed.reason]
        hint = "" if shed.retry_after is None else f" Try again in {shed.retry_after:.1f} s."
        to = "" if self.model == WHOLE_ROUTE else f" to {self.model!r}"
        return Saturated(
            f"{self.route} runs {load.running} of {load.limit} calls{to} and {why}.{hint}",
            gate=f"limiter:{self.route}/{self.model}",
            retry_after=shed.retry_after,
        )

    def _begin(
        self,
        waiter: type[_Thread | _Task],
        now: float,
        journey: str | None,
        deadline: float | None,
    ) -> Ticket | Shed:
        answer, shed = self._limit.acquire(now, journey=journey, deadline=deadline, waiter=waiter)
        if shed:
            self._wake(shed)
        return answer

    def _end(self, ticket: Ticket) -> Ticket | Shed:
        shed = self._limit.expire(ticket)
        return ticket if shed is None else shed

    def _leave(self, ticket: Ticket) -> None:
        self._wake(self._limit.leave(ticket, self._clock.now()))

    def _wake(self, decided: list[Ticket]) -> None:
        while decided:
            gone = [ticket for ticket in decided if not ticket.waiter.wake()]
            decided = []
            if gone:
                now = self._clock.now()
                for ticket in gone:
                    decided += self._limit.leave(ticket, now)


class Limiters(Targets[Limiter, LiveLimiter]):
    """Every limiter of a door.

    Args:
        clock: The door's, for timed waits.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(
            lambda route, model, config: LiveLimiter(route, model, config, clock),
            idle=lambda live: not live.read().running,
        )
        self._whole: frozenset[str] = frozenset()

    def declare(self, route: str, config: Limiter) -> None:
        """Say what the limiters of `route` are made from, and whether it has one for all models."""
        whole = config.per == "route"
        self._whole = self._whole | {route} if whole else self._whole - {route}
        super().declare(route, config)

    def find(self, route: str, model: str) -> LiveLimiter | None:
        """The limiter of a target; see `Targets.find`."""
        return super().find(route, WHOLE_ROUTE if route in self._whole else model)

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Every limiter as plain data, under `route/model`."""
        return {
            f"{live.route}/{live.model}": {
                "limit": load.limit,
                "running": load.running,
                "waiting": load.waiting,
                "admitted": load.admitted,
                "shed": load.shed,
                "latency": load.latency,
            }
            for live in self
            for load in (live.read(),)
        }
