"""What the switches make of a call: asked once as it begins, kept until it ends.

The rules, all of them:

- Of the switches that match a call the **newest wins**, whether it names the route, all routes of
  a kind, or a journey. What is set in an incident is never shadowed by what was set before it.
- A route is off while **any** matching `disable` is on, and a journey is in safe mode likewise.
- A switch whose time is up is ignored by whoever reads, and what was under it is in force again.
- Aliases are followed to the end; a circle ends before it would come round.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from firedoor.core.switches import ANYTHING, JOURNEYS, InFlight, Kind, Switch

__all__ = ["ModelChoice", "Resolution", "Snapshot", "effective"]

MAX_REMEMBERED = 4_096
"""Answers a snapshot remembers. Journeys may be named after users; memory must not follow."""

_FORCE = {order: force for force, order in enumerate(InFlight)}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What a model name stands for now.

    Attributes:
        name: The real model, aliases followed to the end.
        disabled_by: The switch that has turned that model off, if one has.
        applied: The alias switches followed, and `disabled_by`.
    """

    name: str
    disabled_by: Switch | None = None
    applied: tuple[Switch, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the switches make of one call; it keeps this from its beginning to its end.

    Attributes:
        version: Of the snapshot it was read from.
        disabled_by: The newest switch that has turned the route off, if one has.
        model: The real model behind the alias asked about; None if none was.
        model_disabled_by: The switch that has turned that model off, if one has.
        depth: The most documents to fetch; None: as the call says.
        prompt_revision: The revision the prompt is held at; None: its active one.
        strictness: The level policies run at; None: as configured.
        safe_mode: The newest switch that holds the journey in safe mode, if one does.
        minimum_tier: The first tier to try, 0 for the first there is.
        shed: The newest switch that turns the journey's requests, or a share of them, away. Not
            among `applied`: which requests it meets is told by `shell.switched.shed`.
        applied: The switches behind all this, for the record. A route that is off names only the
            switch that turned it off: the others changed nothing.
        switches: Their ids.
    """

    version: int = 0
    disabled_by: Switch | None = None
    model: str | None = None
    model_disabled_by: Switch | None = None
    depth: int | None = None
    prompt_revision: str | None = None
    strictness: str | None = None
    safe_mode: Switch | None = None
    minimum_tier: int = 0
    shed: Switch | None = None
    applied: tuple[Switch, ...] = ()
    switches: tuple[str, ...] = ()


def effective(stack: Iterable[Switch], now: float) -> list[Switch]:
    """The switches of one stack in force at `now`, oldest first: the last restore hides the rest."""
    live: list[Switch] = []
    for switch in stack:
        if switch.expired(now):
            continue
        if switch.kind is Kind.RESTORE:
            live = [kept for kept in switch.value if not kept.expired(now)]
        else:
            live.append(switch)
    return live


def _expiries(stacks: Iterable[Iterable[Switch]], now: float) -> Iterable[float]:
    for stack in stacks:
        for switch in stack:
            if switch.expires_at is not None and switch.expires_at > now:
                yield switch.expires_at
            if switch.kind is Kind.RESTORE:
                yield from _expiries([switch.value], now)


class Snapshot:
    """Every switch in force at one moment. Immutable; ask it with the time it is.

    Attributes:
        capped: A budget is capped by one of them.
        empty: Nothing is set and nothing can come into force by itself: do not even ask.
        version: Of the board it was made from.
        switches: What is in force, oldest first.
        until: Seconds since the epoch until which this is so; then `at` makes the next one.

    Args:
        stacks: One per source, each oldest first, expired ones included.
        version: Rises with every change.
        now: Seconds since the epoch.
    """

    __slots__ = (
        "_answers",
        "_index",
        "_models",
        "_stacks",
        "capped",
        "empty",
        "switches",
        "until",
        "version",
    )

    def __init__(
        self, stacks: Sequence[Sequence[Switch]] = (), *, version: int = 0, now: float = 0.0
    ) -> None:
        self._stacks = stacks
        self.version = version
        live = [switch for stack in stacks for switch in effective(stack, now)]
        # A stack is in order of creation (its board sees to that), so this merges the stacks.
        live.sort(key=_created_at)
        self.switches = tuple(live)
        self.until = min(_expiries(stacks, now), default=math.inf)
        self.empty = not live and self.until == math.inf
        self.capped = any(s.kind is Kind.CAP_BUDGET for s in live)
        self._index: dict[tuple[Kind, str, str | None], tuple[int, Switch]] = {
            (s.kind, s.target, None if s.kind in JOURNEYS else s.journey): (age, s)
            for age, s in enumerate(live)
        }
        self._answers: dict[tuple[str, str | None, str | None, str | None], Resolution] = {}
        self._models: dict[tuple[str, str | None], ModelChoice] = {}

    def at(self, now: float) -> Snapshot:
        """The snapshot for `now`: this one until a switch expires."""
        if now < self.until:
            return self
        return Snapshot(self._stacks, version=self.version, now=now)

    def resolve(
        self,
        route: str,
        *,
        alias: str | None = None,
        journey: str | None = None,
        prompt: str | None = None,
        now: float,
    ) -> Resolution:
        """What the switches make of a call of `route` (`llm:answer`) that begins at `now`.

        Args:
            route: As in `llm:answer`.
            alias: The model name the application asks for.
            journey: The journey of the request, if it has one.
            prompt: The name of the prompt the call uses.
            now: Seconds since the epoch.
        """
        view = self.at(now)
        key = (route, alias, journey, prompt)
        answer = view._answers.get(key)
        if answer is None:
            answer = view._resolve(route, alias, journey, prompt)
            _remember(view._answers, key, answer)
        return answer

    def model(self, alias: str, *, journey: str | None = None, now: float) -> ModelChoice:
        """The real model behind one name, for each tier of a ladder."""
        return self.at(now)._model(alias, journey)

    def cap(self, budget: str, *, journey: str | None = None, now: float) -> Switch | None:
        """The newest switch that lets less be spent of a budget (`llm:answer/day`), if one does."""
        return self.at(now)._newest(Kind.CAP_BUDGET, (budget, ANYTHING), journey)

    def in_flight(
        self,
        began: Collection[str],
        route: str,
        *,
        alias: str | None = None,
        journey: str | None = None,
        prompt: str | None = None,
        now: float,
    ) -> InFlight:
        """What a running stream should do: the strongest wish of the switches set since it began.

        Args:
            began: Ids of the switches in force for the call when it began.
            route: As the other arguments, what the call asked with then.
            alias: See `resolve`.
            journey: See `resolve`.
            prompt: See `resolve`.
            now: Seconds since the epoch.
        """
        answer = self.resolve(route, alias=alias, journey=journey, prompt=prompt, now=now)
        wishes = [s.in_flight for s in answer.applied if s.id not in began]
        return max(wishes, key=_FORCE.__getitem__, default=InFlight.KEEP)

    def _resolve(
        self, route: str, alias: str | None, journey: str | None, prompt: str | None
    ) -> Resolution:
        routes = (route, f"{route.partition(':')[0]}:*", ANYTHING)
        disabled = self._newest(Kind.DISABLE, routes, journey)
        choice = None if alias is None else self._model(alias, journey)
        depth = self._newest(Kind.DEPTH, routes, journey)
        revision = None if prompt is None else self._newest(Kind.PROMPT, (prompt,), journey)
        strictness = self._newest(Kind.STRICTNESS, (ANYTHING,), journey)
        journeys = (ANYTHING,) if journey is None else (journey, ANYTHING)
        safe = self._newest(Kind.SAFE_MODE, journeys, None)
        tier = self._newest(Kind.MINIMUM_TIER, routes, journey)
        if disabled is not None:
            applied: tuple[Switch, ...] = (disabled,)
        else:
            applied = choice.applied if choice is not None else ()
            applied += tuple(
                [s for s in (depth, revision, strictness, safe, tier) if s is not None]
            )
        return Resolution(
            version=self.version,
            disabled_by=disabled,
            model=None if choice is None else choice.name,
            model_disabled_by=None if choice is None else choice.disabled_by,
            depth=None if depth is None else depth.value,
            prompt_revision=None if revision is None else revision.value,
            strictness=None if strictness is None else strictness.value,
            safe_mode=safe,
            minimum_tier=0 if tier is None else tier.value,
            shed=self._newest(Kind.SHED_LOAD, journeys, None),
            applied=applied,
            switches=tuple([s.id for s in applied]),
        )

    def _model(self, alias: str, journey: str | None) -> ModelChoice:
        choice = self._models.get((alias, journey))
        if choice is None:
            followed = self._follow(alias, journey)
            name = followed[-1].value if followed else alias
            disabled = self._newest(Kind.DISABLE, (f"model:{name}", "model:*"), journey)
            applied = (*followed, disabled) if disabled is not None else tuple(followed)
            choice = ModelChoice(name, disabled, applied)
            _remember(self._models, (alias, journey), choice)
        return choice

    def _follow(self, alias: str, journey: str | None) -> list[Switch]:
        """The alias switches from `alias` to its real model."""
        followed: list[Switch] = []
        seen = {alias}
        while (switch := self._newest(Kind.ALIAS, (alias,), journey)) is not None:
            alias = switch.value
            if alias in seen:
                if alias == switch.target:
                    # To itself: an exception for a journey from an alias of all journeys.
                    followed.append(switch)
                break
            seen.add(alias)
            followed.append(switch)
        return followed

    def circle(self, alias: str, journey: str | None) -> list[str]:
        """The names on the circle that aliases from `alias` on run in; empty if they end."""
        names = [alias]
        while (switch := self._newest(Kind.ALIAS, (names[-1],), journey)) is not None:
            if switch.value == switch.target:
                break
            names.append(switch.value)
            if switch.value in names[:-1]:
                return names
        return []

    def _newest(self, kind: Kind, targets: Iterable[str], journey: str | None) -> Switch | None:
        newest: tuple[int, Switch] | None = None
        index = self._index
        for target in targets:
            found = index.get((kind, target, None))
            if found is not None and (newest is None or found[0] > newest[0]):
                newest = found
            if journey is not None:
                found = index.get((kind, target, journey))
                if found is not None and (newest is None or found[0] > newest[0]):
                    newest = found
        return None if newest is None else newest[1]


def _created_at(switch: Switch) -> float:
    return switch.created_at


def _remember(answers: dict[Any, Any], key: Any, answer: Any) -> None:
    if len(answers) >= MAX_REMEMBERED:
        answers.clear()
    answers[key] = answer
