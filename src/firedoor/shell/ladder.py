"""One call's way down its tiers: asks the machine what to do, and keeps the ledger of attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firedoor.core.flow import CallFlow, Failure, Pause, Serve, Stop, Try
from firedoor.errors import DeadlineExceeded
from firedoor.extraction.faults import is_context_overflow, is_retryable, retry_after
from firedoor.records import AttemptRecord
from firedoor.shell.backoff import delay_before
from firedoor.types import Fault, Outcome

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call
    from firedoor.shell.plan import Plan
    from firedoor.shell.runtime import Ending

__all__ = ["Ladder"]


class Ladder:
    """Drives the `CallFlow` of one call for the shell, which does the waiting.

    Attributes:
        served: The canned tier that answers, once it is certain that nothing else will.
        current: The attempt that runs, or None between two.
        standing: An attempt is running, or has ended well: nothing is to be tried now.
        ledger: One record per attempt and per tier skipped, in order.
    """

    __slots__ = (
        "_begun",
        "_call",
        "_deadline",
        "_flow",
        "_here",
        "_plan",
        "_tier",
        "current",
        "ledger",
        "served",
        "standing",
    )

    def __init__(self, call: Call, plan: Plan, deadline: float | None) -> None:
        self._call = call
        self._plan = plan
        self._deadline = deadline
        self._flow = CallFlow(plan.tiers, deadline=deadline)
        self._tier = -1
        self._here = 0
        self._begun = 0.0
        self.served: Serve | None = None
        self.current: Attempt | None = None
        self.standing = False
        self.ledger: list[AttemptRecord] = []

    def step(self) -> Try | Pause | Serve:
        """What to do now.

        Raises:
            DeadlineExceeded: If the request's time was used up before anything could be tried.
        """
        now = self._call.runtime.now()
        step = self._flow.next(now)
        if isinstance(step, Stop):
            late = now - (self._deadline or now)
            raise DeadlineExceeded(
                f"{self._call.route.id}: the request's deadline passed {late:.3f} s ago, so "
                "nothing was tried; give door.request a longer deadline= or the route shorter "
                "timeouts",
                gate="deadline",
            )
        if isinstance(step, Try):
            self._here = self._here + 1 if step.index == self._tier else 1
            self._tier = step.index
            self._begun = now
            self.standing = True
        elif isinstance(step, Serve):
            self.served = step
            self.ledger.append(AttemptRecord(step.index, None, Outcome.CANNED))
        return step

    def failed(self, attempt: Attempt, error: BaseException, ending: Ending) -> bool:
        """Note a failed attempt; whether the call goes on to something else."""
        now = self._call.runtime.now()
        self.note(attempt, ending, now)
        self.standing = False
        if not isinstance(error, Exception) or ending.fault is None:
            return False
        failure = Failure(
            ending.fault, retryable=is_retryable(error), overflow=is_context_overflow(error)
        )
        retry_in = None
        if self._flow.may_retry(failure):
            retry_in = delay_before(self._here, retry_after(error), wait=self._plan.wait)
        self._flow.failed(failure, now, retry_in=retry_in)
        return self._flow.over(now) is None

    def committed(self) -> None:
        """The user has seen content."""
        self._flow.committed()

    def note(self, attempt: Attempt, ending: Ending | None, now: float) -> None:
        """Write an attempt that has ended into the ledger."""
        self.current = None
        record = self._call.record
        self.ledger.append(
            AttemptRecord(
                tier=attempt.tier,
                model=attempt.clean_model,
                outcome=Outcome.ANSWERED if ending is None else ending.outcome,
                latency_s=now - self._begun,
                first_token_s=attempt.first_token_s,
                usage=record.usage if ending is None else None,
                error_type=None if ending is None else ending.error_type,
                fault=None if ending is None else ending.fault,
                started_s=self._begun - self._call.started,
            )
        )

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
