"""One call's way down its tiers: asks the machine what to do, and keeps the ledger of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from firedoor.config import Tier
from firedoor.core.breaker_values import Refusal, Result
from firedoor.core.flow import CallFlow, Failure, Pause, Serve, Stop, Try
from firedoor.core.limiter import Ended, Shed, Ticket
from firedoor.errors import BudgetExceeded, DeadlineExceeded, Denied
from firedoor.extraction.faults import is_context_overflow, is_retryable, retry_after
from firedoor.records import AttemptRecord
from firedoor.shell.backoff import delay_before
from firedoor.shell.endings import LOST, Ending
from firedoor.shell.fitness import unfit
from firedoor.shell.pace import shut
from firedoor.shell.streams import is_value
from firedoor.shell.switched import model_off
from firedoor.types import (
    CostCertainty,
    Fault,
    Outcome,
    Usage,
    UsageCertainty,
    Verdict,
    VerdictStatus,
)

if TYPE_CHECKING:
    from firedoor.core.snapshot import Resolution
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call
    from firedoor.shell.limiters import LiveLimiter
    from firedoor.shell.plan import Plan

__all__ = ["Ladder"]

_SOON = 1e-3
_TICK = 0.05


class Ladder:
    """Drives the `CallFlow` of one call for the shell, which does the waiting.

    Attributes:
        served: The canned tier that answers, once it is certain that nothing else will.
        current: The attempt that runs, or None between two.
        standing: An attempt is running, or has ended well: nothing is to be tried now.
        ledger: One record per attempt and per tier skipped, in order.
        costs: What each attempt cost in US dollars, and how far that can be trusted.
    """

    __slots__ = (
        "_beaten",
        "_begun",
        "_call",
        "_flow",
        "_here",
        "_plan",
        "_tier",
        "costs",
        "current",
        "deadline",
        "denied",
        "error",
        "ledger",
        "served",
        "standing",
    )

    def __init__(
        self, call: Call, plan: Plan, deadline: float | None, switched: Resolution | None
    ) -> None:
        self._call = call
        self._plan = plan
        self.deadline = deadline
        first = 0
        if switched is not None:
            # Safe mode goes straight to the canned tier; a route without one was refused before.
            safe = switched.safe_mode is not None and plan.canned is not None
            first = len(plan.tiers) - 1 if safe else switched.minimum_tier
        self._flow = CallFlow(plan.tiers, first=first, deadline=deadline)
        self._tier = -1
        self._here = 0
        self._begun = 0.0
        self.served: Serve | None = None
        self.current: Attempt | None = None
        self.denied: Denied | None = None
        self.error: BaseException | None = None
        self.standing = False
        self.ledger: list[AttemptRecord] = []
        self.costs: list[tuple[float | None, CostCertainty]] = []
        self._beaten: list[tuple[Attempt, int]] = []

    def step(self) -> Try | Pause | Serve:
        """What to do now.

        Raises:
            Denied: If no tier could be tried: every gate refused, or the time was used up.
            Exception: The provider's own, where one failed and no gate let another tier run.
        """
        now = self._call.runtime.now()
        step = self._flow.next(now)
        if isinstance(step, Stop):
            if self.error is not None:
                self.tell(self.error)
                raise self.error
            if self.denied is not None and step.reason != "deadline":
                raise self.denied
            raise self._too_late(now)
        if isinstance(step, Try):
            self._here = self._here + 1 if step.index == self._tier else 1
            self._tier = step.index
            self._begun = now
            self.standing = True
        elif isinstance(step, Serve):
            self.served = step
            self.ledger.append(AttemptRecord(step.index, None, Outcome.CANNED))
        return step

    def _too_late(self, now: float) -> DeadlineExceeded:
        late = now - (now if self.deadline is None else self.deadline)
        return DeadlineExceeded(
            f"{self._call.route.id}: the request's deadline passed {late:.3f} s ago, so nothing "
            "more was tried; give door.request a longer deadline= or the route shorter timeouts",
            gate="deadline",
        )

    def admit(self, attempt: Attempt) -> bool:
        """Ask the gates that never wait: is the model switched on, is its circuit closed."""
        self.standing = False
        attempt.began = self._begun
        denied = self._gate(attempt)
        if denied is not None:
            return self.refuse(attempt, denied)
        if attempt.number == 1:
            self._call.runtime.retries.attempted(self._begun)
        self.standing = True
        self.current = attempt
        return True

    def _gate(self, attempt: Attempt) -> Denied | None:
        """What the gates that never wait say against an attempt; its permit is taken if nothing."""
        call = self._call
        runtime, route = call.runtime, call.route
        # A switch may be about the model of a later tier only, or be set while the call runs.
        switched = self._plan.named and not runtime.switches.snapshot.empty
        if switched and attempt.model is not None:
            choice = runtime.switches.model(attempt.model, journey=call.record.journey)
            attempt.model = choice.name
            call.switched_by(choice.applied)
            if choice.disabled_by is not None:
                return model_off(route, choice.name, choice.disabled_by)
        tier = self._plan.tiers[attempt.tier]
        if isinstance(tier, Tier) and (tier.context_window or tier.capabilities is not None):
            denied = unfit(tier, call.arguments, route.id)
            if denied is not None:
                return denied
        if self._plan.breaker:
            live = runtime.breakers.find(route.id, attempt.model or route.name)
            if live is not None:
                answer = live.acquire(attempt.began)
                if isinstance(answer, Refusal):
                    return live.denied(answer)
                attempt.permit = (live, answer)
                call.record.breaker = str(live.state)
        return None

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
            attempt = call.attempt_of(step)
            attempt.began = now
            if self._gate(attempt) is None and self._seat_now(attempt, now):
                if runtime.retries.take(now):
                    self._flow.ran(step)
                    return attempt
                self._release(attempt, LOST, None)
                return None
            self._release(attempt, LOST, None)
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
        self.current = attempt
        call = self._call
        call.record.tier = attempt.tier
        if attempt.model is not None:
            attempt.clean_model = call.runtime.clean(attempt.model, call.found)
            call.record.model = attempt.clean_model

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
                call.came_late(attempt, usage)
            else:
                self.ledger[attempt.line] = self.ledger[attempt.line]._replace(usage=usage)
        except Exception as error:
            runtime.internal("extraction", error)

    def limiter(self, attempt: Attempt) -> LiveLimiter | None:
        """The limiter to wait for, if the route has one."""
        if not self._plan.limiter:
            return None
        return self._call.runtime.limiters.find(
            self._call.route.id, attempt.model or self._call.route.name
        )

    def seated(self, attempt: Attempt, live: LiveLimiter, answer: Ticket | Shed) -> bool:
        """Whether the limiter has a place; what is held is given back if not."""
        if isinstance(answer, Ticket):
            attempt.ticket = (live, answer)
            self._begun = attempt.began = self._call.runtime.now()
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

    def _release(
        self, attempt: Attempt, ending: Ending | None, error: BaseException | None
    ) -> None:
        """Give back what the gates gave, and tell them how it went."""
        now = self._call.runtime.now()
        if attempt.permit is not None:
            live, permit = attempt.permit
            attempt.permit = None
            live.settle(
                permit,
                _result(ending),
                now - attempt.began,
                now,
                first_token=attempt.first_token_s,
                retry_after=None if error is None else retry_after(error),
            )
        if attempt.ticket is not None:
            limiter, ticket = attempt.ticket
            attempt.ticket = None
            limiter.release(ticket, now, _load(ending))

    def withdraw(self) -> None:
        """The call ends while an attempt waits for a gate: it never ran, and costs nothing."""
        attempt, self.current = self.current, None
        if attempt is not None:
            self._release(attempt, LOST, None)

    def failed(self, attempt: Attempt, error: BaseException, ending: Ending) -> bool:
        """Note a failed attempt; whether the call goes on to something else."""
        now = self._call.runtime.now()
        self.note(attempt, ending, now, error)
        self.standing = False
        if not isinstance(error, Exception) or ending.fault is None:
            return False
        # An exception is read no further than what is done next depends on it.
        fault = ending.fault
        targets = fault is Fault.TARGET
        failure = Failure(fault, targets, not targets and is_context_overflow(error))
        self.error = error
        retry_in = None
        if (
            self._flow.may_retry(failure)
            and is_retryable(error)
            and self._call.runtime.retries.take(now)
        ):
            retry_in = delay_before(self._here, retry_after(error), wait=self._plan.wait)
        self._flow.failed(failure, now, retry_in=retry_in)
        return self._flow.over(now) is None

    def switched_off(self, attempt: Attempt, ending: Ending) -> bool:
        """A switch ended the attempt before anything was shown; whether a safe response is there.

        Nothing else is tried: what else the route may do was decided when the call began.
        """
        canned = self._plan.canned
        if canned is None:
            return False
        self.note(attempt, ending, self._call.runtime.now())
        self.standing = False
        self.served = Serve(len(self._plan.tiers) - 1, canned)
        self.ledger.append(AttemptRecord(self.served.index, None, Outcome.CANNED))
        return True

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
        self._release(attempt, ending, error)
        call = self._call
        try:
            cost = call.account(attempt, usage, well=ending is None, error=error)
        except Exception as fault:
            call.runtime.internal("budget", fault)
            cost = None, CostCertainty.UNKNOWN
        self.costs.append(cost)
        attempt.line = len(self.ledger)
        self.ledger.append(
            AttemptRecord(
                tier=attempt.tier,
                model=attempt.clean_model,
                outcome=Outcome.ANSWERED if ending is None else ending.outcome,
                latency_s=now - attempt.began,
                first_token_s=attempt.first_token_s,
                usage=usage,
                cost_usd=cost[0],
                error_type=None if ending is None else ending.error_type,
                fault=None if ending is None else ending.fault,
                started_s=attempt.began - call.started,
                overrun_s=_overrun(attempt, now - attempt.began),
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
                self.costs[at] = usd, _ = self._call.cost_of(attempt.model, least)
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


def _result(ending: Ending | None) -> Result:
    """What an attempt's ending says of its target's health."""
    if ending is None:
        return Result.SUCCESS
    if ending.fault is Fault.TARGET:
        return Result.FAILURE
    if ending.outcome in (Outcome.CANCELLED, Outcome.ABANDONED):
        return Result.CANCELLED
    return Result.IGNORED


def _load(ending: Ending | None) -> Ended:
    """What it says of its target's load."""
    if ending is None:
        return Ended.SAMPLE
    return Ended.DROPPED if ending.fault is Fault.TARGET else Ended.SILENT
