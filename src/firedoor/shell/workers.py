"""Threads that run sync calls so that their callers can stop waiting for them.

A thread cannot be stopped from outside. A call that has run out of time is *abandoned*: its caller
goes on, and the thread ends when the call does. Threads that serve a waiting caller are as many as
the application has callers; abandoned ones are bounded here, and beyond the bound a call is refused
rather than begun.
"""

from __future__ import annotations

import contextvars
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from firedoor.clock import Clock
from firedoor.errors import Saturated
from firedoor.types import Usage

__all__ = ["Job", "Workers"]

MOST_ABANDONED = 64
_IDLE_SECONDS = 10.0
_INSTANT = 1e-9
"""What rounding may leave of a wait that is over."""


class Job:
    """One piece of work in another thread, in a copy of the context it was given in.

    Attributes:
        done: It has ended; `value` or `error` is there.
        bell: Set when it ends; may be shared by several.
    """

    __slots__ = ("_context", "_late", "_work", "bell", "done", "error", "value")

    def __init__(self, work: Callable[[], Any], bell: threading.Event) -> None:
        self._work = work
        self._context = contextvars.copy_context()
        self._late: Callable[[Job], object] | None = None
        self.bell = bell
        self.done = False
        self.value: Any = None
        self.error: BaseException | None = None

    def result(self) -> Any:
        """What it came to: its value, or its exception raised."""
        if self.error is not None:
            raise self.error
        return self.value


class Workers:
    """The worker threads of one door. Daemons: an abandoned call does not keep a process alive."""

    def __init__(self, clock: Clock, *, most_abandoned: int = MOST_ABANDONED) -> None:
        self._clock = clock
        self._most = most_abandoned
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._idle = 0
        self._abandoned = 0
        self._returned = 0
        self._refused = 0
        self._input = self._output = 0

    def run(self, work: Callable[[], Any], seconds: float, *, late: Callable[[Job], object]) -> Any:
        """What `work` comes to, waited for `seconds` at most.

        Args:
            work: Runs in another thread, in a copy of this one's context.
            seconds: On the door's clock.
            late: Called in the worker's thread with the job, when one that was abandoned ends.

        Raises:
            TimeoutError: If it took longer; it goes on without anyone waiting.
            Saturated: If too many go on like that already; it was not begun.
        """
        job = self.start(work)
        self.wait([job], job.bell, seconds)
        if not self.abandon(job, late):
            return job.result()
        raise TimeoutError(f"no answer within {seconds:g} s; it was left running in its thread")

    def start(self, work: Callable[[], Any], bell: threading.Event | None = None) -> Job:
        """Begin `work` in another thread.

        Raises:
            Saturated: As `run`.
        """
        job = Job(work, bell or threading.Event())
        with self._lock:
            if self._pid != os.getpid():  # threads do not survive a fork
                self._reset()
            if self._abandoned >= self._most:
                self._refused += 1
                raise Saturated(
                    f"{self._abandoned} calls that ran out of time are still running in their "
                    "threads, which is all that may: give the client a timeout of its own",
                    gate="workers",
                )
            waiting = self._idle > 0
            if waiting:
                self._idle -= 1
        if waiting:
            self._queue.put(job)
        else:
            threading.Thread(
                target=self._serve, args=(job, self._queue), name="firedoor-worker", daemon=True
            ).start()
        return job

    def wait(self, jobs: list[Job], bell: threading.Event, seconds: float | None) -> None:
        """Return when one of `jobs`, which share `bell`, has ended, or after `seconds`."""
        until = None if seconds is None else self._clock.now() + seconds
        while True:
            bell.clear()
            if any(job.done for job in jobs):
                return
            if until is None:
                bell.wait()
                continue
            left = until - self._clock.now()
            if left <= _INSTANT:
                return
            self._clock.wait(bell, left)

    def abandon(self, job: Job, late: Callable[[Job], object]) -> bool:
        """Stop caring for `job`; False if it has ended, so that there is nothing to abandon."""
        with self._lock:
            if job.done:
                return False
            job._late = late
            self._abandoned += 1
            return True

    def snapshot(self) -> dict[str, int]:
        """Abandoned calls that still run, those that have ended since, and calls refused.

        The tokens are those of calls that ended after their decision was made.
        """
        with self._lock:
            return {
                "abandoned": self._abandoned,
                "returned": self._returned,
                "refused": self._refused,
                "input_tokens": self._input,
                "output_tokens": self._output,
            }

    def spent(self, usage: Usage) -> None:
        """An abandoned call has answered after its decision was made: count what it used."""
        with self._lock:
            self._input += usage.input_tokens or 0
            self._output += usage.output_tokens or 0

    def _serve(self, job: Job, waiting: queue.SimpleQueue[Job]) -> None:
        following: Job | None = job
        while following is not None:
            self._do(following)
            following = None  # nothing of it is kept alive while this thread waits
            with self._lock:
                self._idle += 1
            following = self._next(waiting)

    def _next(self, waiting: queue.SimpleQueue[Job]) -> Job | None:
        while True:
            try:
                return waiting.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        return None
                # Somebody counted on this thread: the job is about to be there.

    def _do(self, job: Job) -> None:
        try:
            job.value = job._context.run(job._work)
        except BaseException as error:
            job.error = error
        with self._lock:
            job.done = True
            late = job._late
            if late is not None:
                self._abandoned -= 1
                self._returned += 1
        job.bell.set()
        if late is not None:
            late(job)
