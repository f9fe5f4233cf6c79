"""What the processes of a fleet tell each other, once a second, through the store.

A thread of its own does it, never a call. A process that dies says nothing more and drops out as
its time is over; what it had told stays counted where it happened.
"""

from __future__ import annotations

import math
import os
import threading
import uuid
from collections.abc import Callable

from firedoor.clock import Clock
from firedoor.incidents.signals import Signals
from firedoor.stores import Store

__all__ = ["EVERY", "LASTS", "Fleet"]

EVERY = 1.0
"""Seconds between two exchanges."""

LASTS = 15.0
"""Seconds for which what a process said is there to be read."""


class Fleet:
    """Keeps the signals of several processes one.

    Args:
        signals: Of this process.
        store: Where to meet the others.
        service: Whose signals they are: processes of one service share them.
        clock: What the thread waits by.
        on_fault: Told of a store that does not answer. It is tried again a second later.
    """

    def __init__(
        self,
        signals: Signals,
        store: Store,
        service: str,
        *,
        clock: Clock,
        on_fault: Callable[[BaseException], object],
    ) -> None:
        self._signals = signals
        self._store = store
        self._space = f"signals:{service}"
        self._clock = clock
        self._on_fault = on_fault
        self._over = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._process = 0
        self._since = -math.inf
        self.member = ""
        """The name of this process among the others."""

    def arm(self) -> None:
        """Have the thread running, also in a process that was forked off. Does not wait."""
        if self._over or (
            self._process == os.getpid() and self._thread is not None and self._thread.is_alive()
        ):
            return
        self._be()
        self._thread = threading.Thread(target=self._run, name="firedoor-signals", daemon=True)
        self._thread.start()

    def _be(self) -> None:
        """Have a name of one's own."""
        if self._process != os.getpid():
            if self._process:
                # What was counted before the fork is told by the process that it was counted in.
                self._since = self._clock.now()
            self._process = os.getpid()
            self.member = f"{self._process}-{uuid.uuid4().hex[:12]}"

    def _run(self) -> None:
        while not self._over:
            self.exchange()
            self._clock.wait(self._wake, EVERY)

    def exchange(self) -> bool:
        """Tell and hear once; whether the store answered."""
        try:
            self._be()
            self._store.publish(self._space, self.member, self._signals.export(self._since), LASTS)
            members = self._store.members(self._space)
            for name, text in members.items():
                if name != self.member:
                    self._signals.absorb(name, text)
            self._signals.forget(members)
        except Exception as error:
            self._on_fault(error)
            return False
        return True

    def close(self) -> None:
        """Tell a last time, and stop."""
        if self._over:
            return
        self._over = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None and self._process == os.getpid():
            thread.join(timeout=5.0)
            self.exchange()
