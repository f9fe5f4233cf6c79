"""Waiting no longer than a limit, on the door's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from firedoor.clock import Clock, SystemClock

__all__ = ["within"]

T = TypeVar("T")


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
