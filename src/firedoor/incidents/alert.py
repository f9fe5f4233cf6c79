"""What an application declares to be told and helped by: alerts, and its journeys."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, PlainValidator

from firedoor.config import Seconds, declarative
from firedoor.core.causes import SPEAKS
from firedoor.core.rules import Rule
from firedoor.core.series import Selector
from firedoor.incidents.acting import Action
from firedoor.types import IncidentClass, Mode

__all__ = ["Alert", "Journey"]

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.:/-]{0,99}")


def _one_of(words: type[StrEnum]) -> Any:
    def check(value: Any) -> Any:
        try:
            return words(value)
        except ValueError:
            raise ValueError(f"use one of {', '.join(words)}") from None

    return PlainValidator(check)


# The words themselves will do, for a type checker too.
_Mode = Annotated[Mode | Literal["auto", "approve", "suggest"], _one_of(Mode)]
_Class = Annotated[IncidentClass | str, _one_of(IncidentClass)]


@declarative
class Alert:
    """A rule on a signal, with a first action. There is no alert without one.

    Attributes:
        name: Unique among the alerts of a door.
        signal: As in `refusal_rate`; `door.signals.names()` lists them.
        rule: When it is in breach: one of `fd.rules`.
        first_action: What contains it, before anybody looks for the cause: one of `fd.actions`.
        incident_class: What kind of incident it speaks for. None: what the signal usually means.
        journey: Where to look; None: the whole door.
        route: As in `llm:answer`; None: all routes of the signal's kind.
        alias: The model name the application asks for; None: all.
        mode: Whether the first action runs by itself (`auto`), after a person's approval
            (`approve`), or is only shown (`suggest`).
        pending: Seconds a breach has to hold before the alert fires.
        keep: Seconds it has to be over before the alert is.
        then: Actions to go on with, one after the other, if the first does not help. Empty: those
            of the runbook.
        each: One alert for every `journey`, `route` or `alias` that the signal is seen on.
        critical: Whether users are stopped when the journey does not work: the same share of
            requests is more severe then, and load is shed elsewhere.
        why: A few words for the evidence: what the signal means to users.
    """

    name: str
    signal: str = Field(min_length=1, kw_only=True)
    rule: Any = Field(kw_only=True)
    first_action: Any = Field(default=None, kw_only=True)
    incident_class: _Class | None = Field(default=None, kw_only=True)
    journey: str | None = Field(default=None, min_length=1, kw_only=True)
    route: str | None = Field(default=None, min_length=1, kw_only=True)
    alias: str | None = Field(default=None, min_length=1, kw_only=True)
    mode: _Mode = Field(default=Mode.AUTO, kw_only=True)
    pending: float = Field(default=0.0, ge=0, allow_inf_nan=False, kw_only=True)
    keep: float = Field(default=300.0, ge=0, allow_inf_nan=False, kw_only=True)
    then: tuple[Any, ...] = Field(default=(), kw_only=True)
    each: Literal["journey", "route", "alias"] | None = Field(default=None, kw_only=True)
    critical: bool = Field(default=False, kw_only=True)
    why: str = Field(default="", kw_only=True)

    def check(self) -> None:
        """Something is done first, and somebody can say when."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name={self.name!r}: use up to 100 letters, digits and . : / _ -, as in "
                "'refusals-up'"
            )
        if self.first_action is None:
            raise ValueError(
                f"{self.name!r} has no first_action: an alert nobody can act on is noise. Say what "
                "contains it, as in first_action=fd.actions.SafeMode(), with mode='suggest' to "
                "have it only shown"
            )
        for field, action in (
            ("first_action", self.first_action),
            *(("then", action) for action in self.then),
        ):
            if not isinstance(action, Action):
                raise ValueError(  # noqa: TRY004 - becomes a ConfigurationError
                    f"{field}={action!r} is no action: use fd.actions, as in fd.actions.SafeMode() "
                    "or fd.actions.Call(function)"
                )
        why = self.first_action.not_automatic if self.mode is Mode.AUTO else None
        if why is not None:
            raise ValueError(f"{self.name!r}: {why}")
        if not isinstance(self.rule, Rule):
            raise ValueError(  # noqa: TRY004 - likewise
                f"rule={self.rule!r} is no rule: use fd.rules, as in fd.rules.Shift() or "
                "fd.rules.Above(0.1)"
            )
        if self.each is not None and getattr(self, self.each) is not None:
            raise ValueError(f"each={self.each!r} and {self.each}= exclude each other: leave one")

    @property
    def declared(self) -> IncidentClass | None:
        """The declared class."""
        return None if self.incident_class is None else IncidentClass(self.incident_class)

    @property
    def speaks_for(self) -> IncidentClass | None:
        """The declared class, or the one that its signal speaks for most; None: neither."""
        if self.declared is not None:
            return self.declared
        weights = SPEAKS.get(self.signal, {})
        return max(weights, key=lambda c: weights[c], default=None)

    @property
    def selector(self) -> Selector:
        """Where it looks."""
        return Selector(self.journey, self.route, self.alias)


@declarative
class Journey:
    """What is known of a critical path; all of it is optional.

    Attributes:
        p95: Seconds that 95 % of its requests shall not take longer than.
        critical: Whether users are stopped when it does not work: what affects it is more severe,
            and load is shed elsewhere first.
        first_token_p95: Seconds to the first content, likewise.
        usd_per_request: US dollars that a request may cost on average.
        usd_per_hour: US dollars that the journey may spend in an hour.
    """

    p95: Seconds | None = Field(default=None, kw_only=True)
    critical: bool = Field(default=False, kw_only=True)
    first_token_p95: Seconds | None = Field(default=None, kw_only=True)
    usd_per_request: Seconds | None = Field(default=None, kw_only=True)
    usd_per_hour: Seconds | None = Field(default=None, kw_only=True)
