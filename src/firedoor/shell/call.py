"""One use of a route: opened once, finished exactly once, whatever happens in between.

A call is iterated for its attempts; an attempt is a plain `with` block in sync and async code
alike, and settles without waiting. Everything between the seams (`internal`) may fail without the
guarded function noticing.

What a call takes in as it begins is in `beginning`, its way down the tiers in `ladder`, how a
stream of it ends in `streamed`, what it costs in `charges`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from firedoor.core.flow import Pause
from firedoor.core.snapshot import Resolution
from firedoor.errors import Denied, PolicyBlocked
from firedoor.records import Decision, OpenDecision
from firedoor.shell.around import ajudged, judged, unjudged
from firedoor.shell.attempt import NOTHING, Attempt
from firedoor.shell.beginning import (
    check_circles,
    follow_switches,
    note_arguments,
    open_purse,
)
from firedoor.shell.canned import respond
from firedoor.shell.charges import close
from firedoor.shell.current import Entered, get_current
from firedoor.shell.endings import Ending
from firedoor.shell.ladder import Ladder
from firedoor.shell.purse import Purse
from firedoor.shell.reading import read
from firedoor.shell.route import ROUTED, Binding, Route
from firedoor.shell.scope import ATTEMPT_KEY, REQUEST_KEY, SPAN_KEY, new_id
from firedoor.types import Outcome, RouteKind, Verdict, VerdictStatus

__all__ = ["Call"]

# Looked up once: an enumeration's members are found by its metaclass, at four times the price.
_ANSWERED, _DEGRADED, _CANNED = Outcome.ANSWERED, Outcome.DEGRADED, Outcome.CANNED
_REPLIES = (Outcome.ANSWERED, Outcome.CANNED, Outcome.REFUSED)
_LLM, _TOOL = RouteKind.LLM, RouteKind.TOOL
_NOTHING_GIVEN: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})


class Call:
    """The life of one call. Its attempts are its iteration, sync or async."""

    __slots__ = (
        "__weakref__",
        "_begun",
        "_open",
        "arguments",
        "around",
        "beside",
        "binding",
        "board",
        "decision",
        "depth",
        "found",
        "given",
        "ladder",
        "model",
        "previous",
        "purse",
        "record",
        "refusal",
        "request",
        "route",
        "runtime",
        "said",
        "span",
        "started",
        "started_ns",
        "switched",
        "written",
    )

    def __init__(self, route: Route, named: Mapping[str, Any], binding: Binding | None) -> None:
        runtime = self.runtime = route.runtime
        self.route = route
        self.binding = binding
        self.decision: Decision | None = None
        self.span: Any = None
        self.found: dict[str, int] = {}
        self.given: tuple[tuple[Any, ...], Mapping[str, Any]] = _NOTHING_GIVEN
        self.beside: Any = None
        self.said: Any = None
        self.depth: int | None = None
        self.refusal: Denied | None = None
        self.switched: Resolution | None = None
        self.arguments = named
        self.written: int | None = None
        self.purse: Purse | None = None
        self.ladder: Ladder | None = None
        self._begun = False
        self._open = [True]  # taken by whoever finishes first: list.pop is atomic
        previous = self.previous = get_current()
        self.around: tuple[Call, ...] = unjudged(previous) if route.kind is _TOOL else ()
        request: Any = previous.get(REQUEST_KEY)
        self.request = request
        record = self.record = OpenDecision()
        record.__dict__.update(route.template)
        record.id = record.request_id = new_id()
        self.started_ns = started_ns = runtime.time_ns()
        record.time = started_ns / 1e9
        deadline = None
        if request is not None:
            record.request_id = request.id
            record.journey = request.journey
            record.user = request.user
            record.tenant = request.tenant
            record.synthetic = request.synthetic
            deadline = request.deadline
        alias = route.alias
        if binding is not None and (binding.accepts_model or "model" in named):
            asked = named.get("model", ROUTED) if named else ROUTED
            if isinstance(asked, str) and asked != ROUTED:
                alias = asked
            elif alias is None:
                alias = binding.default_model
        self.model = alias
        if alias is not None:
            record.alias = record.model = self.cleaned(alias)
        board = self.board = runtime.switches.snapshot
        if not board.empty or route.prompt is not None:
            follow_switches(self)
        if named:
            note_arguments(self, named)
        if route.rules:
            self.purse = open_purse(self, named if binding is not None else None)
        if request is not None and (
            route.kind is _TOOL or runtime.loops is not None or route.max_calls is not None
        ):
            check_circles(self, named)
        try:
            recorder = runtime.recorder
            # Without a span around it, and nothing that makes them, there is none to be had.
            if SPAN_KEY in previous or recorder.traces:
                span = self.span = recorder.start_call(record, started_ns)
                identity = span.get_span_context()
                if identity.is_valid:
                    record.trace_id = f"{identity.trace_id:032x}"
                    record.span_id = f"{identity.span_id:016x}"
        except Exception as error:
            runtime.internal("telemetry", error)
        self.started = runtime.now()
        if route.plan is not None or deadline is not None:
            self.ladder = Ladder(self, route.plan or route.single(alias), deadline, self.switched)

    @classmethod
    def open(cls, route: Route, named: Mapping[str, Any], binding: Binding | None) -> Call | None:
        """A call, or None where firedoor itself failed: the function then runs unguarded."""
        try:
            return cls(route, named, binding)
        except Denied:
            raise
        except Exception as error:
            route.runtime.internal("enter", error)
            return None

    @classmethod
    def blank(cls, route: Route) -> Call:
        """A call that records nothing, so that a block works even where firedoor does not."""
        call = cls.__new__(cls)
        call.route = route
        call.runtime = route.runtime
        call.binding = None
        call.decision = None
        call.span = None
        call.given = _NOTHING_GIVEN
        call.model = route.alias
        call.ladder = None
        call.beside = None
        call.said = None
        call.depth = None
        call.refusal = None
        call.arguments = {}
        call.around = ()
        call.written = None
        call.purse = None
        call.switched = None
        call.board = call.runtime.switches.snapshot
        call.previous = get_current()
        call._begun = False
        call._open = []
        return call

    def context(self, attempt: Attempt) -> Entered:
        """The context the guarded code runs in: the call's span and `attempt` are current."""
        if self.span is None:
            return Entered({**self.previous, ATTEMPT_KEY: attempt})
        return Entered({**self.previous, SPAN_KEY: self.span, ATTEMPT_KEY: attempt})

    def cleaned(self, name: str) -> str:
        """A model's name as it may leave the process."""
        known = self.route.clean_names.get(name)
        return self.runtime.clean(name, self.found) if known is None else known

    # Attempts ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        if self.around:
            try:
                judged(self.around)
            except BaseException as error:
                self.fail(error)
                raise
            self.around = ()
        ladder = self.ladder
        if ladder is None:
            return self._only()
        try:
            while (step := self._climb()) is not None:
                if isinstance(step, Pause):
                    self.runtime.clock.sleep(step.seconds)
                elif (self.purse is None or self._funded(step)) and (
                    not ladder.queues
                    or (live := ladder.limiter(step)) is None
                    or ladder.seated(
                        step,
                        live,
                        live.acquire(
                            self.runtime.now(),
                            journey=self.record.journey,
                            deadline=ladder.deadline,
                        ),
                    )
                ):
                    return step
        except BaseException as error:
            ladder.withdraw()
            self.fail(error)  # cancelled while it waited, if it has not failed already
            raise
        if self.ladder is None:
            return self._only()
        raise StopIteration

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return self

    async def __anext__(self) -> Attempt:
        if self.around:
            try:
                await ajudged(self.around)
            except BaseException as error:
                self.fail(error)
                raise
            self.around = ()
        ladder = self.ladder
        if ladder is None:
            try:
                return self._only()
            except StopIteration:
                raise StopAsyncIteration from None
        try:
            while (step := self._climb()) is not None:
                if isinstance(step, Pause):
                    await self.runtime.clock.asleep(step.seconds)
                elif (self.purse is None or await self._afunded(step)) and (
                    not ladder.queues
                    or (live := ladder.limiter(step)) is None
                    or ladder.seated(
                        step,
                        live,
                        await live.acquire_async(
                            self.runtime.now(),
                            journey=self.record.journey,
                            deadline=ladder.deadline,
                        ),
                    )
                ):
                    return step
        except BaseException as error:
            ladder.withdraw()
            self.fail(error)
            raise
        if self.ladder is None and not self._begun:
            return self._only()
        raise StopAsyncIteration

    @property
    def may_wait(self) -> bool:
        """Whether a gate may have to wait before an attempt runs."""
        if self.around:
            return True
        ladder, purse = self.ladder, self.purse
        if ladder is None:
            return False
        plan = self.route.plan
        return (plan is not None and plan.limiter) or (purse is not None and purse.may_wait)

    def _funded(self, attempt: Attempt) -> bool:
        """Whether every budget lets the attempt run; what it may cost is held if so."""
        assert self.purse is not None
        try:
            denied = self.purse.reserve(attempt)
        except Exception as error:
            return self._unchecked(error)
        return denied is None or self._unfunded(attempt, denied)

    async def _afunded(self, attempt: Attempt) -> bool:
        """The same, without blocking the event loop."""
        assert self.purse is not None
        try:
            denied = await self.purse.areserve(attempt)
        except Exception as error:
            return self._unchecked(error)
        return denied is None or self._unfunded(attempt, denied)

    def _unchecked(self, error: Exception) -> bool:
        """The gate itself broke: the call goes on, and says that it was not checked."""
        self.runtime.internal("budget", error)
        self.record.verdicts += (Verdict("budget", VerdictStatus.ERRORED, reason="not checked"),)
        return True

    def _unfunded(self, attempt: Attempt, denied: Denied) -> bool:
        ladder = self.ladder
        return ladder is None or ladder.turned_away(attempt, denied)

    def _only(self) -> Attempt:
        if self.refusal is not None and self._open:
            self.fail(self.refusal)
            raise self.refusal
        if self._begun:
            raise StopIteration
        self._begun = True
        return Attempt(self, self.model)

    def _climb(self) -> Attempt | Pause | None:
        """The next attempt down the ladder, or a wait before it; None if there is nothing more."""
        ladder = self.ladder
        if ladder is None or not self._open or ladder.standing:
            return None
        if self.refusal is not None:
            self.fail(self.refusal)
            raise self.refusal
        try:
            return ladder.climb()
        except Exception as error:
            if isinstance(error, Denied) or error is ladder.error:
                self.fail(error)
                raise
            # Ours, then: the call goes on as one that has no ladder.
            self.runtime.internal("ladder", error)
            self.ladder = None
            return None

    def judged(self, verdicts: Sequence[Verdict]) -> None:
        """Write what policies said into the record; their reasons may hold a user's words."""
        clean, found = self.runtime.clean, self.found
        self.record.verdicts += tuple(
            [
                Verdict(
                    clean(v.gate, found),
                    v.status,
                    v.stage,
                    None if v.reason is None else clean(v.reason, found),
                    tuple([clean(label, found) for label in v.labels]),
                    v.shadow,
                )
                for v in verdicts
            ]
        )

    def withheld(self, attempt: Attempt, error: BaseException, result: Any) -> None:
        """The user does not see `result`, which was paid for all the same.

        Args:
            attempt: What answered it.
            error: A policy's refusal, or what ended the call while policies looked at it.
            result: The answer, whole.
        """
        if self.route.kind is not _LLM:
            return
        try:
            found = self.runtime.extractors.extract(result)
        except Exception as fault:
            self.runtime.internal("extraction", fault)
            return
        text = found.text
        attempt.unseen = found.usage, len(text.encode(errors="replace")) if text else None
        if isinstance(error, PolicyBlocked):
            error.usage = found.usage

    # Endings -------------------------------------------------------------------------------

    def succeed(self, result: Any, attempt: Attempt | None = None) -> None:
        """The guarded code returned `result` (or nothing was recorded in the block)."""
        if not self._open:
            return
        ended = self.runtime.now()
        record = self.record
        record.outcome = _ANSWERED
        if result is not NOTHING:
            try:
                read(self, result)
            except Exception as error:
                record.notes = (*record.notes, "the result could not be read")
                self.runtime.internal("extraction", error)
        self.note(attempt, None, ended)
        self.finish(ended)

    def attempt_failed(self, attempt: Attempt, error: BaseException) -> bool:
        """An attempt raised; whether the call goes on to another one or a safe response.

        If it does not, the call is finished, and the error is the application's to see.
        """
        ladder = self.ladder
        if ladder is None or not self._open:
            self.fail(error, attempt)
            return False
        try:
            if ladder.failed(attempt, error, self.runtime.ending(error)):
                return True
            ladder.tell(error)
        except Exception as fault:
            self.runtime.internal("ladder", fault)
        self.fail(error, attempt)
        return False

    def respond(self, *, stream: bool = False) -> Any:
        """The safe response, when the ladder has come down to it; finishes the call.

        Args:
            stream: It must be a stream. Else it is one where the call or the tier says so, or
                where the route has returned one before.
        """
        ladder = self.ladder
        if ladder is None or ladder.served is None:
            raise AssertionError("a call without an attempt")
        args, kwargs = self.given
        canned = ladder.served.tier
        if not stream:
            asked = kwargs.get("stream")
            stream = self.route.streams if canned.stream is None else canned.stream
            stream = asked if isinstance(asked, bool) else stream
        try:
            value = respond(canned, args, kwargs, stream=stream)
        except BaseException as error:
            self.fail(error)
            raise
        self.record.outcome = _CANNED
        self.record.tier = ladder.served.index
        self.record.fault = ladder.blame()
        stopped = ladder.denied or ladder.error
        if stopped is not None:
            self.record.retry_after_s = self.runtime.retry_after(stopped)
        self.finish(self.runtime.now())
        return value

    def fail(self, error: BaseException, attempt: Attempt | None = None) -> None:
        """The guarded code, or a gate of ours, raised: in `attempt`, if one was under way."""
        if not self._open:
            return
        ended = self.runtime.now()
        if attempt is not None and attempt.unseen is not None:
            self.record.usage = attempt.unseen[0]
        self.apply(self.runtime.ending(error))
        self.record.retry_after_s = self.runtime.retry_after(error)
        self.finish(ended)
        if isinstance(error, Denied) and error.decision is None:
            error.decision = self.decision

    def note(self, attempt: Attempt | None, ending: Ending | None, now: float) -> None:
        """Write the attempt that ended the call into the ledger, once."""
        ladder = self.ladder
        if ladder is not None and attempt is not None and attempt is ladder.current:
            try:
                ladder.note(attempt, ending, now, usage=self.record.usage)
            except Exception as error:
                self.runtime.internal("ladder", error)

    def apply(self, ending: Ending) -> None:
        """Write down how the call ended."""
        record = self.record
        record.outcome = ending.outcome
        record.fault = ending.fault
        record.error_type = ending.error_type
        record.error_fingerprint = ending.fingerprint
        if record.chunks is not None:
            # The stream did not end as a provider ends one; what it said before is not the end.
            record.finish_reasons = ("error",)

    def finish(self, ended: float) -> None:
        """Make the decision and tell of it, once: whoever comes second does nothing."""
        try:
            self._open.pop()
        except IndexError:
            return
        runtime = self.runtime
        record = self.record
        record.latency_s = ended - self.started
        if self.beside is not None:
            try:
                self.route.screens.drop(self)  # type: ignore[union-attr]
            except Exception as error:
                runtime.internal("policies", error)
        ladder = self.ladder
        if self.purse is not None or (
            record.usage is not None and (ladder is None or ladder.priced)
        ):
            close(self)
        if self.found:
            record.redactions = self.found
        if record.verdicts and record.outcome is _ANSWERED and _altered(record.verdicts):
            record.outcome = _DEGRADED
            record.degraded = True
        if ladder is not None:
            record.attempts = tuple(ladder.ledger)
            if record.tier > 0 and record.outcome in _REPLIES:
                record.degraded = True
                if record.outcome is _ANSWERED:
                    record.outcome = _DEGRADED
        if runtime.incident_of is not None:
            try:
                record.incident_id = runtime.incident_of(record.journey, record.route)
            except Exception as error:
                runtime.internal("monitor", error)
        decision = self.decision = record.freeze()
        try:
            span = self.span
            ended_ns = None if span is None else self.started_ns + int(record.latency_s * 1e9)
            runtime.recorder.end_call(decision, span, ended_ns)
        except Exception as error:
            runtime.internal("telemetry", error)
        try:
            runtime.publish(decision, self.request)
        except Exception as error:
            runtime.internal("publish", error)
        if runtime.witness is not None:
            try:
                runtime.witness.ended(self, decision)
            except Exception as error:
                runtime.internal("checks", error)
        if ladder is not None and not ladder.expects_late:
            # They lead back here, and to a traceback with every frame of the caller: dropped, so
            # that a call is gone with its last use and no circle is left to the collector.
            self._begun = True
            self.ladder = self.purse = None

    @property
    def finished(self) -> bool:
        """Whether the decision is made."""
        return not self._open


def _altered(verdicts: tuple[Verdict, ...]) -> bool:
    """Whether a policy changed what the user saw."""
    return any(
        v.status is VerdictStatus.REDACTED and not v.shadow and v.stage == "output"
        for v in verdicts
    )
