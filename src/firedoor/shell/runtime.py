"""The live parts one door's calls share, and the seams that keep a fault of ours from the caller."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from firedoor.clock import Clock
from firedoor.errors import Denied
from firedoor.extraction import Extractors
from firedoor.extraction.faults import retry_after
from firedoor.privacy import Redactor
from firedoor.records import Decision
from firedoor.shell.breakers import Breakers
from firedoor.shell.endings import Endings
from firedoor.shell.leaving import at_exit
from firedoor.shell.limiters import Limiters
from firedoor.shell.pricing import Prices
from firedoor.shell.prompts import Prompts
from firedoor.shell.reaper import REAPER
from firedoor.shell.retries import Retries
from firedoor.shell.switchboard import Switchboard
from firedoor.shell.workers import Workers
from firedoor.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from firedoor.core.loop_guard import LoopLimits
    from firedoor.shell.attempts import Attempts
    from firedoor.shell.budgets import Budgets
    from firedoor.shell.deferred import DeferredStream
    from firedoor.shell.route import Route
    from firedoor.shell.scope import Request
    from firedoor.shell.watch import Watch
    from firedoor.shell.witness import Listener, Witness

__all__ = ["REDACTION_FAILED", "Runtime"]

REDACTION_FAILED = "<redaction_failed>"

_MOST_ROUTES = 1_000
"""A block names its route on every use, and may be given any name."""


class Runtime:
    """What a door builds once and every call uses.

    Nothing here raises into a call: what goes wrong is counted under the name of its seam
    (`firedoor.internal.errors`) and logged by type, and the call goes on without it.
    """

    def __init__(
        self,
        service: str,
        *,
        clock: Clock,
        redactor: Redactor,
        extractors: Extractors,
        recorder: Recorder,
        capture: Literal["none", "redacted"],
        enabled: bool,
        enforce: bool,
        switches: Switchboard,
        prices: Prices,
        loops: LoopLimits | None = None,
    ) -> None:
        self.clock = clock
        self.now = clock.now
        self.time_ns = clock.time_ns
        self.redactor = redactor
        self.extractors = extractors
        self.recorder = recorder
        self.capture = capture
        self.enabled = enabled
        self.enforce = enforce
        self.switches = switches
        self.prices = prices
        self.budgets: Budgets | None = None
        self.loops = loops
        self.prompts = Prompts(switches, on_fault=self.internal)
        self.breakers = Breakers(
            enforce=enforce,
            now=clock.now,
            on_error=lambda error: self.internal("breaker", error),
        )
        self.limiters = Limiters(clock)
        self.retries = Retries()
        self.workers = Workers(clock)
        self.listeners: list[Callable[[Decision], object]] = []
        self.routes: dict[str, Route] = {}
        self.incident_of: Callable[[str | None, str], str | None] | None = None
        """Answers the id of the incident in force for a call; set where alerts are watched."""
        self.request_listeners: list[Callable[[Request], object]] = []
        self.witness: Witness | None = None
        self.feedback: Listener | None = None
        self.streams: weakref.WeakSet[Watch | DeferredStream] = weakref.WeakSet()
        self.service = service
        endings = Endings(redactor, clean=self.clean, on_fault=self.internal)
        self.ending = endings.of
        self.told = endings.told
        self._armed = 0

    def known(self, route: Route) -> None:
        """Remember a route by its id: actions work out their targets from what there is."""
        if route.id in self.routes or len(self.routes) < _MOST_ROUTES:
            self.routes[route.id] = route

    def clean(self, text: str, found: dict[str, int] | None = None) -> str:
        """`text` as it may leave the process; everything of it is hidden if that cannot be told."""
        try:
            return self.redactor.redact_text(text, found)
        except Exception as error:
            self.internal("redaction", error)
            return REDACTION_FAILED

    def token(self, value: str | None, kind: str) -> str | None:
        """A keyed token for a name that must be joinable and not readable."""
        if value is None:
            return None
        try:
            return self.redactor.token(value, kind)
        except Exception as error:
            self.internal("redaction", error)
            return REDACTION_FAILED

    def internal(self, seam: str, error: BaseException) -> None:
        """Count and log a fault of ours; never raises."""
        # The last resort must not become the incident.
        with contextlib.suppress(Exception):
            self.recorder.internal_error(seam, error)

    def retry_after(self, error: BaseException) -> float | None:
        """Seconds after which the call may pass, as a denial or a provider's response says."""
        try:
            return error.retry_after if isinstance(error, Denied) else retry_after(error)
        except Exception as fault:
            self.internal("extraction", fault)
            return None

    def publish(self, decision: Decision, request: Request | None) -> None:
        """Hand a finished decision to its request and to every listener."""
        if request is not None:
            request.add(decision)
        for listener in self.listeners:
            try:
                listener(decision)
            except Exception as error:
                self.internal("listener", error)

    def ended(self, request: Request) -> None:
        """Hand a request that has ended to every listener."""
        for listener in self.request_listeners:
            try:
                listener(request)
            except Exception as error:
                self.internal("listener", error)

    def opened(self, watch: Watch | DeferredStream) -> None:
        """Remember a stream, so that one still open at interpreter exit is told of as well."""
        REAPER.arm()
        if self._armed != os.getpid():  # never, or in the process that this one was forked from
            self._armed = os.getpid()
            # Registered at the first stream and not before: exit handlers run last in, first
            # out, and a tracer provider made after the door must still be alive when ours runs.
            at_exit(_close_all, weakref.ref(self))
        self.streams.add(watch)

    def collected(self, watch: Watch | DeferredStream | Attempts) -> None:
        """A stream's proxy, or a loop of attempts, was garbage: finish its call.

        But never from inside the cycle collector, which may run in the middle of anything, a held
        lock of the metrics SDK included: finishing there could wait for itself. A plain drop of the
        last reference happens in the consumer's own code, where finishing at once is safe.
        """
        if REAPER.collecting():
            REAPER.later(watch.abandon)
        else:
            watch.abandon()

    def close_streams(self) -> None:
        """End every stream that is still open as abandoned."""
        for watch in list(self.streams):
            watch.abandon()

    def settle(self) -> None:
        """Wait until the calls that the collector found are finished."""
        REAPER.drain()


def _close_all(reference: weakref.ref[Runtime]) -> None:
    runtime = reference()
    if runtime is not None:
        runtime.settle()
        runtime.close_streams()
