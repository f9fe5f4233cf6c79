"""What a call may come to: the tokens of each tier that may still run, and what budgets make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from firedoor.config import Canned, Tier
from firedoor.core.prices import Estimate, worst_case
from firedoor.core.spending import Rule, Unit, Unpriced
from firedoor.shell.plan import Plan
from firedoor.shell.pricing import Prices, input_bound, output_cap
from firedoor.types import Usage

__all__ = ["UNSEEN_INPUT", "Forecast"]

UNSEEN_INPUT = 4096
"""Prompt tokens reserved for a block, whose arguments nobody can see."""


class Forecast:
    """The estimates of one call, each made once.

    Args:
        prices: What models cost.
        plan: The route's tiers; None for one without a ladder.
        dollars: A budget counts dollars; otherwise nothing waits for a table of prices.
        extra: How many hedges may run beside an attempt.
    """

    __slots__ = ("_dollars", "_estimates", "_given", "_input", "_plan", "_prices", "extra")

    def __init__(self, prices: Prices, plan: Plan | None, *, dollars: bool = True) -> None:
        self._prices = prices
        self._dollars = dollars
        self._plan = plan
        self._given: Mapping[str, Any] | None = None
        self._input: int | None = None
        self._estimates: dict[tuple[int, str | None], Estimate] = {}
        self.extra = 0

    def sees(self, arguments: Mapping[str, Any]) -> None:
        """The arguments of the call, to be estimated when it comes to that."""
        self._given = arguments

    @property
    def capped(self) -> bool:
        """Whether the call itself says how much may come."""
        return output_cap(self._given or {}, 0) > 0

    def of(self, tier: int, model: str | None) -> Estimate:
        """What a call on this tier may use at the most."""
        known = self._estimates.get((tier, model))
        if known is not None:
            return known
        given = self._given
        if self._input is None:
            self._input = UNSEEN_INPUT if given is None else input_bound(given)
        size = self._input
        plan = self._plan
        step: Tier | Canned | None = None if plan is None else plan.tiers[tier]
        if isinstance(step, Tier) and step.adapt is not None and given is not None:
            # What is sent on this tier is what its adapter makes of the call.
            given = _adapted(step.adapt, given)
            size = input_bound(given)
        cap = output_cap(given or {}, step.max_output if isinstance(step, Tier) else None)
        prices = self._prices
        price = prices.price(model) if self._dollars else prices.known(model)
        made = worst_case(size, cap, price, prices.assumed)
        self._estimates[tier, model] = made
        return made

    def waits(self, tier: int, model: str | None) -> bool:
        """Whether `ahead` would have to wait for the table of prices."""
        if not self._dollars:
            return False
        waits = self._prices.waits
        return waits(model) or any(waits(later.model) for _, later in self._later(tier))

    def ahead(self, tier: int, model: str | None) -> list[Estimate]:
        """What an attempt may use, and then what every tier that may still run may use."""
        later = [self.of(index, step.model) for index, step in self._later(tier)]
        return [self.of(tier, model), *later]

    def _later(self, tier: int) -> list[tuple[int, Tier]]:
        """The tiers after one that may still run, by their places."""
        plan = self._plan
        if plan is None or not plan.named:
            return []
        tiers = enumerate(plan.tiers[tier + 1 :], tier + 1)
        return [(index, step) for index, step in tiers if isinstance(step, Tier)]

    def most_and_least(self, rule: Rule, ahead: Sequence[Estimate]) -> tuple[int, int] | Unpriced:
        """What a budget has to hold for the dearest of these, and at the least for the first."""
        first = rule.amounts(ahead[0])
        if isinstance(first, Unpriced):
            return first
        most, least = first
        if rule.unit is not Unit.CALLS:
            for estimate in ahead[1:]:
                other = rule.amounts(estimate)
                if not isinstance(other, Unpriced):
                    most = max(most, other[0])
        return most * (1 + self.extra), least

    def widen(self, tier: int, model: str | None) -> Estimate:
        """Count on twice as much output; the estimate before."""
        before = self.of(tier, model)
        self._estimates[tier, model] = worst_case(
            before.input_tokens, before.output_cap * 2, before.price, before.assumed
        )
        return before

    def narrow(self, tier: int, model: str | None, before: Estimate) -> None:
        """Go back to an estimate."""
        self._estimates[tier, model] = before

    def costs(
        self,
        rules: Sequence[Rule],
        estimate: Estimate,
        usage: Usage | None,
        cost: int | None,
        *,
        free: bool,
    ) -> list[int]:
        """What an attempt used, as each budget counts it.

        Args:
            rules: The budgets.
            estimate: What it was thought to use.
            usage: Its tokens; None where nothing told them: then its whole prompt counts.
            cost: In micro-dollars; None where not known.
            free: The provider refused it before it did anything: only the call counts.
        """
        given, made = estimate.input_tokens, 0
        if usage is not None:
            given = given if usage.input_tokens is None else usage.input_tokens
            made = usage.output_tokens or 0
        found = []
        for rule in rules:
            if rule.unit is Unit.CALLS:
                found.append(1)
            elif free:
                found.append(0)
            elif rule.unit is Unit.TOKENS:
                found.append(max(0, given + made))
            elif cost is not None:
                found.append(max(0, cost))
            elif rule.budget.on_unknown_price == "assume" and estimate.assumed is not None:
                found.append(estimate.assumed.worst(max(0, given), max(0, made)))
            else:
                found.append(0)
        return found


def _adapted(adapt: Callable[[dict[str, Any]], Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments as a tier's adapter changes them; as they are where it fails: the attempt tells."""
    try:
        found = adapt(dict(given))
    except Exception:
        return given
    return found if isinstance(found, Mapping) else given
