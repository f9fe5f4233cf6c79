"""Asking once more while the first answer is awaited: the first good answer wins.

A stream counts as an answer once it has content. Losers are cancelled where they are tasks and left
behind where they are threads; either way they are in the ledger, and paid for. How often this
happens is bounded by the retry budget of the process.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wrapt

from firedoor.clock import SystemClock
from firedoor.core.latencies import Latencies
from firedoor.errors import Saturated
from firedoor.shell.current import attach
from firedoor.shell.pace import shut, shut_async
from firedoor.shell.waiting import within

if TYPE_CHECKING:
    from firedoor.config import Hedge
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.ladder import Ladder
    from firedoor.shell.runtime import Runtime
    from firedoor.shell.workers import Job

__all__ = ["Hedger"]

_P95 = 0.95
_INSTANT = 1e-9

Begin = Callable[["Attempt"], Any]
"""Runs the guarded function for an attempt; what an async function returns is to be awaited."""


class Primed(wrapt.ObjectProxy[Any]):
    """A sync stream whose first chunks were read already: they come first."""

    def __init__(self, stream: Any, held: deque[Any]) -> None:
        super().__init__(stream)
        self._self_held = held

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        held: deque[Any] = self._self_held
        return held.popleft() if held else next(self.__wrapped__)


class AsyncPrimed(wrapt.ObjectProxy[Any]):
    """The same for async streams."""

    def __init__(self, stream: Any, held: deque[Any]) -> None:
        super().__init__(stream)
        self._self_held = held

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        held: deque[Any] = self._self_held
        return held.popleft() if held else await anext(self.__wrapped__)


class Hedger:
    """The hedging of one route."""

    def __init__(self, hedge: Hedge, runtime: Runtime) -> None:
        self._hedge = hedge
        self._runtime = runtime
        self._lock = threading.Lock()
        self._latencies = Latencies()

    def _delay(self) -> float:
        """Seconds without an answer after which to ask once more; infinite for never."""
        after = self._hedge.after
        if after != "p95":
            return after
        with self._lock:
            found = self._latencies.quantile(_P95)
        return math.inf if found is None else found

    def _settle(self, ladder: Ladder, winner: Attempt, losers: list[Attempt]) -> None:
        now = self._runtime.now()
        with self._lock:
            self._latencies.record(now - winner.began)
            # How long a loser would have taken is not known; it took as long as this at least,
            # and to leave it out would lower the percentile with every hedge.
            for loser in losers:
                self._latencies.record(now - loser.began)
        for loser in losers:
            ladder.beaten(loser)
        ladder.won(winner)

    # Async ---------------------------------------------------------------------------------

    async def arace(
        self, ladder: Ladder, first: Attempt, begin: Begin
    ) -> tuple[Attempt, asyncio.Future[Any]]:
        """The attempt that goes on, and what it came to: its answer, or what it raised."""
        running = {self._enter(first, begin): first}
        extra = self._hedge.max_extra
        delay = self._delay()
        try:
            while True:
                done = await self._wait(list(running), delay if extra else math.inf)
                if not done:
                    other = ladder.hedge(first)
                    extra = 0 if other is None else extra - 1
                    if other is not None:
                        running[self._enter(other, begin)] = other
                    continue
                good = next((task for task in done if not _failed(task)), None)
                if good is not None:
                    winner = running.pop(good)
                    for task in done:
                        if task is not good and _failed(task):
                            ladder.beaten(running.pop(task), _error(task))
                    self._settle(ladder, winner, list(running.values()))
                    self._drop(ladder, running)
                    return winner, good
                for task in done:
                    attempt = running.pop(task)
                    if not running:
                        ladder.won(attempt)
                        return attempt, task
                    ladder.beaten(attempt, _error(task))
        except BaseException:
            for attempt in running.values():
                ladder.beaten(attempt)
            self._drop(ladder, running)
            raise

    def _enter(self, attempt: Attempt, begin: Begin) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._contend(attempt, begin))

    async def _contend(self, attempt: Attempt, begin: Begin) -> Any:
        attach(attempt.enter_context())  # in the task's own copy of the context
        runtime = self._runtime
        result = await within(runtime.clock, attempt.answer_within, begin(attempt))
        if not hasattr(type(result), "__anext__"):
            return result
        limits = [s for s in (attempt.timeout, attempt.first_token_within) if s is not None]
        left = max(0.0, min(limits) - (runtime.now() - attempt.began)) if limits else None
        try:
            return await within(runtime.clock, left, self._aprime(result))
        except BaseException:
            await shut_async(result)
            raise

    async def _aprime(self, stream: Any) -> Any:
        feed = self._runtime.extractors.reader(stream).feed
        held: deque[Any] = deque()
        async for chunk in stream:
            held.append(chunk)
            if feed(chunk):
                break
        return AsyncPrimed(stream, held)

    async def _wait(
        self, running: list[asyncio.Future[Any]], seconds: float
    ) -> list[asyncio.Future[Any]]:
        """Those that have ended, in order of their beginning; none if `seconds` came first."""
        clock = self._runtime.clock
        if seconds == math.inf:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        elif isinstance(clock, SystemClock):
            await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        else:
            alarm = asyncio.ensure_future(clock.asleep(seconds))
            try:
                await asyncio.wait([*running, alarm], return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
        return [task for task in running if task.done()]

    def _drop(self, ladder: Ladder, running: dict[asyncio.Future[Any], Attempt]) -> None:
        """Cancel the losers, without waiting: one that will not stop must not hold up the winner."""
        for task, attempt in running.items():

            def over(task: asyncio.Future[Any], attempt: Attempt = attempt) -> None:
                if not _failed(task):
                    value = task.result()
                    if hasattr(type(value), "__anext__"):
                        _KEPT.add(closing := asyncio.ensure_future(shut_async(value)))
                        closing.add_done_callback(_KEPT.discard)
                    else:
                        ladder.late(attempt, value)

            task.add_done_callback(over)
            task.cancel()

    # Sync ----------------------------------------------------------------------------------

    def race(
        self, ladder: Ladder, first: Attempt, begin: Begin
    ) -> tuple[Attempt, Callable[[], Any]]:
        """The same for sync functions, each in a worker thread."""
        now = self._runtime.now
        workers = self._runtime.workers
        bell = threading.Event()
        try:
            running = {self._start(first, begin, bell): first}
        except Saturated as denied:
            return first, _raiser(denied)
        extra = self._hedge.max_extra
        delay = self._delay()
        hedge_at = now() + delay
        try:
            while True:
                due = min(map(_due, running.values()))
                wake = min(due, hedge_at) if extra else due
                workers.wait(
                    list(running), bell, None if wake == math.inf else max(0.0, wake - now())
                )
                done = [job for job in running if job.done]
                good = next((job for job in done if job.error is None), None)
                if good is not None:
                    winner = running.pop(good)
                    for job in done:
                        if job.error is not None:
                            ladder.beaten(running.pop(job), job.error)
                    self._settle(ladder, winner, list(running.values()))
                    self._leave(ladder, running)
                    return winner, good.result
                if not done and extra and now() + _INSTANT >= hedge_at:
                    other = ladder.hedge(first)
                    extra = 0 if other is None else extra - 1
                    hedge_at = now() + delay
                    if other is not None:
                        try:
                            running[self._start(other, begin, bell)] = other
                        except Saturated as denied:
                            ladder.beaten(other, denied)
                            extra = 0
                    continue
                late = (
                    [] if done else [j for j, a in running.items() if now() + _INSTANT >= _due(a)]
                )
                for job in late:
                    workers.abandon(job, running[job].came_late)
                for job in [*done, *late]:
                    attempt = running.pop(job)
                    error = job.error if job.done else _too_late(attempt)
                    if not running:
                        ladder.won(attempt)
                        return attempt, _raiser(error or _too_late(attempt))
                    ladder.beaten(attempt, error)
        except BaseException:
            for attempt in running.values():
                ladder.beaten(attempt)
            self._leave(ladder, running)
            raise

    def _start(self, attempt: Attempt, begin: Begin, bell: threading.Event) -> Job:
        def work() -> Any:
            attach(attempt.enter_context())
            result = begin(attempt)
            return self._prime(result) if hasattr(type(result), "__next__") else result

        return self._runtime.workers.start(work, bell)

    def _prime(self, stream: Any) -> Any:
        feed = self._runtime.extractors.reader(stream).feed
        held: deque[Any] = deque()
        try:
            for chunk in stream:
                held.append(chunk)
                if feed(chunk):
                    break
        except BaseException:
            shut(stream)
            raise
        return Primed(stream, held)

    def _leave(self, ladder: Ladder, running: dict[Job, Attempt]) -> None:
        for job, attempt in running.items():
            if not self._runtime.workers.abandon(job, attempt.came_late) and job.error is None:
                ladder.late(attempt, job.value)


_KEPT: set[asyncio.Future[Any]] = set()
"""Closings that run: the loop itself holds its tasks only weakly."""


def _failed(task: asyncio.Future[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def _error(task: asyncio.Future[Any]) -> BaseException:
    return asyncio.CancelledError() if task.cancelled() else task.exception() or RuntimeError()


def _due(attempt: Attempt) -> float:
    limit = attempt.answer_within
    return math.inf if limit is None else attempt.began + limit


def _too_late(attempt: Attempt) -> TimeoutError:
    return TimeoutError(f"no answer within {attempt.answer_within or 0:g} s")


def _raiser(error: BaseException) -> Callable[[], Any]:
    def raising() -> Any:
        raise error

    return raising
