"""Holds without a name, for counters and holders that live and die together.

Where counters are kept in the process of the calls they count, no lease is needed: no holder can be
lost without its counters. Nor has a hold to be found by its name: whoever took it remembers how much
it was, and gives it back once. What is left is two additions, at less than twice the cost of the
lock around them. The rules of a grant are those of `firedoor.core.budget.Line.fits`.

Pure but for the guard, which is whatever keeps others out meanwhile: a lock.

While the guard is held nothing is called and nothing loops in Python, since the interpreter passes
on to another thread after a call or a jump back only. If it did with the lock held, all who came by
would queue for the lock, each of them be given it before it may run, and go on queueing for each other
long after: with eight threads, at up to eight times the price. What has to loop, loops in C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import repeat
from operator import add, attrgetter, gt
from typing import Any

from firedoor.core.budget import Counter, Line

__all__ = ["Tally", "Totals"]

Totals = tuple[tuple[int, int], ...]
"""Settled and held of each line's counter. Plain tuples: a call makes two of these."""


_settled, _held, _both = attrgetter("settled"), attrgetter("held"), attrgetter("settled", "held")


class Tally:
    """Takes from counters, and gives back.

    Args:
        counters: By key.
        opening: Makes the counter of a key that is not there, which may be forgotten at a time.
            None: they are kept as long as the tally.
        guard: Held while counters are read and changed.
    """

    __slots__ = ("_counters", "_guard", "_opening")

    def __init__(
        self,
        counters: dict[str, Counter],
        opening: Callable[[str, float], Counter] | None,
        guard: AbstractContextManager[Any],
    ) -> None:
        self._counters = counters
        self._opening = opening or self._open
        self._guard = guard

    def _open(self, key: str, _: float) -> Counter:
        counter = self._counters[key] = Counter()
        return counter

    def take(self, lines: Sequence[Line], had: Sequence[int] | None = None) -> Totals | int:
        """Hold the lines' amounts, all or none.

        Args:
            lines: What to hold; each key once, amounts of 0 or more.
            had: What the holder has of each already: it is changed to the new amounts.

        Returns:
            The totals afterwards; or the index of the line that would not grant it.
        """
        if had is None and len(lines) == 1:
            key, limit, amount, _, expires, strict, enforce = lines[0]
            with self._guard:
                try:
                    counter = self._counters[key]
                except KeyError:
                    counter = self._opening(key, expires)
                held = counter.held
                if enforce and amount:
                    left = limit - counter.settled - held
                    if amount > left if strict else left <= 0:
                        return 0
                counter.held = held = held + amount
                return ((counter.settled, held),)
        return self._take(lines, had or (0,) * len(lines))

    def _take(self, lines: Sequence[Line], had: Sequence[int]) -> Totals | int:
        keys, brinks, grow = [], [], []
        for line, before in zip(lines, had, strict=True):
            keys.append(line.key)
            brinks.append(line.brink(before))
            grow.append(line.amount - before)
        while True:
            # Nothing of this is done before it is unpacked, and then without a break.
            counters: list[Counter] = []
            found = map(self._counters.__getitem__, keys)
            beyond = map(gt, map(add, map(_settled, counters), map(_held, counters)), brinks)
            taken = map(setattr, counters, repeat("held"), map(add, map(_held, counters), grow))
            totals = map(_both, counters)
            try:
                with self._guard:
                    counters += found
                    refused = [*beyond]
                    if True not in refused:
                        _ = [*taken]
                        return (*totals,)
                return refused.index(True)
            except KeyError:
                with self._guard:
                    for line in lines:
                        if line.key not in self._counters:
                            self._opening(line.key, line.expires)

    def give(self, lines: Sequence[Line], spent: Sequence[int]) -> Totals:
        """Turn what is held, the lines' amounts, into what was spent; the totals afterwards."""
        if len(lines) == 1:
            return (self._give(lines[0], spent[0]),)
        return tuple(map(self._give, lines, spent))

    def _give(self, line: Line, more: int) -> tuple[int, int]:
        key, _, amount, _, expires, _, _ = line
        with self._guard:
            try:
                counter = self._counters[key]
            except KeyError:  # forgotten while nothing was held of it
                counter = self._opening(key, expires)
            counter.settled = settled = counter.settled + more
            counter.held = held = counter.held - amount
        return settled, held

    def totals(self, lines: Sequence[Line]) -> Totals:
        """Settled and held as they are now."""
        with self._guard:
            found = [self._counters.get(line.key) for line in lines]
            return tuple((0, 0) if one is None else (one.settled, one.held) for one in found)
