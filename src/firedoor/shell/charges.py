"""What a call's attempts cost, charged to its budgets and written into its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firedoor.core.prices import Estimate
from firedoor.extraction.faults import was_rejected
from firedoor.shell.costs import in_all, presumed, priced
from firedoor.shell.endings import LOST
from firedoor.types import CostCertainty, RouteKind, Usage

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call

__all__ = ["NO_COST", "Cost", "charge", "charge_late", "close", "cost_of"]

Cost = tuple[float | None, CostCertainty]
"""US dollars, and how far they can be trusted; None where nothing tells."""

NO_COST: Cost = (None, CostCertainty.UNKNOWN)

_LLM = RouteKind.LLM
_EXACT = CostCertainty.EXACT


def charge(
    call: Call, attempt: Attempt, usage: Usage | None, *, well: bool, error: BaseException | None
) -> Cost:
    """Charge an attempt that is over to the budgets; what it cost.

    Args:
        call: Its call.
        attempt: The attempt.
        usage: What it told of its tokens.
        well: It came to its end.
        error: What it raised.
    """
    purse = call.purse
    if purse is None:
        if usage is None:
            return NO_COST
        return cost_of(call, attempt.model, usage)
    # A provider that answers with an error status, before anything came, has billed nothing.
    free = error is not None and attempt.first_token_s is None and was_rejected(error)
    estimate = purse.estimate(attempt.tier, attempt.model)
    if not free and attempt.unseen is not None:
        usage = presumed(usage, estimate, attempt.unseen[1], well=True)
    elif not free:
        usage = presumed(usage, estimate, call.written, well=well)
    micro, certainty = _priced(call, attempt.model, usage, estimate)
    if free and estimate.price is not None:
        micro, certainty = 0, _EXACT
    purse.charge(attempt, usage, micro, free=free)
    return None if micro is None else micro / 1e6, certainty


def charge_late(call: Call, attempt: Attempt, usage: Usage) -> None:
    """An attempt that was given up has told what it used, after the end of the call."""
    if call.purse is not None:
        estimate = call.purse.estimate(attempt.tier, attempt.model)
        micro, _ = _priced(call, attempt.model, usage, estimate)
        call.purse.late(attempt, usage, micro)


def cost_of(call: Call, model: str | None, usage: Usage) -> Cost:
    """What so many tokens cost."""
    micro, certainty = _priced(call, model, usage, None)
    return None if micro is None else micro / 1e6, certainty


def close(call: Call) -> None:
    """Settle what the call held, and write down what it cost in all."""
    record, runtime, ladder, purse = call.record, call.runtime, call.ladder, call.purse
    try:
        if ladder is None:
            cost, certainty = NO_COST
            if record.usage is not None:
                cost, certainty = cost_of(call, call.model, record.usage)
        else:
            if purse is not None and ladder.current is not None:
                ladder.note(ladder.current, LOST, runtime.now())
            cost, certainty = in_all(ladder.costs)
        if cost is not None:
            record.cost_usd, record.cost_certainty = cost, certainty
        if purse is not None:
            state = purse.state
            record.budget = None if state is None else str(state)
            purse.close()
        request = call.request
        while request is not None and cost:
            if request.loops is not None:
                request.loops.spent(int(cost * 1e6), runtime.now())
            request = request.parent
    except Exception as error:
        runtime.internal("budget", error)


def _priced(
    call: Call, model: str | None, usage: Usage | None, estimate: Estimate | None
) -> tuple[int | None, CostCertainty]:
    if usage is None or call.route.kind is not _LLM:
        return NO_COST  # type: ignore[return-value]
    price = None if estimate is None else estimate.price
    if price is None:
        price = call.runtime.prices.known(model or call.record.response_model)
    return priced(usage, price, estimate)
