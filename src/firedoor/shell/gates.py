"""What the gates of a tier say of an attempt before it runs, and are told when it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from firedoor.config import Tier
from firedoor.core.breaker_values import Refusal, Result
from firedoor.core.limiter import Ended
from firedoor.extraction.faults import retry_after
from firedoor.shell.fitness import unfit
from firedoor.shell.switched import model_off
from firedoor.types import Fault, Outcome

if TYPE_CHECKING:
    from firedoor.core.switches import Switch
    from firedoor.errors import Denied
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call
    from firedoor.shell.endings import Ending
    from firedoor.shell.plan import Plan

__all__ = ["admit", "release"]


def admit(call: Call, plan: Plan, attempt: Attempt) -> Denied | None:
    """Ask the gates that never wait: is the model switched on, is it able, is its circuit closed.

    Returns:
        What one of them says against the attempt; None if it may run: its permit is then taken.
    """
    runtime, route = call.runtime, call.route
    # A switch may be about the model of a later tier only, or be set while the call runs.
    switched = plan.named and not runtime.switches.snapshot.empty
    if switched and attempt.model is not None:
        choice = runtime.switches.model(attempt.model, journey=call.record.journey)
        attempt.model = choice.name
        _note(call, choice.applied)
        if choice.disabled_by is not None:
            now = runtime.time_ns() / 1e9
            return model_off(route, choice.name, choice.disabled_by, now)
    tier = plan.tiers[attempt.tier]
    if isinstance(tier, Tier) and (tier.context_window or tier.capabilities is not None):
        denied = unfit(tier, call.arguments, route.id)
        if denied is not None:
            return denied
    if plan.breaker:
        live = runtime.breakers.find(route.id, attempt.model or route.name)
        if live is not None:
            answer = live.acquire(attempt.began)
            if isinstance(answer, Refusal):
                return live.denied(answer)
            attempt.permit = (live, answer)
            call.record.breaker = live.state._value_
    return None


def _note(call: Call, switches: Sequence[Switch]) -> None:
    """Keep the switches that chose or turned off the model of an attempt."""
    for switch in switches:
        name = call.runtime.clean(switch.id)
        if name not in call.record.switches:
            call.record.switches += (name,)


def release(
    attempt: Attempt, ending: Ending | None, error: BaseException | None, now: float
) -> None:
    """Give back what the gates gave, and tell them how it went.

    Args:
        attempt: The attempt that is over.
        ending: How it failed; None if it did not.
        error: What it raised.
        now: When it was over, on the door's clock.
    """
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


# Looked up once: an enumeration's members are found by its metaclass, at four times the price.
_SUCCESS, _SAMPLE, _TARGET = Result.SUCCESS, Ended.SAMPLE, Fault.TARGET


def _result(ending: Ending | None) -> Result:
    """What an attempt's ending says of its target's health."""
    if ending is None:
        return _SUCCESS
    if ending.fault is _TARGET:
        return Result.FAILURE
    if ending.outcome in (Outcome.CANCELLED, Outcome.ABANDONED):
        return Result.CANCELLED
    return Result.IGNORED


def _load(ending: Ending | None) -> Ended:
    """What it says of its target's load."""
    if ending is None:
        return _SAMPLE
    return Ended.DROPPED if ending.fault is _TARGET else Ended.SILENT
