"""What a door does every few seconds, behind the calls' path: one daemon thread for all of it.

A forked worker has no thread of its parent's; a new one is started there.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Chores"]


@dataclass(slots=True)
class _Chore:
    work: Callable[[], object]
    every: float
    due: float


class Chores:
    """Small repeated work. Nothing that is raised in it stops the thread or the other work.

    Args:
        name: Of the thread.
        on_fault: Told of what was raised.
    """

    def __init__(self, name: str, *, on_fault: Callable[[Exception], object] | None = None) -> None:
        self._name = name
        self._on_fault = on_fault
        self._chores: list[_Chore] = []
        self._closed = False
        self._thread: threading.Thread | None = None
        self._fresh()
        _ALL.add(self)

    @property
    def running(self) -> bool:
        """Whether its thread is at work in this process."""
        return self._thread is not None and self._thread.is_alive()

    def add(self, every: float, work: Callable[[], object], *, soon: bool = False) -> None:
        """Do `work` every so many seconds from now on, by the system's clock.

        Args:
            every: Seconds from the end of one time to the next.
            work: What is done.
            soon: The first time is at once.
        """
        with self._lock:
            first = time.monotonic() + (0.0 if soon else every)
            self._chores.append(_Chore(work, every, first))
            if self._thread is None and not self._closed:
                self._begin()
            else:
                self._changed.set()

    def close(self) -> None:
        """Stop, and wait for what is being done."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._changed.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        changed = self._changed
        while True:
            with self._lock:
                changed.clear()
                if self._closed:
                    return
                chores, now = tuple(self._chores), time.monotonic()
            for chore in chores:
                if chore.due <= now:
                    self._do(chore)
            soonest = min(chore.due for chore in chores)
            changed.wait(max(0.0, soonest - time.monotonic()))

    def _do(self, chore: _Chore) -> None:
        try:
            chore.work()
        except Exception as error:
            if self._on_fault is not None:
                self._on_fault(error)
        chore.due = time.monotonic() + chore.every

    def _fresh(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Event()
        self._thread = None

    def _after_fork(self) -> None:
        """The parent's thread is not here, and may have held the lock.

        What the work needs may not be ready in the child yet: nothing is due at once.
        """
        self._fresh()
        for chore in self._chores:
            chore.due = time.monotonic() + chore.every
        if self._chores and not self._closed:
            self._begin()


_ALL: weakref.WeakSet[Chores] = weakref.WeakSet()


def _after_fork() -> None:
    for chores in tuple(_ALL):
        chores._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
