"""One call's way down its tiers: asks the machine what to do, and keeps the ledger of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firedoor.core.flow import CallFlow, Failure, Pause, Serve, Stop, Try
from firedoor.core.limiter import Shed, Ticket
from firedoor.errors import BudgetExceeded, DeadlineExceeded, Denied
from firedoor.extraction.faults import is_context_overflow, is_retryable, retry_after
from firedoor.records import AttemptRecord
from firedoor.shell.attempt import Attempt
from firedoor.shell.backoff import delay_before
from firedoor.shell.charges import NO_COST, Cost, charge, charge_late, cost_of
from firedoor.shell.endings import LOST, Ending
from firedoor.shell.gates import admit, release
from firedoor.shell.pace import shut
from firedoor.shell.streams import is_value
from firedoor.types import Fault, Outcome, Usage, UsageCertainty, Verdict, VerdictStatus

if TYPE_CHECKING:
    from firedoor.core.snapshot import Resolution
    from firedoor.shell.call import Call
    from firedoor.shell.limiters import LiveLimiter
    from firedoor.shell.plan import Plan

__all__ = ["Ladder"]

_TARGET = Fault.TARGET
_TARGETS = Failure(Fault.TARGET, retryable=True)
_WELL = (Outcome.ANSWERED, None, None)
_record = tuple.__new__
_SOON = 1e-3
_TICK = 0.05


class Ladder:
    """Drives the `CallFlow` of one call for the shell, which does the waiting.

    Attributes:
        served: The canned tier that answers, once it is certain that nothing else will.
        current: The attempt that runs, or None between two.
        standing: An attempt is running, or has ended well: nothing is to be tried now.
        ledger: One record per attempt and per tier skipped, in order.
        queues: A limiter may have to be waited for.
        costs: What each attempt cost in US dollars, and how far that can be trusted.
        priced: The cost of one of them is known.
    """

    __slots__ = (
        "_beaten",
        "_begins",
        "_call",
        "_machine",
        "_made",
        "_plan",
        "costs",
        "current",
        "deadline",
        "denied",
        "error",
        "ledger",
        "priced",
        "queues",
        "served",
        "standing",
    )

    def __init__(
        self, call: Call, plan: Plan, deadline: float | None, switched: Resolution | None
    ) -> None:
        self._call = call
        self._plan = plan
        self.deadline = deadline
        self.queues = plan.limiter
        first = 0
        if switched is not None:
            # Safe mode goes straight to the canned tier; a route without one was refused before.
            safe = switched.safe_mode is not None and plan.canned is not None
            first = len(plan.tiers) - 1 if safe else switched.minimum_tier
        # Most calls end with the attempt they begin with: the machine is made where it is needed.
        best = plan.steps[0]
        plain = not first and deadline is None
        self._begins = best if plain and isinstance(best, Try) else None
        self._machine = None if self._begins else CallFlow(plan.steps, first, deadline)
        self._made = 0
        self.served: Serve | None = None
        self.current: Attempt | None = None
        self.denied: Denied | None = None
        self.error: BaseException | None = None
        self.standing = False
        self.ledger: list[AttemptRecord] = []
        self.costs: list[Cost] = []
        self.priced = False
        self._beaten: list[tuple[Attempt, int]] = []

    @property
    def _flow(self) -> CallFlow:
        """What decides the way down the tiers."""
        flow = self._machine
        if flow is None:
            begun = self._begins is None
            flow = self._machine = CallFlow(self._plan.steps, begun=begun)
        return flow

    def climb(self) -> Attempt | Pause | None:
        """The next attempt that the gates which never wait let run, or how long to wait for it.

        None once a canned tier is to answer.

        Raises:
            Denied: If no tier could be tried: every gate refused, or the time was used up.
            Exception: The provider's own, where one failed and no gate let another tier run.
        """
        call = self._call
        runtime = call.runtime
        now = runtime.now()
        plan = self._plan
        while True:
            step = self._begins
            if step is None:
                told = self._flow.next(now)
                if not isinstance(told, Try):
                    return self._nothing_to_try(told, now)
                step = told
            else:
                self._begins = None
            attempt = self._attempt_of(step, now)
            if plan.gated or not runtime.switches.snapshot.empty:
                try:
                    denied = admit(call, plan, attempt)
                except Exception as error:
                    # A gate that breaks lets the call through, and is counted.
                    runtime.internal("gates", error)
                    denied = None
                if denied is not None:
                    self.refuse(attempt, denied)
                    now = runtime.now()
                    continue
            self._made = made = attempt.number
            if made == 1:
                runtime.retries.attempted(now)
            self.standing = True
            self._runs(attempt)
            return attempt

    def _nothing_to_try(self, step: Pause | Serve | Stop, now: float) -> Pause | None:
        if isinstance(step, Pause):
            return step
        if isinstance(step, Serve):
            self._serves(step)
            return None
        if self.error is not None:
            self.tell(self.error)
            raise self.error
        if self.denied is not None and step.reason != "deadline":
            raise self.denied
        raise self._too_late(now)

    def _attempt_of(self, step: Try, now: float) -> Attempt:
        """The attempt of a step; no gate has been asked."""
        call = self._call
        # A model that the caller asked for takes the place of the first tier's.
        named = self._plan.named and step.index > 0
        model = step.tier.model if named else call.model
        return Attempt(call, model, step, self._made + 1, now)

    def _runs(self, attempt: Attempt) -> None:
        """This is the attempt that the call stands and falls with."""
        self.current = attempt
        call = self._call
        record = call.record
        record.tier = attempt.tier
        if attempt.model is not None:
            record.model = attempt.clean_model = call.cleaned(attempt.model)

    def _too_late(self, now: float) -> DeadlineExceeded:
        late = now - (now if self.deadline is None else self.deadline)
        return DeadlineExceeded(
            f"{self._call.route.id}: the request's deadline passed {late:.3f} s ago, so nothing "
            "more was tried; give door.request a longer deadline= or the route shorter timeouts",
            gate="deadline",
        )

    def hedge(self, first: Attempt) -> Attempt | None:
        """One more attempt beside those that run, on the tier of `first` or a later one.

        None where no gate lets one run, the deadline leaves no time, or the retry budget nothing.
        """
        call = self._call
        runtime = call.runtime
        now = runtime.now()
        index = first.tier
        while True:
            step = self._flow.beside(index, now)
            if step is None:
                return None
            attempt = self._attempt_of(step, now)
            if admit(call, self._plan, attempt) is None and self._seat_now(attempt, now):
                if runtime.retries.take(now):
                    self._made = attempt.number
                    self._flow.ran(step)
                    if attempt.model is not None:
                        attempt.clean_model = call.cleaned(attempt.model)
                    return attempt
                release(attempt, LOST, None, now)
                return None
            release(attempt, LOST, None, now)
            index += 1

    def _seat_now(self, attempt: Attempt, now: float) -> bool:
        """Take a place of the limiter if one is free: a hedge never waits."""
        live = self.limiter(attempt)
        if live is None:
            return True
        load = live.read()
        if load.running >= load.limit:
            return False
        answer = live.acquire(now, journey=self._call.record.journey, deadline=now + _SOON)
        if not isinstance(answer, Ticket):
            return False
        attempt.ticket = (live, answer)
        return True

    def beaten(self, attempt: Attempt, error: BaseException | None = None) -> None:
        """One of several attempts is over and another goes on: it lost, or it failed."""
        runtime = self._call.runtime
        ending = LOST if error is None else runtime.ending(error, streaming=True)
        self.note(attempt, ending, runtime.now(), error)
        if error is None:
            self._beaten.append((attempt, len(self.costs) - 1))

    def won(self, attempt: Attempt) -> None:
        """Of several attempts, this is the one that goes on."""
        self._runs(attempt)

    @property
    def expects_late(self) -> bool:
        """Whether an attempt may still answer after the call has ended."""
        return self._plan.late

    def late(self, attempt: Attempt, value: Any) -> None:
        """An attempt that was given up has answered after all: what it used is paid for."""
        call = self._call
        runtime = call.runtime
        if not is_value(value):
            shut(value)
            return
        try:
            usage = runtime.extractors.extract(value).usage
            if usage is None or attempt.line is None:
                return
            if call.finished:
                runtime.workers.spent(usage)
            else:
                self.ledger[attempt.line] = self.ledger[attempt.line]._replace(usage=usage)
            charge_late(call, attempt, usage)
        except Exception as error:
            runtime.internal("extraction", error)

    def limiter(self, attempt: Attempt) -> LiveLimiter | None:
        """The limiter to wait for, if the route has one."""
        if not self.queues:
            return None
        return self._call.runtime.limiters.find(
            self._call.route.id, attempt.model or self._call.route.name
        )

    def seated(self, attempt: Attempt, live: LiveLimiter, answer: Ticket | Shed) -> bool:
        """Whether the limiter has a place; what is held is given back if not."""
        if isinstance(answer, Ticket):
            attempt.ticket = (live, answer)
            attempt.began = self._call.runtime.now()
            return True
        return self.turned_away(attempt, live.denied(answer))

    def turned_away(self, attempt: Attempt, denied: Denied) -> bool:
        """A gate further in refused: what was given before it is given back; always False."""
        if attempt.permit is not None:
            attempt.permit[0].cancel(attempt.permit[1])
            attempt.permit = None
        return self.refuse(attempt, denied)

    def refuse(self, attempt: Attempt, denied: Denied) -> bool:
        """Note that a gate would not let the tier run, and go on to the next; always False."""
        self.standing = False
        self.current = None
        self.denied = denied
        self.ledger.append(
            AttemptRecord(
                attempt.tier, self._call.runtime.clean(str(attempt.model or "")), reason=denied.gate
            )
        )
        self._call.record.verdicts += (
            Verdict(denied.gate, VerdictStatus.BLOCKED, reason=type(denied).__name__),
        )
        self._flow.refused(final=isinstance(denied, BudgetExceeded) and denied.final)
        return False

    def withdraw(self) -> None:
        """The call ends while an attempt waits for a gate: it never ran, and costs nothing."""
        attempt, self.current = self.current, None
        if attempt is not None:
            release(attempt, LOST, None, self._call.runtime.now())

    def failed(self, attempt: Attempt, error: BaseException, ending: Ending) -> bool:
        """Note a failed attempt; whether the call goes on to something else."""
        now = self._call.runtime.now()
        usage = None if attempt.unseen is None else attempt.unseen[0]
        self.note(attempt, ending, now, error, usage)
        self.standing = False
        if not isinstance(error, Exception) or ending.fault is None:
            return False
        # An exception is read no further than what is done next depends on it.
        fault = ending.fault
        failure = (
            _TARGETS if fault is _TARGET else Failure(fault, overflow=is_context_overflow(error))
        )
        self.error = error
        retry_in = None
        flow = self._flow
        if (
            self._plan.retries
            and flow.may_retry(failure)
            and is_retryable(error)
            and self._call.runtime.retries.take(now)
        ):
            retry_in = delay_before(flow.here, retry_after(error), wait=self._plan.wait)
        return flow.failed(failure, now, retry_in=retry_in)

    def switched_off(self, attempt: Attempt, ending: Ending) -> bool:
        """A switch ended the attempt before anything was shown; whether a safe response is there.

        Nothing else is tried: what else the route may do was decided when the call began.
        """
        last = self._plan.steps[-1]
        if not isinstance(last, Serve):
            return False
        self.note(attempt, ending, self._call.runtime.now())
        self.standing = False
        self._serves(last)
        return True

    def _serves(self, step: Serve) -> None:
        """The safe response answers: nothing else will."""
        self.served = step
        self.ledger.append(AttemptRecord(step.index, None, Outcome.CANNED))

    def committed(self) -> None:
        """The user has seen content."""
        self._flow.committed()

    def note(
        self,
        attempt: Attempt,
        ending: Ending | None,
        now: float,
        error: BaseException | None = None,
        usage: Usage | None = None,
    ) -> None:
        """Write an attempt that has ended into the ledger, and let its gates know."""
        self.current = None
        call = self._call
        if attempt.permit is not None or attempt.ticket is not None:
            release(attempt, ending, error, now)
        cost = NO_COST
        if usage is not None or call.purse is not None:
            try:
                cost = charge(call, attempt, usage, well=ending is None, error=error)
            except Exception as fault:
                call.runtime.internal("budget", fault)
            if cost[0] is not None:
                self.priced = True
        self.costs.append(cost)
        began = attempt.began
        took = now - began
        limited = attempt.timeout is not None or attempt.first_token_within is not None
        ledger = self.ledger
        attempt.line = len(ledger)
        outcome, blame, error_type = _WELL if ending is None else ending[:3]
        # The fields in their order: by name they cost four times as much.
        ledger.append(
            _record(
                AttemptRecord,
                (
                    attempt.tier,
                    attempt.clean_model,
                    outcome,
                    took,
                    attempt.first_token_s,
                    usage,
                    cost[0],
                    error_type,
                    blame,
                    None,
                    began - call.started,
                    _overrun(attempt, took) if limited else None,
                ),
            )
        )
        if ending is None and usage is not None and self._beaten:
            self._charge_beaten(usage)

    def _charge_beaten(self, winner: Usage) -> None:
        """Say what those who lost to another attempt have used at least: they read the same prompt."""
        least = Usage(winner.input_tokens, 0, certainty=UsageCertainty.AT_LEAST)
        if least.input_tokens is None:
            return
        for attempt, at in self._beaten:
            line = attempt.line
            if line is None or self.ledger[line].usage is not None:
                continue  # it has told, late
            usd = self.ledger[line].cost_usd
            if usd is None:
                self.costs[at] = usd, _ = cost_of(self._call, attempt.model, least)
                self.priced = self.priced or usd is not None
            self.ledger[line] = self.ledger[line]._replace(usage=least, cost_usd=usd)

    def tell(self, error: BaseException) -> None:
        """Add the story of the attempts to the exception the application will see."""
        tried = [r for r in self.ledger if r.outcome is not None]
        if len(tried) < 2:
            return
        story = "; ".join(
            f"{number}. {r.model}: {r.error_type} after {r.latency_s or 0.0:.3f} s"
            for number, r in enumerate(tried, 1)
        )
        error.add_note(f"firedoor tried {len(tried)} times: {story}")

    def blame(self) -> Fault | None:
        """Whose fault it is that the first choice did not answer."""
        return next((r.fault for r in self.ledger if r.fault is not None), None)


def _overrun(attempt: Attempt, took: float) -> float | None:
    """Seconds over its limits, where nothing ended it in time; a tick of the scheduler is none."""
    over = 0.0 if attempt.timeout is None else took - attempt.timeout
    if attempt.first_token_s is not None and attempt.first_token_within is not None:
        over = max(over, attempt.first_token_s - attempt.first_token_within)
    return over if over > _TICK else None
