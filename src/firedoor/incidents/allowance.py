"""What checks may spend in a window, counted in this process: no check is worth a store's trip."""

from __future__ import annotations

from decimal import Decimal

from firedoor.config import Budget
from firedoor.core.spending import window_at
from firedoor.errors import ConfigurationError

__all__ = ["Allowance"]


class Allowance:
    """Calls or US dollars per window. Used by one thread at a time.

    Args:
        budget: `fd.Budget(calls=500, per="hour")` or `fd.Budget(usd=2, per="day")`; None: no end.
        check: The check's name, for messages.

    Raises:
        ConfigurationError: If the budget counts tokens, is per request, or has a scope.
    """

    __slots__ = ("_limit", "_per", "_usd", "_used", "_window")

    def __init__(self, budget: Budget | None, check: str) -> None:
        where = f"door.check({check!r}, budget={budget!r})"
        if budget is not None and not isinstance(budget, Budget):
            raise ConfigurationError(f"{where}: use fd.Budget(calls=500, per='hour')")
        self._limit: Decimal | None = None
        self._per: str | float = "hour"
        self._usd = False
        if budget is not None:
            if budget.tokens is not None or budget.per == "request" or budget.scope != "global":
                raise ConfigurationError(
                    f"{where}: a check's budget counts calls= or usd= for the whole door, per "
                    "hour, day, month or a number of seconds"
                )
            self._usd = budget.usd is not None
            self._limit = budget.usd if budget.usd is not None else Decimal(budget.calls or 0)
            self._per = budget.per
        self._window = ""
        self._used = Decimal(0)

    def left(self, wall: float) -> bool:
        """Whether one more check may run now; `wall` is seconds since the epoch."""
        if self._limit is None:
            return True
        window = window_at(self._per, wall).label
        if window != self._window:
            self._window, self._used = window, Decimal(0)
        return self._used < self._limit

    def spend(self, cost_usd: float | None) -> None:
        """One check has run, and cost this much where that is known."""
        self._used += Decimal(str(cost_usd or 0)) if self._usd else 1
