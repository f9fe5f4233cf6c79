"""The gates of the drill's guarded copilot: what an application declares once, before any incident."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import firedoor as fd
from firedoor.drill.copilot import MAX_TOKENS
from firedoor.drill.endpoint import Endpoint

__all__ = ["REQUEST_USD", "RUNAWAY_ROUNDS", "SAFE", "backup_of", "gates", "prices"]

SAFE = "I can't answer that right now; a person will follow up."

REQUEST_USD = Decimal("0.02")
"""What one request may spend: some ten times what one answer costs."""

RUNAWAY_ROUNDS = 40
"""How often the copilot asks again by itself before it gives up: the bound of its own loop."""

MINIMUM_CALLS = 4


def backup_of(model: str) -> str:
    """The name of the second deployment that the ladder falls back to."""
    return f"{model}-backup"


def prices(model: str) -> dict[str, fd.Price]:
    """US dollars per million tokens of input and output, as a mid-sized model costs."""
    return {name: fd.Price(2, 8) for name in (model, backup_of(model))}


def gates(endpoint: Endpoint) -> dict[str, Any]:
    """What `door.llm` is told.

    Slow is what takes as long as a user of the drill would wait; the breaker judges after a
    handful of calls, as the drill cannot wait for twenty, and tries again soon.
    """
    slow = endpoint.patience
    return {
        "tiers": [
            fd.Tier(endpoint.model, timeout=3 * slow, max_output=MAX_TOKENS),
            fd.Tier(backup_of(endpoint.model), timeout=10 * slow, max_output=MAX_TOKENS),
            fd.Canned(SAFE, shape="openai.chat"),
        ],
        "breaker": fd.Breaker(
            slow_call=slow,
            slow_call_rate=0.5,
            window_type="count",
            window=2 * MINIMUM_CALLS,
            minimum_calls=MINIMUM_CALLS,
            open_for=1.0,
            half_open_calls=1,
            jitter=0,
        ),
        "limiter": fd.Limiter(max_concurrent=8, max_wait=30.0),
        "budgets": [fd.Budget(usd=REQUEST_USD, per="request", name="one-request")],
    }
