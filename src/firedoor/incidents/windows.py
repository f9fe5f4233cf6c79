"""One signal under one selector, read from the slots that hold it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn, Protocol, TypeVar

from firedoor.core.cells import MICRO, Cell
from firedoor.core.column import Part, Running
from firedoor.core.quantiles import add_counts, quantile, share_above, sums
from firedoor.core.ring import Question, width_at
from firedoor.core.series import Sample, Selector, Shape
from firedoor.core.signals import ANY, OBSERVED, REQUEST, Signal
from firedoor.core.tallies import Lane, lane

__all__ = ["Reader", "Source", "onset", "question_of"]

R = TypeVar("R")


class Source(Protocol):
    """Where slots are kept."""

    def gather(
        self,
        questions: Sequence[Question],
        seconds: float,
        now: float,
        before: float,
        take: Callable[[Sequence[list[Cell]], float], R],
    ) -> R:
        """What `take` makes of a stretch: of the cells of each question, and the seconds watched.

        The stretch is the `seconds` that ended `before` seconds before `now`. Nothing is recorded
        while `take` runs.
        """
        ...

    def slots(
        self, questions: Sequence[Question], seconds: float, now: float
    ) -> tuple[list[tuple[float, Cell]], float]:
        """When each slot of the last `seconds` begins and what it holds, the oldest first.

        A slot comes once for each question. Besides, how many of the seconds were watched.
        """
        ...

    def running(
        self,
        questions: tuple[Question, ...],
        seconds: float,
        now: float,
        take: Callable[[Running, float, float], R],
    ) -> R:
        """What `take` makes of the last `seconds`, as running sums.

        It is given those; `now`, on the clock of the slots; how many of the seconds were watched.
        Nothing is recorded while it runs.
        """
        ...


_NESTED = "nested"


def question_of(signal: Signal, selector: Selector, *, apart: bool | None = None) -> Question:
    """Which cells a signal is read from under a selector."""
    kind = signal.kind
    if signal.custom or selector.route is not None or kind == ANY:
        kinds = frozenset({OBSERVED}) if kind == OBSERVED and not signal.custom else None
    elif kind == REQUEST:
        # Requests have no alias: of one, its model calls are read.
        if selector.alias is not None:
            kinds = frozenset({"llm"})
        else:
            kinds = frozenset({REQUEST} if selector.journey is None else {REQUEST, _NESTED})
    else:
        kinds = frozenset({kind})
    return Question(kinds, selector, apart)


@functools.lru_cache(maxsize=256)
def _ages(windows: tuple[float, ...]) -> tuple[float, ...]:
    """How old a slot of each window may be: half of one that has begun before is as near."""
    return tuple(seconds + width_at(seconds) / 2 for seconds in windows)


class Reader:
    """A `firedoor.core.series.Series` over slots."""

    __slots__ = ("_counted", "_questions", "_source", "selector", "signal")

    def __init__(
        self, signal: Signal, selector: Selector, source: Source, *, plain: bool = False
    ) -> None:
        self.signal = signal
        self.selector = selector
        self._source = source
        self._questions: tuple[Question, ...]
        if signal.kind == OBSERVED:
            self._questions = (question_of(signal, selector),)
        else:
            both = (False,) if plain else (False, True)
            self._questions = tuple(question_of(signal, selector, apart=apart) for apart in both)
        kinds = self._questions[0].kinds
        requests = kinds is not None and REQUEST in kinds
        self._counted = Lane.REQUESTS if requests else Lane.CALLS

    @property
    def shape(self) -> Shape:
        """How its observations become one value."""
        return self.signal.shape

    @property
    def quantile(self) -> float | None:
        """Which quantile it is, 0 to 1; None: it is none."""
        return self.signal.share

    def slots(self, seconds: float, now: float) -> list[tuple[float, Cell]]:
        """When each slot of the last `seconds` begins and what it holds."""
        return self._source.slots(self._questions, seconds, now)[0]

    def over(self, seconds: float, now: float, *, before: float = 0.0) -> Sample:
        """See `firedoor.core.series.Series`."""
        return self._source.gather(self._questions, seconds, now, before, self._sample)

    def _sample(self, found: Sequence[list[Cell]], watched: float) -> Sample:
        signal = self.signal
        contained = 0
        cells = found[0]
        if len(found) > 1:
            contained = lane(sum(cell.tally for cell in found[1]), self._counted)
            cells = [*cells, *found[1]]
        match signal.shape:
            case Shape.RATE:
                size, hits = self._rate(cells)
                value = hits / size if size else None
                return Sample(size, hits, hits, value, watched, contained)
            case Shape.QUANTILE:
                counts = self.distribution(cells)
                size, total, squares = sums(counts)
                value = quantile(counts, signal.share or 0.5)
                return Sample(size, total, squares, value, watched, contained)
            case Shape.MEAN:
                size, total, squares = self._sums(cells)
                value = total / size if size else None
                return Sample(size, total, squares, value, watched, contained)
            case Shape.VELOCITY:
                size, total, squares = self._sums(cells)
                value = total / watched if watched > 0 else 0.0
                return Sample(size, total, squares, value, watched, contained)

    def _rate(self, cells: Iterable[Cell]) -> tuple[int, float]:
        signal = self.signal
        if signal.hits is None or signal.base is None:
            size, hits, _ = self._sums(cells)
            return size, hits
        tally = sum(cell.tally for cell in cells)
        return lane(tally, signal.base), float(lane(tally, signal.hits))

    def _sums(self, cells: Iterable[Cell]) -> tuple[int, float, float]:
        size = total = squares = 0
        for part in map(self._held, cells):
            size += part[0]
            total += part[1]
            squares += part[2]
        return size, total / MICRO, squares / MICRO**2

    def distribution(self, cells: Iterable[Cell]) -> Mapping[int, int]:
        """How many values fell into each bucket."""
        figure = self.signal.figure
        held = [cell.bins[figure] for cell in cells if figure in cell.bins]
        if len(held) == 1:
            return held[0]
        counts = dict(held[0]) if held else {}
        for more in held[1:]:
            add_counts(counts, more)
        return counts

    def above(self, limit: float, seconds: float, now: float) -> Sample:
        """See `firedoor.core.series.Series`."""
        if self.signal.shape is not Shape.QUANTILE:
            self._no_distribution()

        def take(found: Sequence[list[Cell]], watched: float) -> Sample:
            counts = self.distribution(cell for cells in found for cell in cells)
            size, hits = share_above(counts, limit)
            return Sample(size, float(hits), float(hits), hits / size if size else None, watched)

        return self._source.gather(self._questions, seconds, now, 0.0, take)

    def nested(
        self, windows: Sequence[float], now: float, *, above: float | None = None
    ) -> list[Sample]:
        """See `firedoor.core.series.Series`."""
        signal = self.signal
        if signal.shape is Shape.QUANTILE and above is None:
            raise ValueError(f"{signal.name} is a quantile: give above=")
        if signal.shape is not Shape.QUANTILE and above is not None:
            self._no_distribution()
        hit, base = signal.hits, signal.base

        def take(running: Running, at: float, watched: float) -> list[Sample]:
            bounds = [at - age for age in _ages(tuple(windows))]
            found: Iterable[tuple[int, float, float]]
            if signal.shape is Shape.RATE and hit is not None and base is not None:
                hits = [(t, float(lane(t, hit))) for t in running.tallies(bounds)]
                found = [(lane(t, base), n, n) for t, n in hits]
            elif above is not None:
                count = functools.partial(self._above, above)
                found = running.parts((signal.figure, above), count, bounds)
            else:
                sums = running.parts(signal.figure, self._held, bounds)
                found = [(size, total / MICRO, square / MICRO**2) for size, total, square in sums]
            return [
                Sample(size, total, squares, total / size if size else None, min(s, watched))
                for s, (size, total, squares) in zip(windows, found, strict=True)
            ]

        return self._source.running(self._questions, windows[-1], now, take)

    def _held(self, cell: Cell) -> Part:
        """Of a mean, in millionths."""
        held = cell.sums.get(self.signal.figure)
        return (0, 0, 0) if held is None else (held[0], held[1], held[2])

    def _above(self, limit: float, cell: Cell) -> Part:
        """Of a distribution, the observations above `limit`."""
        held = cell.bins.get(self.signal.figure)
        if held is None:
            return 0, 0, 0
        size, hits = share_above(held, limit)
        return size, hits, hits

    def _no_distribution(self) -> NoReturn:
        raise ValueError(
            f"{self.signal.name} is a {self.signal.shape}: no distribution of it is kept"
        )

    def bad(self, cell: Cell, usual: float) -> tuple[int, float]:
        """How many observations a slot has, and how much of them is bad.

        Of a rate its hits; otherwise what is on the bad side of `usual`.
        """
        signal = self.signal
        if signal.shape is Shape.RATE:
            return self._rate([cell])
        if signal.shape is Shape.QUANTILE:
            size, above = share_above(self.distribution([cell]), usual)
            return size, float(above if signal.higher_is_worse else size - above)
        size, total, _ = self._sums([cell])
        return size, total if signal.higher_is_worse else -total


def onset(reader: Reader, seconds: float, now: float) -> float | None:
    """See `firedoor.incidents.signals.Signals.bad_since`."""
    slots = reader.slots(seconds, now)
    usual = quantile(reader.distribution(cell for _, cell in slots), 0.5) or 0.0
    told = [(start, *reader.bad(cell, usual)) for start, cell in slots]
    told = [(start, size, bad) for start, size, bad in told if size]
    size = sum(n for _, n, _ in told)
    if not size:
        return None
    mean = sum(bad for _, _, bad in told) / size
    least = running = 0.0
    after = 0
    for place, (_, n, bad) in enumerate(told):
        running += bad - mean * n
        if running < least - 1e-9:
            least, after = running, place + 1
    rate = reader.shape in (Shape.RATE, Shape.QUANTILE)
    return next((start for start, _, bad in told[after:] if bad > 0 or not rate), None)
