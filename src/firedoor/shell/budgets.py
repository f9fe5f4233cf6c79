"""The budget gate: what one call holds of every budget that binds it, and what it spent.

A purse belongs to one call. Before each attempt it holds the worst that the call may come to: what
its attempts have spent so far, and the dearest tier that may still run. When the call is over the
hold becomes what was really spent. What is decided here waits for nobody; only `reserve` and
`areserve` ask a store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from firedoor.config import Budget, Canned, Tier
from firedoor.core.budget import LARGEST, Answer, Balance, Ledger, Line
from firedoor.core.prices import Estimate, worst_case
from firedoor.core.spending import BudgetState, Labels, Rule, Unit, Unpriced, rules_of
from firedoor.errors import BudgetExceeded, StoreError
from firedoor.shell.accounts import Accounts, Settling
from firedoor.shell.pricing import Prices, input_bound, output_cap
from firedoor.types import Usage, Verdict, VerdictStatus

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.call import Call

__all__ = ["UNSEEN_INPUT", "Budgets", "Purse", "Threshold"]

UNSEEN_INPUT = 4096
"""Prompt tokens reserved for a block, whose arguments nobody can see."""

_REQUEST_LIFE = 86_400.0
_WORST_FIRST = (BudgetState.EXHAUSTED, BudgetState.NEAR_LIMIT, BudgetState.OK)


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
    """What a door's budgets have in common.

    Args:
        accounts: The counters that outlive a request.
        prices: What models cost.
        enforce: False: nothing is refused, and what would have been is said.
        on_threshold: Called as soft thresholds are passed.
        on_fault: Called with faults of scope functions and the like.
    """

    def __init__(
        self,
        accounts: Accounts,
        prices: Prices,
        *,
        enforce: bool,
        on_threshold: Callable[[Threshold], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.accounts = accounts
        self.prices = prices
        self.enforce = enforce
        self.on_fault = on_fault
        self._on_threshold = on_threshold
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
        if any(rule.unit is Unit.USD for rule in rules):
            self.prices.warm()
        return rules

    def settled(self, told: Any, balances: tuple[Balance, ...]) -> None:
        """Look which soft thresholds a settlement has passed."""
        for (rule, key), balance in zip(told, balances, strict=True):
            self.passed(rule, key, balance.settled)

    def passed(self, rule: Rule, key: str, settled: int) -> None:
        """Tell of a soft threshold that was newly passed."""
        share = rule.passed(key, settled)
        if share is not None:
            self._on_threshold(Threshold(rule.name, share, settled, rule.limit, str(rule.unit)))

    def snapshot(self) -> dict[str, Any]:
        """Every budget and, of those in a store, every counter; reads the store."""
        counters: dict[str, dict[str, dict[str, int]]] = {}
        try:
            for key, balance in self.accounts.store.counters().items():
                name, _, rest = key.partition("|")
                counters.setdefault(name, {})[rest] = {
                    "settled": balance.settled,
                    "held": balance.held,
                }
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
                    "counters": counters.get(rule.name, {}),
                }
                for rule in self.rules.values()
            },
        }


class Purse:
    """What one call may spend, holds and has spent. Used by one thread at a time.

    Attributes:
        state: How the tightest budget stood when the call was last let run.
        cap: Output tokens the hold has room for, in the attempt that runs.
    """

    __slots__ = (
        "_bound",
        "_budgets",
        "_call",
        "_estimates",
        "_funding",
        "_given",
        "_holds",
        "_input",
        "_keys",
        "_ledger",
        "_limits",
        "_lines",
        "_rules",
        "_scopes",
        "_spent",
        "cap",
        "extra",
        "state",
    )

    def __init__(self, budgets: Budgets, call: Call, rules: Sequence[Rule]) -> None:
        self._budgets = budgets
        self._call = call
        self._rules = tuple(rules)
        self._estimates: dict[tuple[int, str | None], Estimate] = {}
        self._input: int | None = None
        self._given: Mapping[str, Any] | None = None
        self._ledger: Ledger | None = None
        self._bound = False
        self._holds = [False, False]  # of the request's counters, of the store's
        self._funding: list[str] = []
        self._keys: list[str] = []
        self._scopes: list[str] = []
        self._lines: list[Line] = []
        self._limits: list[int | None] = [None] * len(self._rules)
        self._spent = [0] * len(self._rules)
        self.state: BudgetState | None = None
        self.cap = 0
        self.extra = 0

    def sees(self, arguments: Mapping[str, Any]) -> None:
        """The arguments of the call, to be estimated when it comes to that."""
        self._given = arguments

    # Before an attempt ---------------------------------------------------------------------

    def reserve(self, attempt: Attempt) -> BudgetExceeded | None:
        """Hold what the call may come to; why not, if a budget has less left.

        Blocks while a shared store answers.
        """
        lines = self._prepare(attempt)
        if not isinstance(lines, list):
            return lines
        accounts = self._budgets.accounts
        try:
            answer = accounts.reserve(self._call.record.id, lines)
        except StoreError:
            return self._unreached()
        return self._answered(answer, attempt)

    async def areserve(self, attempt: Attempt) -> BudgetExceeded | None:
        """As `reserve`; never blocks the event loop."""
        lines = self._prepare(attempt)
        if not isinstance(lines, list):
            return lines
        accounts = self._budgets.accounts
        try:
            answer = await accounts.areserve(self._call.record.id, lines)
        except StoreError:
            return self._unreached()
        return self._answered(answer, attempt)

    def _prepare(self, attempt: Attempt) -> BudgetExceeded | list[Line] | None:
        """The store's lines of this attempt; None where it need not be asked, or why not to run."""
        if not self._bound:
            self._bind()
        estimates = self._ahead(attempt)
        self.cap = estimates[0].output_cap
        lines = []
        for index, rule in enumerate(self._rules):
            amounts = self._amounts(index, rule, estimates, attempt)
            if isinstance(amounts, BudgetExceeded):
                return amounts
            before = self._spent[index]
            lines.append(
                rule.line(
                    self._keys[index],
                    (min(before + amounts[0], LARGEST), min(before + amounts[1], LARGEST)),
                    enforce=rule.enforce and self._budgets.enforce,
                    limit=self._limits[index],
                )
            )
        enough = bool(self._lines) and all(
            new.amount <= old.amount for new, old in zip(lines, self._lines, strict=True)
        )
        if enough and self._funding:
            return None
        refused = self._reserve_local(lines)
        self._lines = lines if refused is None else self._lines
        if refused is not None:
            return refused
        return [
            line for line, rule in zip(lines, self._rules, strict=True) if not rule.local
        ] or None

    def _bind(self) -> None:
        """Find out whose spending the call adds to, and when: this holds for all its attempts."""
        call = self._call
        record, request = call.record, call.request
        outermost = request
        while outermost is not None and outermost.parent is not None:
            outermost = outermost.parent
        labels = Labels(
            record.journey,
            record.tenant,
            record.user,
            record.request_id if outermost is None else outermost.id,
            request,
        )
        now = self._budgets.accounts.now()
        for rule in self._rules:
            try:
                scope = rule.scope(labels)
            except Exception as error:
                self._budgets.on_fault(error)
                self._say(rule, VerdictStatus.ERRORED, "the scope could not be told")
                scope = "-"
            self._scopes.append(scope)
            self._keys.append(rule.name if rule.local else rule.key(scope, now))
        self._cap()
        if any(rule.local for rule in self._rules):
            with self._budgets.lock:
                self._ledger = Ledger() if outermost is None else outermost.purse
                if self._ledger is None:
                    self._ledger = outermost.purse = Ledger()
        self._bound = True

    def _cap(self) -> None:
        """Take the lower limits that switches set, as they were when the call began."""
        record = self._call.record
        board = self._call.board.at(record.time)
        if not board.capped:
            return
        for index, rule in enumerate(self._rules):
            switch = board.cap(rule.name, journey=record.journey, now=record.time)
            if switch is not None:
                self._limits[index] = int(rule.limit * switch.value)
                if switch.id not in record.switches:
                    record.switches += (switch.id,)

    def _ahead(self, attempt: Attempt) -> list[Estimate]:
        """What the attempt may use, and then what every tier that may still run may use."""
        found = [self.estimate(attempt.tier, attempt.model)]
        plan = self._call.route.plan
        if plan is not None and plan.named:
            for index in range(attempt.tier + 1, len(plan.tiers)):
                tier = plan.tiers[index]
                if isinstance(tier, Tier):
                    found.append(self.estimate(index, tier.model))
        return found

    def estimate(self, tier: int, model: str | None) -> Estimate:
        """What a call on this tier may use at the most."""
        known = self._estimates.get((tier, model))
        if known is not None:
            return known
        given = self._given
        if self._input is None:
            self._input = UNSEEN_INPUT if given is None else input_bound(given)
        plan = self._call.route.plan
        step: Tier | Canned | None = None if plan is None else plan.tiers[tier]
        cap = output_cap(given or {}, step.max_output if isinstance(step, Tier) else None)
        prices = self._budgets.prices
        made = worst_case(self._input, cap, prices.price(model), prices.assumed)
        self._estimates[tier, model] = made
        return made

    def _amounts(
        self, index: int, rule: Rule, estimates: Sequence[Estimate], attempt: Attempt
    ) -> tuple[int, int] | BudgetExceeded:
        """The most and the least that a rule has to hold for what may still run."""
        first = rule.amounts(estimates[0])
        if first is Unpriced.DENIED:
            if rule.enforce and self._budgets.enforce:
                return self._denied(index, rule, None, None)
            self._say(rule, VerdictStatus.SKIPPED, f"no price for {attempt.model!r}: not counted")
            return 0, 0
        if first is Unpriced.NOT_COUNTED:
            self._say(rule, VerdictStatus.SKIPPED, f"no price for {attempt.model!r}: not counted")
            return 0, 0
        assert not isinstance(first, Unpriced)
        most = first[0]
        if rule.unit is not Unit.CALLS:
            for estimate in estimates[1:]:
                other = rule.amounts(estimate)
                if not isinstance(other, Unpriced):
                    most = max(most, other[0])
        return most * (1 + self.extra), first[1]

    def _reserve_local(self, lines: Sequence[Line]) -> BudgetExceeded | None:
        """Hold what lives in the request; if that is refused the store is not asked at all."""
        ledger = self._ledger
        if ledger is None:
            return None
        at = [index for index, rule in enumerate(self._rules) if rule.local]
        own = [lines[index] for index in at]
        with self._budgets.lock:
            answer = ledger.reserve(
                self._call.record.id, own, _REQUEST_LIFE, self._call.record.time
            )
        if not answer.held:
            index = at[answer.refused or 0]
            balance = answer.balances[answer.refused or 0]
            return self._denied(index, self._rules[index], balance, lines[index].amount)
        self._holds[0] = True
        self._judge(at, answer.balances)
        if len(at) == len(self._rules):
            self._funding = ["hold"] * len(at)
        return None

    def _answered(self, answer: Answer, attempt: Attempt) -> BudgetExceeded | None:
        at = [index for index, rule in enumerate(self._rules) if not rule.local]
        if not answer.held:
            self._shrink_local()
            if answer.refused is None:
                # Its lease ran out while it waited: the store has settled it at its floor.
                self._say(self._rules[at[0]], VerdictStatus.ERRORED, "the hold is over")
                return None
            index = at[answer.refused]
            balance = answer.balances[answer.refused]
            return self._denied(index, self._rules[index], balance, self._wanted(index, attempt))
        self._holds[1] = True
        self._funding = ["hold"] * len(self._rules)
        self._judge(at, answer.balances)
        return None

    def _wanted(self, index: int, attempt: Attempt) -> int:
        """What the call asked of a counter in all."""
        amounts = self._amounts(index, self._rules[index], self._ahead(attempt), attempt)
        assert not isinstance(amounts, BudgetExceeded)
        return self._spent[index] + amounts[0]

    def _unreached(self) -> BudgetExceeded | None:
        """The store is away: every budget does what it was told to do then."""
        if self._holds[1]:
            return None  # what is held is held, and this attempt is within a call already let run
        accounts = self._budgets.accounts
        funding = ["hold"] * len(self._rules)
        refused: BudgetExceeded | None = None
        for index, rule in enumerate(self._rules):
            if rule.local:
                continue
            line = self._lines[index]
            mode = rule.budget.on_store_error if line.enforce else "open"
            if mode == "open":
                funding[index] = "unchecked"
                self._say(rule, VerdictStatus.SKIPPED, "the store is away: not checked")
            elif mode == "local_share" and accounts.take_share(line):
                funding[index] = "share"
                self._say(rule, VerdictStatus.PASSED, "the store is away: this process's share")
            else:
                refused = self._denied(index, rule, None, line.amount)
                break
        if refused is not None:
            for index, source in enumerate(funding):
                if source == "share":
                    accounts.settle_share(self._lines[index], 0)
            self._shrink_local()
            self._lines = []
            return refused
        self._funding = funding
        return None

    def _shrink_local(self) -> None:
        """Another gate refused: what was held of the request for this attempt is free again."""
        ledger = self._ledger
        if ledger is None or not self._holds[0]:
            return
        own = [
            line._replace(amount=self._spent[index], floor=self._spent[index])
            for index, (line, rule) in enumerate(zip(self._lines, self._rules, strict=True))
            if rule.local
        ]
        with self._budgets.lock:
            ledger.reserve(self._call.record.id, own, _REQUEST_LIFE, self._call.record.time)
        self._lines = []

    def _judge(self, at: Sequence[int], balances: Sequence[Balance]) -> None:
        """See how the budgets stand, and say which of those that only watch are over."""
        for index, balance in zip(at, balances, strict=True):
            rule = self._rules[index]
            used = balance.settled + balance.held
            limit = self._limits[index]
            state = rule.state(used, limit)
            if self.state is None or _WORST_FIRST.index(state) < _WORST_FIRST.index(self.state):
                self.state = state
            if used > (rule.limit if limit is None else limit) and rule.strict:
                if not self._budgets.enforce and rule.enforce:
                    self._say(rule, VerdictStatus.BLOCKED, "BudgetExceeded", shadow=True)
                elif not rule.enforce:
                    self._say(rule, VerdictStatus.FLAGGED, "over its limit")

    def _denied(
        self, index: int, rule: Rule, balance: Balance | None, amount: int | None
    ) -> BudgetExceeded:
        now = self._budgets.accounts.now()
        self.state = BudgetState.EXHAUSTED
        denied = BudgetExceeded(
            rule.refusal(
                self._scopes[index],
                balance,
                amount,
                self._call.route.id,
                now,
                limit=self._limits[index],
            ),
            gate=rule.gate,
            retry_after=rule.resets_in(now) if amount is not None else None,
        )
        denied.final = rule.budget.on_exceeded == "block"
        return denied

    def _say(self, rule: Rule, status: VerdictStatus, reason: str, *, shadow: bool = False) -> None:
        verdict = Verdict(rule.gate, status, reason=self._call.runtime.clean(reason), shadow=shadow)
        record = self._call.record
        if verdict not in record.verdicts:
            record.verdicts += (verdict,)

    # While a stream flows ------------------------------------------------------------------

    @property
    def metered(self) -> bool:
        """Whether output has to be counted as it flows, since a budget that refuses would end it."""
        return self._budgets.enforce and any(
            rule.enforce and rule.unit is not Unit.CALLS for rule in self._rules
        )

    @property
    def capped(self) -> bool:
        """Whether the call itself says how much may come: then there is nothing to extend."""
        return output_cap(self._given or {}, 0) > 0

    def used_up(self) -> None:
        """The hold has no room for what still comes."""
        for rule in self._rules:
            if rule.enforce and rule.unit is not Unit.CALLS:
                self._say(rule, VerdictStatus.BLOCKED, "the hold is used up")

    def extend(self, attempt: Attempt) -> None:
        """Ask for room for as much output again; it is there once `cap` has grown."""
        key = (attempt.tier, attempt.model)
        before = self.estimate(*key)
        cap = before.output_cap * 2

        def ask() -> None:
            self._estimates[key] = worst_case(
                before.input_tokens, cap, before.price, before.assumed
            )
            try:
                held = bool(self._funding) and set(self._funding) == {"hold"}
                if held and not self._call.finished and self.reserve(attempt) is None:
                    return
            except Exception as error:
                self._budgets.on_fault(error)
            self._estimates[key] = before
            self.cap = before.output_cap

        self._budgets.accounts.later(ask)

    # After it ------------------------------------------------------------------------------

    def charge(
        self, attempt: Attempt, usage: Usage | None, cost: int | None, *, free: bool
    ) -> None:
        """Add what an attempt used to what the call has spent.

        Args:
            attempt: It has ended, or was given up.
            usage: Its tokens; None where nothing told them: then its whole prompt counts.
            cost: In micro-dollars; None where not known.
            free: The provider refused it before it did anything: only the call counts.
        """
        self._spent = [
            min(before + one, LARGEST)
            for before, one in zip(
                self._spent, self._costs(attempt, usage, cost, free=free), strict=True
            )
        ]

    def _costs(
        self, attempt: Attempt, usage: Usage | None, cost: int | None, *, free: bool
    ) -> list[int]:
        estimate = self.estimate(attempt.tier, attempt.model)
        given = estimate.input_tokens
        made = 0
        if usage is not None:
            given = given if usage.input_tokens is None else usage.input_tokens
            made = usage.output_tokens or 0
        found = []
        for rule in self._rules:
            if rule.unit is Unit.CALLS:
                found.append(1)
            elif free:
                found.append(0)
            elif rule.unit is Unit.TOKENS:
                found.append(given + made)
            elif cost is not None:
                found.append(cost)
            elif rule.budget.on_unknown_price == "assume" and estimate.assumed is not None:
                found.append(estimate.assumed.worst(given, made))
            else:
                found.append(0)
        return found

    def late(self, attempt: Attempt, usage: Usage, cost: int | None) -> None:
        """An attempt that was charged by estimate has told what it really used, after the end."""
        for index, (rule, real) in enumerate(
            zip(self._rules, self._costs(attempt, usage, cost, free=False), strict=True)
        ):
            more = real - self._costs(attempt, None, None, free=False)[index]
            if more > 0 and not rule.local and self._lines:
                self._budgets.accounts.post(self._lines[index], more)

    def close(self) -> None:
        """The call is over: what it held becomes what it spent."""
        if not self._lines and not any(self._holds):
            return
        spent = self._spent
        ledger = self._ledger
        if ledger is not None and self._holds[0]:
            own = [amount for amount, rule in zip(spent, self._rules, strict=True) if rule.local]
            with self._budgets.lock:
                (balances,) = ledger.settle([(self._call.record.id, own)], self._call.record.time)
            local = [
                (rule, f"{rule.name}|{self._call.record.request_id}")
                for rule in self._rules
                if rule.local
            ]
            self._budgets.settled(local, balances or ())
        at = [index for index, rule in enumerate(self._rules) if not rule.local]
        if self._holds[1]:
            self._budgets.accounts.settle(
                Settling(
                    self._call.record.id,
                    [self._lines[index] for index in at],
                    tuple(spent[index] for index in at),
                    [(self._rules[index], self._keys[index]) for index in at],
                )
            )
            return
        for index in at:
            source = self._funding[index] if self._funding else ""
            if source == "share":
                self._budgets.accounts.settle_share(self._lines[index], spent[index])
            elif source == "unchecked":
                self._budgets.accounts.post(self._lines[index], spent[index])
