"""One use of a route: opened once, finished exactly once, whatever happens in between.

A call is iterated for its attempts; an attempt is a plain `with` block in sync and async code
alike, and settles without waiting. Everything between the seams (`internal`) may fail without the
guarded function noticing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.context import Context

from firedoor.core.flow import Pause, Serve, Try
from firedoor.core.prices import Estimate
from firedoor.core.snapshot import Resolution
from firedoor.core.switches import Switch
from firedoor.errors import Denied
from firedoor.extraction import Extract, parameters
from firedoor.extraction.faults import was_rejected
from firedoor.records import Decision, OpenDecision
from firedoor.shell.attempt import NOTHING, Attempt
from firedoor.shell.canned import respond
from firedoor.shell.captured import captured
from firedoor.shell.costs import in_all, presumed, priced
from firedoor.shell.current import get_current
from firedoor.shell.endings import LOST, TRUNCATED, Ending
from firedoor.shell.ladder import Ladder
from firedoor.shell.loops import check_loop, is_repeated
from firedoor.shell.purse import Purse
from firedoor.shell.reading import fill, read
from firedoor.shell.route import ROUTED, Binding, Route
from firedoor.shell.scope import ATTEMPT_KEY, REQUEST_KEY, SPAN_KEY, new_id
from firedoor.shell.switched import refusal, shed
from firedoor.shell.watch import BrokenStreamError
from firedoor.types import CostCertainty, Outcome, RouteKind, Usage, Verdict, VerdictStatus

__all__ = ["Call"]

_REPLIES = (Outcome.ANSWERED, Outcome.CANNED, Outcome.REFUSED)


class Call:
    """The life of one call. Its attempts are its iteration, sync or async."""

    __slots__ = (
        "__weakref__",
        "_begun",
        "_open",
        "arguments",
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
        self.given: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})
        self._begun = False
        self._open = [True]  # taken by whoever finishes first: list.pop is atomic
        previous = self.previous = get_current()
        request: Any = previous.get(REQUEST_KEY)
        self.request = request
        record = self.record = OpenDecision()
        record.__dict__.update(route.template)
        name = record.id = new_id()
        self.started_ns = runtime.time_ns()
        record.time = self.started_ns / 1e9
        if request is not None:
            record.request_id = request.id
            record.journey = request.journey
            record.user = request.user
            record.tenant = request.tenant
            record.synthetic = request.synthetic
        else:
            record.request_id = name
        alias = route.alias
        if binding is not None and binding.accepts_model:
            asked = named.get("model", ROUTED)
            if isinstance(asked, str) and asked != ROUTED:
                alias = asked
            elif alias is None:
                alias = binding.default_model
        self.model = alias
        self.ladder: Ladder | None = None
        if alias is not None:
            record.alias = record.model = (
                route.clean_alias if alias is route.alias else runtime.clean(alias, self.found)
            )
        self.beside: Any = None
        self.said: Any = None
        self.depth: int | None = None
        self.refusal: Denied | None = None
        self.switched: Resolution | None = None
        self.board = runtime.switches.snapshot
        if route.prompt is not None or not self.board.empty:
            self._switch()
        if named:
            self._note_arguments(named)
        self.arguments = named
        self.written: int | None = None
        self.purse: Purse | None = None
        if route.rules:
            self._open_purse(named if binding is not None else None)
        if runtime.loops is not None or route.max_calls is not None:
            self._check_loop(named)
        if binding is not None and route.kind is RouteKind.TOOL:
            try:
                if is_repeated(request, runtime.loops, route.id, named):
                    record.repeated = True
            except Exception as error:
                runtime.internal("loop", error)
        try:
            span = self.span = runtime.recorder.start_call(record, self.started_ns)
            identity = span.get_span_context()
            if identity.is_valid:
                record.trace_id = f"{identity.trace_id:032x}"
                record.span_id = f"{identity.span_id:016x}"
        except Exception as error:
            runtime.internal("telemetry", error)
        self.started = runtime.now()
        deadline = request.deadline if request is not None else None
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
        call.model = route.alias
        call.ladder = None
        call.beside = None
        call.said = None
        call.depth = None
        call.refusal = None
        call.arguments = {}
        call.written = None
        call.purse = None
        call.switched = None
        call.board = call.runtime.switches.snapshot
        call.previous = get_current()
        call._begun = False
        call._open = []
        return call

    def _switch(self) -> None:
        """Take what the switches say of this call, and keep it to its end."""
        runtime, route, record = self.runtime, self.route, self.record
        try:
            found = runtime.switches.resolve(
                route.id, alias=self.model, journey=record.journey, prompt=route.prompt
            )
            if route.prompt is not None and route.prompt in runtime.prompts.names():
                record.prompt_revision = runtime.clean(runtime.prompts.get(route.prompt).revision)
            if found is not None and found.shed is not None:
                found = shed(found, record.request_id)
            if found is None or not found.applied:
                return
            self.switched = found
            record.switches = tuple([runtime.clean(name) for name in found.switches])
            if found.prompt_revision is not None:
                record.prompt_revision = runtime.clean(found.prompt_revision)
            self.depth = found.depth
            self.refusal = refusal(found, route, record.time)
            if found.model is not None and found.model != self.model:
                self.model = found.model
                record.model = runtime.clean(found.model)
        except Exception as error:
            runtime.internal("switches", error)

    def _note_arguments(self, named: Mapping[str, Any]) -> None:
        runtime = self.runtime
        try:
            kept = parameters(named)
            if kept:
                self.record.parameters = {
                    k: runtime.clean(v, self.found) if isinstance(v, str) else v
                    for k, v in kept.items()
                }
            if runtime.capture == "redacted":
                self.record.input_text = captured(named, runtime.redactor, self.found)
        except Exception as error:
            runtime.internal("arguments", error)

    def _open_purse(self, arguments: Mapping[str, Any] | None) -> None:
        """What the call may spend of the budgets that bind it."""
        runtime = self.runtime
        if runtime.budgets is None:
            return
        purse = self.purse = Purse(runtime.budgets, self, self.route.rules)
        plan = self.route.plan
        if plan is not None and plan.hedge is not None:
            purse.hedged(plan.hedge.max_extra)
        if arguments is not None:
            purse.sees(arguments)

    def _check_loop(self, arguments: Mapping[str, Any]) -> None:
        """Refuse a call of a request that goes round in circles."""
        runtime, route = self.runtime, self.route
        try:
            denied = check_loop(
                self.request,
                runtime.loops,
                route.max_calls,
                route=route.id,
                tool=route.kind is RouteKind.TOOL,
                arguments=arguments,
                now=runtime.now(),
            )
        except Exception as error:
            runtime.internal("loop", error)
            return
        if denied is None:
            return
        shadow = not runtime.enforce
        self.record.verdicts += (
            Verdict(denied.gate, VerdictStatus.BLOCKED, reason="BudgetExceeded", shadow=shadow),
        )
        if not shadow and self.refusal is None:
            self.refusal = denied

    def context(self, attempt: Attempt) -> Context:
        """The context the guarded code runs in: the call's span and `attempt` are current."""
        if self.span is None:
            return Context({**self.previous, ATTEMPT_KEY: attempt})
        return Context({**self.previous, SPAN_KEY: self.span, ATTEMPT_KEY: attempt})

    # Attempts ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Attempt]:
        return self

    def __next__(self) -> Attempt:
        ladder = self.ladder
        if ladder is None:
            return self._only()
        try:
            while (step := self._climb()) is not None:
                if isinstance(step, Pause):
                    self.runtime.clock.sleep(step.seconds)
                elif (attempt := self._attempt(step)) is not None:
                    if self.purse is not None and not self._funded(attempt):
                        continue
                    live = ladder.limiter(attempt)
                    if live is None or ladder.seated(
                        attempt,
                        live,
                        live.acquire(
                            self.runtime.now(),
                            journey=self.record.journey,
                            deadline=ladder.deadline,
                        ),
                    ):
                        return attempt
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
                elif (attempt := self._attempt(step)) is not None:
                    if self.purse is not None and not await self._afunded(attempt):
                        continue
                    live = ladder.limiter(attempt)
                    if live is None or ladder.seated(
                        attempt,
                        live,
                        await live.acquire_async(
                            self.runtime.now(),
                            journey=self.record.journey,
                            deadline=ladder.deadline,
                        ),
                    ):
                        return attempt
        except BaseException as error:
            ladder.withdraw()
            self.fail(error)
            raise
        if self.ladder is None and not self._begun:
            return self._only()
        raise StopAsyncIteration

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
        if self.refusal is not None:
            self.fail(self.refusal)
            raise self.refusal
        if self._begun:
            raise StopIteration
        self._begun = True
        return Attempt(self, self.model)

    def _climb(self) -> Try | Pause | None:
        """The next step down the ladder; None if there is nothing more to try."""
        ladder = self.ladder
        if ladder is None or not self._open or ladder.standing:
            return None
        if self.refusal is not None:
            self.fail(self.refusal)
            raise self.refusal
        try:
            step = ladder.step()
        except Exception as error:
            if isinstance(error, Denied) or error is ladder.error:
                self.fail(error)
                raise
            # Ours, then: the call goes on as one that has no ladder.
            self.runtime.internal("ladder", error)
            self.ladder = None
            return None
        return None if isinstance(step, Serve) else step

    def _attempt(self, step: Try) -> Attempt | None:
        """The attempt of a step, if its gates let it run; they never wait."""
        ladder = self.ladder
        if ladder is None:
            return None
        attempt = self.attempt_of(step)
        try:
            if not ladder.admit(attempt):
                return None
        except Exception as error:
            # A gate that breaks lets the call through, and is counted.
            self.runtime.internal("gates", error)
            ladder.standing, ladder.current = True, attempt
        if attempt.model is not None:
            self.record.model = attempt.clean_model = self.runtime.clean(attempt.model, self.found)
        self.record.tier = step.index
        return attempt

    def attempt_of(self, step: Try) -> Attempt:
        """The attempt of a step; no gate has been asked."""
        plan = self.route.plan
        model = self.model if plan is None or not plan.named else step.tier.model
        attempt = Attempt(self, model, step.number, tier=step.index, timeout=step.timeout)
        attempt.first_token_within = step.first_token
        attempt.idle_within = step.tier.idle
        return attempt

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

    # Endings -------------------------------------------------------------------------------

    def succeed(self, result: Any, attempt: Attempt | None = None) -> None:
        """The guarded code returned `result` (or nothing was recorded in the block)."""
        if not self._open:
            return
        ended = self.runtime.now()
        record = self.record
        record.outcome = Outcome.ANSWERED
        if result is not NOTHING:
            try:
                read(self, result)
            except Exception as error:
                record.notes = (*record.notes, "the result could not be read")
                self.runtime.internal("extraction", error)
        self._note(attempt, None, ended)
        self._finish(ended)

    def attempt_failed(self, attempt: Attempt, error: BaseException) -> bool:
        """An attempt raised; whether the call goes on to another one or a safe response.

        If it does not, the call is finished, and the error is the application's to see.
        """
        ladder = self.ladder
        if ladder is None or not self._open:
            self.fail(error)
            return False
        try:
            if ladder.failed(attempt, error, self.runtime.ending(error)):
                return True
            ladder.tell(error)
        except Exception as fault:
            self.runtime.internal("ladder", fault)
        self.fail(error)
        return False

    def stream_failed(self, attempt: Attempt, error: BaseException) -> bool:
        """A stream broke before its first content; whether another attempt may begin one."""
        ladder = self.ladder
        if ladder is None or not self._open:
            return False
        try:
            return ladder.failed(attempt, error, self.broken(error))
        except Exception as fault:
            self.runtime.internal("ladder", fault)
            return False

    def stream_switched_off(self, attempt: Attempt, ending: Ending) -> bool:
        """A switch ended a stream before its first content; whether to answer the safe response."""
        ladder = self.ladder
        if ladder is None or not self._open:
            return False
        try:
            return ladder.switched_off(attempt, ending)
        except Exception as fault:
            self.runtime.internal("ladder", fault)
            return False

    def broken(self, error: BaseException) -> Ending:
        """What the break of a stream says of the attempt."""
        if isinstance(error, BrokenStreamError):
            return TRUNCATED
        return self.runtime.ending(error, streaming=True)

    def switched_by(self, switches: Sequence[Switch]) -> None:
        """Note the switches that chose or turned off the model of an attempt."""
        for switch in switches:
            name = self.runtime.clean(switch.id)
            if name not in self.record.switches:
                self.record.switches += (name,)

    def interrupted(self, switch: Switch) -> None:
        """A switch that was set while the call ran changes how it ends."""
        name = self.runtime.clean(switch.id)
        self.record.switches += (name,)
        self.record.verdicts += (
            Verdict(f"switch:{name}", VerdictStatus.BLOCKED, reason=str(switch.in_flight)),
        )

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
        self.record.outcome = Outcome.CANNED
        self.record.tier = ladder.served.index
        self.record.fault = ladder.blame()
        stopped = ladder.denied or ladder.error
        if stopped is not None:
            self.record.retry_after_s = self.runtime.retry_after(stopped)
        self._finish(self.runtime.now())
        return value

    def fail(self, error: BaseException) -> None:
        """The guarded code, or a gate of ours, raised."""
        if not self._open:
            return
        ended = self.runtime.now()
        self._apply(self.runtime.ending(error))
        self.record.retry_after_s = self.runtime.retry_after(error)
        self._finish(ended)
        if isinstance(error, Denied) and error.decision is None:
            error.decision = self.decision

    def end_stream(
        self,
        extract: Extract | None,
        attempt: Attempt,
        *,
        ending: Ending | None,
        chunks: int,
        first: float | None,
        gap: float | None,
        early: bool = False,
    ) -> None:
        """A stream is over: read to its end (`ending` None), broken, cancelled or left.

        `early` if we ended it, in good order: what the user has is part of an answer.
        """
        ended = self.runtime.now()
        record = self.record
        record.outcome = Outcome.ANSWERED
        record.chunks = chunks
        record.idle_gap_s = gap
        if first is not None:
            record.first_token_s = first - self.started
            attempt.first_token_s = first - (attempt.began or self.started)
        if extract is not None:
            try:
                fill(self, extract)
            except Exception as error:
                record.notes = (*record.notes, "the stream could not be read")
                self.runtime.internal("extraction", error)
        complete = extract.complete if extract is not None else None
        if ending is not None and not (ending.outcome is Outcome.ABANDONED and complete):
            record.truncated = (early or ending.outcome is Outcome.FAILED) and chunks > 0
            self._apply(ending)
            if early:
                record.outcome = Outcome.DEGRADED
                record.degraded = True
        elif complete is False:
            record.truncated = True
            ending = TRUNCATED
            self._apply(ending)
        self._note(attempt, ending, ended)
        self._finish(ended)

    def _note(self, attempt: Attempt | None, ending: Ending | None, now: float) -> None:
        """Write the attempt that ended the call into the ledger, once."""
        ladder = self.ladder
        if ladder is not None and attempt is not None and attempt is ladder.current:
            try:
                ladder.note(attempt, ending, now, usage=self.record.usage)
            except Exception as error:
                self.runtime.internal("ladder", error)

    def _apply(self, ending: Ending) -> None:
        record = self.record
        record.outcome = ending.outcome
        record.fault = ending.fault
        record.error_type = ending.error_type
        record.error_fingerprint = ending.fingerprint
        if record.chunks is not None:
            # The stream did not end as a provider ends one; what it said before is not the end.
            record.finish_reasons = ("error",)

    def _finish(self, ended: float) -> None:
        try:
            self._open.pop()
        except IndexError:
            return
        runtime = self.runtime
        record = self.record
        record.latency_s = ended - self.started
        if self.purse is not None or record.usage is not None:
            self._close_purse()
        if self.found:
            record.redactions = self.found
        if record.verdicts and record.outcome is Outcome.ANSWERED and _altered(record.verdicts):
            record.outcome = Outcome.DEGRADED
            record.degraded = True
        ladder = self.ladder
        if ladder is not None:
            record.attempts = tuple(ladder.ledger)
            if record.tier > 0 and record.outcome in _REPLIES:
                record.degraded = True
                if record.outcome is Outcome.ANSWERED:
                    record.outcome = Outcome.DEGRADED
        if runtime.incident_of is not None:
            try:
                record.incident_id = runtime.incident_of(record.journey, record.route)
            except Exception as error:
                runtime.internal("monitor", error)
        decision = self.decision = record.freeze()
        if self.span is not None:
            try:
                runtime.recorder.end_call(
                    decision, self.span, self.started_ns + int(decision.latency_s * 1e9)
                )
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

    def account(
        self, attempt: Attempt, usage: Usage | None, *, well: bool, error: BaseException | None
    ) -> tuple[float | None, CostCertainty]:
        """Charge an attempt that is over to the budgets; what it cost in US dollars.

        Args:
            attempt: The attempt.
            usage: What it told of its tokens.
            well: It came to its end.
            error: What it raised.
        """
        purse = self.purse
        free = False
        estimate = None
        if purse is not None:
            # A provider that answers with an error status, before anything came, has billed nothing.
            free = error is not None and attempt.first_token_s is None and was_rejected(error)
            estimate = purse.estimate(attempt.tier, attempt.model)
            if not free:
                usage = presumed(usage, estimate, self.written, well=well)
        micro, certainty = self._priced(attempt.model, usage, estimate)
        if free and estimate is not None and estimate.price is not None:
            micro, certainty = 0, CostCertainty.EXACT
        if purse is not None:
            purse.charge(attempt, usage, micro, free=free)
        return None if micro is None else micro / 1e6, certainty

    def came_late(self, attempt: Attempt, usage: Usage) -> None:
        """An attempt that was given up has told what it used, after the end of the call."""
        if self.purse is not None:
            estimate = self.purse.estimate(attempt.tier, attempt.model)
            micro, _ = self._priced(attempt.model, usage, estimate)
            self.purse.late(attempt, usage, micro)

    def _priced(
        self, model: str | None, usage: Usage | None, estimate: Estimate | None
    ) -> tuple[int | None, CostCertainty]:
        if usage is None or self.route.kind is not RouteKind.LLM:
            return None, CostCertainty.UNKNOWN
        prices = self.runtime.prices
        price = None if estimate is None else estimate.price
        return priced(usage, price or prices.known(model or self.record.response_model), estimate)

    def cost_of(self, model: str | None, usage: Usage) -> tuple[float | None, CostCertainty]:
        """What so many tokens cost in US dollars."""
        micro, certainty = self._priced(model, usage, None)
        return None if micro is None else micro / 1e6, certainty

    def _close_purse(self) -> None:
        """Settle what the call held, and write down what it cost in all."""
        record, runtime, ladder = self.record, self.runtime, self.ladder
        try:
            if ladder is None:
                micro, certainty = self._priced(self.model, record.usage, None)
                cost = None if micro is None else micro / 1e6
            else:
                if self.purse is not None and ladder.current is not None:
                    ladder.note(ladder.current, LOST, runtime.now())
                cost, certainty = in_all(ladder.costs)
            record.cost_usd, record.cost_certainty = cost, certainty
            if self.purse is not None:
                state = self.purse.state
                record.budget = None if state is None else str(state)
                self.purse.close()
            request = self.request
            while request is not None and cost:
                if request.loops is not None:
                    request.loops.spent(int(cost * 1e6), runtime.now())
                request = request.parent
        except Exception as error:
            runtime.internal("budget", error)

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
