"""The ledger of a budget store: what was spent, what is promised, and whether one more may be.

```
  reserve ──▶ live ──▶ settled  (what was really spent)
               └─────▶ expired  (its lease ran out: settled at its floor) ──▶ settled
```

Every counter keeps `settled` and `held` apart. A hold takes the worst case on several counters at
once, all or none, before the call is made, and gives back what the call did not use. A hold whose
process died is settled at its floor when its lease runs out: the input had been sent, so the floor
is its cost, never zero and never the full hold.

Rules, held for every store by tests/stores/test_conformance.py:

- A strict line is granted only where `settled + held + amount <= limit`. So the settled sum passes
  a limit only by what calls spent beyond their own holds, and all of that is counted.
- A line that allows a last call is granted while `settled + held < limit`, so that the sum passes
  the limit by less than one hold.
- A refused hold leaves no trace.
- A hold is settled once. One that had expired is corrected by the difference.

Pure: the caller passes `now` (seconds since the epoch, so that processes agree) and holds the lock.
The SQLite and Redis stores do the same in SQL and Lua.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "LARGEST",
    "REMEMBER_EXPIRED",
    "REMEMBER_SETTLED",
    "Answer",
    "Balance",
    "Counter",
    "HoldState",
    "Ledger",
    "Line",
    "Settlement",
    "check_lines",
    "check_settlements",
]

LARGEST = 2**53 - 1
"""The largest amount that every store counts exactly: Lua's numbers are doubles. In micro-dollars
it is nine thousand million dollars."""

REMEMBER_SETTLED = 60.0
"""Seconds a settled hold is remembered, so that a repeated word about it changes nothing."""

REMEMBER_EXPIRED = 3600.0
"""Seconds an expired hold is remembered, so that what it really spent can still be told."""

_REMEMBERED = 4096
"""Settled holds that are remembered at the most: nobody asks a ledger in memory twice, or late."""

_NEVER = math.inf

_TIDY = 1.0
"""Seconds between two looks at what may be forgotten; no answer depends on them."""


# Tuples, not dataclasses: a call makes several, and frozen slots cost three times as much.


class Line(NamedTuple):
    """One counter's part in a hold. Amounts are integers: micro-dollars, tokens, calls.

    Attributes:
        key: Names the counter: budget, scope and window in one. A hold names each key once.
        limit: What may be spent in all.
        amount: What this hold takes at the most; 0 to `LARGEST`.
        floor: What is settled if the hold's lease runs out; at most `amount`.
        expires: Seconds since the epoch after which the counter may be forgotten.
        strict: The hold must fit in what is left. Otherwise anything left is enough.
        enforce: False: counted, never refused.
    """

    key: str
    limit: int
    amount: int
    floor: int
    expires: float
    strict: bool = True
    enforce: bool = True

    def fits(self, settled: int, held: int, already: int = 0) -> bool:
        """Whether it may be held, where the hold has `already` that much of what is held."""
        return settled + held <= self.brink(already)

    def brink(self, already: int = 0) -> float:
        """What may be settled and held before it at the most; `already` as for `fits`."""
        grows = self.amount - already
        if not self.enforce or grows <= 0:
            return math.inf
        return self.limit - grows if self.strict else self.limit - 1


class Balance(NamedTuple):
    """A counter at a glance: what was spent, and what is promised to calls that run."""

    settled: int
    held: int


class Answer(NamedTuple):
    """What became of a hold.

    Attributes:
        held: Whether every line is held now.
        refused: Index of the first line that would not grant it. None where `held`, and where the
            hold is over: it was settled, or its lease ran out.
        balances: Every line's counter afterwards, this hold included if it is held.
    """

    held: bool
    refused: int | None
    balances: tuple[Balance, ...]


Settlement = tuple[str, Sequence[int]]
"""A hold's id, and what was really spent, one amount per line."""


class HoldState(StrEnum):
    """Where a hold is in its life."""

    LIVE = "live"
    SETTLED = "settled"
    EXPIRED = "expired"


def check_lines(lines: Sequence[Line]) -> None:
    """Raise `ValueError` for lines that no store may take.

    Raises:
        ValueError: If there is none, a key comes twice, or an amount or a floor is out of bounds.
    """
    for line in lines:
        if not 0 <= line.floor <= line.amount <= LARGEST:
            raise ValueError(f"{line}: give 0 <= floor <= amount <= {LARGEST}")
    if len({line.key for line in lines}) != len(lines) or not lines:
        raise ValueError(f"{[line.key for line in lines]}: name at least one key, and each once")


def check_settlements(settlements: Sequence[Settlement]) -> None:
    """Raise `ValueError` for what nobody can have spent.

    Raises:
        ValueError: If an amount is out of bounds.
    """
    for hold, actual in settlements:
        for spent in actual:
            if not 0 <= spent <= LARGEST:
                raise ValueError(f"hold {hold!r}: spent {spent!r}, not 0 to {LARGEST}")


class Counter:
    """What was spent, and what is promised."""

    __slots__ = ("held", "settled")

    def __init__(self) -> None:
        self.settled = 0
        self.held = 0


_Hold = tuple[HoldState, float, Sequence[Line]]
"""Its state; when its lease ends, or once it is over when to forget it; its lines."""

_LIVE, _SETTLED, _EXPIRED = HoldState
_push = heapq.heappush


class Ledger:
    """Counters by key and holds by id. Constant time, but for the order of the leases."""

    __slots__ = ("_counters", "_ended", "_expiring", "_holds", "_leases", "_look")

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._holds: dict[str, _Hold] = {}
        self._leases: list[tuple[float, str]] = []  # by their ends; stale ones are passed over
        self._ended: deque[tuple[float, str]] = deque()  # settled holds, by when to forget them
        self._expiring: list[tuple[float, str]] = []  # counters, by when to forget them
        self._look = math.inf  # nothing is due before

    @property
    def by_key(self) -> dict[str, Counter]:
        """Its counters themselves, for `firedoor.core.tally`."""
        return self._counters

    def reserve(self, hold: str, lines: Sequence[Line], lease: float, now: float) -> Answer:
        """Make the hold be exactly these lines, or leave all as it was.

        `lease` is in seconds, or infinite. A hold that is there already is changed to the new
        amounts and floors, for the same counters in the same order; only a line that grows can be
        refused.

        Raises:
            ValueError: As `check_lines`, or if the counters of a known hold are others.
        """
        if self._look <= now:
            self._sweep(now)
        check_lines(lines)
        before = self._holds.get(hold)
        had = [0] * len(lines)
        if before is not None:
            if [line.key for line in before[2]] != [line.key for line in lines]:
                raise ValueError(f"hold {hold!r} has other counters, or another order of them")
            if before[0] is not _LIVE:
                return Answer(False, None, self._read(lines))
            had = [line.amount for line in before[2]]
        balances = self._read(lines)
        for index, (line, balance, already) in enumerate(zip(lines, balances, had, strict=True)):
            if not line.fits(balance.settled, balance.held, already):
                return Answer(False, index, balances)
        for line, already in zip(lines, had, strict=True):
            self._counter(line.key, line.expires).held += line.amount - already
        self._lease(hold, now + lease, tuple(lines))
        return Answer(True, None, self._read(lines))

    def renew(self, holds: Sequence[str], lease: float, now: float) -> tuple[bool, ...]:
        """Let each hold last `lease` seconds from now; False for those that are over."""
        if self._look <= now:
            self._sweep(now)
        answers = []
        for name in holds:
            hold = self._holds.get(name)
            live = hold is not None and hold[0] is _LIVE
            if hold is not None and live:
                self._lease(name, now + lease, hold[2])
            answers.append(live)
        return tuple(answers)

    def settle(
        self, settlements: Sequence[Settlement], now: float
    ) -> tuple[tuple[Balance, ...] | None, ...]:
        """Turn holds into what was really spent; for each the balances of its lines afterwards.

        None for a hold that was never granted or is long forgotten.

        Raises:
            ValueError: As `check_settlements`, or if there are more or fewer amounts than lines;
                nothing is settled then.
        """
        if self._look <= now:
            self._sweep(now)
        check_settlements(settlements)
        for name, actual in settlements:
            hold = self._holds.get(name)
            if hold is not None and len(hold[2]) != len(actual):
                raise ValueError(f"hold {name!r}: {len(actual)} amounts, {len(hold[2])} lines")
        return tuple(self._settle(name, actual, now) for name, actual in settlements)

    def _settle(self, name: str, actual: Sequence[int], now: float) -> tuple[Balance, ...] | None:
        hold = self._holds.get(name)
        if hold is None:
            return None
        state, _, lines = hold
        if state is not _SETTLED:
            for line, spent in zip(lines, actual, strict=True):
                counter = self._counter(line.key, now)
                if state is _LIVE:
                    counter.settled += spent
                    counter.held -= line.amount
                else:
                    counter.settled += spent - line.floor
            self._over(name, lines, now)
        return self._read(lines)

    def _over(self, name: str, lines: Sequence[Line], now: float) -> None:
        """Remember for a while that a hold was settled."""
        ended = self._ended
        forget = now + REMEMBER_SETTLED
        self._holds[name] = (_SETTLED, forget, lines)
        ended.append((forget, name))
        if len(ended) > _REMEMBERED:
            del self._holds[ended.popleft()[1]]
            leases = self._leases
            if len(leases) > 4 * _REMEMBERED:
                self._leases = [one for one in leases if one[1] in self._holds]
                heapq.heapify(self._leases)
        self._look = min(self._look, forget + _TIDY)

    def balances(self, keys: Sequence[str], now: float) -> tuple[Balance, ...]:
        """Counters as they are now; zeros for those that are not known."""
        if self._look <= now:
            self._sweep(now)
        return tuple(self._balance(key) for key in keys)

    def counters(self, now: float) -> dict[str, Balance]:
        """Every counter."""
        if self._look <= now:
            self._sweep(now)
        return {key: Balance(c.settled, c.held) for key, c in self._counters.items()}

    def _sweep(self, now: float) -> None:
        """Settle at their floors the holds whose leases ran out; forget what is long over."""
        leases, holds, ended, expiring = self._leases, self._holds, self._ended, self._expiring
        while leases:
            due, name = leases[0]
            hold = holds.get(name)
            if hold is not None and hold[1] == due and hold[0] is not _SETTLED:
                if due > now:
                    break
                self._run_out(name, hold, now)
            heapq.heappop(leases)
        while ended and ended[0][0] <= now:
            del holds[ended.popleft()[1]]
        while expiring and expiring[0][0] <= now:
            _, key = heapq.heappop(expiring)
            if self._counters[key].held:
                # Its calls still run, into the next window.
                _push(expiring, (now + REMEMBER_SETTLED, key))
            else:
                del self._counters[key]
        self._look = min(
            leases[0][0] if leases else math.inf,
            ended[0][0] + _TIDY if ended else math.inf,
            expiring[0][0] if expiring else math.inf,
        )

    def _run_out(self, name: str, hold: _Hold, now: float) -> None:
        state, _, lines = hold
        if state is _EXPIRED:
            del self._holds[name]
            return
        for line in lines:
            counter = self._counter(line.key, now)
            counter.held -= line.amount
            counter.settled += line.floor
        forget = now + REMEMBER_EXPIRED
        self._holds[name] = (_EXPIRED, forget, lines)
        _push(self._leases, (forget, name))

    def _lease(self, name: str, due: float, lines: Sequence[Line]) -> None:
        self._holds[name] = (_LIVE, due, lines)
        if due != _NEVER:
            _push(self._leases, (due, name))
            self._look = min(self._look, due)

    def open(self, key: str, expires: float, now: float) -> Counter:
        """A new counter, when those whose time is over have been forgotten."""
        if self._look <= now:
            self._sweep(now)
        return self._open(key, expires)

    def _counter(self, key: str, expires: float) -> Counter:
        return self._counters.get(key) or self._open(key, expires)

    def _open(self, key: str, expires: float) -> Counter:
        counter = self._counters[key] = Counter()
        _push(self._expiring, (expires, key))
        self._look = min(self._look, expires)
        return counter

    def _balance(self, key: str) -> Balance:
        counter = self._counters.get(key)
        return Balance(0, 0) if counter is None else Balance(counter.settled, counter.held)

    def _read(self, lines: Sequence[Line]) -> tuple[Balance, ...]:
        return tuple(self._balance(line.key) for line in lines)
