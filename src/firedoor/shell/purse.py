"""The budget gate: what one call holds of every budget that binds it, and what it spent.

A purse belongs to one call. Before each attempt it holds the worst that the call may come to: what
its attempts have spent so far, and the dearest tier that may still run. When the call is over the
hold becomes what was really spent. What is decided here waits for nobody; only `reserve` and
`areserve` ask a store.

What backs an attempt is, for each budget in the store, its hold there; and beyond what that grants,
while the store is away, a part of this process's share, or nothing that was checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from firedoor.core.budget import LARGEST, Answer, Balance, Line
from firedoor.core.prices import Estimate
from firedoor.core.spending import BudgetState, Labels, Rule, Unit, Unpriced
from firedoor.core.tally import Tally, Totals
from firedoor.errors import BudgetExceeded, StoreError
from firedoor.shell.accounts import LeftAlone
from firedoor.shell.forecast import Forecast
from firedoor.shell.outbox import Settling
from firedoor.types import Usage, Verdict, VerdictStatus

if TYPE_CHECKING:
    from firedoor.shell.attempt import Attempt
    from firedoor.shell.budgets import Budgets
    from firedoor.shell.call import Call

__all__ = ["Purse"]

_WORST_FIRST = (BudgetState.EXHAUSTED, BudgetState.NEAR_LIMIT, BudgetState.OK)


class Purse:
    """What one call may spend, holds and has spent. Used by one thread at a time.

    Attributes:
        state: How the tightest budget stood when the call was last let run.
        cap: Output tokens the hold has room for, in the attempt that runs.
    """

    __slots__ = (
        "_backed",
        "_base",
        "_bound",
        "_budgets",
        "_call",
        "_doubtful",
        "_forecast",
        "_granted",
        "_hold",
        "_keys",
        "_limits",
        "_lines",
        "_local",
        "_own",
        "_rules",
        "_scopes",
        "_shared",
        "_spent",
        "_taken",
        "cap",
        "state",
    )

    def __init__(self, budgets: Budgets, call: Call, rules: Sequence[Rule]) -> None:
        self._budgets = budgets
        self._call = call
        self._rules = tuple(rules)
        route = call.route
        self._forecast = Forecast(budgets.prices, route.plan, dollars=route.dollars)
        self._own: Tally | None = None  # the request's counters
        self._bound = False
        self._hold = call.record.id
        self._local: list[Line] = []  # what they hold for the call
        self._taken: list[Line] = []  # what the counters of this process hold for it
        self._backed = False  # the lines are what lets the attempt run
        self._doubtful = False  # the store was asked and did not answer
        count = len(self._rules)
        self._granted: list[int] | None = None  # what the store holds, of each budget
        self._shared = [0] * count  # what the process's shares hold
        self._base = [0] * count  # what was spent under an earlier hold
        self._spent = [0] * count
        self._keys: list[str] = []
        self._scopes: list[str] = []
        self._lines: list[Line] = []
        self._limits: list[int | None] = [None] * count  # lower ones that switches set
        self.state: BudgetState | None = None
        self.cap = 0

    def sees(self, arguments: Mapping[str, Any]) -> None:
        """The arguments of the call, to be estimated when it comes to that."""
        self._forecast.sees(arguments)

    def hedged(self, extra: int) -> None:
        """So many attempts may run beside one."""
        self._forecast.extra = extra

    @property
    def may_wait(self) -> bool:
        """Whether something has to be asked that does not answer at once: a store, the prices."""
        if self._forecast.waits(0, self._call.model):
            return True
        return self._budgets.accounts.shared and not all(rule.local for rule in self._rules)

    # Before an attempt ---------------------------------------------------------------------

    def reserve(self, attempt: Attempt) -> BudgetExceeded | None:
        """Hold what the call may come to; why not, if a budget has less left.

        Blocks while a shared store answers.
        """
        for _ in range(2):
            lines = self._prepare(attempt)
            if not isinstance(lines, list):
                return lines
            tally = self._budgets.accounts.tally
            if tally is not None:
                return self._take(tally, lines, attempt)
            try:
                answer = self._budgets.accounts.reserve(self._hold, lines)
            except LeftAlone:
                return self._unreached()
            except StoreError:
                self._doubtful = True
                return self._unreached()
            except BaseException:
                self._doubtful = True
                raise
            if not self._ran_out(answer):
                break
        return self._answered(answer, attempt)

    async def areserve(self, attempt: Attempt) -> BudgetExceeded | None:
        """As `reserve`; never blocks the event loop."""
        if self._forecast.waits(attempt.tier, attempt.model):
            await asyncio.get_running_loop().run_in_executor(None, self._budgets.prices.load)
        if self._budgets.accounts.tally is not None:
            return self.reserve(attempt)
        for _ in range(2):
            lines = self._prepare(attempt)
            if not isinstance(lines, list):
                return lines
            try:
                answer = await self._budgets.accounts.areserve(self._hold, lines)
            except LeftAlone:
                return self._unreached()
            except StoreError:
                self._doubtful = True
                return self._unreached()
            except BaseException:
                self._doubtful = True  # cancelled: it may be granted all the same
                raise
            if not self._ran_out(answer):
                break
        return self._answered(answer, attempt)

    def _prepare(self, attempt: Attempt) -> BudgetExceeded | list[Line] | None:
        """The store's lines of this attempt; None where it need not be asked, or why not to run."""
        if not self._bound:
            self._bind()
        ahead = self._forecast.ahead(attempt.tier, attempt.model)
        self.cap = ahead[0].output_cap
        lines = []
        for index, rule in enumerate(self._rules):
            amounts = self._amounts(index, rule, ahead, attempt)
            if isinstance(amounts, BudgetExceeded):
                return amounts
            before = self._spent[index] - self._base[index]
            lines.append(
                rule.line(
                    self._keys[index],
                    (min(before + amounts[0], LARGEST), min(before + amounts[1], LARGEST)),
                    enforce=rule.enforce and self._budgets.enforce,
                    limit=self._limits[index],
                )
            )
        if self._backed and all(
            new.amount <= old.amount for new, old in zip(lines, self._lines, strict=True)
        ):
            return None
        refused = self._reserve_local(lines)
        if refused is not None:
            return refused
        self._lines = lines
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
            lock = self._budgets.lock
            own: Tally | None = Tally({}, None, lock)
            if outermost is not None:
                with lock:
                    if outermost.purse is None:
                        outermost.purse = own
                    own = outermost.purse
            self._own = own
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

    def _amounts(
        self, index: int, rule: Rule, ahead: Sequence[Estimate], attempt: Attempt
    ) -> tuple[int, int] | BudgetExceeded:
        """The most and the least that a rule has to hold for what may still run."""
        amounts = self._forecast.most_and_least(rule, ahead)
        if not isinstance(amounts, Unpriced):
            return amounts
        if amounts is Unpriced.DENIED and rule.enforce and self._budgets.enforce:
            return self._denied(index, rule, None, None, attempt.model)
        self._say(rule, VerdictStatus.SKIPPED, f"no price for {attempt.model!r}: not counted")
        return 0, 0

    def _reserve_local(self, lines: Sequence[Line]) -> BudgetExceeded | None:
        """Hold what lives in the request; if that is refused the store is not asked at all."""
        own = self._own
        if own is None:
            return None
        at = [index for index, rule in enumerate(self._rules) if rule.local]
        mine = [lines[index] for index in at]
        taken = own.take(mine, [line.amount for line in self._local] or None)
        if isinstance(taken, int):
            index = at[taken]
            balance = Balance(*own.totals(mine)[taken])
            return self._denied(index, self._rules[index], balance, lines[index].amount)
        self._local = mine
        self._judge(at, taken)
        self._backed = len(at) == len(self._rules)
        return None

    def _take(self, tally: Tally, lines: list[Line], attempt: Attempt) -> BudgetExceeded | None:
        """Hold what is counted in this process."""
        taken = tally.take(lines, [line.amount for line in self._taken] or None)
        at = [index for index, rule in enumerate(self._rules) if not rule.local]
        if isinstance(taken, int):
            return self._refused(at[taken], Balance(*tally.totals(lines)[taken]), attempt)
        self._taken = lines
        self._backed = True
        self._judge(at, taken)
        return None

    def _ran_out(self, answer: Answer) -> bool:
        """Whether the hold's lease was over: then its end is told, and another is to be made."""
        if answer.held or answer.refused is not None:
            return False
        self._settle_store()
        self._base = list(self._spent)
        self._granted, self._backed = None, False
        self._hold += "+"
        return True

    def _answered(self, answer: Answer, attempt: Attempt) -> BudgetExceeded | None:
        at = [index for index, rule in enumerate(self._rules) if not rule.local]
        if not answer.held:
            refused = answer.refused or 0
            return self._refused(at[refused], answer.balances[refused], attempt)
        granted = self._granted = [0] * len(self._rules)
        accounts = self._budgets.accounts
        for index in at:
            line = self._lines[index]
            granted[index] = line.amount
            mode = self._rules[index].budget.on_store_error
            if accounts.shared and line.enforce and mode == "local_share":
                accounts.want_share(line)
        self._backed = True
        self._judge(at, answer.balances)
        return None

    def _refused(self, index: int, balance: Balance, attempt: Attempt) -> BudgetExceeded:
        """A counter has less left than the call asks of it in all."""
        self._shrink_local()
        ahead = self._forecast.ahead(attempt.tier, attempt.model)
        amounts = self._amounts(index, self._rules[index], ahead, attempt)
        assert not isinstance(amounts, BudgetExceeded)
        wanted = self._spent[index] + amounts[0]
        return self._denied(index, self._rules[index], balance, wanted)

    def _unreached(self) -> BudgetExceeded | None:
        """The store is away: beyond what it holds, every budget does what it was told to do."""
        accounts = self._budgets.accounts
        granted = self._granted or [0] * len(self._rules)
        taken = [0] * len(self._rules)
        refused: BudgetExceeded | None = None
        for index, rule in enumerate(self._rules):
            line = self._lines[index]
            more = line.amount - granted[index] - self._shared[index]
            if rule.local or (more <= 0 and self._granted is not None):
                continue
            mode = rule.budget.on_store_error if line.enforce else "open"
            if mode == "open":
                self._say(rule, VerdictStatus.SKIPPED, "the store is away: not checked")
            elif mode == "local_share" and accounts.take_share(line._replace(amount=more)):
                taken[index] = more
                self._say(rule, VerdictStatus.PASSED, "the store is away: this process's share")
            else:
                refused = self._denied(index, rule, None, line.amount)
                break
        if refused is not None:
            for index, amount in enumerate(taken):
                if amount:
                    accounts.settle_share(self._lines[index], amount, 0)
            self._shrink_local()
            return refused
        self._shared = [a + b for a, b in zip(self._shared, taken, strict=True)]
        self._backed = True
        return None

    def _shrink_local(self) -> None:
        """Another gate refused: what was held of the request for this attempt is free again."""
        self._backed = False
        if self._own is None or not self._local:
            return
        had = [line.amount for line in self._local]
        at = [index for index, rule in enumerate(self._rules) if rule.local]
        spent = [self._spent[index] for index in at]
        self._local = [
            line._replace(amount=amount, floor=amount)
            for line, amount in zip(self._local, spent, strict=True)
        ]
        self._own.take(self._local, had)

    def _judge(self, at: Sequence[int], balances: Totals) -> None:
        """See how the budgets stand, and say which of those that only watch are over."""
        for index, (settled, held) in zip(at, balances, strict=True):
            rule = self._rules[index]
            used = settled + held
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
        self,
        index: int,
        rule: Rule,
        balance: Balance | None,
        amount: int | None,
        model: str | None = None,
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
                model=model,
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
        return self._forecast.capped

    def used_up(self) -> None:
        """The hold has no room for what still comes."""
        for rule in self._rules:
            if rule.enforce and rule.unit is not Unit.CALLS:
                self._say(rule, VerdictStatus.BLOCKED, "the hold is used up")

    def extend(self, attempt: Attempt) -> None:
        """Ask for room for as much output again; it is there once `cap` has grown."""

        def ask() -> None:
            before = self._forecast.widen(attempt.tier, attempt.model)
            try:
                sound = self._backed and not self._doubtful and not any(self._shared)
                if sound and not self._call.finished and self.reserve(attempt) is None:
                    return
            except Exception as error:
                self._budgets.on_fault(error)
            self._forecast.narrow(attempt.tier, attempt.model, before)
            self.cap = before.output_cap

        self._budgets.accounts.later(ask)

    # After it ------------------------------------------------------------------------------

    def estimate(self, tier: int, model: str | None) -> Estimate:
        """What a call on this tier may use at the most."""
        return self._forecast.of(tier, model)

    def charge(
        self, attempt: Attempt, usage: Usage | None, cost: int | None, *, free: bool
    ) -> None:
        """Add what an attempt used to what the call has spent; see `Forecast.costs`."""
        costs = attempt.charged = self._costs(attempt, usage, cost, free=free)
        self._spent = [
            min(before + one, LARGEST) for before, one in zip(self._spent, costs, strict=True)
        ]

    def _costs(
        self, attempt: Attempt, usage: Usage | None, cost: int | None, *, free: bool
    ) -> list[int]:
        estimate = self._forecast.of(attempt.tier, attempt.model)
        return self._forecast.costs(self._rules, estimate, usage, cost, free=free)

    def late(self, attempt: Attempt, usage: Usage, cost: int | None) -> None:
        """An attempt that was charged by estimate has told what it really used: the rest is due.

        From whatever thread it ran in.
        """
        charged = attempt.charged or [0] * len(self._rules)
        for index, real in enumerate(self._costs(attempt, usage, cost, free=False)):
            if not self._rules[index].local and self._lines:
                self._budgets.accounts.post(self._lines[index], real - charged[index])

    def close(self) -> None:
        """The call is over: what it held becomes what it spent."""
        if self._own is not None and self._local:
            own = [a for a, rule in zip(self._spent, self._rules, strict=True) if rule.local]
            local = [
                (rule, f"{rule.name}|{self._call.record.request_id}")
                for rule in self._rules
                if rule.local
            ]
            self._budgets.settled(local, self._own.give(self._local, own))
        tally = self._budgets.accounts.tally
        if tally is not None:
            if self._taken:
                at = [index for index, rule in enumerate(self._rules) if not rule.local]
                told = [(self._rules[index], self._keys[index]) for index in at]
                totals = tally.give(self._taken, [self._spent[index] for index in at])
                self._budgets.settled(told, totals)
            return
        if self._lines:
            self._settle_store()

    def _settle_store(self) -> None:
        """Tell what was spent of the store's counters since the hold began."""
        accounts = self._budgets.accounts
        at = [index for index, rule in enumerate(self._rules) if not rule.local]
        granted = self._granted or [0] * len(self._rules)
        amounts = []
        for index in at:
            spent = self._spent[index] - self._base[index]
            shared = self._shared[index]
            if shared:
                beyond = max(0, spent - granted[index])
                accounts.settle_share(self._lines[index], shared, beyond)
                spent -= beyond
                self._shared[index] = 0
            amounts.append(spent)
        if self._granted is None and not self._doubtful:
            for index, spent in zip(at, amounts, strict=True):
                accounts.post(self._lines[index], spent)
        elif at:
            accounts.settle(
                Settling(
                    self._hold,
                    [self._lines[index] for index in at],
                    tuple(amounts),
                    [(self._rules[index], self._keys[index]) for index in at],
                    doubtful=self._doubtful,
                )
            )
