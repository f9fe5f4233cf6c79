"""The timer of the monitor: one daemon thread that looks once a second, as long as its door lives."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

__all__ = ["Pulse"]


class Pulse:
    """Calls a method once in a while, and does not keep its object alive.

    Fork-safe: a child has a thread of its own, where the parent had one.

    Args:
        beat: A bound method that never raises.
        every: Seconds between two calls.
        after_fork: A bound method called first in a forked child.
    """

    def __init__(
        self,
        beat: Callable[[], object],
        *,
        every: float,
        after_fork: Callable[[], object] | None = None,
    ) -> None:
        self._beat = weakref.WeakMethod(beat)
        self._forked = None if after_fork is None else weakref.WeakMethod(after_fork)
        self._every = every
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        _PULSES.add(self)

    @property
    def running(self) -> bool:
        """Whether its thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin; once is enough."""
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(
                    target=_run,
                    args=(self._beat, self._stop, self._every),
                    name="firedoor-monitor",
                    daemon=True,
                )
                self._thread.start()

    def stop(self) -> None:
        """End; a beat that is under way is waited for."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        ran, self._thread = self._thread is not None, None
        stopped = self._stop.is_set()
        self._stop = threading.Event()
        forked = None if self._forked is None else self._forked()
        if forked is not None:
            forked()
        if stopped:
            self._stop.set()
        elif ran:
            self.start()


def _run(
    beat: weakref.WeakMethod[Callable[[], object]], stop: threading.Event, every: float
) -> None:
    while not stop.wait(every):
        method = beat()
        if method is None:
            return
        method()
        del method


_PULSES: weakref.WeakSet[Pulse] = weakref.WeakSet()


def _after_fork() -> None:
    for pulse in tuple(_PULSES):
        pulse._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
