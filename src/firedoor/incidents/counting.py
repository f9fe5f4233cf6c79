"""Counts what happened into the slots of time: one decision, request or observation at a time.

The caller holds the lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from firedoor.core.cells import Cell, Key
from firedoor.core.ring import LEVELS, Ring
from firedoor.core.series import Shape
from firedoor.core.signals import CATALOGUE, OBSERVED, REQUEST, UNGROUNDED_BELOW, Signal
from firedoor.core.tallies import Tallies, apart, asked, documents, request_tally
from firedoor.records import Decision
from firedoor.types import Outcome

if TYPE_CHECKING:
    from firedoor.shell.scope import Request

__all__ = ["NESTED", "OTHER", "Counting", "Custom"]

OTHER: Final = "~other"
"""Journey of what came when there were too many combinations already."""

NESTED: Final = "nested"
"""Kind of a request inside another: part of its journey, and not of the whole door again."""

_TIDY = 4
_SWEEP = 600.0
_SURE = 100

Custom = Callable[[Decision], "float | bool | None"]


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
        kind = decision.kind
        place = (
            decision.journey,
            decision.route,
            decision.alias,
            decision.tier > 0 or decision.outcome is Outcome.CANNED or bool(decision.switches),
        )
        cell = self.open.get(place)
        if cell is None:
            cell = self._cell(kind, place)
        tally, ran = self._tallies.of(decision)
        cell.tally += tally
        if ran:
            cell.spread("latency", decision.latency_s)
        if kind == "llm":
            if decision.first_token_s is not None:
                cell.spread("first_token", decision.first_token_s)
            if decision.cost_usd is not None:
                cell.add("cost", decision.cost_usd)
            usage = decision.usage
            if usage is not None:
                tokens = usage.input_tokens or 0
                if usage.output_tokens is not None:
                    tokens += usage.output_tokens
                if tokens:
                    cell.add("tokens", tokens)
            if decision.request_id == decision.id:
                self._alone(decision, ran)
        elif kind == "retrieval" and decision.sources:
            self._search(cell, decision, at)
        self.recorded += 1
        if self.custom:
            self._own(cell, decision)
        if self.untidy:
            self.tidy(at, _TIDY)

    def _alone(self, decision: Decision, ran: bool) -> None:  # noqa: FBT001
        """A model call outside a request is one by itself."""
        place = (decision.journey, REQUEST, None, apart(decision))
        cell = self.open.get(place)
        if cell is None:
            cell = self._cell(REQUEST, place)
        cell.tally += request_tally(decision.outcome)
        if ran:
            cell.spread("latency", decision.latency_s)
        if decision.cost_usd is not None:
            cell.add("cost", decision.cost_usd)

    def request(self, request: Request, at: float) -> None:
        """Count a request that ended at this monotonic time; not a synthetic one."""
        if request.synthetic or request.outcome is None:
            return
        at += self.ahead
        if at >= self.turn:
            self.advance(at)
        decisions = request.decisions
        contained = costed = False
        ran = not decisions
        cost = 0.0
        for decision in decisions:
            if decision.tier > 0 or decision.switches or decision.outcome is Outcome.CANNED:
                contained = True
            ran = ran or asked(decision)
            if decision.cost_usd is not None:
                costed = True
                cost += decision.cost_usd
        kind = REQUEST if request.parent is None else NESTED
        place = (request.journey, kind, None, contained)
        cell = self.open.get(place)
        if cell is None:
            cell = self._cell(kind, place)
        cell.tally += request_tally(request.outcome)
        # A safe response that came at once says nothing of how fast answers are.
        if ran:
            cell.spread("latency", request.latency_s)
        if costed:
            cell.add("cost", cost)

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
