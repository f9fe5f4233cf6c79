"""What every action has in common: where it acts, for how long, how it is undone, how far it goes.

An action is a frozen value. Fields that say what it acts on may be left out: `resolved` fills them
in from the incident. What cannot be filled in, or would change nothing, is a `CannotAct` with the
reason, and the next action of the ladder follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field

from firedoor.config import Tier, declarative
from firedoor.core.facts import lasted
from firedoor.core.incident import AlertRecord, IncidentRecord
from firedoor.core.switches import ANYTHING, JOURNEYS, Kind, Switch, duration
from firedoor.errors import ConfigurationError, FiredoorError
from firedoor.shell.prompts import Prompts
from firedoor.shell.route import Route
from firedoor.shell.switchboard import Switchboard
from firedoor.types import RouteKind

if TYPE_CHECKING:
    from firedoor.core.board import Board

__all__ = [
    "ACTOR",
    "Action",
    "ActionContext",
    "BlastRadius",
    "CannotAct",
    "Duration",
    "Setting",
    "SwitchAction",
    "Undo",
    "models_of",
]

ACTOR = "firedoor"
"""Who sets switches, where firedoor does it by itself."""

MAX_REASON = 300

Undo = Mapping[str, Any]
"""What `revert` needs for the exact inverse, in plain JSON types."""

Duration = Annotated[float | str, BeforeValidator(duration)]
"""Seconds, or a text like `"30m"`; kept as seconds."""


class CannotAct(FiredoorError):
    """An action has nothing to act on, would change nothing, or may not act now; says why."""


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """Whom an action touches.

    Attributes:
        journeys: Their names; `("*",)` for all.
        routes: As in `llm:answer`; `("*",)` for all.
        share: Share of the door's recent requests that it touches, 0 to 1; None: not known.
        text: The same in one line for people.
    """

    journeys: tuple[str, ...]
    routes: tuple[str, ...]
    share: float | None
    text: str


@dataclass(frozen=True, slots=True)
class ActionContext:
    """The incident an action answers, and what it may look at and change.

    Attributes:
        incident: As it stands.
        switches: The door's switchboard.
        prompts: The door's prompts.
        routes: Every route the door has, by its id.
        alert: The alert it answers; None where a person chose the action.
        action_id: Of its record; on every switch it sets.
        actor: Who: `firedoor`, or the person that approved it.
        journeys: Every journey known, and whether it is critical.
        budgets: The names of the door's budgets.
        suspects: Answers the ids of the routes of a kind on the incident's journey, the worst by
            the alert's signal first.
        share: Answers the share of recent requests that are on the journeys named.
        notify: Sends a line to whoever is told of incidents.
    """

    incident: IncidentRecord
    switches: Switchboard
    prompts: Prompts
    routes: Mapping[str, Route] = dataclasses.field(default_factory=dict)
    alert: AlertRecord | None = None
    action_id: str = ""
    actor: str = ACTOR
    journeys: Mapping[str, bool] = dataclasses.field(default_factory=dict)
    budgets: Sequence[str] = ()
    suspects: Callable[[RouteKind], Sequence[str]] = lambda _: ()
    share: Callable[[Sequence[str]], float | None] = lambda _: None
    notify: Callable[[str], object] = lambda _: None

    @property
    def reason(self) -> str:
        """What a switch gives as its reason: the incident, the action, and why."""
        why = self.incident.title or self.incident.why or "incident"
        return f"{self.incident.id} {self.action_id}: {why}"[:MAX_REASON]

    @property
    def journey(self) -> str | None:
        """Where to act: the journey the alert is on, else the incident's; None: everywhere."""
        own = None if self.alert is None else self.alert.journey
        return own or self.incident.journey

    @property
    def signal(self) -> str:
        """The signal that began it."""
        if self.alert is not None:
            return self.alert.signal
        return next(iter(self.incident.signals), "")

    def route(self, kind: RouteKind) -> Route:
        """The route of a kind that the incident is about.

        Raises:
            CannotAct: If there is none.
        """
        named = [a.route for a in (self.alert,) if a is not None]
        for name in (*named, self.incident.route, *self.suspects(kind)):
            route = self.routes.get(name or "")
            if route is not None and route.kind is kind:
                return route
        only = [route for route in self.routes.values() if route.kind is kind]
        if len(only) == 1:
            return only[0]
        known = ", ".join(sorted(route.id for route in only)) or "none"
        raise CannotAct(f"which {kind} route is not known (there are: {known})")

    def of_alias(self, alias: str) -> list[Route]:
        """The routes that have `alias` on their ladder, those of the incident first."""
        found = [route for route in self.routes.values() if alias in models_of(route)]
        first = self.incident.route
        return sorted(found, key=lambda route: route.id != first)


def models_of(route: Route) -> list[str]:
    """The models of a route's ladder, best first."""
    plan = route.plan
    if plan is None or not plan.named:
        return [] if route.alias is None else [route.alias]
    return [tier.model for tier in plan.tiers if isinstance(tier, Tier)]


@declarative
class Action:
    """One thing that may be done about an incident. See `docs/actions.md` for all of them.

    Attributes:
        ttl: Seconds (or `"30m"`) after which it has ended by itself. None: it stays until it is
            reverted, which is not bounded and so never automatic.
        verify: Seconds within which the alert's signal has to be back. If it is not, the next
            action of the ladder follows.
        approve_within: Seconds a person has to approve it, where one must.
    """

    ttl: Duration | None = Field(default=1_800.0, kw_only=True)
    verify: Duration = Field(default=300.0, kw_only=True)
    approve_within: Duration = Field(default=3_600.0, kw_only=True)

    kind: ClassVar[str] = ""
    holds: ClassVar[bool] = True
    """Whether it keeps users from harm while it is in force, or only tells somebody."""
    final: ClassVar[bool] = False
    """Whether users meet nothing any more that could hurt them: what comes next is a person's."""
    cuts: ClassVar[bool] = False
    """Whether what it acts on runs no more, so that its signal cannot tell whether it helped."""

    @property
    def lasts(self) -> float | None:
        """Seconds it stays; None: until it is reverted."""
        return None if self.ttl is None else float(self.ttl)

    @property
    def helps_within(self) -> float:
        """Seconds within which the signal has to be back."""
        return float(self.verify)

    @property
    def reversible(self) -> bool:
        """Whether `revert` is its exact inverse."""
        return True

    @property
    def not_automatic(self) -> str | None:
        """Why no one but a person may start it; None where it may start by itself."""
        if not self.reversible:
            return f"{type(self).__name__} cannot be reverted: give undo=, or mode='approve'"
        if self.ttl is None and self.holds:
            return f"{type(self).__name__} has no ttl and would stay: give ttl='30m', or mode='approve'"
        return None

    @property
    def target(self) -> str:
        """What it writes to, as in `alias:gpt-5`; complete only once it is resolved."""
        raise NotImplementedError

    def resolved(self, context: ActionContext) -> Self:
        """The same action with everything it acts on filled in from the incident.

        Raises:
            CannotAct: If that cannot be told, or it would change nothing.
        """
        raise NotImplementedError

    def preview(self, context: ActionContext | None = None) -> str:
        """What it does, in one line for people.

        Args:
            context: None: as far as it can be told without an incident.

        Raises:
            CannotAct: If it cannot be told what it would act on.
        """
        if context is not None:
            return self.resolved(context).preview()
        return f"{self._says()}{self._stays()}"

    def blast_radius(self, context: ActionContext) -> BlastRadius:
        """Whom it touches.

        Raises:
            CannotAct: As `resolved`.
        """
        return self.resolved(context).reach(context)

    def reach(self, context: ActionContext) -> BlastRadius:
        """Whom it touches, once it is resolved."""
        raise NotImplementedError

    def apply(self, context: ActionContext) -> Undo:
        """Do it; answers what `revert` needs.

        Raises:
            CannotAct: If it cannot act, or may not (somebody else holds its target).
        """
        raise NotImplementedError

    def revert(self, context: ActionContext, undo: Undo) -> None:
        """Undo exactly what `apply` did. Twice is once."""
        raise NotImplementedError

    def parameters(self) -> dict[str, Any]:
        """Its fields that say something, as plain values; `build` reads them back."""
        declared: Mapping[str, Any] = type(self).__pydantic_fields__  # type: ignore[attr-defined]
        return {
            name: _plain(value)
            for name, field in declared.items()
            if (value := getattr(self, name)) != field.default
        }

    def to_dict(self) -> dict[str, Any]:
        """The action as a runbook file has it."""
        return {"kind": self.kind, **self.parameters()}

    def _says(self) -> str:
        raise NotImplementedError

    def _stays(self) -> str:
        return "" if self.lasts is None else f", for {lasted(self.lasts)}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | frozenset) else value


class Setting(NamedTuple):
    """One switch an action sets."""

    kind: Kind
    target: str
    value: Any = None


@declarative
class SwitchAction(Action):
    """An action that is one switch or several: its inverse is to revert them.

    Attributes:
        journey: The only journey it acts on; `*`: all of them. None: the one its alert is on, else
            the incident's.
    """

    journey: str | None = Field(default=None, min_length=1, kw_only=True)

    sets: ClassVar[Kind]
    """The kind of its switches."""
    vague: ClassVar[str] = ""
    """What it does, said without an incident."""

    def settings(self) -> tuple[Setting, ...]:
        """The switches it sets, once it is resolved."""
        raise NotImplementedError

    @property
    def target(self) -> str:
        """What it writes to, as in `alias:gpt-5` or `alias:gpt-5@checkout-help`."""
        first = self.settings()[0]
        where = "" if self._narrowed is None else f"@{self._narrowed}"
        return f"{first.kind}:{first.target}{where}"

    @property
    def _narrowed(self) -> str | None:
        return None if self.journey == ANYTHING else self.journey

    def _at(self, context: ActionContext) -> str | None:
        """The journey it acts on, as the switchboard is asked; None: all."""
        journey = self.journey or context.journey
        return None if journey == ANYTHING else journey

    def _news(self, context: ActionContext) -> Self:
        """This action, unless every switch of it is on.

        Raises:
            CannotAct: If it would change nothing.
        """
        on = context.switches.active()
        same = [
            next((s for s in on if (s.kind, s.target, s.value) == one and self._meets(s)), None)
            for one in self.settings()
        ]
        held = [s.id for s in same if s is not None]
        if len(held) == len(same):
            raise CannotAct(f"it is on already ({', '.join(held)})")
        return self

    def _meets(self, switch: Switch) -> bool:
        """Whether a switch is on everywhere this action would be."""
        return switch.kind in _WIDE or switch.journey in {None, self._narrowed}

    def apply(self, context: ActionContext) -> Undo:
        """Set the switches, by compare-and-set on the board.

        Raises:
            CannotAct: If another incident's action holds one of them, a person has set one since
                the incident began, or the board refuses it.
        """
        done: list[str] = []
        try:
            for setting in self.settings():
                switch = context.switches.set_if(
                    partial(self._refuse, setting=setting, context=context),
                    setting.kind,
                    setting.target,
                    setting.value,
                    reason=context.reason,
                    actor=context.actor,
                    ttl=self.ttl,
                    journey=None if setting.kind in _WIDE else self._narrowed,
                    in_flight=self._in_flight(),
                )
                done.append(switch.id)
        except Exception as error:
            # All of them or none.
            self.revert(context, {"switches": done})
            if isinstance(error, ConfigurationError):
                raise CannotAct(str(error)) from error
            raise
        return {"switches": done}

    def revert(self, context: ActionContext, undo: Undo) -> None:
        """Revert its switches; those that are gone already are gone."""
        for name in undo.get("switches", ()):
            try:
                context.switches.revert(
                    name, reason=f"{context.incident.id} reverted", actor=context.actor
                )
            except ConfigurationError:
                # Never heard of: its store was lost, or its history is longer than is kept.
                continue

    def reach(self, context: ActionContext) -> BlastRadius:
        """The journey it is narrowed to, or every one."""
        journeys = self._journeys()
        routes = self._touches(context)
        everywhere = ANYTHING in journeys
        share = context.share(() if everywhere else journeys)
        who = "on every journey" if everywhere else f"on {', '.join(journeys)}"
        what = "all routes" if ANYTHING in routes else ", ".join(routes)
        amount = "" if share is None else f"; about {100 * share:.0f} % of requests"
        return BlastRadius(journeys, routes, share, f"{what} {who}{amount}")

    def _refuse(self, board: Board, *, setting: Setting, context: ActionContext) -> None:
        """Leave alone what another writer is at work on; asked on the board as it is written."""
        began = context.incident.first_bad_at or context.incident.detected_at
        for other in board.stack:
            same = setting.kind is Kind.RESTORE or (
                (other.kind, other.target) == (setting.kind, setting.target)
                and (other.journey == self._narrowed or None in (other.journey, self._narrowed))
            )
            if not same or other.reason.startswith(f"{context.incident.id} "):
                continue
            if other.actor == ACTOR:
                raise ConfigurationError(
                    f"{other.id} ({other.summary}) is held by another incident: {other.reason}"
                )
            if context.actor == ACTOR and began is not None and other.created_at >= began:
                raise ConfigurationError(
                    f"{other.actor} has set {other.id} ({other.summary}) since this began"
                )

    def _journeys(self) -> tuple[str, ...]:
        return (self.journey or ANYTHING,)

    def _touches(self, context: ActionContext) -> tuple[str, ...]:  # noqa: ARG002 - others do
        return (ANYTHING,)

    def _in_flight(self) -> Literal["keep", "drain", "cut"]:
        return "keep"

    def _says(self) -> str:
        if not self._known:
            return self.vague
        said = []
        for kind, target, value in self.settings():
            journey = None if kind in _WIDE else self._narrowed
            said.append(Switch("", kind, target, value, journey, "?", "?", 0.0).summary)
        return "; ".join(said)

    @property
    def _known(self) -> bool:
        """Whether it can be told what it sets."""
        return True


_WIDE = JOURNEYS | {Kind.RESTORE}
"""Switches whose target says the journey, or which act on the whole board."""
