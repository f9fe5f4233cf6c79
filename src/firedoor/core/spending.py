"""What a budget asks of a call: which counters, how much on each, and what to say if it is too much.

A budget, a scope and a window make one counter: `tenant-day|<tenant>|2026-11-23`. The counting
itself is the store's (`firedoor.core.budget`). Windows are calendar hours, days and months in UTC;
a window of any number of seconds begins at a multiple of it since the epoch. A budget per request
(or whose scope is one) lives as long as the request and needs no store.

Pure: the caller passes `now`, seconds since the epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from firedoor.config import Budget
from firedoor.core.budget import LARGEST, Balance, Line
from firedoor.core.prices import Estimate
from firedoor.errors import ConfigurationError

__all__ = ["BudgetState", "Labels", "Rule", "Unit", "Unpriced", "default_name", "rules_of"]

_LONGEST_SCOPE = 64
_KEYS = 1024
_GRACE = 3600.0
_SIGNALLED = 4096


class Unit(StrEnum):
    """What is counted: micro-dollars, tokens or calls."""

    USD = "usd"
    TOKENS = "tokens"
    CALLS = "calls"


class BudgetState(StrEnum):
    """How a budget stood when a call was admitted."""

    OK = "ok"
    NEAR_LIMIT = "near_limit"
    """The highest soft threshold is passed, what running calls hold included."""
    EXHAUSTED = "exhausted"


class Unpriced(StrEnum):
    """What a budget in dollars does with a call whose price is not known."""

    DENIED = "denied"
    NOT_COUNTED = "not_counted"


class Labels(NamedTuple):
    """Whose call it is. Everything here is redacted already; None is counted under `-`.

    Attributes:
        journey: The critical path.
        tenant: A keyed token.
        user: A keyed token.
        request: The outermost request's id.
        current: The request itself, for scopes that are functions of it.
    """

    journey: str | None = None
    tenant: str | None = None
    user: str | None = None
    request: str | None = None
    current: Any = None


class Window(NamedTuple):
    """A stretch of time, seconds since the epoch, and how keys write it."""

    start: float
    end: float
    label: str


_NEVER = Window(0.0, 0.0, "")


def window_at(per: str | float, now: float) -> Window:
    """The window of a budget that `now` falls in."""
    if not isinstance(per, str):
        number = int(now // per)
        return Window(number * per, (number + 1) * per, f"{per:g}s{number}")
    moment = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0, microsecond=0)
    if per == "hour":
        end = moment + timedelta(hours=1)
        return Window(moment.timestamp(), end.timestamp(), f"{moment:%Y-%m-%dT%H}")
    moment = moment.replace(hour=0)
    if per == "day":
        end = moment + timedelta(days=1)
        return Window(moment.timestamp(), end.timestamp(), f"{moment:%Y-%m-%d}")
    moment = moment.replace(day=1)
    end = (moment + timedelta(days=32)).replace(day=1)
    return Window(moment.timestamp(), end.timestamp(), f"{moment:%Y-%m}")


def default_name(budget: Budget) -> str:
    """What a budget without a name is called: scope, window, and the unit unless it is dollars."""
    per = budget.per if isinstance(budget.per, str) else f"{budget.per:g}s"
    scope: str = budget.scope if isinstance(budget.scope, str) else "custom"
    unit = _unit(budget)
    parts = [] if scope in ("global", per) else [scope]
    parts.append(per)
    if unit is not Unit.USD:
        parts.append(str(unit))
    return "-".join(parts)


def _unit(budget: Budget) -> Unit:
    if budget.usd is not None:
        return Unit.USD
    return Unit.TOKENS if budget.tokens is not None else Unit.CALLS


class Rule:
    """A budget made ready for the calls of an owner: a door, or one of its routes.

    Attributes:
        budget: What was declared.
        name: The budget's, after its owner's where that is a route.
        gate: As errors and verdicts say it: `budget:tenant-day`.
        unit: What is counted.
        limit: In whole units: micro-dollars, tokens, calls.
        near: Where `near_limit` begins, in the same.
        local: It lives in the request, not in the store.
        enforce: It may refuse.
    """

    __slots__ = (
        "_keys",
        "_scope",
        "_signalled",
        "_window",
        "budget",
        "enforce",
        "gate",
        "limit",
        "local",
        "name",
        "near",
        "strict",
        "unit",
    )

    def __init__(self, budget: Budget, owner: str = "") -> None:
        name = budget.name or default_name(budget)
        self.budget = budget
        self.name = f"{owner}/{name}" if owner else name
        self.gate = f"budget:{self.name}"
        self.unit = _unit(budget)
        limit = {
            Unit.USD: int((budget.usd or 0) * 1_000_000),
            Unit.TOKENS: budget.tokens or 0,
            Unit.CALLS: budget.calls or 0,
        }[self.unit]
        if not 1 <= limit <= LARGEST:
            raise ConfigurationError(
                f"Budget({self.unit}={getattr(budget, self.unit)!r}): counted in whole units "
                f"(micro-dollars, tokens, calls) from 1 to {LARGEST:,}; choose one in between"
            )
        self.limit = limit
        self.near = limit if not budget.soft else int(limit * max(budget.soft))
        self.local = "request" in (budget.per, budget.scope)
        self.enforce = budget.on_exceeded != "warn"
        self.strict = budget.overshoot == "strict"
        self._scope = budget.scope
        self._window = _NEVER
        self._keys: dict[str, str] = {}
        self._signalled: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Rule {self.name} {self.limit} {self.unit}>"

    def scope(self, labels: Labels) -> str:
        """Whose spending the call adds to.

        Raises:
            Exception: What the application's own scope function raises.
        """
        scope = self._scope
        if scope == "global":
            return "-"
        found = getattr(labels, scope) if isinstance(scope, str) else scope(labels.current)
        return "-" if found is None else str(found)

    def window(self, now: float) -> Window:
        """The window of a budget in the store."""
        window = self._window
        if not window.start <= now < window.end:
            window = window_at(self.budget.per, now)
            self._keys = {}
            self._window = window
        return window

    def key(self, scope: str, now: float) -> str:
        """The counter's name; a long scope is told by its hash."""
        window = self.window(now)
        # Read once: another thread may put a new dict in its place when the window is over.
        keys = self._keys
        key = keys.get(scope)
        if key is None or not key.endswith(window.label):
            told = scope.replace("|", "/")
            if len(told) > _LONGEST_SCOPE or told != scope:
                told = "#" + hashlib.blake2b(scope.encode(), digest_size=16).hexdigest()
            key = f"{self.name}|{told}|{window.label}"
            if len(keys) >= _KEYS:
                keys.clear()
            keys[scope] = key
        return key

    def amounts(self, estimate: Estimate) -> tuple[int, int] | Unpriced:
        """What to hold at the most, and at the least if the call never ends."""
        unit = self.unit
        if unit is Unit.CALLS:
            return 1, 1
        if unit is Unit.TOKENS:
            return estimate.input_tokens + estimate.output_cap, estimate.input_tokens
        if estimate.worst_micro_usd is not None:
            return estimate.worst_micro_usd, estimate.input_micro_usd or 0
        match self.budget.on_unknown_price:
            case "tokens":
                return Unpriced.NOT_COUNTED
            case "assume" if estimate.assumed is not None:
                assumed = estimate.assumed
                return (
                    assumed.worst(estimate.input_tokens, estimate.output_cap),
                    assumed.worst(estimate.input_tokens, 0),
                )
            case _:
                return Unpriced.DENIED

    def line(self, key: str, amounts: tuple[int, int], *, enforce: bool) -> Line:
        """The counter's part in a hold of the store."""
        return Line(
            key,
            self.limit,
            min(amounts[0], LARGEST),
            min(amounts[1], LARGEST),
            self._window.end + _GRACE,
            self.strict,
            enforce,
        )

    def state(self, used: int) -> BudgetState:
        """How a counter stands with so much settled and held."""
        if used < self.near:
            return BudgetState.OK
        return BudgetState.NEAR_LIMIT if used < self.limit else BudgetState.EXHAUSTED

    def passed(self, key: str, settled: int) -> float | None:
        """The highest soft threshold that was newly passed; each is told once per counter.

        What was told is remembered for the last counters that passed one.
        """
        told = self._signalled.get(key, 0.0)
        share = settled / self.limit
        new = max((soft for soft in self.budget.soft if told < soft <= share), default=None)
        if new is not None:
            self._signalled.pop(key, None)
            self._signalled[key] = new
            if len(self._signalled) > _SIGNALLED:
                del self._signalled[next(iter(self._signalled))]
        return new

    def resets_in(self, now: float) -> float | None:
        """Seconds until the window is over; None for one that ends with the request."""
        return None if self.local else max(0.0, self.window(now).end - now)

    def refusal(
        self, scope: str, balance: Balance | None, amount: int | None, route: str, now: float
    ) -> str:
        """The words of a refusal: what is left, what was asked for, when there is more.

        Args:
            scope: Whose spending.
            balance: As the store told it; None where it was not asked.
            amount: What the call may cost; None where its price is not known.
            route: As in `llm:answer`.
            now: Seconds since the epoch.
        """
        who = "" if scope == "-" else f" ({self._scope_name()}={scope!r})"
        head = f"Budget {self.name!r}{who}"
        if amount is None:
            return (
                f"{head} cannot price {route!r}: the model's price is not known. Give it to the "
                "door's prices, or set on_unknown_price='assume' or 'tokens'."
            )
        if balance is None:
            return (
                f"{head} could not be asked for {route!r}: its store is away and this process "
                f"has leased no {self._told(amount)} (on_store_error="
                f"{self.budget.on_store_error!r})."
            )
        left = max(0, self.limit - balance.settled - balance.held)
        held = f", {self._told(balance.held)} held by running calls" if balance.held else ""
        ends = (
            "It lasts as long as the request."
            if self.local
            else f"Resets {datetime.fromtimestamp(self.window(now).end, UTC):%Y-%m-%dT%H:%MZ}."
        )
        return (
            f"{head} has {self._told(left)} left of {self._plain(self.limit)}{held}; {route!r} "
            f"asked for {self._plain(amount)}. {ends}"
        )

    def _scope_name(self) -> str:
        return self._scope if isinstance(self._scope, str) else "scope"

    def _plain(self, amount: int) -> str:
        if self.unit is not Unit.USD:
            return f"{amount:,}"
        return f"{amount / 1e6:.2f}" if amount >= 100_000 else f"{amount / 1e6:.6f}"

    def _told(self, amount: int) -> str:
        return f"{self._plain(amount)} {'USD' if self.unit is Unit.USD else self.unit}"


_ORDER = {"block": 0, "degrade": 1, "warn": 2}


def rules_of(budgets: Sequence[Budget], owner: str = "") -> tuple[Rule, ...]:
    """Budgets made ready, those that stop a call for good before those that only send it down.

    Raises:
        ConfigurationError: If two have one name, as they would share their counters.
    """
    rules = [Rule(budget, owner) for budget in budgets]
    seen: dict[str, Rule] = {}
    for rule in rules:
        if rule.name in seen:
            raise ConfigurationError(
                f"budgets: two are named {rule.name!r} and would share their counters; "
                "give one a name="
            )
        seen[rule.name] = rule
    return tuple(sorted(rules, key=lambda rule: _ORDER[rule.budget.on_exceeded]))
