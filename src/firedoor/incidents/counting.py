"""Counts what happened into the slots of time: one decision, request or observation at a time.

The caller holds the lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from firedoor.core.cells import Cell, Key
from firedoor.core.quantiles import bucket
from firedoor.core.ring import LEVELS, Ring
from firedoor.core.series import Shape
from firedoor.core.signals import CATALOGUE, OBSERVED, REQUEST, UNGROUNDED_BELOW, Signal
from firedoor.core.tallies import PLACE, Tallies, apart, asked, documents, request_tally, shape_of
from firedoor.records import Decision
from firedoor.types import RouteKind

if TYPE_CHECKING:
    from firedoor.shell.scope import Request

__all__ = ["NESTED", "OTHER", "Counting", "Custom", "Told", "told_of"]

OTHER: Final = "~other"
"""Journey of what came when there were too many combinations already."""

NESTED: Final = "nested"
"""Kind of a request inside another: part of its journey, and not of the whole door again."""

_TIDY = 4
_SWEEP = 600.0
_SURE = 100
_WAYS = 4_096
_LLM, _RETRIEVAL = RouteKind.LLM, RouteKind.RETRIEVAL

Custom = Callable[[Decision], "float | bool | None"]


class _Way:
    """Where calls that are alike count in one slot, and what each of them counts for.

    Attributes:
        cell: Of their journey, route and alias.
        tally: Their counts.
        alone: Of a model call outside a request, the cell of the request that it is by itself.
        alone_tally: Its counts.
        cells: Both.
        latencies: Where their time counts; nowhere if no target was asked.
    """

    __slots__ = ("alone", "alone_tally", "cell", "cells", "latencies", "tally")

    def __init__(
        self, cell: Cell, tally: int, alone: Cell | None, alone_tally: int, *, ran: bool
    ) -> None:
        self.cell = cell
        self.tally = tally
        self.alone = alone
        self.alone_tally = alone_tally
        self.cells = (cell,) if alone is None else (cell, alone)
        self.latencies = [c.bins.setdefault("latency", {}) for c in self.cells if ran]


class Told(NamedTuple):
    """What a request that has ended counts for.

    Attributes:
        place: Its journey, kind, no alias, and whether it is set apart.
        tally: Its counts.
        latency_s: None where nothing was asked: a safe response that came at once says nothing of
            how fast answers are.
        cost_usd: None where no call of it tells.
    """

    place: tuple[str, str, None, bool]
    tally: int
    latency_s: float | None
    cost_usd: float | None


def told_of(request: Request) -> Told | None:
    """What to count of a request that has just ended; None of a synthetic one."""
    if request.synthetic or request.outcome is None:
        return None
    decisions = request.decisions
    contained = costed = False
    ran = not decisions
    cost = 0.0
    for decision in decisions:
        contained = contained or apart(decision)
        ran = ran or asked(decision)
        if decision.cost_usd is not None:
            costed = True
            cost += decision.cost_usd
    return Told(
        (request.journey, REQUEST if request.parent is None else NESTED, None, contained),
        request_tally(request.outcome),
        request.latency_s if ran else None,
        cost if costed else None,
    )


class Counting:
    """What one process has counted, and the slots it is counted into.

    Args:
        began: Monotonic seconds.
        ahead: What wall time, to which slots are aligned, is ahead of that.
        on_fault: Told of what goes wrong in the application's own signals.
        keys: Combinations of journey, route and alias that are told apart.
        cells: How many cells are kept.

    Attributes:
        ring: The slots.
        turn: When the newest slot ends, wall time.
        open: The cells of the newest slot that were written to, by place.
        known: Keys by place.
        untidy: Something is to be folded.
        custom: The application's own signals over decisions.
        on_turn: Called as a new slot begins, about every ten seconds; must be quick.
        recorded: Calls counted.
        overflowed: How often a place was not told apart.
    """

    def __init__(
        self,
        began: float,
        ahead: float,
        *,
        on_fault: Callable[[BaseException], object],
        keys: int,
        cells: int,
    ) -> None:
        self.ahead = ahead
        self._on_fault = on_fault
        self._most = keys
        self._tallies = Tallies()
        self.ring = Ring(began + ahead, cells)
        self.turn = -math.inf
        self.open: dict[tuple[object, ...], Cell] = {}
        self._ways: dict[tuple[object, ...], _Way] = {}
        self.known: dict[tuple[object, ...], Key] = {}
        self._swept = -math.inf
        self.untidy = False
        self.custom: list[tuple[Signal, Custom]] = []
        self.on_turn: Callable[[], object] | None = None
        self._order: dict[str | None, int] = {}
        self.recorded = 0
        self.overflowed = 0

    def advance(self, at: float) -> None:
        """A new slot begins, at this wall time."""
        self.ring.cells(at)
        self.resume()
        if self.on_turn is not None:
            self.on_turn()

    def resume(self) -> None:
        """Find the newest slot anew: it may be another one, or others have added to its keys."""
        self.turn = self.ring.turn
        self.open = {}
        self._ways = {}
        self.untidy = True

    def tidy(self, at: float, most: int) -> None:
        """Fold what has grown old; when that is done, make room for new places."""
        self.untidy = self.ring.tidy(at, most)
        if self.untidy or len(self.known) < self._most or at - self._swept < _SWEEP:
            return
        self._swept = at
        alive = self.ring.keys(lambda _: True)
        self.known = {place: key for place, key in self.known.items() if key in alive}

    def _cell(self, kind: str, place: tuple[Any, ...]) -> Cell:
        """The open cell of a place, by journey, route, alias and whether it is set apart."""
        key = self.known.get(place)
        if key is None:
            if len(self.known) < self._most:
                journey, route, alias, _ = place
                key = self.known[place] = Key(str(kind), journey, route, alias, place[3] is True)
            else:
                self.overflowed += 1
                key = Key(str(kind), OTHER, None, None, place[3] is True)
        cells = self.ring.cells(self.turn - LEVELS[0][0])
        cell = cells.get(key)
        if not isinstance(cell, Cell):
            cell = cells[key] = Cell()
            self.ring.size += 1
        if key.journey != OTHER:
            self.open[place] = cell
        return cell

    def call(self, decision: Decision, at: float) -> None:
        """Count a finished call that ended at this monotonic time; not a synthetic one."""
        if decision.synthetic:
            return
        at += self.ahead
        if at >= self.turn:
            self.advance(at)
        shape = shape_of(decision)
        way = self._ways.get(shape)
        if way is None:
            way = self._way(decision, shape)
        way.cell.tally += way.tally
        if way.alone is not None:
            way.alone.tally += way.alone_tally
        if way.latencies:
            latency = bucket(decision.latency_s)
            for counts in way.latencies:
                counts[latency] = counts.get(latency, 0) + 1
        kind = decision.kind
        if kind is _LLM:
            usage = decision.usage
            if usage is not None:
                tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
                if tokens:
                    way.cell.add("tokens", tokens)
            if decision.first_token_s is not None:
                way.cell.spread("first_token", decision.first_token_s)
            if decision.cost_usd is not None:
                for cell in way.cells:
                    cell.add("cost", decision.cost_usd)
        elif kind is _RETRIEVAL and decision.sources:
            self._search(way.cell, decision, at)
        self.recorded += 1
        if self.custom:
            self._own(way.cell, decision)
        if self.untidy:
            self.tidy(at, _TIDY)

    def _way(self, decision: Decision, shape: tuple[Any, ...]) -> _Way:
        """Where calls of this shape count in the slot at hand, and what for."""
        place = shape[:PLACE]
        tally, ran = self._tallies.of(decision, shape)
        cell = self.open.get(place) or self._cell(decision.kind, place)
        alone = None
        if decision.kind is _LLM and decision.request_id == decision.id:
            # A model call outside a request is one by itself.
            beside = (decision.journey, REQUEST, None, place[3])
            alone = self.open.get(beside) or self._cell(REQUEST, beside)
        way = _Way(cell, tally, alone, request_tally(decision.outcome), ran=ran)
        # What is not told apart any more is to be found wanting every time.
        if place in self.open and (alone is None or beside in self.open):
            if len(self._ways) >= _WAYS:
                self._ways.clear()
            self._ways[shape] = way
        return way

    def request(self, told: Told, at: float) -> None:
        """Count a request that ended at this monotonic time."""
        at += self.ahead
        if at >= self.turn:
            self.advance(at)
        cell = self.open.get(told.place)
        if cell is None:
            cell = self._cell(told.place[1], told.place)
        cell.tally += told.tally
        if told.latency_s is not None:
            cell.spread("latency", told.latency_s)
        if told.cost_usd is not None:
            cell.add("cost", told.cost_usd)

    def _search(self, cell: Cell, decision: Decision, at: float) -> None:
        sources = decision.sources
        # Equal ids are equal after redaction as well: tokens are keyed, and the same for the same.
        ids = set()
        scores = []
        age, dated = 0.0, 0
        for source in sources:
            ids.add(source.id)
            if source.score is not None:
                scores.append(source.score)
            if source.timestamp is not None:
                age += max(0.0, at - source.timestamp)
                dated += 1
        cell.tally += documents(len(sources), len(ids))
        if scores:
            several = len(scores) > 1
            if several and scores[0] != scores[-1]:
                self._learn(decision.route, falls=scores[0] > scores[-1])
            if self._order.get(decision.route, 0) < 0:
                scores = [1 / (1 + max(0.0, score)) for score in scores]
            scores.sort(reverse=True)
            cell.add("top_score", scores[0])
            if several:
                cell.add("score_gap", scores[0] - scores[1])
        if dated:
            cell.add("source_age", age / dated)

    def _learn(self, route: str, *, falls: bool) -> None:
        """Whether a route's scores fall with the rank, or rise, as distances do."""
        seen = self._order.get(route)
        if seen is None:
            if len(self._order) < self._most:
                self._order[route] = 1 if falls else -1
        elif falls:
            self._order[route] = min(_SURE, seen + 1)
        else:
            self._order[route] = max(-_SURE, seen - 1)

    def _own(self, cell: Cell, decision: Decision) -> None:
        for signal, function in self.custom:
            try:
                value = function(decision)
                if value is not None:
                    _add(cell, signal, float(value))
            except Exception as error:
                self._on_fault(error)

    def observation(self, told: tuple[Any, ...], at: float) -> None:
        """Count what was observed: signal, value, journey, route, alias."""
        signal, value, journey, route, alias = told
        at += self.ahead
        if at >= self.turn:
            self.advance(at)
        # The same place as a call's, and yet another cell: `OBSERVED` stands in for set apart.
        place = (journey, route, alias, OBSERVED)
        cell = self.open.get(place)
        if cell is None:
            cell = self._cell(OBSERVED, place)
        _add(cell, signal, value)
        if signal.name == "groundedness":
            _add(cell, CATALOGUE["ungrounded_rate"], float(value < UNGROUNDED_BELOW))


def _add(cell: Cell, signal: Signal, value: float) -> None:
    if signal.shape is Shape.QUANTILE:
        cell.spread(signal.figure, value)
    elif signal.shape is Shape.RATE:
        cell.add(signal.figure, float(value >= 0.5))
    else:
        cell.add(signal.figure, value)
