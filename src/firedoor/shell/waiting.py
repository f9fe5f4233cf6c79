"""Waiting no longer than a limit: on the door's clock, or in the client that is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from firedoor.clock import Clock, SystemClock

__all__ = ["at_most", "within"]

T = TypeVar("T")

_PHASES = ("connect", "read", "write", "pool")


def at_most(seconds: float, given: Any) -> Any:
    """A client's timeout that is no longer than `seconds`; `given` itself where it is not.

    Clients take a number, a pair of them (requests), a timeout for each phase (httpx, and so the
    SDKs of openai and anthropic), or an object of theirs that says that none was given.
    """
    if isinstance(given, int | float):
        return min(given, seconds)
    if not given:
        return seconds
    if isinstance(given, tuple):
        return tuple(at_most(seconds, part) for part in given)
    try:
        phases = {name: getattr(given, name) for name in _PHASES}
        shorter = {name: at_most(seconds, limit) for name, limit in phases.items()}
        return given if shorter == phases else type(given)(**shorter)
    except (AttributeError, TypeError):
        return given  # of a kind that is not known: the client's own affair


async def within(clock: Clock, seconds: float | None, awaitable: Awaitable[T]) -> T:
    """Await something for at most `seconds`; None for as long as it takes.

    Raises:
        TimeoutError: If it took longer; what was awaited has then been cancelled.
    """
    if seconds is None:
        return await awaitable
    if isinstance(clock, SystemClock):
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await awaitable
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"no answer within {seconds:g} s") from None
            raise
    # A fake clock knows nothing of the loop's timers, so the two run against each other.
    work = asyncio.ensure_future(awaitable)
    alarm = asyncio.ensure_future(clock.asleep(seconds))
    try:
        await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        work.cancel()
        await asyncio.wait({work})
        raise TimeoutError(f"no answer within {seconds:g} s")
    finally:
        alarm.cancel()
        work.cancel()
