"""What closed slots hold, as running sums: windows of all lengths for the price of the longest."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from firedoor.core.cells import Cell

__all__ = ["Column", "Part", "Running"]

Part = tuple[int, int, int]
"""Observations, and the sums of their values and of their squares, in whole units."""


_NOTHING: Part = (0, 0, 0)


def _plus(one: Part, other: Part) -> Part:
    """Both together."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


class Column:
    """The closed slots of a stretch. Its sums are made when they are first asked for.

    A sum of the newest `n` slots stands at place `n`; at 0 there is nothing.

    Args:
        slots: When each begins and what it holds, the oldest first.
        begins: How far back they reach.
    """

    __slots__ = ("_cells", "_parts", "_starts", "_tallies", "begins")

    def __init__(self, slots: Iterable[tuple[float, Cell]], begins: float) -> None:
        found = list(slots)
        self.begins = begins
        self._starts = [start for start, _ in found]
        self._cells = [cell for _, cell in reversed(found)]
        self._tallies: list[int] | None = None
        self._parts: dict[object, list[Part]] = {}

    def after(self, bound: float) -> int:
        """How many slots begin after `bound`."""
        return len(self._starts) - bisect_right(self._starts, bound)

    def tallies(self) -> list[int]:
        """The sums of their tallies."""
        if self._tallies is None:
            self._tallies = list(accumulate((cell.tally for cell in self._cells), initial=0))
        return self._tallies

    def parts(self, name: object, count: Callable[[Cell], Part]) -> list[Part]:
        """The sums of what `count` makes of each slot, kept under `name`."""
        known = self._parts.get(name)
        if known is None:
            made = list(accumulate(map(count, self._cells), _plus, initial=_NOTHING))
            known = self._parts[name] = made
        return known


class Running(NamedTuple):
    """Closed slots and the newest one, which still grows: what was observed since some moments.

    Attributes:
        closed: The closed ones.
        begins: When the newest one begins.
        cells: What it holds.
    """

    closed: Column
    begins: float
    cells: Sequence[Cell]

    def tallies(self, bounds: Iterable[float]) -> list[int]:
        """The tally since each of `bounds`."""
        closed = self.closed.tallies()
        newest = sum(cell.tally for cell in self.cells)
        return [
            closed[self.closed.after(bound)] + (newest if self.begins > bound else 0)
            for bound in bounds
        ]

    def parts(
        self, name: object, count: Callable[[Cell], Part], bounds: Iterable[float]
    ) -> list[Part]:
        """The sum since each of `bounds` of what `count` makes of a cell; see `Column.parts`."""
        closed = self.closed.parts(name, count)
        newest = _NOTHING
        for cell in self.cells:
            newest = _plus(newest, count(cell))
        return [
            _plus(closed[self.closed.after(bound)], newest if self.begins > bound else _NOTHING)
            for bound in bounds
        ]
