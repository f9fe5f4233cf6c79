"""What a budget asks of a call: which counters, how much on each, and what to say if it is too much.

A budget, a scope and a window make one counter: `tenant-day|<tenant>|2026-11-23`. The counting
itself is the store's (`firedoor.core.budget`). Windows are calendar hours, days and months in UTC;
a window of any number of seconds begins at a multiple of it since the epoch. A budget per request
(or whose scope is one) lives as long as the request and needs no store.

Pure: the caller passes `now`, seconds since the epoch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Decimal
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
        # A product of floats may lie just past `now`, on either side.
        while number * per > now:
            number -= 1
        while (number + 1) * per <= now:
            number += 1
        return Window(number * per, (number + 1) * per, f"{_seconds(per)}{number}")
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


def _seconds(per: float) -> str:
    return f"{per:.15g}s"


def default_name(budget: Budget) -> str:
    """What a budget without a name is called: scope, window, and the unit unless it is dollars."""
    per = budget.per if isinstance(budget.per, str) else _seconds(budget.per)
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
        "_soft",
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
        self.near = limit if not budget.soft else _share(limit, max(budget.soft))
        self.local = "request" in (budget.per, budget.scope)
        self.enforce = budget.on_exceeded != "warn"
        self.strict = budget.overshoot == "strict"
        self._scope = budget.scope
        self._soft = sorted(budget.soft)
        self._window = _NEVER
        self._keys: dict[str, str] = {}
        self._signalled: dict[tuple[str, float], object] = {}

    def __repr__(self) -> str:
        return f"<Rule {self.name} {self.limit} {self.unit}>"

    def scope(self, labels: Labels) -> str:
        """Whose spending the call adds to, as keys and sentences may say it.

        `-` for nobody's. What the application's own scope function returns is always told by its
        hash, as it may be anything; so is what could be taken for something else in a key.

        Raises:
            Exception: What the application's own scope function raises.
        """
        scope = self._scope
        if scope == "global":
            return "-"
        if isinstance(scope, str):
            found = getattr(labels, scope)
            return "-" if found is None else _telling(str(found))
        given: Any = scope(labels.current)
        return "-" if given is None else _hashed(str(given))

    def window(self, now: float) -> Window:
        """The window of a budget in the store."""
        window = self._window
        if not window.start <= now < window.end:
            window = window_at(self.budget.per, now)
            self._keys = {}
            self._window = window
        return window

    def key(self, scope: str, now: float) -> str:
        """The counter's name; `scope` as `scope()` told it."""
        window = self.window(now)
        # Read once: another thread may put a new dict in its place when the window is over.
        keys = self._keys
        key = keys.get(scope)
        if key is None or not key.endswith(window.label):
            key = f"{self.name}|{scope}|{window.label}"
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

    def line(
        self, key: str, amounts: tuple[int, int], *, enforce: bool, limit: int | None = None
    ) -> Line:
        """The counter's part in a hold of the store; `limit` where a switch has lowered it."""
        return Line(
            key,
            self.limit if limit is None else limit,
            min(amounts[0], LARGEST),
            min(amounts[1], LARGEST),
            math.inf if self.local else self._window.end + _GRACE,
            self.strict,
            enforce,
        )

    def state(self, used: int, limit: int | None = None) -> BudgetState:
        """How a counter stands with so much settled and held; `limit` as for `line`."""
        if limit is not None and used >= limit:
            return BudgetState.EXHAUSTED
        if used < self.near:
            return BudgetState.OK
        return BudgetState.NEAR_LIMIT if used < self.limit else BudgetState.EXHAUSTED

    def passed(self, key: str, settled: int) -> float | None:
        """The highest soft threshold that was newly passed; each is told once per counter.

        Threads may ask at once: one of them is told. What was told is remembered for the last
        counters that passed one.
        """
        share = settled / self.limit
        soft_limits = self._soft
        if not soft_limits or share < soft_limits[0]:
            return None
        signalled = self._signalled
        mine = object()
        new = None
        for soft in soft_limits:
            if soft <= share and signalled.setdefault((key, soft), mine) is mine:
                new = soft
        if len(signalled) > _SIGNALLED:
            self._signalled = dict(list(signalled.items())[_SIGNALLED // 2 :])
        return new

    def resets_in(self, now: float) -> float | None:
        """Seconds until the window is over; None for one that ends with the request."""
        return None if self.local else max(0.0, self.window(now).end - now)

    def refusal(
        self,
        scope: str,
        balance: Balance | None,
        amount: int | None,
        route: str,
        now: float,
        *,
        limit: int | None = None,
        model: str | None = None,
    ) -> str:
        """The words of a refusal: what is left, what was asked for, when there is more.

        Args:
            scope: Whose spending.
            balance: As the store told it; None where it was not asked.
            amount: What the call may cost; None where its price is not known.
            route: As in `llm:answer`.
            now: Seconds since the epoch.
            limit: What a switch has lowered it to; None: nothing has.
            model: The one asked for, where that matters.
        """
        who = "" if scope == "-" else f" ({self._scope_name()}={scope!r})"
        head = f"Budget {self.name!r}{who}"
        if amount is None:
            return (
                f"{head} cannot price {route!r}: no price of {model!r} is known. Give it to the door, "
                f"as in prices={{{model!r}: (1.25, 10)}}, or set on_unknown_price='assume' or "
                "'tokens'."
            )
        if balance is None:
            return (
                f"{head} could not be asked for {route!r}: its store is away and this process "
                f"has leased no {self._told(amount)} (on_store_error="
                f"{self.budget.on_store_error!r})."
            )
        most = self.limit if limit is None else limit
        left = max(0, most - balance.settled - balance.held)
        capped = "" if limit is None else f" (a switch has capped {self._plain(self.limit)})"
        held = f", {self._told(balance.held)} held by running calls" if balance.held else ""
        ends = (
            "It lasts as long as the request."
            if self.local
            else f"Resets {datetime.fromtimestamp(self.window(now).end, UTC):%Y-%m-%dT%H:%MZ}."
        )
        return (
            f"{head} has {self._told(left)} left of {self._plain(most)}{capped}{held}; {route!r} "
            f"asked for {self._plain(amount)}. {ends}"
        )

    def _scope_name(self) -> str:
        return self._scope if isinstance(self._scope, str) else "scope"

    def _plain(self, amount: int) -> str:
        if self.unit is not Unit.USD:
            return f"{amount:,}"
        # Every micro-dollar there is: "5.00 left, 5.00 asked for" would be no reason to refuse.
        whole, micro = divmod(amount, 1_000_000)
        cents, rest = divmod(micro, 10_000)
        return f"{whole:,}.{cents:02}" + (f"{rest:04}".rstrip("0") if rest else "")

    def _told(self, amount: int) -> str:
        return f"{self._plain(amount)} {'USD' if self.unit is Unit.USD else self.unit}"


def _share(limit: int, share: float) -> int:
    """The first whole amount that is so large a part of the limit."""
    return int((limit * Decimal(str(share))).to_integral_value(rounding=ROUND_CEILING))


def _telling(scope: str) -> str:
    """A scope as keys say it: as it is, where that can be taken for nothing else."""
    if (
        len(scope) <= _LONGEST_SCOPE
        and scope.isprintable()
        and "|" not in scope
        and scope != "-"
        and scope[:1] not in ("#", "")
    ):
        return scope
    return _hashed(scope)


def _hashed(scope: str) -> str:
    return "#" + hashlib.blake2b(scope.encode(errors="surrogatepass"), digest_size=16).hexdigest()


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
