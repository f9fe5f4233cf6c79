"""Budgets as anybody sees them who has the store: what they are, and how their counters stand.

Processes write into the store what budgets they have, so that an operator's command can tell what
the counters mean without the application.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from firedoor.core.budget import Balance
from firedoor.core.spending import Rule
from firedoor.shell.shares import SHARES
from firedoor.stores.base import Store

__all__ = ["BudgetReport", "Counter", "define", "definitions", "report"]

DEFINITIONS = "budgets:definitions"
"""The space in which processes say what budgets they have."""

_REMEMBERED = 40 * 86_400.0
"""Seconds a definition is known after the last process that had it: a budget may last a month."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of a budget: whose spending, in which window.

    Attributes:
        scope: `-`, or whose: a journey, a keyed token of a tenant or user, a hash.
        window: As in `2026-11-23`, `2026-11-23T14`, `2026-11`, or `60s` and its number.
        settled: What was spent, in the budget's unit.
        held: What running calls may still spend, and processes have set aside.
    """

    scope: str
    window: str
    settled: int
    held: int


@dataclass(frozen=True, slots=True)
class BudgetReport:
    """A budget and its counters.

    Attributes:
        name: Its owner's before it: `llm:answer/day`.
        service: Whose it is; None where only counters are left of it.
        unit: `usd` (then amounts are micro-dollars), `tokens` or `calls`; None as above.
        limit: In that unit; None as above.
        per: Its window: a word, or seconds; None as above.
        scope: Whose spending is added up; None as above.
        on_exceeded: `block`, `degrade` or `warn`; None as above.
        counters: The fullest first.
    """

    name: str
    service: str | None
    unit: str | None
    limit: int | None
    per: str | float | None
    scope: str | None
    on_exceeded: str | None
    counters: tuple[Counter, ...]

    def share(self, counter: Counter) -> float | None:
        """How much of the limit a counter has used, holds included; None without a limit."""
        return None if self.limit is None else (counter.settled + counter.held) / self.limit


def definitions(rules: Iterable[Rule]) -> dict[str, dict[str, Any]]:
    """What a process says of its budgets, by name; of those whose counters are in the store."""
    return {
        rule.name: {
            "unit": str(rule.unit),
            "limit": rule.limit,
            "per": rule.budget.per,
            "scope": rule.budget.scope if isinstance(rule.budget.scope, str) else "custom",
            "on_exceeded": rule.budget.on_exceeded,
        }
        for rule in rules
        if not rule.local
    }


def define(store: Store, service: str, rules: Iterable[Rule]) -> None:
    """Write the definitions into the store.

    Raises:
        StoreError: If it does not answer.
    """
    text = json.dumps({"service": service, "at": store.now(), "budgets": definitions(rules)})
    # One entry for each set of budgets, however many processes have it.
    same = json.dumps([service, definitions(rules)], sort_keys=True)
    digest = hashlib.blake2b(same.encode(), digest_size=8).hexdigest()
    store.publish(DEFINITIONS, f"{service}/{digest}", text, _REMEMBERED)


def report(store: Store) -> tuple[BudgetReport, ...]:
    """Every budget that the store knows of, by name, the newest definition of each.

    Raises:
        StoreError: If it does not answer.
    """
    counters = by_budget(store.counters())
    known = _known(store.members(DEFINITIONS).values())
    found = []
    for name in sorted(known.keys() | counters.keys()):
        service, said = known.get(name, (None, {}))
        found.append(
            BudgetReport(
                name,
                service,
                said.get("unit"),
                said.get("limit"),
                said.get("per"),
                said.get("scope"),
                said.get("on_exceeded"),
                tuple(sorted(counters.get(name, ()), key=lambda one: -(one.settled + one.held))),
            )
        )
    return tuple(found)


def by_budget(counters: Mapping[str, Balance]) -> dict[str, list[Counter]]:
    """A store's counters by the budget they belong to."""
    found: dict[str, list[Counter]] = {}
    for key, balance in counters.items():
        parts = key.rsplit("|", 2)
        if len(parts) == 3 and not key.startswith(SHARES):
            name, scope, window = parts
            found.setdefault(name, []).append(Counter(scope, window, balance.settled, balance.held))
    return found


def _known(texts: Iterable[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Definitions by name; what cannot be read was written by another version."""
    newest: dict[str, tuple[float, str, dict[str, Any]]] = {}
    for text in texts:
        try:
            told = json.loads(text)
            service, at, budgets = str(told["service"]), float(told["at"]), dict(told["budgets"])
            for name, said in budgets.items():
                if name not in newest or newest[name][0] < at:
                    newest[name] = (at, service, dict(said))
        except (ValueError, TypeError, KeyError):
            continue
    return {name: (service, said) for name, (_, service, said) in newest.items()}
