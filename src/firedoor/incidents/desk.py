"""The incident desk of a door: its book, its monitor, its timer and whoever is told, in one place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from firedoor.clock import SYSTEM_CLOCK
from firedoor.core.runbook import Runbook
from firedoor.errors import ConfigurationError
from firedoor.incidents.alert import Alert
from firedoor.incidents.book import Incidents
from firedoor.incidents.messages import announce
from firedoor.incidents.monitor import EVERY, Monitor
from firedoor.incidents.notify import Notifier, Sink
from firedoor.incidents.pulse import Pulse
from firedoor.incidents.retention import Retention
from firedoor.incidents.signals import Signals
from firedoor.incidents.watch import Transition
from firedoor.ledger import Ledger, open_ledger
from firedoor.shell.runtime import Runtime
from firedoor.stores import Store

__all__ = ["Desk"]


class Desk:
    """What a door does about incidents.

    Attributes:
        book: The incidents.
        ledger_url: Where they are kept.

    Args:
        runtime: The door's parts.
        signals: Where alerts read.
        store: The state other processes share, where there is one.
        ledger: A URL. None: the environment's `FIREDOOR_LEDGER`, else this process's memory.
        runbooks: In the place of the defaults of their classes.
        notify: Where messages to people go.
        retention: How long closed incidents are kept, in seconds or as `"90d"`; None: for ever.

    Raises:
        ConfigurationError: If the ledger cannot be opened, a runbook is none, a sink is none, or the
            retention is no time.
    """

    def __init__(
        self,
        runtime: Runtime,
        signals: Signals,
        *,
        store: Store | None,
        ledger: str | None,
        runbooks: Sequence[Runbook] | None,
        notify: Sequence[Sink],
        retention: float | str | None,
    ) -> None:
        for runbook in runbooks or ():
            if not isinstance(runbook, Runbook):
                raise ConfigurationError(
                    f"Firedoor(runbooks=[{runbook!r}]): use fd.Runbook(...), or "
                    "fd.runbooks.defaults() changed with dataclasses.replace"
                )
        self._runtime = runtime
        self.ledger_url, kept = _ledger(ledger)
        self.book = Incidents(
            kept,
            service=runtime.service,
            clock=runtime.clock,
            clean=runtime.clean,
            runbooks=runbooks or (),
            on_fault=lambda error: runtime.internal("ledger", error),
        )
        self._retention = Retention(
            self.book,
            retention,
            clock=runtime.clock,
            on_fault=lambda error: runtime.internal("ledger", error),
        )
        told = runtime.recorder.incidents
        self._notifier = Notifier(
            notify,
            clean=runtime.clean,
            clock=runtime.clock,
            on_result=told.notified,
            on_fault=lambda error: runtime.internal("notify", error),
        )
        self.book.subscribe(told.changed)
        announce(self.book, self._notifier)
        self._monitor = Monitor(runtime, signals, self.book, store=store, notify=self._notifier.say)
        self._pulse: Pulse | None = None
        if runtime.clock is SYSTEM_CLOCK:
            self._pulse = Pulse(self._beat, every=EVERY, after_fork=self._monitor.after_fork)

    def watch(self, alerts: Iterable[Alert]) -> None:
        """Watch more alerts; the first ones start the timer."""
        self._monitor.add(alerts)
        if not self._runtime.enabled:
            return
        if self._pulse is not None:
            self._pulse.start()
        elif self._monitor.tick not in self._runtime.listeners:
            # Time that is not the system's does not pass for a thread: look as calls end.
            self._runtime.listeners.append(self._monitor.tick)

    def evaluate(self) -> tuple[Transition, ...]:
        """Look at every alert now; answers those that changed their state."""
        changed = self._monitor.evaluate()
        self._retention.step()
        return changed

    def _beat(self) -> None:
        """What the timer does: alerts and actions first. Never raises."""
        self._monitor.tick()
        self._retention.step()

    def snapshot(self) -> dict[str, Any]:
        """Alerts and incidents as plain data."""
        return self._monitor.snapshot()

    def flush(self) -> None:
        """Write what waits for the ledger, if it can be reached, and send what is to be told."""
        self._contained(self.book.sync)
        self._contained(self._notifier.flush)

    def close(self) -> None:
        """Look no more, and let go of the ledger. What was done stays in force."""
        if self._pulse is not None:
            self._pulse.stop()
        self._contained(self._monitor.close)
        self._contained(self.book.close)
        self._contained(self._notifier.close)

    def _contained(self, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            self._runtime.internal("ledger", error)


def _ledger(given: str | None) -> tuple[str, Ledger]:
    url = given if given is not None else os.environ.get("FIREDOOR_LEDGER") or "memory://"
    try:
        return url, open_ledger(url)
    except ConfigurationError as error:
        where = "Firedoor" if given is not None else "FIREDOOR_LEDGER"
        raise ConfigurationError(f"{where}: {error}") from error.__cause__
