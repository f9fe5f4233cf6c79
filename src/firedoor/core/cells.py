"""What is kept of one key over one stretch of time: counts, sums and distributions.

Everything is whole numbers (values of a mean in millionths, squares in millionths of millionths),
so that adding cells is exact, associative and commutative: it does not matter in which order, in
which process or at which age windows are merged.

A cell is packed into bytes once its stretch is over, to a fifth of the size.
"""

from __future__ import annotations

import marshal
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from firedoor.core.quantiles import GREATEST, LEAST, OFFSET, PER_E, add_counts, bucket

__all__ = ["MICRO", "Cell", "Key", "merged"]

MICRO: Final = 1_000_000
"""What values of a mean are multiplied by."""

_FIGURES = (
    "latency",
    "first_token",
    "cost",
    "tokens",
    "top_score",
    "score_gap",
    "source_age",
    "groundedness",
    "ungrounded_rate",
)
_CODES = {figure: code for code, figure in enumerate(_FIGURES)}
_ceil = math.ceil
_log = math.log


class Key(NamedTuple):
    """Whose counts a cell holds.

    Attributes:
        kind: `llm`, `retrieval`, `tool`; `request`, or `nested` for a request inside another.
        journey: Of the request.
        route: As in `llm:answer`.
        alias: The model name the application asked for.
        apart: Answered otherwise than configured; see `firedoor.core.tallies`.
    """

    kind: str
    journey: str | None = None
    route: str | None = None
    alias: str | None = None
    apart: bool = False


class Cell:
    """Counts, sums and distributions.

    Attributes:
        tally: Counts in lanes.
        sums: By figure: how many values, their sum in millionths, the sum of their squares.
        bins: By figure: how many values fell into each bucket of `firedoor.core.quantiles`.
    """

    __slots__ = ("bins", "sums", "tally")

    def __init__(
        self,
        tally: int = 0,
        sums: dict[str, list[int]] | None = None,
        bins: dict[str, dict[int, int]] | None = None,
    ) -> None:
        self.tally = tally
        self.sums: dict[str, list[int]] = {} if sums is None else sums
        self.bins: dict[str, dict[int, int]] = {} if bins is None else bins

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cell) and self.plain() == other.plain()

    __hash__ = None  # type: ignore[assignment]

    def add(self, figure: str, value: float) -> None:
        """Count `value` for a mean or a sum.

        Raises:
            ValueError: If it is no number.
            OverflowError: If it is infinite.
        """
        scaled = value * MICRO if type(value) is int else round(value * MICRO)
        held = self.sums.get(figure)
        if held is None:
            self.sums[figure] = [1, scaled, scaled * scaled]
        else:
            held[0] += 1
            held[1] += scaled
            held[2] += scaled * scaled

    def spread(self, figure: str, value: float) -> None:
        """Count `value` for a quantile.

        Raises:
            ValueError: If it is no number.
        """
        usual = LEAST < value < GREATEST  # as in `bucket`, without the call
        place = _ceil(_log(value) * PER_E) + OFFSET if usual else bucket(value)
        counts = self.bins.get(figure)
        if counts is None:
            self.bins[figure] = {place: 1}
        else:
            counts[place] = counts.get(place, 0) + 1

    def merge(self, other: Cell) -> None:
        """Add everything that `other` holds."""
        self.tally += other.tally
        for figure, (size, total, squares) in other.sums.items():
            held = self.sums.get(figure)
            if held is None:
                self.sums[figure] = [size, total, squares]
            else:
                held[0] += size
                held[1] += total
                held[2] += squares
        for figure, counts in other.bins.items():
            own = self.bins.get(figure)
            if own is None:
                self.bins[figure] = dict(counts)
            else:
                add_counts(own, counts)

    def plain(self) -> tuple[int, dict[str, list[int]], dict[str, dict[int, int]]]:
        """The three parts."""
        return self.tally, self.sums, self.bins

    def pack(self) -> bytes:
        """The same in few bytes; for this process only."""
        get = _CODES.get
        sums = [
            # Of one value alone, its square need not be kept.
            (get(figure, figure), held[1]) if held[0] == 1 else (get(figure, figure), *held)
            for figure, held in self.sums.items()
        ]
        bins = [(get(figure, figure), counts) for figure, counts in self.bins.items()]
        packed = marshal.dumps((self.tally, sums, bins), 2)  # without the references of later ones
        # Copied: what marshal gives is a large block cut short, and the rest of it would be lost.
        return bytes(memoryview(packed))

    @classmethod
    def of(cls, held: Cell | bytes) -> Cell:
        """A cell, packed or not."""
        if isinstance(held, Cell):
            return held
        tally, sums, bins = marshal.loads(held)  # noqa: S302 - packed above, in this process
        made = cls(tally)
        names = _FIGURES
        for code, *figures in sums:
            value = figures[0]
            kept = figures if len(figures) > 1 else [1, value, value * value]
            made.sums[code if isinstance(code, str) else names[code]] = kept
        for code, counts in bins:
            made.bins[code if isinstance(code, str) else names[code]] = counts
        return made

    def to_json(self) -> list[Any]:
        """As JSON has it, for other processes."""
        return [
            format(self.tally, "x"),
            self.sums,
            {figure: [*counts, *counts.values()] for figure, counts in self.bins.items()},
        ]

    @classmethod
    def from_json(cls, data: Any) -> Cell:
        """The inverse of `to_json`.

        Raises:
            ValueError: If it is something else; likewise `TypeError`, `KeyError`.
        """
        tally, sums, bins = data
        made = cls(int(tally, 16))
        for figure, (size, total, squares) in sums.items():
            made.sums[str(figure)] = [int(size), int(total), int(squares)]
        for figure, flat in bins.items():
            half = len(flat) // 2
            pairs = zip(map(int, flat[:half]), map(int, flat[half:]), strict=True)
            made.bins[str(figure)] = dict(pairs)
        return made


def merged(cells: Iterable[Cell | bytes]) -> Cell:
    """All of them added up, in a new cell."""
    whole = Cell()
    for cell in cells:
        whole.merge(Cell.of(cell))
    return whole
