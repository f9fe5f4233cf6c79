"""What the budgets of a door have in common; what one call holds of them is its `Purse`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from firedoor.clock import Clock
from firedoor.config import Budget
from firedoor.core.spending import Rule, rules_of
from firedoor.core.tally import Totals
from firedoor.errors import StoreError
from firedoor.shell.accounts import LEASE, Accounts
from firedoor.shell.budget_report import by_budget, define
from firedoor.shell.pricing import Prices
from firedoor.stores.base import Store

__all__ = ["Budgets", "Threshold"]

_SAY_AGAIN = 3600.0
_LONGEST = 32 * 86_400.0


class Threshold(NamedTuple):
    """A soft threshold was passed; told once a window.

    Attributes:
        budget: The budget's name, its owner before it: `llm:answer/day`.
        share: The threshold, a share of the limit.
        settled: What was spent, in whole units: micro-dollars, tokens, calls.
        limit: In the same.
        unit: `usd`, `tokens` or `calls`.
    """

    budget: str
    share: float
    settled: int
    limit: int
    unit: str


class Budgets:
    """The budgets of a door.

    Args:
        store: Where the counters are that outlive a request.
        clock: The door's.
        prices: What models cost.
        service: The door's, to say in a shared store whose budgets these are.
        enforce: False: nothing is refused, and what would have been is said.
        lease: Seconds that holds bind after their process was killed.
        on_threshold: Called as soft thresholds are passed.
        on_fault: Called with faults of scope functions and the like.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        prices: Prices,
        *,
        service: str,
        enforce: bool,
        on_threshold: Callable[[Threshold], None],
        on_fault: Callable[[BaseException], None],
        lease: float = LEASE,
    ) -> None:
        self.accounts = Accounts(
            store,
            clock,
            on_settled=self.settled,
            on_fault=on_fault,
            on_work=self._define,
            lease=lease,
        )
        self.prices = prices
        self.enforce = enforce
        self.on_fault = on_fault
        self._service = service
        self._on_threshold = on_threshold
        self._clock = clock.now
        self._said: tuple[int, float] | None = None
        self.rules: dict[str, Rule] = {}
        self.lock = threading.Lock()
        """Guards the counters that live in requests."""

    def declare(self, budgets: Sequence[Budget], owner: str = "") -> tuple[Rule, ...]:
        """The budgets of a route (or of the door) made ready.

        Raises:
            ConfigurationError: If two would share their counters.
        """
        rules = rules_of(budgets, owner)
        self.rules.update({rule.name: rule for rule in rules})
        self.prices.warm()
        if any(not rule.local for rule in rules):
            self.accounts.start()
        return rules

    def _define(self, store: Store) -> None:
        """Say in the store what budgets there are."""
        now, count = self._clock(), len(self.rules)
        if self._said is None or self._said[0] != count or now - self._said[1] >= _SAY_AGAIN:
            define(store, self._service, tuple(self.rules.values()))
            self._said = (count, now)

    def settled(self, told: Any, balances: Totals) -> None:
        """Look which soft thresholds a settlement has passed."""
        for (rule, key), (settled, _) in zip(told, balances, strict=True):
            share = rule.passed(key, settled)
            if share is None:
                continue
            # One process of a fleet tells it. Those of requests are nobody else's.
            lasts = rule.resets_in(self.accounts.now())
            if lasts is None or self.accounts.first(
                f"soft|{key}|{share}", min(max(lasts, 1.0), _LONGEST)
            ):
                self._on_threshold(Threshold(rule.name, share, settled, rule.limit, str(rule.unit)))

    def snapshot(self) -> dict[str, Any]:
        """Every budget and, of those in a store, every counter; reads the store unless it is away."""
        counters = {}
        if not self.accounts.away:
            try:
                counters = by_budget(self.accounts.store.counters())
            except StoreError as error:
                self.on_fault(error)
        return {
            "prices": {"source": self.prices.source, "age_s": self.prices.age},
            "accounts": self.accounts.snapshot(),
            "budgets": {
                rule.name: {
                    "unit": str(rule.unit),
                    "limit": rule.limit,
                    "per": rule.budget.per,
                    "on_exceeded": rule.budget.on_exceeded,
                    "counters": {
                        f"{one.scope}|{one.window}": {"settled": one.settled, "held": one.held}
                        for one in counters.get(rule.name, ())
                    },
                }
                for rule in self.rules.values()
            },
        }
