"""One try at a call, as a plain `with` block, the same in sync and async code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.context import Context

from firedoor.config import Tier
from firedoor.core.flow import Try
from firedoor.records import Decision
from firedoor.shell.current import Entered, attach, get_current, restore
from firedoor.shell.streams import is_value, proxy_for, reads_at_once
from firedoor.shell.waiting import at_most
from firedoor.types import Usage

if TYPE_CHECKING:
    from firedoor.core.breaker_values import Permit
    from firedoor.core.limiter import Ticket
    from firedoor.shell.breakers import LiveBreaker
    from firedoor.shell.call import Call
    from firedoor.shell.limiters import LiveLimiter
    from firedoor.shell.workers import Job

__all__ = ["NOTHING", "Attempt"]

NOTHING: Any = object()
"""The result of a block that recorded none."""

_ONLY = Try(0, Tier("only"), None, None)


class Attempt:
    """One try, as a `with` block: what the block form and `fd.current_attempt()` hand out.

    Attributes:
        model: The model to call: the alias asked for, after switches and tiers.
        number: 1 for the first attempt of the call.
        tier: Which step of the ladder, counted from 0.
        timeout: Seconds this attempt may take, or None.
        first_token_within: Seconds a stream may take to its first content, or None.
        idle_within: Seconds a stream may pause, or None.
        began: When it began, on the door's clock.
        line: Its place in the ledger once it has ended.
        charged: What each budget was charged for it.
        unseen: Of an answer that came whole and that a policy kept, or never got to the end of: its
            tokens as the provider told them, and the UTF-8 bytes of its text, if it has any.
    """

    __slots__ = (
        "_call",
        "_handed",
        "_own",
        "_previous",
        "_result",
        "began",
        "charged",
        "clean_model",
        "first_token_s",
        "first_token_within",
        "idle_within",
        "line",
        "model",
        "number",
        "permit",
        "ticket",
        "tier",
        "timeout",
        "unseen",
    )

    def __init__(
        self,
        call: Call,
        model: str | None,
        step: Try = _ONLY,
        number: int = 1,
        began: float = 0.0,
    ) -> None:
        self._call = call
        self.model: Any = model
        self.number = number
        self.tier = step.index
        self.timeout = step.timeout
        self.first_token_within = step.first_token
        self.idle_within = step.tier.idle
        self.first_token_s: float | None = None
        self.began = began
        self.line: int | None = None
        self.charged: list[int] | None = None
        self.unseen: tuple[Usage | None, int | None] | None = None
        self.clean_model: str | None = None
        self.permit: tuple[LiveBreaker, Permit] | None = None
        self.ticket: tuple[LiveLimiter, Ticket] | None = None
        self._handed = False
        self._result = NOTHING
        self._own: Entered | None = None
        self._previous: Context | None = None

    @property
    def decision(self) -> Decision | None:
        """The call's decision once it has ended; None before."""
        return self._call.decision

    @property
    def finished(self) -> bool:
        """Whether the call has ended."""
        return self._call.finished

    @property
    def busy(self) -> bool:
        """Whether it runs, or what it began goes on after it."""
        return self._previous is not None or self._handed

    @property
    def entered(self) -> bool:
        """Whether its block was ever entered."""
        return self.busy or self.line is not None or self.finished

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the model and timeout the function declares, and its depth capped."""
        call = self._call
        binding = call.binding
        if binding is None:
            return args, kwargs
        if self.model is not None:
            moved = self.tier > 0 or call.switched is not None
            args, kwargs = binding.routed(self.model, args, kwargs, moved=moved)
        plan = call.route.plan
        if plan is not None and (plan.adapts or binding.accepts_retries) and plan.named:
            if binding.accepts_retries and "max_retries" not in kwargs:
                kwargs = {**kwargs, "max_retries": 0}  # one layer of retries, and it is ours
            tier = plan.tiers[self.tier]
            if isinstance(tier, Tier) and tier.adapt is not None:
                kwargs = tier.adapt(dict(kwargs))
        if self.timeout is not None and binding.accepts_timeout:
            given = binding.value("timeout", args, kwargs)
            limit = at_most(self.timeout, given)
            if limit is not given:
                args, kwargs = binding.replaced("timeout", limit, args, kwargs)
        if call.depth is not None and call.route.depth is not None:
            given = binding.value(call.route.depth, args, kwargs)
            if not isinstance(given, int) or given > call.depth:
                args, kwargs = binding.replaced(call.route.depth, call.depth, args, kwargs)
        return args, kwargs

    @property
    def answer_within(self) -> float | None:
        """Seconds until the guarded function must have returned.

        A route that has returned a stream before is expected to do so again: what it returns then
        cannot have content in time if it comes after that time.
        """
        first = self.first_token_within
        if first is None or not self._call.route.streams:
            return self.timeout
        return first if self.timeout is None else min(first, self.timeout)

    def enter_context(self) -> Entered:
        """The context the guarded code runs in: its span and this attempt are current."""
        own = self._own
        if own is None:
            own = self._own = self._call.context(self)
        return own

    def again(self) -> Self:
        """Ready to be entered once more, for a value that was returned before it was there."""
        self._handed = False
        return self

    def __enter__(self) -> Self:
        self._previous = get_current()
        own = self._own
        if own is None:
            own = self._own = self._call.context(self)
        attach(own)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        own, previous = self._own, self._previous
        if own is not None and previous is not None:
            restore(own, previous)
        # The context leads back here: dropped, so that no circle is left to the collector.
        self._own = self._previous = None
        if error is not None:
            return self._call.attempt_failed(self, error)
        if not self._handed:
            self._call.succeed(self._result, self)
        return False

    def came_late(self, job: Job) -> None:
        """What was given up has ended in its thread."""
        if job.error is None and self._call.ladder is not None:
            self._call.ladder.late(self, job.value)

    def hand_over(self) -> None:
        """What this attempt began goes on after its block: the call ends elsewhere."""
        self._handed = True

    def give_up(self, error: BaseException) -> None:
        """End the call with `error`, whatever else there might have been to try."""
        self._call.fail(error, self)

    def record(self, result: Any) -> Any:
        """Tell what the provider answered, in the block form; returns it.

        A stream comes back as a proxy: read that one, so that it is timed and told of. The call
        then ends with the stream, even after the block.

        Raises:
            PolicyBlocked: If an output policy refuses it.
        """
        call = self._call
        if call.finished and call.decision is None:  # of a door that is turned off
            return result
        return self.take(self.screened(result))

    def screened(self, result: Any) -> Any:
        """A value as the route's output policies let it through; streams are screened as read."""
        screens = self._call.route.screens
        if screens is None or not is_value(result):
            return result
        try:
            return screens.leave(self._call, result)
        except BaseException as error:  # refused, or interrupted
            self._call.withheld(self, error, result)
            raise

    async def ascreened(self, result: Any) -> Any:
        """As `screened`, for async functions."""
        screens = self._call.route.screens
        if screens is None:
            return result
        if not is_value(result):
            if reads_at_once(result):
                await screens.ajoin(self._call)
            return result
        try:
            return await screens.aleave(self._call, result)
        except BaseException as error:  # refused, or cancelled
            self._call.withheld(self, error, result)
            raise

    def take(self, result: Any, restart: Callable[..., Any] | None = None, *given: Any) -> Any:
        """Keep `result` for the record, or put a watching proxy around a stream.

        Args:
            result: What the guarded code returned.
            restart: Called with `given` and another attempt, makes the stream of that attempt, for
                one that breaks before its first content. None: what broke cannot be begun again.
            given: See `restart`.
        """
        try:
            if is_value(result):
                self._result = result
                return result
            again = None if restart is None else partial(restart, *given)
            proxy = proxy_for(result, self._call, self, again)
        except Exception as error:
            self._call.runtime.internal("stream", error)
            proxy = None
        if proxy is None:
            self._result = result
            return result
        self.hand_over()
        return proxy
