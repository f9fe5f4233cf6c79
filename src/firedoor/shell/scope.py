"""Where a call finds its request, and a request its calls: one entry in the OpenTelemetry context.

No token of the context is ever kept: see `firedoor.shell.current`.
"""

from __future__ import annotations

import contextvars
import functools
import random
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from opentelemetry.context import Context, create_key
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from firedoor.records import Decision
from firedoor.shell.current import Entered, attach, get_current, restore
from firedoor.types import Outcome

if TYPE_CHECKING:
    from firedoor.core.tally import Tally
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.loops import Loops
    from firedoor.shell.runtime import Runtime
    from firedoor.shell.witness import Heard

__all__ = ["Request", "current_attempt", "current_request", "wrap"]

P = ParamSpec("P")
R = TypeVar("R")

REQUEST_KEY = create_key("firedoor-request")
ATTEMPT_KEY = create_key("firedoor-attempt")
# The key under which the API keeps the current span; it is private, so it is asked for.
SPAN_KEY = next(iter(set_span_in_context(INVALID_SPAN, Context())))

_bits = random.getrandbits
_SEVERITY = (
    # From what a user would rather have seen to what they would rather not.
    Outcome.ANSWERED,
    Outcome.DEGRADED,
    Outcome.REFUSED,
    Outcome.CANNED,
    Outcome.BLOCKED,
    Outcome.FAILED,
)


def new_id() -> str:
    """16 random hexadecimal digits: an identifier, not a secret."""
    return _bits(64).to_bytes(8, "big").hex()  # twice as quick as to format the number


def current_request() -> Request | None:
    """The innermost request this code runs in, or None."""
    return get_current().get(REQUEST_KEY)  # type: ignore[return-value]


def current_attempt() -> Attempt | None:
    """The attempt whose code is running, for code too deep to be handed its model; or None."""
    return get_current().get(ATTEMPT_KEY)  # type: ignore[return-value]


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """Carry the current request and span into another thread.

    Executors start their work in an empty context. `executor.submit(fd.wrap(search), query)` runs
    `search` in a copy of the context in which `wrap` was called; every run gets a copy of its own,
    so that one wrapped function may run many times at once.
    """
    captured = contextvars.copy_context()

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return captured.copy().run(function, *args, **kwargs)

    return run


class Request:
    """One user-visible unit of work on a journey, as a `with` or `async with` block.

    Attributes:
        id: As given, redacted; else 16 random hexadecimal digits.
        journey: The named critical path.
        user: A keyed token of the user given: the same user, the same token, within one key.
        tenant: A keyed token of the tenant given.
        synthetic: Probe traffic: recorded, and kept out of every signal.
        outcome: What the user saw, worked out as the block is left; None before.
        latency_s: Seconds from its beginning to its end; 0 before it has ended.
        decisions: One for every call made in the block and in requests nested in it, in the
            order in which they ended.
        cost_usd: US dollars spent so far by those calls, as far as it is known.
    """

    def __init__(
        self,
        runtime: Runtime,
        journey: str,
        *,
        id: str | None = None,  # noqa: A002 - the public name
        user: str | None = None,
        tenant: str | None = None,
        deadline: float | None = None,
        synthetic: bool = False,
        grants: Iterable[str] = (),
    ) -> None:
        self._runtime = runtime
        self.journey = runtime.clean(journey)
        self.id = runtime.clean(str(id)) if id is not None else new_id()
        self.user = runtime.token(user, "user")
        self.tenant = runtime.token(tenant, "tenant")
        self.synthetic = synthetic
        self.grants = frozenset((grants,) if isinstance(grants, str) else grants)
        self.outcome: Outcome | None = None
        self.latency_s = 0.0
        self.parent: Request | None = None
        self.purse: Tally | None = None
        self.loops: Loops | None = None
        self.heard: Heard | None = None
        self._deadline_in = deadline
        self.deadline: float | None = None
        self._decisions: list[Decision] = []
        self._began = 0.0
        self._began_ns = 0
        self._span: Any = None
        self._context: Entered | None = None
        self._previous: Context | None = None
        self._error: BaseException | None = None

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The decisions so far."""
        return tuple(self._decisions)

    @property
    def cost_usd(self) -> float:
        """US dollars, as far as they are known."""
        return sum(d.cost_usd for d in self._decisions if d.cost_usd is not None)

    def add(self, decision: Decision) -> None:
        """File a decision here and with every request around this one."""
        request: Request | None = self
        while request is not None:
            request._decisions.append(decision)
            request = request.parent

    def feedback(self, score: float, comment: str | None = None) -> None:
        """Tell what the user thought of it: during the request, or when it has ended.

        It counts in the signal `negative_feedback_rate` (below 0.5), and becomes an evaluation
        event. For feedback that comes without this object at hand: `door.feedback(id, score)`.

        Args:
            score: 0 (bad) to 1 (good).
            comment: The user's words. They leave only with `capture="redacted"`, redacted.

        Raises:
            ConfigurationError: If the score is not within 0 to 1.
        """
        listener = self._runtime.feedback
        if listener is not None:
            listener.given(self, score, comment)

    def __enter__(self) -> Self:
        runtime = self._runtime
        try:
            self._began = runtime.now()
            self._began_ns = runtime.time_ns()
        except Exception as error:
            runtime.internal("clock", error)
        previous = get_current()
        self._previous = previous
        outer = previous.get(REQUEST_KEY)
        if isinstance(outer, Request):
            self._inherit(outer)
        if self._deadline_in is not None:
            own = self._began + self._deadline_in
            self.deadline = own if self.deadline is None else min(own, self.deadline)
        entries = {**previous, REQUEST_KEY: self}
        try:
            if runtime.enabled:
                self._span = runtime.recorder.start_request(
                    self.journey,
                    request_id=self.id,
                    user=self.user,
                    tenant=self.tenant,
                    synthetic=self.synthetic,
                    start_ns=self._began_ns,
                )
                entries[SPAN_KEY] = self._span
        except Exception as error:
            runtime.internal("request", error)
        self._context = Entered(entries)
        attach(self._context)
        return self

    def _inherit(self, outer: Request) -> None:
        """A request in a request is part of it: whose it is and how long it has carry over."""
        self.parent = outer
        self.user = self.user if self.user is not None else outer.user
        self.tenant = self.tenant if self.tenant is not None else outer.tenant
        self.synthetic = self.synthetic or outer.synthetic
        self.grants = self.grants or outer.grants
        self.deadline = outer.deadline

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._context is not None and self._previous is not None:
            restore(self._context, self._previous)
        try:
            self._finish(error)
        except Exception as fault:
            self._runtime.internal("request", fault)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _finish(self, error: BaseException | None) -> None:
        runtime = self._runtime
        error_type = None
        if error is None:
            self.outcome = _seen(self._decisions)
        else:
            ended = runtime.ending(error)
            self.outcome, error_type = ended.outcome, ended.error_type
        took = self.latency_s = runtime.now() - self._began
        if not runtime.enabled:
            return
        runtime.ended(self)
        if self._span is not None:
            runtime.recorder.end_request(
                self._span,
                self,
                error_type=error_type,
                duration_s=took,
                end_ns=self._began_ns + int(took * 1e9),
            )


def _seen(decisions: list[Decision]) -> Outcome:
    """What the user saw of a request that ended without an error.

    The last model call speaks for the request. An answer beside calls that were denied, failed or
    replaced is a degraded answer.
    """
    if not decisions:
        return Outcome.ANSWERED
    last = next((d for d in reversed(decisions) if d.kind == "llm"), decisions[-1])
    if last.outcome is Outcome.ANSWERED and any(
        d.outcome in _SEVERITY[1:] for d in decisions if d is not last
    ):
        return Outcome.DEGRADED
    return last.outcome
