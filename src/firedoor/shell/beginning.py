"""What a call takes in as it begins: its arguments, what switches say, what it may spend.

Each of these may fail without the guarded function noticing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from firedoor.extraction import parameters
from firedoor.shell.captured import captured
from firedoor.shell.loops import check_loop, is_repeated
from firedoor.shell.purse import Purse
from firedoor.shell.switched import refusal, shed
from firedoor.types import RouteKind, Verdict, VerdictStatus

if TYPE_CHECKING:
    from firedoor.shell.call import Call

__all__ = ["check_circles", "follow_switches", "note_arguments", "open_purse"]


def follow_switches(call: Call) -> None:
    """Take what the switches say of this call, which then holds to its end."""
    runtime, route, record = call.runtime, call.route, call.record
    found = None
    try:
        found = runtime.switches.resolve(
            route.id, alias=call.model, journey=record.journey, prompt=route.prompt
        )
        if found is not None and found.shed is not None:
            found = shed(found, record.request_id)
        if found is not None and found.applied:
            call.switched = found
            call.refusal = refusal(found, route, record.time)
            record.switches = tuple([runtime.clean(name) for name in found.switches])
            call.depth = found.depth
            if found.model is not None and found.model != call.model:
                call.model = found.model
                record.model = runtime.clean(found.model)
    except Exception as error:
        runtime.internal("switches", error)
    if route.prompt is not None:
        try:
            _note_prompt(call, route.prompt, None if found is None else found.prompt_revision)
        except Exception as error:
            runtime.internal("prompts", error)


def _note_prompt(call: Call, name: str, held: str | None) -> None:
    """Record the revision of the prompt that answers, which need not be the one a switch asks for."""
    runtime, record = call.runtime, call.record
    prompts = runtime.prompts
    revision = held
    if name in prompts.names():
        revision = prompts.at(name, journey=record.journey)
        if held not in (None, revision):
            record.verdicts += (
                Verdict(
                    f"prompt:{runtime.clean(name)}",
                    VerdictStatus.ERRORED,
                    reason=runtime.clean(f"revision {held!r} is not registered in this process"),
                ),
            )
    if revision is not None:
        record.prompt_revision = runtime.clean(revision)


def note_arguments(call: Call, named: Mapping[str, Any]) -> None:
    """Keep the request's parameters, and its text where that is asked for."""
    runtime = call.runtime
    try:
        kept = parameters(named)
        if kept:
            call.record.parameters = {
                k: runtime.clean(v, call.found) if isinstance(v, str) else v
                for k, v in kept.items()
            }
        if runtime.capture == "redacted":
            call.record.input_text = captured(named, runtime.redactor, call.found)
    except Exception as error:
        runtime.internal("arguments", error)


def open_purse(call: Call, arguments: Mapping[str, Any] | None) -> Purse | None:
    """What the call may spend of the budgets that bind it; None where the door keeps none.

    Args:
        call: The call.
        arguments: What it sends; None in the block form, which shows none.
    """
    budgets, route = call.runtime.budgets, call.route
    if budgets is None:
        return None
    purse = Purse(budgets, call, route.rules)
    if route.plan is not None and route.plan.hedge is not None:
        purse.hedged(route.plan.hedge.max_extra)
    if arguments is not None:
        binding = call.binding
        if binding is not None and binding.sizes:  # what the function says itself
            arguments = {**binding.sizes, **arguments}
        purse.sees(arguments)
    return purse


def check_circles(call: Call, arguments: Mapping[str, Any]) -> None:
    """Refuse a call of a request that goes round in circles; note a tool's call made before."""
    runtime, route, record = call.runtime, call.route, call.record
    limits = runtime.loops
    tool = route.kind is RouteKind.TOOL
    denied = None
    try:
        if limits is not None or route.max_calls is not None:
            denied = check_loop(
                call.request,
                limits,
                route.max_calls,
                route=route.id,
                tool=tool,
                arguments=arguments,
                now=runtime.now(),
            )
        if (
            tool
            and call.binding is not None
            and is_repeated(call.request, limits, route.id, arguments)
        ):
            record.repeated = True
    except Exception as error:
        runtime.internal("loop", error)
    if denied is None:
        return
    shadow = not runtime.enforce
    record.verdicts += (
        Verdict(denied.gate, VerdictStatus.BLOCKED, reason="BudgetExceeded", shadow=shadow),
    )
    if not shadow and call.refusal is None:
        call.refusal = denied
