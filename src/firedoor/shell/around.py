"""The calls around a tool's: no tool runs inside one whose input is not judged yet.

An input policy with `overlap=True` thinks while its call runs. What that call says is held back
until the verdict; what a tool did cannot be. So a tool called inside waits for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from firedoor.errors import PolicyBlocked
from firedoor.shell.scope import ATTEMPT_KEY

if TYPE_CHECKING:
    from firedoor.shell.call import Call

__all__ = ["ajudged", "judged", "unjudged"]


def unjudged(context: Context) -> tuple[Call, ...]:
    """The calls whose code runs in `context` and whose input policies still think."""
    found = []
    attempt: Any = context.get(ATTEMPT_KEY)
    while attempt is not None:
        call: Call = attempt._call
        if call.beside is not None:
            found.append(call)
        attempt = call.previous.get(ATTEMPT_KEY)
    return tuple(found)


def judged(calls: tuple[Call, ...]) -> None:
    """Wait until the input of these calls is judged.

    Raises:
        PolicyBlocked: If it is refused, or if waiting here would keep the policy from thinking.
    """
    for call in calls:
        beside = call.beside
        if isinstance(beside, concurrent.futures.Future):
            concurrent.futures.wait([beside])
        if beside is not None:
            _pass(call, beside)


async def ajudged(calls: tuple[Call, ...]) -> None:
    """As `judged`, without blocking the event loop."""
    for call in calls:
        beside = call.beside
        if isinstance(beside, concurrent.futures.Future):
            await asyncio.wait([asyncio.wrap_future(beside)])
        elif beside is not None and beside.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([beside])
        if beside is not None:
            _pass(call, beside)


def _pass(call: Call, beside: Any) -> None:
    """Let the tool run if the input was let through; its call itself asks again at its end."""
    screens: Any = call.route.screens
    if beside.done() and not beside.cancelled():
        screening = beside.result()
        if screening.blocked_by is None:
            return
        gate, why = str(screening.blocked_by), screening.explain()
    else:
        gate = screens.overlapping[0]
        why = f"{gate} has not judged the input of {call.route.id}, and a sync tool cannot wait for it: "
        why += "make the tool async, or leave out the policy's overlap=True"
    raise PolicyBlocked(f"no tool runs: {why}", gate=gate, ran=False)
