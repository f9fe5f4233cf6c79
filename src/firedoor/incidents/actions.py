"""The actions: what may be done about an incident, each with its exact inverse.

`fd.actions` in applications. What an action acts on may be left out; it is then worked out from
the incident as it is applied: the route and the model in trouble, the next tier, the revision
before, the last known-good set.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field

from firedoor.config import Rate, declarative
from firedoor.core.switches import ANYTHING, Kind
from firedoor.errors import ConfigurationError
from firedoor.incidents.acting import (
    Action,
    ActionContext,
    BlastRadius,
    CannotAct,
    Duration,
    Setting,
    SwitchAction,
    Undo,
    models_of,
)
from firedoor.policies.base import Strictness
from firedoor.types import RouteKind

__all__ = [
    "CUTS",
    "FINAL",
    "Action",
    "ActionContext",
    "BlastRadius",
    "Call",
    "CannotAct",
    "CapBudget",
    "DisableRoute",
    "Notify",
    "RaiseMinimumTier",
    "ReduceDepth",
    "RestoreKnownGood",
    "RollbackPrompt",
    "SafeMode",
    "ShedLoad",
    "SwitchAlias",
    "TightenPolicies",
    "build",
]

_Name = str | None


def _name() -> Any:
    return Field(default=None, min_length=1)


@declarative
class SwitchAlias(SwitchAction):
    """Calls that ask for one model get another.

    Attributes:
        alias: The model name the application asks for. None: the one the incident is about.
        model: What it gets instead. None: the next model down the route's ladder.
    """

    alias: _Name = _name()
    model: _Name = _name()

    kind: ClassVar[str] = "switch_alias"
    sets: ClassVar[Kind] = Kind.ALIAS
    vague: ClassVar[str] = "calls get the next model of their ladder"

    def resolved(self, context: ActionContext) -> Self:
        """With the model in trouble, and the next one on its ladder."""
        alias = self.alias or (context.alert and context.alert.alias) or context.incident.alias
        if alias is None:
            alias = context.route(RouteKind.LLM).alias
        if alias is None:
            raise CannotAct("which model the application asks for is not known")
        journey = self._at(context)
        now_on = context.switches.model(alias, journey=journey).name
        model = self.model or self._next(context, alias, now_on)
        if now_on == model:
            raise CannotAct(f"{alias} is at {model} already")
        return dataclasses.replace(
            self, alias=alias, model=model, journey=self.journey or journey or ANYTHING
        )

    def _next(self, context: ActionContext, alias: str, now_on: str) -> str:
        for route in context.of_alias(alias):
            models = models_of(route)
            below = models[models.index(now_on if now_on in models else alias) + 1 :]
            if below:
                return below[0]
        raise CannotAct(f"no ladder has a model after {now_on}: give model=")

    def settings(self) -> tuple[Setting, ...]:
        """An alias switch."""
        return (Setting(Kind.ALIAS, self.alias or "", self.model),)

    @property
    def _known(self) -> bool:
        return self.alias is not None and self.model is not None

    def _touches(self, context: ActionContext) -> tuple[str, ...]:
        return tuple(r.id for r in context.of_alias(self.alias or "")) or (ANYTHING,)


@declarative
class RollbackPrompt(SwitchAction):
    """A prompt goes back to an older revision.

    Attributes:
        prompt: Its name. None: the one of the route in trouble.
        revision: Which. None: the one registered before the one in force.
    """

    prompt: _Name = _name()
    revision: _Name = _name()
    ttl: Duration | None = Field(default=7_200.0, kw_only=True)

    kind: ClassVar[str] = "rollback_prompt"
    sets: ClassVar[Kind] = Kind.PROMPT
    vague: ClassVar[str] = "the prompt goes back to its revision before"

    def resolved(self, context: ActionContext) -> Self:
        """With the prompt of the route in trouble, and its revision before."""
        prompt = self.prompt or context.route(RouteKind.LLM).prompt
        if prompt is None:
            raise CannotAct("the route has no registered prompt: give door.llm(prompt=...)")
        if prompt not in context.prompts.names():
            raise CannotAct(f"no prompt {prompt!r} is registered")
        journey = self._at(context)
        revision = self.revision
        at = context.prompts.at(prompt, journey=journey)
        if revision is None:
            revision = context.prompts.before(prompt, at)
            if revision is None:
                raise CannotAct(f"prompt {prompt} is at its first revision, {at}")
        if revision == at:
            raise CannotAct(f"prompt {prompt} is at {at} already")
        return dataclasses.replace(
            self, prompt=prompt, revision=revision, journey=self.journey or journey or ANYTHING
        )

    def settings(self) -> tuple[Setting, ...]:
        """A prompt switch."""
        return (Setting(Kind.PROMPT, self.prompt or "", self.revision),)

    @property
    def _known(self) -> bool:
        return self.prompt is not None and self.revision is not None

    def _touches(self, context: ActionContext) -> tuple[str, ...]:
        found = [r.id for r in context.routes.values() if r.prompt == self.prompt]
        return tuple(found) or (ANYTHING,)


@declarative
class DisableRoute(SwitchAction):
    """A route is refused, or a model not used.

    Attributes:
        route: As in `tool:refund`, `tool:*` or `model:gpt-5`. None: the route in trouble, of the
            kind the signal speaks of.
    """

    route: _Name = _name()

    kind: ClassVar[str] = "disable_route"
    sets: ClassVar[Kind] = Kind.DISABLE
    cuts: ClassVar[bool] = True
    vague: ClassVar[str] = "the route in trouble is off"

    def resolved(self, context: ActionContext) -> Self:
        """With the route in trouble."""
        route = self.route or context.route(_kind_of(context.signal)).id
        return dataclasses.replace(
            self, route=route, journey=self.journey or self._at(context) or ANYTHING
        )._news(context)

    def settings(self) -> tuple[Setting, ...]:
        """A disable switch."""
        return (Setting(Kind.DISABLE, self.route or ""),)

    @property
    def _known(self) -> bool:
        return self.route is not None

    def _touches(self, context: ActionContext) -> tuple[str, ...]:  # noqa: ARG002
        return (self.route or ANYTHING,)


@declarative
class ReduceDepth(SwitchAction):
    """Searches fetch fewer documents.

    Attributes:
        route: As in `retrieval:kb`. None: the one in trouble, or all of them.
        most: Documents, 0 or more.
    """

    route: _Name = _name()
    most: int = Field(default=3, ge=0)

    kind: ClassVar[str] = "reduce_depth"
    sets: ClassVar[Kind] = Kind.DEPTH

    def resolved(self, context: ActionContext) -> Self:
        """With the search in trouble, or every one."""
        searches = [r for r in context.routes.values() if r.kind is RouteKind.RETRIEVAL]
        deep = [r.id for r in searches if r.depth is not None]
        if not deep:
            raise CannotAct("no search has a depth: give door.retrieval(depth='k')")
        route = self.route
        if route is None:
            try:
                route = context.route(RouteKind.RETRIEVAL).id
            except CannotAct:
                route = f"{RouteKind.RETRIEVAL}:{ANYTHING}"
        journey = self._at(context)
        held = context.switches.resolve(route, journey=journey)
        if held is not None and held.depth is not None and held.depth <= self.most:
            raise CannotAct(f"{route} is at {held.depth} already")
        return dataclasses.replace(self, route=route, journey=self.journey or journey or ANYTHING)

    def settings(self) -> tuple[Setting, ...]:
        """A depth switch."""
        return (Setting(Kind.DEPTH, self.route or f"{RouteKind.RETRIEVAL}:{ANYTHING}", self.most),)

    def _touches(self, context: ActionContext) -> tuple[str, ...]:  # noqa: ARG002
        return (self.route or f"{RouteKind.RETRIEVAL}:{ANYTHING}",)


@declarative
class TightenPolicies(SwitchAction):
    """Content policies run at a stricter level.

    Attributes:
        level: `strict` or `lockdown`.
    """

    level: Literal["strict", "lockdown"] = "strict"

    kind: ClassVar[str] = "tighten_policies"
    sets: ClassVar[Kind] = Kind.STRICTNESS

    def resolved(self, context: ActionContext) -> Self:
        """On the incident's journey."""
        if not any(route.screens is not None for route in context.routes.values()):
            raise CannotAct("no route has policies that could be tightened")
        journey = self._at(context)
        held = context.switches.resolve("", journey=journey)
        levels = list(Strictness)
        at = Strictness(held.strictness) if held is not None and held.strictness else levels[0]
        if levels.index(at) >= levels.index(Strictness(self.level)):
            raise CannotAct(f"strictness is {at} already")
        return dataclasses.replace(self, journey=self.journey or journey or ANYTHING)

    def settings(self) -> tuple[Setting, ...]:
        """A strictness switch."""
        return (Setting(Kind.STRICTNESS, ANYTHING, self.level),)

    def _touches(self, context: ActionContext) -> tuple[str, ...]:
        found = [r.id for r in context.routes.values() if r.screens is not None]
        return tuple(found) or (ANYTHING,)


@declarative
class SafeMode(SwitchAction):
    """The journey answers with its safe responses; tools not declared `effect="read"` are refused.

    Attributes:
        in_flight: What streams that run already do: `keep`, `drain` (end with the sentence being
            said), `cut` (end at the next chunk).
    """

    in_flight: Literal["keep", "drain", "cut"] = Field(default="keep", kw_only=True)

    kind: ClassVar[str] = "safe_mode"
    sets: ClassVar[Kind] = Kind.SAFE_MODE
    cuts: ClassVar[bool] = True
    final: ClassVar[bool] = True

    def resolved(self, context: ActionContext) -> Self:
        """On the incident's journey."""
        journey = self.journey or context.journey or ANYTHING
        held = context.switches.resolve("", journey=None if journey == ANYTHING else journey)
        if held is not None and held.safe_mode is not None:
            raise CannotAct(f"safe mode is on already ({held.safe_mode.id})")
        return dataclasses.replace(self, journey=journey)

    def settings(self) -> tuple[Setting, ...]:
        """A safe-mode switch."""
        return (Setting(Kind.SAFE_MODE, self.journey or ANYTHING),)

    @property
    def target(self) -> str:
        """As in `safe_mode:checkout-help`."""
        return f"{Kind.SAFE_MODE}:{self.journey or ANYTHING}"

    def _in_flight(self) -> Literal["keep", "drain", "cut"]:
        return self.in_flight

    def _says(self) -> str:
        if self.journey is None:
            return "the journey is in safe mode"
        return SwitchAction._says(self)


@declarative
class RaiseMinimumTier(SwitchAction):
    """A model route begins further down its ladder.

    Attributes:
        route: As in `llm:answer`. None: the one in trouble.
        tier: The tier to begin at, 1 or more. None: one further down than now.
    """

    route: _Name = _name()
    tier: int | None = Field(default=None, ge=1)

    kind: ClassVar[str] = "raise_minimum_tier"
    sets: ClassVar[Kind] = Kind.MINIMUM_TIER
    vague: ClassVar[str] = "the route begins one tier further down"

    def resolved(self, context: ActionContext) -> Self:
        """With the route in trouble, one tier down."""
        name = self.route or context.route(RouteKind.LLM).id
        journey = self._at(context)
        held = context.switches.resolve(name, journey=journey)
        at = 0 if held is None else held.minimum_tier
        tier = self.tier or at + 1
        if tier <= at:
            raise CannotAct(f"{name} begins at tier {at} already")
        route = context.routes.get(name)
        if route is not None:
            tiers = () if route.plan is None or not route.plan.named else route.plan.tiers
            if tier >= len(tiers):
                raise CannotAct(f"{name} has no tier {tier}: its ladder has {len(tiers) or 1}")
        return dataclasses.replace(
            self, route=name, tier=tier, journey=self.journey or journey or ANYTHING
        )

    def settings(self) -> tuple[Setting, ...]:
        """A minimum-tier switch."""
        return (Setting(Kind.MINIMUM_TIER, self.route or "", self.tier),)

    @property
    def _known(self) -> bool:
        return self.route is not None and self.tier is not None

    def _touches(self, context: ActionContext) -> tuple[str, ...]:  # noqa: ARG002
        return (self.route or ANYTHING,)


@declarative
class CapBudget(SwitchAction):
    """Budgets let less be spent than they were declared with.

    Attributes:
        budget: Its name as refusals tell it (`day`, `llm:answer/day`). None: every budget.
        share: Of its limit, above 0 and below 1.
    """

    budget: _Name = _name()
    share: float = Field(default=0.5, gt=0, lt=1)

    kind: ClassVar[str] = "cap_budget"
    sets: ClassVar[Kind] = Kind.CAP_BUDGET

    def resolved(self, context: ActionContext) -> Self:
        """On the incident's journey."""
        name = self.budget or ANYTHING
        if not context.budgets:
            raise CannotAct("no budget is declared that could be capped")
        if name != ANYTHING and name not in context.budgets:
            known = ", ".join(sorted(context.budgets))
            raise CannotAct(f"no budget {name!r} is declared; there are: {known}")
        journey = self._at(context)
        return dataclasses.replace(
            self, budget=name, journey=self.journey or journey or ANYTHING
        )._news(context)

    def settings(self) -> tuple[Setting, ...]:
        """A budget cap."""
        return (Setting(Kind.CAP_BUDGET, self.budget or ANYTHING, self.share),)


@declarative
class ShedLoad(SwitchAction):
    """Journeys that can wait are turned away, so that others are answered.

    Attributes:
        journeys: Their names. None: every journey seen that is not declared critical, but for the
            incident's own.
        share: Of their requests, above 0 and up to 1.
    """

    journeys: tuple[str, ...] | None = None
    share: Rate = Field(default=1.0, kw_only=True)

    kind: ClassVar[str] = "shed_load"
    sets: ClassVar[Kind] = Kind.SHED_LOAD
    vague: ClassVar[str] = "journeys that can wait are turned away"

    def check(self) -> None:
        """Journeys are named in one place."""
        if self.journey is not None:
            raise ValueError(f"journey={self.journey!r}: name those to shed in journeys=")
        if self.journeys is not None and not self.journeys:
            raise ValueError("journeys=(): name at least one, or leave it out")

    def resolved(self, context: ActionContext) -> Self:
        """With the journeys that can wait."""
        named = self.journeys
        if named is None:
            own = {context.journey, context.incident.journey}
            named = tuple(
                sorted(
                    name
                    for name, critical in context.journeys.items()
                    if not critical and name not in own
                )
            )
            if not named:
                raise CannotAct("no other journey is known that is less critical")
        return dataclasses.replace(self, journeys=named)._news(context)

    def settings(self) -> tuple[Setting, ...]:
        """A load-shedding switch for each journey."""
        return tuple(Setting(Kind.SHED_LOAD, name, self.share) for name in self.journeys or ())

    @property
    def target(self) -> str:
        """As in `shed_load:newsletter`."""
        return f"{Kind.SHED_LOAD}:{','.join(self.journeys or ()) or ANYTHING}"

    @property
    def _known(self) -> bool:
        return self.journeys is not None

    def _journeys(self) -> tuple[str, ...]:
        return self.journeys or (ANYTHING,)


@declarative
class RestoreKnownGood(SwitchAction):
    """Every switch is as it was when a set was marked known-good.

    Attributes:
        name: Of the set. None: the one marked last.
    """

    name: _Name = _name()
    ttl: Duration | None = Field(default=7_200.0, kw_only=True)

    kind: ClassVar[str] = "restore_known_good"
    sets: ClassVar[Kind] = Kind.RESTORE
    vague: ClassVar[str] = "switches are as in the last known-good set"

    def check(self) -> None:
        """A set is of the whole board."""
        if self.journey is not None:
            raise ValueError(f"journey={self.journey!r}: a known-good set is of the whole board")

    def resolved(self, context: ActionContext) -> Self:
        """With the set that was marked last."""
        sets = context.switches.known_good()
        name = self.name or next(reversed(list(sets)), None)
        if name is None:
            raise CannotAct("no known-good set was marked: door.switches.mark_known_good('name')")
        if name not in sets:
            raise CannotAct(f"no known-good set {name!r}; there are: {', '.join(sets)}")
        kept = {s.id for s in sets[name].switches}
        if {s.id for s in context.switches.active() if not s.source} == kept:
            raise CannotAct(f"the switches are as in {name} already")
        return dataclasses.replace(self, name=name)

    def settings(self) -> tuple[Setting, ...]:
        """A restore."""
        return (Setting(Kind.RESTORE, self.name or "", ()),)

    @property
    def target(self) -> str:
        """The whole board."""
        return f"{Kind.RESTORE}:{ANYTHING}"

    @property
    def _known(self) -> bool:
        return self.name is not None


@declarative
class Call(Action):
    """A function of the application's own.

    Attributes:
        fn: Called with the `ActionContext`; what it returns goes to `revert`, and into the ledger,
            so it has to be plain JSON (a flag's old value, an id).
        undo: Called with the context and what `fn` returned; makes it as it was. Without it the
            action is not reversible, and never automatic.
        name: What it does, in a few words. None: the function's own name.
        writes: What it changes, as in `flag:reranker`; two automatic actions never write the same.
    """

    fn: Callable[..., Any]
    undo: Callable[..., Any] | None = Field(default=None, kw_only=True)
    name: _Name = Field(default=None, min_length=1, kw_only=True)
    writes: _Name = Field(default=None, min_length=1, kw_only=True)

    kind: ClassVar[str] = "call"

    @property
    def reversible(self) -> bool:
        """Whether there is a function that undoes it."""
        return self.undo is not None

    @property
    def target(self) -> str:
        """What it says it writes."""
        return self.writes or f"call:{self._called}"

    @property
    def _called(self) -> str:
        return self.name or str(getattr(self.fn, "__qualname__", type(self.fn).__name__))

    def resolved(self, context: ActionContext) -> Self:  # noqa: ARG002
        """As it is: the function knows what it acts on."""
        return self

    def reach(self, context: ActionContext) -> BlastRadius:  # noqa: ARG002
        """Whatever the function reaches."""
        return BlastRadius((ANYTHING,), (ANYTHING,), None, f"whatever {self._called} reaches")

    def apply(self, context: ActionContext) -> Undo:
        """Call it.

        Raises:
            CannotAct: If what it returned cannot be kept as JSON; it is undone then.
            Exception: Whatever the function raises.
        """
        value = self.fn(context)
        try:
            kept = json.loads(json.dumps(value))
        except (TypeError, ValueError) as error:
            self.revert(context, {"value": value})
            raise CannotAct(
                f"{self._called} returned a {type(value).__name__}, which is no plain JSON"
            ) from error
        return {"value": kept}

    def revert(self, context: ActionContext, undo: Undo) -> None:
        """Call the function that undoes it, if there is one."""
        if self.undo is not None:
            self.undo(context, undo.get("value"))

    def parameters(self) -> dict[str, Any]:
        """Its fields, functions by their names only: a file cannot hold them."""
        said = Action.parameters(self)
        return {
            k: getattr(v, "__qualname__", str(v)) if callable(v) else v for k, v in said.items()
        }

    def _says(self) -> str:
        return self._called


@declarative
class Notify(Action):
    """Tells whoever is told of incidents; changes nothing.

    Attributes:
        text: What to say. None: the incident's title and what to do first.
    """

    text: _Name = _name()
    ttl: Duration | None = Field(default=None, kw_only=True)

    kind: ClassVar[str] = "notify"
    holds: ClassVar[bool] = False

    @property
    def target(self) -> str:
        """Nothing."""
        return ""

    def resolved(self, context: ActionContext) -> Self:  # noqa: ARG002
        """As it is."""
        return self

    def reach(self, context: ActionContext) -> BlastRadius:  # noqa: ARG002
        """No user."""
        return BlastRadius((), (), 0.0, "nobody but those on call")

    def apply(self, context: ActionContext) -> Undo:
        """Send it."""
        incident = context.incident
        context.notify(self.text or f"{incident.severity} {incident.id}: {incident.title}")
        return {}

    def revert(self, context: ActionContext, undo: Undo) -> None:
        """What was said was said."""

    def _says(self) -> str:
        return "tell those on call" if self.text is None else f"tell those on call: {self.text}"


_KINDS: Final[Mapping[str, type[Action]]] = {
    kind.kind: kind
    for kind in (
        SwitchAlias,
        RollbackPrompt,
        DisableRoute,
        ReduceDepth,
        TightenPolicies,
        SafeMode,
        RaiseMinimumTier,
        CapBudget,
        ShedLoad,
        RestoreKnownGood,
        Notify,
    )
}


FINAL: Final = frozenset(name for name, kind in _KINDS.items() if kind.final)
"""Kinds of action after which nothing more is done by itself, whatever a signal goes on to say."""

CUTS: Final = frozenset(name for name, kind in _KINDS.items() if kind.cuts)
"""Kinds of action after which a signal cannot tell whether users would be well without it."""


def build(data: Mapping[str, Any]) -> Action:
    """An action from plain values, as in `{"kind": "safe_mode", "ttl": "30m"}`.

    Raises:
        ConfigurationError: If there is no such kind, or a field cannot work.
    """
    kind = data.get("kind")
    cls = _KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        remedy = (
            "keep fd.actions.Call in Python: a file holds no functions"
            if kind == Call.kind
            else f"use one of {', '.join(_KINDS)}"
        )
        raise ConfigurationError(f"action kind={kind!r}: {remedy}")
    return cls(**{str(name): value for name, value in data.items() if name != "kind"})


def _kind_of(signal: str) -> RouteKind:
    """What kind of route a signal speaks of."""
    if "tool" in signal:
        return RouteKind.TOOL
    searches = ("retrieval", "top_score", "score_gap", "source_age", "duplicate")
    return RouteKind.RETRIEVAL if signal.startswith(searches) else RouteKind.LLM
