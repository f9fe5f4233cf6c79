"""How long to wait before trying the same tier again: tenacity's strategies, as values.

Tenacity's loop is not used: gates must be asked again before every attempt, which a loop around
the function cannot do. Its wait strategies are plain callables over a call state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenacity import RetryCallState, wait_random_exponential

__all__ = ["DEFAULT_WAIT", "delay_before"]

WaitStrategy = Callable[[RetryCallState], float]

DEFAULT_WAIT: WaitStrategy = wait_random_exponential(multiplier=0.5, max=8.0)
"""Full jitter, from up to half a second, doubling to at most 8 seconds.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015; the multiplier and the cap
are those of the openai and anthropic SDKs' own retries.
"""


def delay_before(
    attempt: int, retry_after: float | None, *, wait: WaitStrategy = DEFAULT_WAIT
) -> float:
    """Seconds to wait after the failed attempt number `attempt` (from 1) on a tier.

    The provider's own Retry-After is a lower bound; jitter comes on top of neither.
    """
    nothing: Any = None
    state = RetryCallState(retry_object=nothing, fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    seconds = float(wait(state))
    return seconds if retry_after is None else max(seconds, retry_after)
