"""Finishes calls whose streams the cycle collector found, on a thread of its own.

The collector may run in the middle of anything, a held lock of the metrics SDK included. To finish
a call there could mean to wait for oneself, so it only leaves the work here.
"""

from __future__ import annotations

import gc
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["REAPER", "Reaper"]


class Reaper:
    """One for the process: it holds no door, only the work left with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listening = False
        self._collecting: int | None = None
        # SimpleQueue.put may be called from inside the collector: it is reentrant by contract.
        self._queue: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def arm(self) -> None:
        """Be ready: watch for collections, and have the thread running (again, after a fork).

        Called whenever a stream opens, since a thread cannot be started from the collector.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if not self._listening:
                gc.callbacks.append(self._phase)
                self._listening = True
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="firedoor-reaper", daemon=True
                )
                self._thread.start()

    def _phase(self, phase: str, info: dict[str, int]) -> None:  # noqa: ARG002 - gc's signature
        self._collecting = threading.get_ident() if phase == "start" else None

    def collecting(self) -> bool:
        """Whether this thread is inside the cycle collector."""
        return self._collecting == threading.get_ident()

    def later(self, work: Callable[[], Any]) -> None:
        """Leave `work` for the thread; safe inside the collector."""
        self._queue.put(work)

    def _run(self) -> None:
        while True:
            self._queue.get()()

    def drain(self, timeout: float = 5.0) -> None:
        """Return once everything left so far is done, or after `timeout` seconds."""
        if self._thread is not None and self._thread.is_alive():
            done = threading.Event()
            self._queue.put(done.set)
            done.wait(timeout)


REAPER = Reaper()
